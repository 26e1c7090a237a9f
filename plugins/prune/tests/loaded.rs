//! The plugin as everybody gets it: loaded through the ABI, held against the algorithms that it wraps.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tenuis_core::{DType, Dense, Layout, Sparse, SparseValues, Tensor, Weight};
use tenuis_host::{
    GroupInput, GroupOutput, LinearInput, LogLevel, Moments, NoEvents, PluginError, PluginRegistry,
};
use tenuis_plugin::serde_json::{Value, json};
use tenuis_prune::linalg::GramView;
use tenuis_prune::{MagnitudeConfig, SparseGptConfig, WandaConfig};

const NAME: &str = "tenuis_prune_plugin";
const SHAPE: [usize; 2] = [16, 64];

/// The library that cargo built for this test, with its manifest beside it.
fn registry() -> (TempDir, PluginRegistry) {
    let library = format!("{DLL_PREFIX}{NAME}{DLL_SUFFIX}");
    let test = std::env::current_exe().unwrap();
    let built = test.parent().expect("tests lie in PROFILE/deps").join(&library);
    let manifest = format!("{NAME}.plugin.json");
    let dir = TempDir::new().unwrap();
    std::fs::copy(&built, dir.path().join(&library)).unwrap_or_else(|e| panic!("{}: {e}", built.display()));
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(&manifest), dir.path().join(&manifest)).unwrap();
    let registry = PluginRegistry::discover(&[dir.path().to_owned()]).unwrap();
    assert!(registry.plugins()[0].error().is_none(), "{:?}", registry.plugins()[0].error());
    (dir, registry)
}

fn wave(n: usize, f: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * f).sin() + 0.1 * (i as f32 * 0.031).cos()).collect()
}

fn dense(dtype: DType, values: &[f32]) -> Weight {
    Arc::new(Dense::new(Tensor::from_f32(dtype, SHAPE.to_vec(), values).unwrap()).unwrap())
}

/// XᵀX of 96 rows, of which the lower triangle is poisoned: nobody may read it.
fn hessian() -> Vec<f32> {
    let n = SHAPE[1];
    let x = wave(96 * n, 1.37);
    let mut h = vec![f32::NAN; n * n];
    for i in 0..n {
        for j in i..n {
            h[i * n + j] = (0..96).map(|r| x[r * n + i] * x[r * n + j]).sum();
        }
    }
    h
}

fn squares() -> Vec<f32> {
    hessian().iter().step_by(SHAPE[1] + 1).copied().collect()
}

/// Runs a technique on members that share an input.
fn run(technique: &str, options: &Value, members: Vec<LinearInput>) -> Result<GroupOutput, PluginError> {
    let (_dir, registry) = registry();
    let (hessian, squares) = (hessian(), squares());
    let other = vec![1.0; SHAPE[1]];
    let mut input = GroupInput::new(members);
    input.hessian = Some(&hessian);
    input.moments = Some(Moments { sum_abs: &other, sum_sq: &squares, max_abs: &other });
    input.rows = 96;
    registry.require(technique).unwrap().start(options, 2, Arc::new(NoEvents)).unwrap().run(input)
}

fn alone(weight: Weight) -> Vec<LinearInput> {
    vec![LinearInput::new("w", weight)]
}

fn metric(output: &GroupOutput, key: &str) -> Option<f64> {
    output.metrics.iter().find(|(k, _)| k == key).map(|(_, v)| *v)
}

#[test]
fn every_technique_is_its_algorithm() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let options = json!({ "sparsity": 0.7 });
    let (hessian, squares) = (hessian(), squares());
    let view = GramView::new(SHAPE[1], &hessian).unwrap();
    let magnitude: MagnitudeConfig = tenuis_plugin::serde_json::from_value(options.clone()).unwrap();
    let wanda: WandaConfig = tenuis_plugin::serde_json::from_value(options.clone()).unwrap();
    let sparsegpt: SparseGptConfig = tenuis_plugin::serde_json::from_value(options.clone()).unwrap();
    for (technique, expected) in [
        ("magnitude", tenuis_prune::magnitude(&values, SHAPE, &magnitude).unwrap()),
        ("wanda", tenuis_prune::wanda(&values, SHAPE, &squares, &wanda).unwrap()),
        ("sparsegpt", tenuis_prune::sparsegpt(&values, SHAPE, view, 96, &sparsegpt).unwrap()),
    ] {
        let output = run(technique, &options, alone(dense(DType::F32, &values))).unwrap();
        let weight = &output.weights["w"];
        assert_eq!(weight.to_dense().unwrap(), expected.weight, "{technique}");
        let sparse: &Sparse = weight.downcast().expect("a sparse form is smaller");
        assert_eq!(sparse.spec().values, SparseValues::Float(DType::F32));
        assert_eq!(metric(&output, "w/sparsity"), Some(expected.report.sparsity()));
        assert_eq!(metric(&output, "w/weight_error"), Some(expected.report.weight_error));
        assert_eq!(metric(&output, "w/proxy_error"), expected.report.proxy_error);
    }
}

/// 70 % in f16 takes less than 1/2.4 of the dense f16 weight.
#[test]
fn pruned_halves_are_stored_as_halves() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let output = run("wanda", &json!({ "sparsity": 0.7 }), alone(dense(DType::F16, &values))).unwrap();
    let weight = &output.weights["w"];
    assert_eq!(weight.descriptor()["values"]["dtype"], "f16");
    assert!(weight.stored_bytes() as f64 * 2.4 < (2 * values.len()) as f64, "{}", weight.stored_bytes());
}

