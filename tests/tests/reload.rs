//! What was computed in memory and what is read back from the written file are the same, bit for bit.

use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::Model;
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{CompressOptions, LoadedRecipe, Silent, Text, Workshop, builtin_recipes};
use tenuis_tests::cli::plugin_dir;
use tenuis_tests::fixture::Fixture;

fn open(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

/// Puts the weights of every block of `from` into the blocks of `model` and runs those.
fn logits_in_memory(model: &Model, from: &Model, tokens: &[u32], seq: usize) -> Vec<f32> {
    let mut hidden = from.embed(tokens, tokens.len() / seq, seq, 0).unwrap();
    for index in 0..model.spec().layers.len() {
        let mut block = model.load_block(index).unwrap();
        let compressed = from.load_block(index).unwrap();
        for linear in block.spec().linears() {
            let dense = compressed.weight(&linear.name).unwrap().clone();
            block.set_weight(&linear.name, dense).unwrap();
        }
        hidden = block.forward(&hidden, None).unwrap();
    }
    from.head(&hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn written_checkpoints_reload_to_the_same_logits() {
    let plugins = PluginRegistry::discover(&[plugin_dir()]).unwrap();
    let codecs = CodecRegistry::builtin();
    for name in ["llama_linear_headdim", "gpt2"] {
        let fixture = Fixture::new(name);
        let model = open(&fixture.model);
        let tokenizer = tenuis_model::Tokenizer::from_dir(&fixture.model, model.spec().vocab).unwrap();
        let calibration = Text::open(&fixture.calib, &tokenizer).unwrap();
        let mut recipes = builtin_recipes().unwrap();
        recipes.push(
            LoadedRecipe::parse(
                "asym",
                "name = \"asym\"\n[[stages]]\ntechnique = \"gptq\"\n\
                 options = { bits = 3, group_size = 32, symmetric = false, act_order = true }\n",
            )
            .unwrap(),
        );
        for recipe in recipes {
            let workshop = Workshop {
                plugins: &plugins,
                codecs: &codecs,
                observer: Arc::new(Silent),
                options: CompressOptions::default(),
            };
            let target = fixture.path(&recipe.recipe.name);
            workshop.compress(&model, &recipe, Some(&calibration), &target).unwrap();
            let written = open(&target);
            let tokens: Vec<u32> = (0..64).map(|i| i * 37 % 160).collect();
            let direct = written.logits_vec(&tokens, 2, 32).unwrap();
            let in_memory = logits_in_memory(&model, &written, &tokens, 32);
            assert_eq!(direct, in_memory, "{name} {}", recipe.recipe.name);
            // A copy of the directory is as good as the directory.
            let moved = fixture.path("moved");
            std::fs::rename(&target, &moved).unwrap();
            assert_eq!(open(&moved).logits_vec(&tokens, 2, 32).unwrap(), direct);
            std::fs::remove_dir_all(&moved).unwrap();
        }
    }
}
