//! Pruning end to end: what is computed in memory is what is read back, zeros outlive quantisation, and bytes are saved.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, Sparse, Weight};
use tenuis_linalg::{LayerStats, StatsNeeds};
use tenuis_model::{Model, Tap, Tokenizer};
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{Calibration, CompressOptions, LoadedRecipe, Silent, Text, Workshop};
use tenuis_prune::{SparseGptConfig, SparseGptFactor};
use tenuis_quant::{GptqConfig, GptqFactor};
use tenuis_tests::cli::{plugin_dir, shared, tenuis};
use tenuis_tests::fixture::Fixture;

const SEQ: usize = 32;

fn open(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

fn tokens() -> Vec<u32> {
    (0..2 * SEQ as u32).map(|i| i * 37 % 160).collect()
}

fn logits(model: &Model) -> Vec<f32> {
    model.logits_vec(&tokens(), 2, SEQ).unwrap()
}

fn recipe(stages: &str) -> LoadedRecipe {
    let text = format!("name = \"candidate\"\ncalibration = {{ samples = 32, seq_len = 64 }}\n{stages}");
    LoadedRecipe::parse("test.toml", &text).unwrap()
}

fn stage(technique: &str, options: &str) -> String {
    format!("[[stages]]\ntechnique = \"{technique}\"\noptions = {options}\n")
}

/// Runs a recipe; the new checkpoint lies at `name` beside the model.
fn compress(fixture: &Fixture, name: &str, stages: &str) -> PathBuf {
    let plugins = PluginRegistry::discover(&[plugin_dir()]).unwrap();
    let codecs = CodecRegistry::builtin();
    let observer = Arc::new(Silent);
    let workshop = Workshop::new(&plugins, &codecs, observer, CompressOptions::default());
    let model = open(&fixture.model);
    let tokenizer = Tokenizer::from_dir(&fixture.model, model.spec().vocab).unwrap();
    let text = Text::open(&fixture.calib, &tokenizer).unwrap();
    let target = fixture.path(name);
    workshop.compress(&model, &recipe(stages), Some(&text), &target).unwrap();
    target
}

/// Statistics of every group of a block.
struct Groups(Vec<LayerStats>);

impl Tap for Groups {
    fn input(&mut self, group: usize, x: &[f32]) {
        self.0[group].update(x).unwrap();
    }
}

/// Logits of the model with every block's Linears replaced by `compress(stats of the group, weight)`.
fn in_memory(
    fixture: &Fixture,
    model: &Model,
    compress: impl Fn(&LayerStats, &Weight) -> Weight,
) -> Vec<f32> {
    let tokenizer = Tokenizer::from_dir(&fixture.model, model.spec().vocab).unwrap();
    let text = Text::open(&fixture.calib, &tokenizer).unwrap();
    let wanted = recipe(&stage("sparsegpt", "{}")).recipe.calibration;
    let calibration = Calibration::of(&text, wanted, model.spec().max_positions).unwrap();
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
                let weight = compress(stats, block.weight(&linear.name).unwrap());
                block.set_weight(&linear.name, weight).unwrap();
            }
        }
        for batch in &mut stream {
            *batch = block.forward(batch, None).unwrap();
        }
        hidden = block.forward(&hidden, None).unwrap();
    }
    model.head(&hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Every Linear of a checkpoint by name.
fn linears(dir: &Path) -> Vec<(String, Weight)> {
    let model = open(dir);
    let all = model.spec().linears().map(|linear| {
        let weight = model.matrix(&linear.name, linear.shape, linear.layout).unwrap();
        (linear.name, weight)
    });
    all.collect()
}

fn zeros(weight: &Weight) -> u64 {
    weight.parameters() - weight.nonzero_parameters().unwrap()
}

#[test]
fn reloaded_logits_are_those_computed_in_memory() {
    for name in ["llama_linear_headdim", "gpt2"] {
        let fixture = Fixture::new(name);
        for (sparsity, toml) in [("0.7", "0.7"), ("\"2:4\"", "\"2:4\"")] {
            let config: SparseGptConfig =
                serde_json::from_str(&format!("{{ \"sparsity\": {sparsity} }}")).unwrap();
            let expected = in_memory(&fixture, &open(&fixture.model), |stats, weight| {
                let factor =
                    SparseGptFactor::new(stats.gram().unwrap().view(), stats.rows(), &config).unwrap();
                let dense = weight.to_dense().unwrap();
                let pruned = factor.prune(&dense, weight.shape(), None).unwrap();
                assert_eq!(pruned.report.fallback, None);
                Sparse::smallest(tenuis_core::DType::F32, weight.shape(), &pruned.weight).unwrap()
            });
            let dir = compress(&fixture, "pruned", &stage("sparsegpt", &format!("{{ sparsity = {toml} }}")));
            let moved = fixture.path("moved");
            std::fs::rename(&dir, &moved).unwrap();
            assert!(logits(&open(&moved)) == expected, "{name}: {sparsity} differs after a reload");
            for (linear, weight) in linears(&moved) {
                assert_eq!(weight.kind(), "sparse", "{linear}");
                let share = zeros(&weight) as f64 / weight.parameters() as f64;
                let asked = if toml == "0.7" { 0.7 } else { 0.5 };
                assert!(share >= asked - 1e-9 && share < asked + 0.02, "{linear}: {share}");
            }
            std::fs::remove_dir_all(&moved).unwrap();
        }
    }
}

/// SparseGPT 2:4, then GPTQ at four bits: every zero stays, what is stored are kept codes alone, and it reads back.
#[test]
fn quantising_keeps_every_zero() {
    for name in ["llama_linear_headdim", "gpt2"] {
        let fixture = Fixture::new(name);
        let first = stage("sparsegpt", "{ sparsity = \"2:4\" }");
        let pruned = compress(&fixture, "pruned", &first);
        let options = "{ bits = 4, group_size = \"channel\" }";
        let both = compress(&fixture, "both", &format!("{first}{}", stage("gptq", options)));
        let dense = compress(&fixture, "int4", &stage("gptq", options));
        let before = linears(&pruned);
        for (((linear, weight), (_, sparse)), (_, int4)) in
            linears(&both).iter().zip(&before).zip(&linears(&dense))
        {
            let (new, old) = (weight.to_dense().unwrap(), sparse.to_dense().unwrap());
            assert!(old.iter().zip(&new).all(|(o, n)| *o != 0.0 || *n == 0.0), "{linear} lost a zero");
            assert!(new.chunks(4).all(|four| four.iter().filter(|v| **v != 0.0).count() <= 2), "{linear}");
            let descriptor = weight.descriptor();
            assert_eq!((&descriptor["kind"], &descriptor["values"]["bits"]), (&"sparse".into(), &4.into()));
            assert!(weight.stored_bytes() < int4.stored_bytes(), "{linear} is no smaller than int4");
        }

        // The second stage in memory, on the checkpoint of the first.
        let mut config = GptqConfig::default();
        config.group_size = tenuis_quant::GroupSizing::Channel;
        let expected = in_memory(&fixture, &open(&pruned), |stats, weight| {
            let factor = GptqFactor::new(stats.gram().unwrap().view(), stats.rows(), &config).unwrap();
            let dense = weight.to_dense().unwrap();
            let mask: Vec<u8> = dense.iter().map(|v| u8::from(*v != 0.0)).collect();
            let quantized = factor.quantize_masked(&dense, weight.shape(), Some(&mask)).unwrap();
            Sparse::smallest_of_grouped_int(&quantized.weight).unwrap()
        });
        assert!(logits(&open(&both)) == expected, "{name} differs after a reload");
    }
}

/// Rounding to nearest keeps zeros as well.
#[test]
fn rounding_keeps_every_zero() {
    let fixture = Fixture::new("llama_linear_headdim");
    let first = stage("wanda", "{ sparsity = 0.6 }");
    let pruned = compress(&fixture, "pruned", &first);
    let both = compress(
        &fixture,
        "both",
        &format!("{first}{}", stage("rtn", "{ bits = 3, symmetric = false, group_size = \"channel\" }")),
    );
    for ((linear, weight), (_, sparse)) in linears(&both).iter().zip(&linears(&pruned)) {
        let (new, old) = (weight.to_dense().unwrap(), sparse.to_dense().unwrap());
        assert!(old.iter().zip(&new).all(|(o, n)| *o != 0.0 || *n == 0.0), "{linear} lost a zero");
        assert_eq!(weight.kind(), "sparse", "{linear}");
    }
}

/// One budget for all layers, spread by the first stage and kept by the second.
#[test]
fn a_global_budget_is_met_and_inherited() {
    let fixture = Fixture::new("llama_linear_headdim");
    for score in ["magnitude", "lamp"] {
        let first = stage("magnitude-global", &format!("{{ sparsity = 0.6, score = \"{score}\" }}"));
        let spread = linears(&compress(&fixture, "spread", &first));
        let total: u64 = spread.iter().map(|(_, w)| w.parameters()).sum();
        let pruned: u64 = spread.iter().map(|(_, w)| zeros(w)).sum();
        assert_eq!(pruned, (total as f64 * 0.6) as u64 + 1, "{score}");
        let second = stage("wanda", "{ sparsity = \"inherit\" }");
        let both = linears(&compress(&fixture, "both", &format!("{first}{second}")));
        for ((linear, found), (_, asked)) in both.iter().zip(&spread) {
            let rows = found.shape()[0] as u64;
            assert!(zeros(found).abs_diff(zeros(asked)) <= rows, "{linear}");
        }
    }
}

/// The recipes that ship, on a trained model: sizes, zeros and the order of the methods.
#[test]
fn shipped_recipes_run_on_a_trained_model() {
    let Some(shared) = shared() else { return };
    let (model, data) = (shared.join("models/tiny1m"), shared.join("data"));
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recipes");
    let out = tempfile::tempdir().unwrap();
    let mut args: Vec<String> = vec!["eval".into(), "--model".into(), model.display().to_string()];
    args.extend(["--data".into(), data.join("tinystories_val.txt").display().to_string()]);
    args.extend(["--calib".into(), data.join("tinystories_train_head.txt").display().to_string()]);
    args.extend(["--out".into(), out.path().display().to_string(), "--max-tokens".into(), "12800".into()]);
    args.extend([
        "--seq-len".into(),
        "128".into(),
        "--no-memory".into(),
        "--speed-repeats".into(),
        "0".into(),
    ]);
    for name in ["magnitude-50", "wanda-50", "sparsegpt-50", "sparsegpt-lamp-60", "sparsegpt-2of4-int4"] {
        args.push("--recipe".into());
        args.push(recipes.join(format!("{name}.toml")).display().to_string());
    }
    let _ = tenuis(&args).succeeded();
    let report: Value =
        serde_json::from_slice(&std::fs::read(out.path().join("report.json")).unwrap()).unwrap();
    let candidate = |name: &str| {
        let all = report["candidates"].as_array().unwrap();
        all.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name} is not in the report"))
    };
    let perplexity = |name: &str| candidate(name)["quality"]["perplexity"]["value"].as_f64().unwrap();
    let baseline = report["baseline"]["quality"]["perplexity"]["value"].as_f64().unwrap();
    assert!(baseline < perplexity("sparsegpt-50"));
    assert!(perplexity("sparsegpt-50") < perplexity("wanda-50"));
    assert!(perplexity("wanda-50") < perplexity("magnitude-50"));
    for name in ["wanda-50", "sparsegpt-2of4-int4"] {
        let size = &candidate(name)["size"];
        let (params, nonzero) = (size["params"].as_u64().unwrap(), size["nonzero_params"].as_u64().unwrap());
        assert!(nonzero < params && params == report["baseline"]["size"]["params"].as_u64().unwrap());
    }
}

