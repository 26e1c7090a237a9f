//! Scales that the host folds, end to end: AWQ, SmoothQuant and int8 with activations rounded at run time.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, StoredWeights};
use tenuis_model::Model;
use tenuis_tests::cli::{shared, snapshot, tenuis};
use tenuis_tests::fixture::Fixture;

/// KL of a fixture, whose weights are random, with weights in groups of 32 at eight bits: 1e-4 or less is usual.
const WEIGHTS_AT_8_BITS: f64 = 1e-3;
/// The same with one scale per row, and inputs rounded to eight bits per token: 3e-3 or less is usual. A scale that were
/// not folded would cost hundreds of times that.
const ALL_AT_8_BITS: f64 = 5e-3;

/// What `options` leaves to the defaults is chosen so that two recipes take equal bytes.
fn recipe(dir: &Path, name: &str, technique: &str, options: &str) -> PathBuf {
    recipe_of(dir, name, technique, options, "samples = 64, seq_len = 64")
}

fn recipe_of(dir: &Path, name: &str, technique: &str, options: &str, calibration: &str) -> PathBuf {
    let file = dir.join(format!("{name}.toml"));
    let text = format!(
        "name = \"{name}\"\ncalibration = {{ {calibration} }}\n\
         [[stages]]\ntechnique = \"{technique}\"\noptions = {{ {options} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn eval(model: &Path, data: &Path, calib: &Path, out: &Path, recipes: &[PathBuf], more: &[&str]) -> Value {
    let mut args = vec!["eval".to_owned()];
    for (key, path) in [("--model", model), ("--data", data), ("--calib", calib), ("--out", out)] {
        args.extend([key.to_owned(), path.to_str().unwrap().to_owned()]);
    }
    for recipe in recipes {
        args.extend(["--recipe".to_owned(), recipe.to_str().unwrap().to_owned()]);
    }
    args.extend(["--speed-repeats", "0", "--no-memory"].map(str::to_owned));
    args.extend(more.iter().map(|&s| s.to_owned()));
    let _ = tenuis(&args).succeeded();
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

fn candidate<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["candidates"].as_array().unwrap();
    all.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no candidate {name}"))
}

fn number(entry: &Value, path: &str) -> f64 {
    entry.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {entry}"))
}

/// The values of a metric by the weight that it is about.
fn metrics(entry: &Value, quantity: &str) -> Vec<(String, f64)> {
    let all = entry["compression"]["stages"][0]["metrics"].as_array().unwrap();
    let named = all.iter().filter_map(|m| {
        let name = m["key"].as_str()?.strip_suffix(&format!("/{quantity}"))?;
        Some((name.to_owned(), m["value"].as_f64()?))
    });
    named.collect()
}

fn kinds(dir: &Path) -> Vec<String> {
    let checkpoint = Checkpoint::open(dir).unwrap();
    checkpoint.verify().unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let mut kinds: Vec<String> =
        stored.descriptors().map(|(_, d)| d["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    // It is a model, whatever the kinds.
    let model = Model::open(Arc::new(checkpoint), &CodecRegistry::builtin()).unwrap();
    let logits = model.logits_vec(&[1, 2, 3, 4], 1, 4).unwrap();
    assert!(logits.iter().all(|v| v.is_finite()));
    kinds
}

/// Every family: folded wherever the network allows it, and close to the original in the end.
#[test]
fn scales_are_folded_in_every_family() {
    for name in ["llama_gqa_llama3rope", "qwen2", "qwen3", "gpt2"] {
        let fixture = Fixture::new(name);
        let before = snapshot(&fixture.model);
        let root = tempfile::tempdir().unwrap();
        let recipe = |name: &str, technique: &str, options: &str| {
            recipe_of(root.path(), name, technique, options, "samples = 16, seq_len = 32")
        };
        let recipes = [
            recipe("awq8", "awq", "bits = 8, group_size = 32"),
            recipe("awq8-all", "awq", "bits = 8, group_size = 32, run_time_scales = true"),
            recipe("smooth", "smoothquant", ""),
            recipe("dynamic", "int8-dynamic", ""),
        ];
        let out = root.path().join("out");
        let report =
            eval(&fixture.model, &fixture.data, &fixture.calib, &out, &recipes, &["--seq-len", "32"]);
        for candidate in report["candidates"].as_array().unwrap() {
            let kl = number(candidate, "/quality/kl_mean");
            let title = candidate["name"].as_str().unwrap();
            let limit = if title.starts_with("awq") { WEIGHTS_AT_8_BITS } else { ALL_AT_8_BITS };
            assert!(kl < limit, "{name} {title}: eight bits change little, KL is {kl}");
        }
        let layers = if name == "gpt2" { 3 } else { 4 };
        for made in ["awq8", "smooth"] {
            let folded = metrics(candidate(&report, made), "scales_folded");
            let blocks = fixture_blocks(&fixture.model);
            assert!(folded.iter().all(|(_, folded)| *folded == 1.0), "{name} {made}: {folded:?}");
            // AWQ may find that no scale is the best one; SmoothQuant always scales.
            assert!(folded.len() <= layers * blocks, "{folded:?}");
            assert!(made == "awq8" || folded.len() == layers * blocks, "{name}: {folded:?}");
        }
        assert_eq!(kinds(&out.join("awq8")), ["grouped_int"]);
        assert_eq!(kinds(&out.join("smooth")), ["int8_dynamic"]);
        assert_eq!(kinds(&out.join("dynamic")), ["int8_dynamic"]);
        let config: Value =
            serde_json::from_slice(&std::fs::read(out.join("smooth/config.json")).unwrap()).unwrap();
        let config = &config["quantization_config"];
        assert_eq!(
            (&config["quant_method"], &config["format"]),
            (&"compressed-tensors".into(), &"int-quantized".into())
        );
        let inputs = &config["config_groups"]["group_0"]["input_activations"];
        assert_eq!((&inputs["dynamic"], &inputs["strategy"]), (&true.into(), &"token".into()));
        if name == "gpt2" {
            // What follows a GELU is divided at run time where that is asked for.
            assert_eq!(kinds(&out.join("awq8-all")), ["grouped_int", "input_scaled"]);
            let folded = metrics(candidate(&report, "awq8-all"), "scales_folded");
            let divided = folded.iter().filter(|(_, folded)| *folded == 0.0);
            assert!(
                divided.clone().count() > 0 && divided.clone().all(|(n, _)| n.ends_with("mlp.c_proj")),
                "{folded:?}"
            );
        }
        assert_eq!(snapshot(&fixture.model), before);
    }
}

fn fixture_blocks(dir: &Path) -> usize {
    let model = Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap();
    model.spec().layers.len()
}

/// Weights that are not targeted keep their function although what they read has changed.
#[test]
fn untargeted_weights_follow_the_scales_of_their_input() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("some.toml");
    let text = "name = \"some\"\n[[stages]]\ntechnique = \"smoothquant\"\n\
                targets = { include = [\"*.q_proj\", \"*.down_proj\"] }\n";
    std::fs::write(&file, text).unwrap();
    let out = root.path().join("out");
    let report = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &[file], &["--seq-len", "32"]);
    let some = candidate(&report, "some");
    assert!(metrics(some, "scales_folded").iter().all(|(_, folded)| *folded == 1.0));
    let kl = number(some, "/quality/kl_mean");
    assert!(kl < ALL_AT_8_BITS, "{kl}");
}

/// The head is a group of its own, whose parent module is itself.
#[test]
fn the_head_is_scaled_through_the_final_norm() {
    let fixture = Fixture::new("llama_linear_headdim");
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("head.toml");
    let text = "name = \"head\"\n[[stages]]\ntechnique = \"awq\"\n\
                options = { bits = 8, group_size = 32 }\ntargets = { head = true }\n";
    std::fs::write(&file, text).unwrap();
    let out = root.path().join("out");
    let report = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &[file], &["--seq-len", "32"]);
    let head = candidate(&report, "head");
    assert!(number(head, "/quality/kl_mean") < 1e-3);
    assert!(metrics(head, "out_loss").iter().any(|(name, _)| name == "lm_head"));
}

