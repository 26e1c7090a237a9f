//! The plugin as everybody gets it: loaded through the ABI, held against the algorithms that it wraps.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tenuis_core::{
    Bits, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, LowRank, Representation, Sum, Tensor, Weight,
};
use tenuis_host::{
    GroupInput, GroupOutput, LinearInput, LogLevel, Moments, NoEvents, PluginError, PluginRegistry, Status,
};
use tenuis_lowrank::linalg::GramView;
use tenuis_lowrank::{CorrectConfig, Factors, SvdConfig, SvdLlmConfig};
use tenuis_plugin::serde_json::{Value, from_value, json};

const NAME: &str = "tenuis_lowrank_plugin";
const SHAPE: [usize; 2] = [48, 64];

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

fn run(technique: &str, options: &Value, input: GroupInput<'_>) -> Result<GroupOutput, PluginError> {
    let (_dir, registry) = registry();
    registry.require(technique).unwrap().start(options, 2, Arc::new(NoEvents)).unwrap().run(input)
}

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.73).sin() + 0.1 * (i as f32 * i as f32 * 0.0031).cos()).collect()
}

fn dense(values: &[f32]) -> Weight {
    Arc::new(Dense::new(Tensor::from_f32(DType::F16, SHAPE.to_vec(), values).unwrap()).unwrap())
}

fn hessian() -> Vec<f32> {
    let n = SHAPE[1];
    let x = wave(200 * n);
    let mut h = vec![f32::NAN; n * n];
    for i in 0..n {
        for j in i..n {
            h[i * n + j] = (0..200).map(|r| x[r * n + i] * x[r * n + j]).sum();
        }
    }
    h
}

fn with_hessian(member: LinearInput, hessian: &[f32], rows: u64) -> GroupInput<'_> {
    let mut input = GroupInput::new(vec![member]);
    (input.hessian, input.rows) = (Some(hessian), rows);
    input
}

fn same(weight: &dyn Representation, expected: &Factors, dtype: DType) {
    let expected = expected.to_weight(dtype).unwrap();
    assert_eq!(weight.descriptor(), expected.descriptor());
    assert_eq!(weight.to_dense().unwrap(), (&expected as &dyn Representation).to_dense().unwrap());
}

fn metric(output: &GroupOutput, key: &str) -> Option<f64> {
    output.metrics.iter().find(|(k, _)| k == key).map(|(_, v)| *v)
}

#[test]
fn svd_is_the_algorithm() {
    let weight = dense(&wave(SHAPE[0] * SHAPE[1]));
    let values = weight.to_dense().unwrap();
    let options = json!({ "rank": { "keep": 0.5 } });
    let output = run("svd", &options, GroupInput::new(vec![LinearInput::new("w", weight)])).unwrap();
    let config: SvdConfig = from_value(options).unwrap();
    let expected = tenuis_lowrank::svd(&values, SHAPE, &config).unwrap();
    same(output.weights["w"].as_ref(), expected.factors.as_ref().unwrap(), DType::F16);
    assert_eq!(metric(&output, "w/rank"), Some(13.0));
    assert_eq!(metric(&output, "w/truncation_loss"), Some(expected.report.truncation_loss));
    assert_eq!(metric(&output, "w/retained_energy"), Some(expected.report.retained_energy));
}

#[test]
fn svdllm_is_the_algorithm() {
    let weight = dense(&wave(SHAPE[0] * SHAPE[1]));
    let values = weight.to_dense().unwrap();
    let hessian = hessian();
    let options = json!({ "rank": 9, "dtype": "f32" });
    let output = run("svdllm", &options, with_hessian(LinearInput::new("w", weight), &hessian, 200)).unwrap();
    let config: SvdLlmConfig = from_value(options).unwrap();
    let gram = GramView::new(SHAPE[1], &hessian).unwrap();
    let expected = tenuis_lowrank::svdllm(&values, SHAPE, gram, 200, &config).unwrap();
    same(output.weights["w"].as_ref(), expected.factors.as_ref().unwrap(), DType::F32);
}

#[test]
fn asvd_reads_the_moments() {
    let weight = dense(&wave(SHAPE[0] * SHAPE[1]));
    let values = weight.to_dense().unwrap();
    let sums: Vec<f32> = (0..SHAPE[1]).map(|i| (1 + i) as f32).collect();
    let mut input = GroupInput::new(vec![LinearInput::new("w", weight)]);
    input.moments = Some(Moments { sum_abs: &sums, sum_sq: &sums, max_abs: &sums });
    input.rows = 10;
    let output = run("asvd", &json!({ "rank": 9 }), input).unwrap();
    let mean: Vec<f64> = sums.iter().map(|&s| f64::from(s) / 10.0).collect();
    let config = from_value(json!({ "rank": 9 })).unwrap();
    let expected = tenuis_lowrank::asvd(&values, SHAPE, &mean, &config).unwrap();
    same(output.weights["w"].as_ref(), expected.factors.as_ref().unwrap(), DType::F16);
}

fn int4(values: &[f32]) -> Weight {
    let spec = GroupedIntSpec {
        bits: Bits::FOUR,
        group_size: GroupSize::Channel,
        symmetric: true,
        scale_dtype: DType::F16,
        group_index: false,
    };
    let codes: Vec<u8> = values.iter().map(|v| ((v * 6.0).round() + 8.0).clamp(0.0, 15.0) as u8).collect();
    let scales = vec![1.0 / 6.0; SHAPE[0]];
    Arc::new(GroupedInt::from_codes(spec, SHAPE, &codes, &scales, None, None).unwrap())
}