#[test]
fn the_joint_sweep_hands_over_integers() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let options = json!({ "sparsity": "2:4", "quantize": { "bits": 4 } });
    let output = run("sparsegpt", &options, alone(dense(DType::BF16, &values))).unwrap();
    let descriptor = output.weights["w"].descriptor();
    assert_eq!(descriptor["values"]["kind"], "grouped_int");
    assert_eq!(descriptor["values"]["scale_dtype"], "bf16");
    let dense = output.weights["w"].to_dense().unwrap();
    assert!(dense.chunks(4).all(|four| four.iter().filter(|v| **v != 0.0).count() <= 2));
}

/// A weight that is pruned already keeps its zeros, whatever the corrections would make of them.
#[test]
fn pruned_entries_stay_zero() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let first = run("magnitude", &json!({ "sparsity": 0.3 }), alone(dense(DType::F32, &values))).unwrap();
    let weight = first.weights["w"].clone();
    let before = weight.to_dense().unwrap();
    let mask: Vec<u8> = before.iter().map(|v| u8::from(*v != 0.0)).collect();
    let mut member = LinearInput::new("w", weight);
    member.mask = Some(Tensor::from_vec(DType::U8, SHAPE.to_vec(), mask).unwrap());
    let second = run("sparsegpt", &json!({ "sparsity": 0.6 }), vec![member]).unwrap();
    let after = second.weights["w"].to_dense().unwrap();
    assert!(before.iter().zip(&after).all(|(b, a)| *b != 0.0 || *a == 0.0));
    let zeros = after.iter().filter(|v| **v == 0.0).count();
    assert_eq!(zeros, (after.len() as f64 * 0.6) as usize + 1);
}

/// The sparsity of the weight as it is, the values of the weight as it was given.
#[test]
fn inherit_prunes_the_original_afresh() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let first = run("magnitude", &json!({ "sparsity": 0.4 }), alone(dense(DType::F32, &values))).unwrap();
    let mut member = LinearInput::new("w", first.weights["w"].clone());
    member.original = Some(dense(DType::F32, &values));
    let output = run("wanda", &json!({ "sparsity": "inherit" }), vec![member]).unwrap();
    let mut config = WandaConfig::default();
    let zeros = first.weights["w"].to_dense().unwrap().iter().filter(|v| **v == 0.0).count();
    config.sparsity = tenuis_prune::SparsityTarget::Share(zeros as f64 / values.len() as f64);
    let expected = tenuis_prune::wanda(&values, SHAPE, &squares(), &config).unwrap();
    assert_eq!(output.weights["w"].to_dense().unwrap(), expected.weight);
}

/// A transposed matrix that stays dense stays the way round that it was.
#[test]
fn dense_results_keep_their_layout() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let tensor = Tensor::from_f32(DType::F32, vec![SHAPE[1], SHAPE[0]], &values).unwrap();
    let weight: Weight = Arc::new(Dense::with_layout(tensor, Layout::InOut).unwrap());
    let before = weight.to_dense().unwrap();
    let output = run("magnitude", &json!({ "sparsity": 0.01 }), alone(weight)).unwrap();
    let after: &Dense = output.weights["w"].downcast().unwrap();
    assert_eq!((after.layout(), after.tensor().shape()), (Layout::InOut, [SHAPE[1], SHAPE[0]].as_slice()));
    let after = output.weights["w"].to_dense().unwrap();
    assert!(before.iter().zip(&after).all(|(b, a)| a == b || *a == 0.0));
}

#[test]
fn fallbacks_are_recorded() {
    let (_dir, registry) = registry();
    let hessian = hessian();
    let mut input = GroupInput::new(alone(dense(DType::F32, &wave(SHAPE[0] * SHAPE[1], 0.73))));
    (input.hessian, input.rows) = (Some(hessian.as_slice()), 3);
    let job = registry.require("sparsegpt").unwrap();
    let output = job.start(&json!({}), 2, Arc::new(NoEvents)).unwrap().run(input).unwrap();
    assert_eq!(metric(&output, "w/fallback"), Some(1.0));
    assert_eq!(output.log[0].level, LogLevel::Warn);
    let expected = "w: pruned without error compensation: only 3 calibration rows";
    assert!(output.log[0].message.contains(expected), "{}", output.log[0].message);
}

#[test]
fn what_cannot_be_pruned_is_named() {
    let values = wave(SHAPE[0] * SHAPE[1], 0.73);
    let refused = |options: &Value| {
        run("magnitude", options, alone(dense(DType::F32, &values))).unwrap_err().to_string()
    };
    let text = refused(&json!({ "sparsity": "5:7" }));
    assert!(text.contains("w: 5:7 needs input features in whole groups of 7, found 64"), "{text}");
    let text = refused(&json!({ "sparsity": 0.9999 }));
    assert!(text.contains("w: a sparsity of 0.9999 prunes all of 1024 weights"), "{text}");
}

#[test]
fn options_are_described_by_their_schemas() {
    let (_dir, registry) = registry();
    for technique in ["magnitude", "wanda", "sparsegpt", "magnitude-global"] {
        let technique = registry.require(technique).unwrap();
        for bad in [json!({ "sparsity": -0.1 }), json!({ "sparsity": 1.5 }), json!({ "sparsety": 0.5 })] {
            assert!(technique.validate(&bad).is_err(), "{} {bad}", technique.id());
        }
        technique.validate(&json!({ "sparsity": 0.0 })).unwrap();
    }
    registry.require("sparsegpt").unwrap().validate(&json!(SparseGptConfig::default())).unwrap();
    registry.require("wanda").unwrap().validate(&json!({ "sparsity": "4:8" })).unwrap();
}