/// The orderings that practitioners expect, at equal bytes, on a trained model.
#[test]
fn tiny1m_gains_from_activations() {
    let Some(shared) = shared() else { return };
    let model = shared.join("models/tiny1m");
    let root = tempfile::tempdir().unwrap();
    let options = "bits = 4, group_size = 32, symmetric = false";
    let recipes = [
        recipe(root.path(), "rtn4", "rtn", options),
        recipe(root.path(), "awq4", "awq", options),
        recipe(root.path(), "smooth", "smoothquant", ""),
        recipe(root.path(), "dynamic", "int8-dynamic", ""),
    ];
    let (data, calib) =
        (shared.join("data/tinystories_val.txt"), shared.join("data/tinystories_train_head.txt"));
    let out = root.path().join("out");
    let report = eval(&model, &data, &calib, &out, &recipes, &["--seq-len", "128", "--max-tokens", "51200"]);
    let base = number(&report["baseline"], "/quality/perplexity/value");
    let perplexity = |name: &str| number(candidate(&report, name), "/quality/perplexity/value");
    let bytes = |name: &str| number(candidate(&report, name), "/size/tensor_bytes");
    assert_eq!(bytes("awq4"), bytes("rtn4"));
    assert!(perplexity("awq4") < perplexity("rtn4"), "{} {}", perplexity("awq4"), perplexity("rtn4"));
    for name in ["smooth", "dynamic"] {
        let off = perplexity(name) / base - 1.0;
        assert!(off.abs() < 0.01, "{name}: {} beside {base}", perplexity(name));
    }
}