#[test]
fn correct_adds_the_error() {
    let original = dense(&wave(SHAPE[0] * SHAPE[1]));
    let compressed = int4(&original.to_dense().unwrap());
    let hessian = hessian();
    let mut member = LinearInput::new("w", Arc::clone(&compressed));
    member.original = Some(Arc::clone(&original));
    let output = run("correct", &json!({ "rank": 4 }), with_hessian(member, &hessian, 200)).unwrap();
    let sum: &Sum = output.weights["w"].downcast().unwrap();
    assert_eq!(sum.terms()[0].to_dense().unwrap(), compressed.to_dense().unwrap());
    let config: CorrectConfig = from_value(json!({ "rank": 4 })).unwrap();
    let gram = GramView::new(SHAPE[1], &hessian).unwrap();
    let expected = tenuis_lowrank::correct(
        &original.to_dense().unwrap(),
        &compressed.to_dense().unwrap(),
        SHAPE,
        Some((gram, 200)),
        &config,
    );
    same(sum.terms()[1].as_ref(), expected.unwrap().factors.as_ref().unwrap(), DType::F16);
    assert_eq!(metric(&output, "w/correction_bytes"), Some((2 * 4 * (48 + 64)) as f64));

    let untouched =
        run("correct", &json!({}), with_hessian(LinearInput::new("w", compressed), &hessian, 200));
    let untouched = untouched.unwrap();
    assert_eq!(untouched.weights["w"].kind(), "grouped_int");
    assert!(untouched.log[0].message.contains("no earlier stage changed it"));
}

/// A product that is no smaller is not made.
#[test]
fn weights_that_would_not_shrink_are_kept() {
    let values = wave(SHAPE[0] * SHAPE[1]);
    for options in [json!({ "rank": 40 }), json!({ "rank": 20, "dtype": "f32" })] {
        let weight = dense(&values);
        let input = GroupInput::new(vec![LinearInput::new("w", Arc::clone(&weight))]);
        let output = run("svd", &options, input).unwrap();
        let kept: &Dense = output.weights["w"].downcast().unwrap();
        assert_eq!(kept.tensor().data()[..], weight.downcast::<Dense>().unwrap().tensor().data()[..]);
        assert_eq!(metric(&output, "w/kept"), Some(1.0));
        assert_eq!(output.log[0].level, LogLevel::Warn);
        assert!(output.log[0].message.contains("would not be smaller"), "{}", output.log[0].message);
    }
}

#[test]
fn a_hessian_of_no_use_is_a_recorded_fallback() {
    let zero = vec![0.0; SHAPE[1] * SHAPE[1]];
    let member = || LinearInput::new("w", dense(&wave(SHAPE[0] * SHAPE[1])));
    let output = run("svdllm", &json!({ "rank": 4 }), with_hessian(member(), &zero, 200)).unwrap();
    assert_eq!(metric(&output, "w/fallback"), Some(1.0));
    assert!(output.log[0].message.contains("no input channel was ever active"), "{}", output.log[0].message);
    assert!(output.weights["w"].downcast::<LowRank>().is_some());
    let options = json!({ "rank": 4, "fallback": "fail" });
    let error = run("svdllm", &options, with_hessian(member(), &zero, 200)).unwrap_err();
    assert!(matches!(error, PluginError::Failed { status: Status::Numerical, .. }), "{error}");
}

#[test]
fn ranks_that_cannot_be_are_refused_by_name() {
    let input = || GroupInput::new(vec![LinearInput::new("w", dense(&wave(SHAPE[0] * SHAPE[1])))]);
    let error = run("svd", &json!({ "rank": 49 }), input()).unwrap_err().to_string();
    assert!(error.contains("w: rank 49 is more than the 48"), "{error}");
    let error = run("svd", &json!({ "rank": { "keep": 0.01 } }), input()).unwrap_err().to_string();
    assert!(error.contains("w: keeping 0.01") && error.contains("removes everything"), "{error}");
}

#[test]
fn what_is_not_taken_is_said_before_any_work() {
    let (_dir, registry) = registry();
    let accepts = |technique: &str, descriptor: Value| {
        let technique = registry.require(technique).unwrap();
        technique.start(&json!({}), 1, Arc::new(NoEvents)).unwrap().accepts(&descriptor)
    };
    for technique in ["svd", "asvd", "svdllm"] {
        accepts(technique, json!({ "kind": "dense", "dtype": "f16" })).unwrap();
        let error = accepts(technique, json!({ "kind": "grouped_int" })).unwrap_err();
        assert!(matches!(error, PluginError::Failed { status: Status::Unsupported, .. }), "{error}");
    }
    accepts("correct", json!({ "kind": "grouped_int" })).unwrap();
    assert!(accepts("correct", json!({ "kind": "dense" })).unwrap_err().to_string().contains("dense"));
    assert!(accepts("correct", json!({ "kind": "someones" })).is_err());
    let produced =
        |technique: &str, of: &str| registry.require(technique).unwrap().produces().unwrap().of(of).to_vec();
    assert_eq!(produced("svdllm", "dense"), ["low_rank", "dense"]);
    assert_eq!(produced("correct", "sparse"), ["sum", "sparse"]);
}

#[test]
fn options_are_described_by_their_schemas() {
    let (_dir, registry) = registry();
    let message = |technique: &str, options: &Value| {
        let problems = registry.require(technique).unwrap().validate(options).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(message("svd", &json!({ "rank": 0 })).contains("/rank: 0 is not allowed"));
    assert!(message("svd", &json!({ "rank": { "keep": 2 } })).contains("/rank"));
    assert!(message("svdllm", &json!({ "solver": { "method": "fast" } })).contains("\"exact\""));
    assert!(message("correct", &json!({ "ranks": 3 })).contains("unknown option \"ranks\""));
}