#[test]
fn bad_recipes_are_refused_before_any_work() {
    let fixture = Fixture::new("llama_linear_headdim");
    let path = fixture.path("bad.toml");
    let one = |options: &str| stage("sparsegpt", options);
    for (stages, part) in [
        (one("{ sparsity = 1.0 }"), "options.sparsity`: 1.0 is not allowed"),
        (one("{ sparsity = \"4:2\" }"), "4:2"),
        (one("{ sparsity = \"2:4\", block_size = 6 }"), "block_size"),
        // What the second stage would be given is known from what the first says that it makes.
        (format!("{}{}", stage("gptq", "{}"), one("{}")), "prune first, then quantise"),
        (format!("{}{}", one("{}"), stage("cast", "{}")), "after sparsegpt, "),
    ] {
        std::fs::write(&path, format!("name = \"bad\"\n{stages}")).unwrap();
        let out = fixture.path("out");
        let run = tenuis(&[
            "compress".as_ref(),
            "--model".as_ref(),
            fixture.model.as_os_str(),
            "--recipe".as_ref(),
            path.as_os_str(),
            "--calib".as_ref(),
            fixture.calib.as_os_str(),
            "--out".as_ref(),
            out.as_os_str(),
        ]);
        assert_ne!(run.code, 0);
        assert!(run.stderr.contains(part), "{stages}: {}", run.stderr);
        assert!(!out.exists());
    }
}
