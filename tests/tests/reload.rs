//! What is computed in memory and what is read back from the written checkpoint are the same, bit for bit.
//!
//! The reference runs the algorithms of `tenuis-quant` on the model's own blocks: no plugin, no ABI, no file. So the
//! test covers what stands between: calibration, the loader, the codecs, the writer and the reader.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, Representation, Weight};
use tenuis_linalg::{LayerStats, StatsNeeds};
use tenuis_model::{Model, Tap, Tokenizer};
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{Calibration, CompressOptions, LoadedRecipe, Silent, Text, Workshop};
use tenuis_quant::{GptqConfig, GptqFactor, RtnConfig, rtn};
use tenuis_tests::cli::plugin_dir;
use tenuis_tests::fixture::Fixture;

const SEQ: usize = 32;

fn open(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

fn tokens() -> Vec<u32> {
    (0..2 * SEQ as u32).map(|i| i * 37 % 160).collect()
}

/// Statistics of every group of a block.
struct Groups(Vec<LayerStats>);

impl Tap for Groups {
    fn input(&mut self, group: usize, x: &[f32]) {
        self.0[group].update(x).unwrap();
    }
}

/// Logits of the model with every block's Linears replaced by `compress(stats of the group, dense, shape)`.
fn in_memory(
    model: &Model,
    calibration: &Calibration,
    compress: impl Fn(&LayerStats, &[f32], [usize; 2]) -> Weight,
) -> Vec<f32> {
    let seq = calibration.seq_len();
    let embed = |t: &[u32], seq: usize| model.embed(t, t.len() / seq, seq, 0).unwrap();
    let mut stream: Vec<_> = calibration.batches().iter().map(|t| embed(t, seq)).collect();
    let mut hidden = embed(&tokens(), SEQ);
    for index in 0..model.spec().layers.len() {
        let mut block = model.load_block(index).unwrap();
        let groups = block.spec().groups();
        let needs = StatsNeeds { hessian: true, moments: false };
        let mut stats = Groups(groups.iter().map(|g| LayerStats::new(g.in_features(), needs)).collect());
        for batch in &stream {
            block.forward(batch, Some(&mut stats)).unwrap();
        }
        for (group, stats) in groups.iter().zip(&stats.0) {
            for linear in &group.linears {
                let dense = block.weight(&linear.name).unwrap().to_dense().unwrap();
                block.set_weight(&linear.name, compress(stats, &dense, linear.shape)).unwrap();
            }
        }
        for batch in &mut stream {
            *batch = block.forward(batch, None).unwrap();
        }
        hidden = block.forward(&hidden, None).unwrap();
    }
    model.head(&hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn compress_and_reload(fixture: &Fixture, recipe: &LoadedRecipe, text: &Text) -> Vec<f32> {
    let plugins = PluginRegistry::discover(&[plugin_dir()]).unwrap();
    let codecs = CodecRegistry::builtin();
    let observer = Arc::new(Silent);
    let workshop = Workshop::new(&plugins, &codecs, observer, CompressOptions::default());
    let target = fixture.path(&recipe.recipe.name);
    workshop.compress(&open(&fixture.model), recipe, Some(text), &target).unwrap();
    // A copy of the directory under another name is as good as the directory.
    let moved = fixture.path("moved");
    std::fs::rename(&target, &moved).unwrap();
    let logits = open(&moved).logits_vec(&tokens(), 2, SEQ).unwrap();
    std::fs::remove_dir_all(&moved).unwrap();
    logits
}

#[test]
fn reloaded_logits_are_those_computed_in_memory() {
    for name in ["llama_linear_headdim", "gpt2", "smollm3"] {
        let fixture = Fixture::new(name);
        let model = open(&fixture.model);
        let tokenizer = Tokenizer::from_dir(&fixture.model, model.spec().vocab).unwrap();
        let text = Text::open(&fixture.calib, &tokenizer).unwrap();
        for options in [
            "{ \"bits\": 8 }",
            "{ \"bits\": 3, \"symmetric\": false, \"group_size\": 32 }",
            "{ \"bits\": 5, \"group_size\": \"channel\", \"scale_dtype\": \"f32\" }",
        ] {
            let config: RtnConfig = serde_json::from_str(options).unwrap();
            let recipe = recipe("rtn", options);
            let calibration =
                Calibration::of(&text, recipe.recipe.calibration, model.spec().max_positions).unwrap();
            let expected = in_memory(&model, &calibration, |_, dense, shape| {
                Arc::new(rtn(dense, shape, &config).unwrap().weight)
            });
            let found = compress_and_reload(&fixture, &recipe, &text);
            assert!(found == expected, "{name}: rtn {options} differs after a reload");
        }
        for options in [
            "{ \"bits\": 4 }",
            "{ \"bits\": 4, \"act_order\": true, \"group_size\": 32 }",
            "{ \"bits\": 2, \"symmetric\": false, \"act_order\": true, \"static_groups\": true, \"group_size\": 32 }",
        ] {
            let config: GptqConfig = serde_json::from_str(options).unwrap();
            let recipe = recipe("gptq", options);
            let calibration =
                Calibration::of(&text, recipe.recipe.calibration, model.spec().max_positions).unwrap();
            let expected = in_memory(&model, &calibration, |stats, dense, shape| {
                let factor = GptqFactor::new(stats.gram().unwrap().view(), stats.rows(), &config).unwrap();
                assert!(factor.fallback().is_none());
                Arc::new(factor.quantize(dense, shape).unwrap().weight)
            });
            let found = compress_and_reload(&fixture, &recipe, &text);
            assert!(found == expected, "{name}: gptq {options} differs after a reload");
        }
    }
}

/// A recipe of one stage; JSON's options are TOML's but for the colon.
fn recipe(technique: &str, options: &str) -> LoadedRecipe {
    let options = options.replace(':', " =");
    let text = format!(
        "name = \"candidate\"\ncalibration = {{ samples = 32, seq_len = 64 }}\n\
         [[stages]]\ntechnique = \"{technique}\"\noptions = {options}\n"
    );
    LoadedRecipe::parse("test.toml", &text).unwrap()
}

/// `cast` rounds every floating-point tensor to nearest, and nothing else.
#[test]
fn cast_rounds_every_tensor() {
    for name in ["llama_linear_headdim", "gpt2"] {
        let fixture = Fixture::new(name);
        let model = open(&fixture.model);
        let tokenizer = Tokenizer::from_dir(&fixture.model, model.spec().vocab).unwrap();
        let text = Text::open(&fixture.calib, &tokenizer).unwrap();
        let plugins = PluginRegistry::discover(&[plugin_dir()]).unwrap();
        let codecs = CodecRegistry::builtin();
        let workshop = Workshop::new(&plugins, &codecs, Arc::new(Silent), CompressOptions::default());
        let target = fixture.path("bf16");
        let recipe = recipe("cast", "{ \"dtype\": \"bf16\" }");
        workshop.compress(&model, &recipe, Some(&text), &target).unwrap();
        let written = Checkpoint::open(&target).unwrap();
        assert!(written.names().eq(model.checkpoint().names()));
        for tensor in model.checkpoint().names() {
            let before = model.checkpoint().tensor(tensor).unwrap();
            let after = written.tensor(tensor).unwrap();
            assert_eq!(after.dtype(), &tenuis_core::DType::BF16.into(), "{tensor}");
            assert_eq!(after.shape(), before.shape(), "{tensor} keeps its stored layout");
            let rounded =
                tenuis_core::convert::from_f32(tenuis_core::DType::BF16, &before.to_f32().unwrap()).unwrap();
            assert!(after.data()[..] == rounded[..], "{tensor}");
        }
        assert_eq!(written.config()["dtype"], "bfloat16");
    }
}

/// The trait's method is what the tests above rely on for their reference.
#[test]
fn dense_weights_of_a_block_are_the_file_s() {
    let fixture = Fixture::new("gpt2");
    let model = open(&fixture.model);
    let block = model.load_block(0).unwrap();
    for linear in block.spec().linears() {
        let weight: &dyn Representation = block.weight(&linear.name).unwrap().as_ref();
        let stored = model.checkpoint().tensor(&linear.weight_name()).unwrap();
        let (dense, stored) = (weight.to_dense().unwrap(), stored.to_f32().unwrap());
        let [out_features, in_features] = linear.shape;
        for (row, column) in [(0, 0), (1, 5), (out_features - 1, in_features - 1)] {
            // Conv1D stores [in, out].
            assert_eq!(
                dense[row * in_features + column],
                stored[column * out_features + row],
                "{}",
                linear.name
            );
        }
    }
}
