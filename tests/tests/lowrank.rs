//! Low-rank factors through the program: made, composed with other techniques, trained, read back and evaluated.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, LowRank, StoredWeights, Sum, Weight};
use tenuis_model::Model;
use tenuis_tests::cli::{Run, shared, snapshot, tenuis};
use tenuis_tests::fixture::Fixture;

const FIXTURE: &str = "llama_gqa_llama3rope";

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn recipe(fixture: &Fixture, name: &str, stages: &str) -> PathBuf {
    let path = fixture.path(&format!("{name}.toml"));
    fs::write(&path, format!("name = \"{name}\"\n{stages}")).unwrap();
    path
}

fn compress(fixture: &Fixture, recipe: &Path, out: &Path) -> Run {
    let [model, recipe, calib, out] = [&fixture.model, recipe, &fixture.calib, out].map(text);
    tenuis(&["compress", "--model", &model, "--recipe", &recipe, "--calib", &calib, "--out", &out])
}

fn model(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

/// The weights of all Linears, after a check that the file holds their bytes by formula, those of the tensors that were
/// not touched, and the header; nothing else.
fn weights(source: &Path, written: &Path) -> BTreeMap<String, Weight> {
    let (source, checkpoint) = (Checkpoint::open(source).unwrap(), Checkpoint::open(written).unwrap());
    checkpoint.verify().unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let codecs = CodecRegistry::builtin();
    let linears: Vec<_> = model(written).spec().linears().collect();
    let weights: BTreeMap<String, Weight> = linears
        .iter()
        .map(|l| {
            let weight = stored.weight(&checkpoint, &codecs, &l.name, l.shape, l.layout).unwrap();
            (l.name.clone(), weight)
        })
        .collect();
    let names: Vec<String> = linears.iter().map(tenuis_spec::LinearSpec::weight_name).collect();
    let others: u64 = source
        .names()
        .filter(|n| !names.iter().any(|name| name == n))
        .map(|n| checkpoint.info(n).unwrap().bytes())
        .sum();
    let expected = others + weights.values().map(|w| w.stored_bytes()).sum::<u64>();
    assert_eq!(checkpoint.tensor_bytes(), expected);
    let files: u64 = checkpoint.shard_files().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert_eq!(files, expected + checkpoint.header_bytes());
    weights
}

fn logits(dir: &Path) -> Vec<f32> {
    let tokens: Vec<u32> = (0..24).map(|i| i * 37 % 160).collect();
    model(dir).logits_vec(&tokens, 1, tokens.len()).unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

/// Every method on every layout of weights; what knows the input is nearer to the model than what does not.
#[test]
fn every_method_writes_factors() {
    for name in [FIXTURE, "gpt2", "qwen3"] {
        let fixture = Fixture::new(name);
        let before = snapshot(&fixture.model);
        let original = logits(&fixture.model);
        let mut distances = BTreeMap::new();
        for method in ["svd", "asvd", "svdllm"] {
            let stages =
                format!("[[stages]]\ntechnique = \"{method}\"\noptions = {{ rank = {{ keep = 0.5 }} }}\n");
            let out = fixture.path(method);
            let _ = compress(&fixture, &recipe(&fixture, method, &stages), &out).succeeded();
            let weights = weights(&fixture.model, &out);
            for (module, weight) in &weights {
                let [rows, columns] = weight.shape();
                let product: &LowRank = weight.downcast().unwrap();
                assert_eq!(product.rank(), rows * columns / 2 / (rows + columns), "{name}: {module}");
            }
            let found = logits(&out);
            assert!(found.iter().all(|l| l.is_finite()));
            distances.insert(method, distance(&found, &original));
        }
        assert!(distances["svdllm"] < distances["svd"], "{name}: {distances:?}");
        assert_eq!(snapshot(&fixture.model), before, "the input is never written to");
    }
}

/// A rank that takes half of a square matrix's weights in each factor is no gain.
#[test]
fn what_would_not_shrink_stays_and_is_reported() {
    let fixture = Fixture::new(FIXTURE);
    let stages = "[[stages]]\ntechnique = \"svd\"\noptions = { rank = { keep = 1.0 } }\ntargets = { include = [\"*.o_proj\"] }\n";
    let out = fixture.path("same");
    let run = compress(&fixture, &recipe(&fixture, "same", stages), &out).succeeded();
    assert!(run.stderr.contains("o_proj: kept as it is"), "{}", run.stderr);
    assert!(weights(&fixture.model, &out).values().all(|w| w.kind() == "dense"));
}

/// Quantising a product quantises its factors, by either technique.
#[test]
fn factors_are_quantised() {
    let fixture = Fixture::new(FIXTURE);
    let svdllm = "[[stages]]\ntechnique = \"svdllm\"\noptions = { rank = { keep = 0.6 } }\n";
    let plain = fixture.path("plain");
    let _ = compress(&fixture, &recipe(&fixture, "plain", svdllm), &plain).succeeded();
    let expected = logits(&plain);
    for technique in ["rtn", "gptq"] {
        let out = fixture.path(technique);
        let stages = format!("{svdllm}[[stages]]\ntechnique = \"{technique}\"\noptions = {{ bits = 8 }}\n");
        let _ = compress(&fixture, &recipe(&fixture, technique, &stages), &out).succeeded();
        for weight in weights(&fixture.model, &out).values() {
            let product: &LowRank = weight.downcast().unwrap();
            assert_eq!((product.b().kind(), product.a().kind()), ("grouped_int", "grouped_int"));
        }
        let size: f64 = expected.iter().map(|l| f64::from(*l).powi(2)).sum::<f64>().sqrt();
        let off = distance(&logits(&out), &expected) / size;
        assert!(off < 0.05, "{technique}: {off}");
    }
}

/// A correction brings the quantised model nearer to the original.
#[test]
fn corrections_are_sums() {
    let fixture = Fixture::new(FIXTURE);
    let original = logits(&fixture.model);
    let int3 = "[[stages]]\ntechnique = \"rtn\"\noptions = { bits = 3, group_size = 32 }\n";
    let plain = fixture.path("plain");
    let _ = compress(&fixture, &recipe(&fixture, "plain", int3), &plain).succeeded();
    let before = distance(&logits(&plain), &original);
    for (name, whiten) in [("lqer", false), ("eora", true)] {
        let stages = format!(
            "{int3}[[stages]]\ntechnique = \"correct\"\noptions = {{ rank = 8, whiten = {whiten} }}\n"
        );
        let out = fixture.path(name);
        let _ = compress(&fixture, &recipe(&fixture, name, &stages), &out).succeeded();
        for weight in weights(&fixture.model, &out).values() {
            let sum: &Sum = weight.downcast().unwrap();
            let kinds: Vec<&str> = sum.terms().iter().map(|term| term.kind()).collect();
            assert_eq!(kinds, ["grouped_int", "low_rank"]);
        }
        let after = distance(&logits(&out), &original);
        assert!(after < before, "{name}: {after} after {before}");
    }
}

/// What cannot work is refused when the recipe is checked: in well under the time of its first stage, with its line.
#[test]
fn impossible_compositions_are_refused_at_once() {
    let fixture = Fixture::new(FIXTURE);
    let int4 = "[[stages]]\ntechnique = \"rtn\"\n";
    let correct = "[[stages]]\ntechnique = \"correct\"\noptions = { rank = 2 }\n";
    let svd = "[[stages]]\ntechnique = \"svd\"\n";
    for (name, stages, parts) in [
        ("a", format!("{int4}{svd}"), ["a.toml:5", "after rtn, svd decomposes dense weights"]),
        ("b", correct.to_owned(), ["b.toml:3", "correct mends the error of compressed weights"]),
        ("c", format!("{int4}{correct}{int4}"), ["c.toml:8", "quantise first and correct then"]),
        ("d", format!("{svd}{svd}"), ["d.toml:5", "after svd, svd decomposes dense weights"]),
    ] {
        let out = fixture.path(&format!("out-{name}"));
        let run = compress(&fixture, &recipe(&fixture, name, &stages), &out);
        run.failed_with(4, &parts);
        assert!(!out.exists());
    }
    let high = "[[stages]]\ntechnique = \"svd\"\noptions = { rank = 100000 }\n";
    let run = compress(&fixture, &recipe(&fixture, "high", high), &fixture.path("high"));
    assert!(run.code != 0 && run.stderr.contains("rank 100000 is more than"), "{}", run.stderr);
    assert!(!fixture.path("high").exists());
}

/// One budget for the whole model: kept, spread unevenly, and no weight without need.
#[test]
fn a_budget_is_spread_over_layers() {
    let fixture = Fixture::new(FIXTURE);
    let out = fixture.path("budget");
    let stages = "[[stages]]\ntechnique = \"svdllm-budget\"\noptions = { keep = 0.5 }\n";
    let _ = compress(&fixture, &recipe(&fixture, "budget", stages), &out).succeeded();
    let weights = weights(&fixture.model, &out);
    let dense = |w: &Weight| w.shape().iter().map(|&d| d as u64).product::<u64>();
    let all: u64 = weights.values().map(dense).sum();
    let kept: u64 = weights.values().map(|w| w.stored_bytes() / 4).sum();
    assert!(kept * 2 <= all && kept * 20 > all * 9, "{kept} of {all}");
    let ranks: std::collections::BTreeSet<usize> =
        weights.values().filter_map(|w| w.downcast::<LowRank>()).map(LowRank::rank).collect();
    assert!(ranks.len() > 3, "{ranks:?}");
    assert!(logits(&out).iter().all(|l| l.is_finite()));
    let none = "[[stages]]\ntechnique = \"svdllm-budget\"\noptions = { keep = 0.001 }\n";
    let run = compress(&fixture, &recipe(&fixture, "none", none), &fixture.path("none"));
    assert!(run.code != 0 && run.stderr.contains("less than rank 1"), "{}", run.stderr);
}

/// Factors learn with everything else frozen, dense or quantised, and stay factors of the same rank.
#[test]
fn factors_are_trained_alone() {
    let fixture = Fixture::new(FIXTURE);
    let svdllm = "[[stages]]\ntechnique = \"svdllm\"\noptions = { rank = { keep = 0.5 } }\n";
    let int8 = "[[stages]]\ntechnique = \"rtn\"\noptions = { bits = 8 }\n";
    let training = "[stages.options.training]\nsteps = 12\nbatch_size = 4\nseq_len = 32\nwarmup = 0\nlearning_rate = 2e-3\nvalid_every = 0\n";
    for (name, before) in [("dense", svdllm.to_owned()), ("int8", format!("{svdllm}{int8}"))] {
        let plain = fixture.path(&format!("{name}-plain"));
        let _ = compress(&fixture, &recipe(&fixture, &format!("{name}-plain"), &before), &plain).succeeded();
        let stages = format!(
            "{before}[[stages]]\ntechnique = \"distill\"\n[stages.options]\ntrain = \"factors\"\n{training}"
        );
        let out = fixture.path(name);
        let _ = compress(&fixture, &recipe(&fixture, name, &stages), &out).succeeded();
        let (then, now) = (weights(&fixture.model, &plain), weights(&fixture.model, &out));
        for (module, weight) in &now {
            assert_eq!(weight.descriptor(), then[module].descriptor(), "{module}");
            assert!(weight.to_dense().unwrap() != then[module].to_dense().unwrap(), "{module} learned");
        }
        let (source, checkpoint) = (Checkpoint::open(&plain).unwrap(), Checkpoint::open(&out).unwrap());
        for tensor in source.names().filter(|n| !n.contains(".a.") && !n.contains(".b.")) {
            assert_eq!(
                source.tensor(tensor).unwrap().data()[..],
                checkpoint.tensor(tensor).unwrap().data()[..],
                "{name}: {tensor} was frozen"
            );
        }
        let steps = if name == "dense" { 1 } else { 2 };
        let curve = fs::read_to_string(fixture.path(&format!("{name}.stage-{steps}.metrics.jsonl"))).unwrap();
        let losses: Vec<f64> = curve
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64().unwrap())
            .collect();
        assert!(losses[11] < losses[0], "{name}: {losses:?}");
    }
    let stages =
        format!("{svdllm}[[stages]]\ntechnique = \"distill\"\noptions = {{ lora = {{ rank = 2 }} }}\n");
    let run = compress(&fixture, &recipe(&fixture, "lora", &stages), &fixture.path("lora"));
    assert!(run.code != 0 && run.stderr.contains("train = \"factors\""), "{}", run.stderr);
}

fn eval(shared: &Path, recipes: &[&Path], out: &Path) -> Value {
    let [model, data, calib] =
        ["models/tiny1m", "data/tinystories_val.txt", "data/tinystories_train_head.txt"]
            .map(|p| text(&shared.join(p)));
    let out_text = text(out);
    let mut arguments =
        vec!["eval", "--model", &model, "--data", &data, "--calib", &calib, "--out", &out_text];
    arguments.extend(["--seq-len", "128", "--max-tokens", "25600", "--speed-repeats", "0", "--no-memory"]);
    let recipes: Vec<String> = recipes.iter().map(|path| text(path)).collect();
    for recipe in &recipes {
        arguments.extend(["--recipe", recipe]);
    }
    let _ = tenuis(&arguments).succeeded();
    serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap()
}

fn perplexity(report: &Value, name: &str) -> f64 {
    let all = report["candidates"].as_array().unwrap();
    let entry = all.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no candidate {name}"));
    entry["quality"]["perplexity"]["value"].as_f64().unwrap()
}

/// The recipes that ship on a real model: written, read back, evaluated, and in the order that practitioners expect.
#[test]
fn shipped_recipes_on_tiny1m() {
    let Some(shared) = shared() else { return };
    let root = tempfile::tempdir().unwrap();
    let shipped = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recipes").join(format!("{name}.toml"))
    };
    let own = |name: &str, stages: &str| {
        let path = root.path().join(format!("{name}.toml"));
        fs::write(&path, format!("name = \"{name}\"\n{stages}")).unwrap();
        path
    };
    let keep = |technique: &str| {
        format!("[[stages]]\ntechnique = \"{technique}\"\noptions = {{ rank = {{ keep = 0.8 }} }}\n")
    };
    let int4 = "[[stages]]\ntechnique = \"gptq\"\noptions = { bits = 4, group_size = 32 }\n";
    let recipes = [
        shipped("svdllm-int8"),
        shipped("int4-corrected"),
        own("svd", &keep("svd")),
        own("asvd", &keep("asvd")),
        own("svdllm", &keep("svdllm")),
        own("int4", int4),
    ];
    let out = root.path().join("out");
    let report = eval(&shared, &recipes.each_ref().map(PathBuf::as_path), &out);
    let of = |name: &str| perplexity(&report, name);
    let base = report["baseline"]["quality"]["perplexity"]["value"].as_f64().unwrap();
    assert!(
        of("svdllm") < of("asvd") && of("asvd") < of("svd"),
        "{} {} {}",
        of("svdllm"),
        of("asvd"),
        of("svd")
    );
    assert!((of("svdllm-int8") / of("svdllm") - 1.0).abs() < 0.02, "{} {}", of("svdllm-int8"), of("svdllm"));
    assert!(
        base < of("int4-corrected") && of("int4-corrected") < of("int4"),
        "{} {}",
        of("int4-corrected"),
        of("int4")
    );
    let source = shared.join("models/tiny1m");
    for (name, kind) in [("svdllm-int8", "low_rank"), ("int4-corrected", "sum"), ("svd", "low_rank")] {
        let dir = out.join(name);
        assert!(weights(&source, &dir).values().all(|w| w.kind() == kind), "{name}");
        let entry = report["candidates"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap();
        let reported = entry["size"]["bytes"].as_u64();
        assert_eq!(reported, Some(Checkpoint::open(&dir).unwrap().file_bytes()), "{name}");
    }
}
