//! The plugin as everybody gets it: loaded through the ABI, held against the algorithms that it wraps.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tenuis_core::{DType, Dense, GroupedInt, Layout, Tensor, Weight};
use tenuis_host::{
    GroupInput, GroupOutput, LinearInput, LogLevel, NoEvents, PluginError, PluginRegistry, Status,
};
use tenuis_plugin::serde_json::{Value, json};
use tenuis_quant::linalg::GramView;
use tenuis_quant::{GptqConfig, RtnConfig};

const NAME: &str = "tenuis_quant_plugin";

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

fn dense(dtype: DType, layout: Layout, shape: Vec<usize>, values: &[f32]) -> Weight {
    Arc::new(Dense::with_layout(Tensor::from_f32(dtype, shape, values).unwrap(), layout).unwrap())
}

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.73).sin() + 0.1 * (i as f32 * 0.031).cos()).collect()
}

fn alone<'a>(weight: Weight) -> GroupInput<'a> {
    GroupInput::new(vec![LinearInput::new("w", weight)])
}

/// XᵀX of 64 rows, of which the lower triangle is poisoned: nobody may read it.
fn hessian(features: usize) -> Vec<f32> {
    let x = wave(64 * features);
    let mut h = vec![f32::NAN; features * features];
    for i in 0..features {
        for j in i..features {
            h[i * features + j] = (0..64).map(|r| x[r * features + i] * x[r * features + j]).sum();
        }
    }
    h
}

#[test]
fn cast_keeps_layout_and_shape() {
    let values = wave(12);
    let f16: Vec<f32> = values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
    for (layout, shape) in
        [(Layout::OutIn, vec![3, 4]), (Layout::InOut, vec![3, 4]), (Layout::OutIn, vec![12])]
    {
        let output =
            run("cast", &json!({}), alone(dense(DType::F32, layout, shape.clone(), &values))).unwrap();
        let cast: &Dense = output.weights["w"].downcast().unwrap();
        assert_eq!(
            (cast.dtype(), cast.layout(), cast.tensor().shape()),
            (DType::F16, layout, shape.as_slice())
        );
        assert_eq!(cast.tensor().to_f32().unwrap().as_ref(), f16);
    }
}

#[test]
fn cast_widens_and_narrows_between_every_type() {
    for (from, option, to) in
        [(DType::F16, "bf16", DType::BF16), (DType::BF16, "f32", DType::F32), (DType::F64, "f16", DType::F16)]
    {
        let output = run(
            "cast",
            &json!({ "dtype": option }),
            alone(dense(from, Layout::OutIn, vec![1, 3], &[0.5, -2.0, 8.0])),
        )
        .unwrap();
        let cast: &Dense = output.weights["w"].downcast().unwrap();
        assert_eq!((cast.dtype(), cast.tensor().to_f32().unwrap().as_ref()), (to, &[0.5, -2.0, 8.0][..]));
    }
}

#[test]
fn cast_names_a_tensor_that_overflows() {
    let error = run("cast", &json!({}), alone(dense(DType::F32, Layout::OutIn, vec![1, 2], &[1.0, 70000.0])))
        .unwrap_err();
    assert!(matches!(error, PluginError::Failed { status: Status::Numerical, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("w: the value 70000 cannot be stored as f16; use dtype = \"bf16\""), "{text}");
    run(
        "cast",
        &json!({ "dtype": "bf16" }),
        alone(dense(DType::F32, Layout::OutIn, vec![1, 2], &[1.0, 70000.0])),
    )
    .unwrap();
}

#[test]
fn rtn_is_the_algorithm() {
    let values = wave(8 * 64);
    let options = json!({ "bits": 3, "group_size": 32, "symmetric": false, "scale_dtype": "bf16" });
    let output = run("rtn", &options, alone(dense(DType::F32, Layout::OutIn, vec![8, 64], &values))).unwrap();
    let config: RtnConfig = tenuis_plugin::serde_json::from_value(options).unwrap();
    let expected = tenuis_quant::rtn(&values, [8, 64], &config).unwrap();
    same(&output.weights["w"], &expected.weight);
    assert_eq!(output.metrics, [("w/weight_error".to_owned(), expected.report.weight_error)]);
}

#[test]
fn gptq_is_the_algorithm_on_every_member() {
    let (first, second) = (wave(8 * 64), wave(300 * 64)[200 * 64..].to_vec());
    let hessian = hessian(64);
    let mut input = GroupInput::new(vec![
        LinearInput::new("first", dense(DType::F32, Layout::OutIn, vec![8, 64], &first)),
        LinearInput::new("second", dense(DType::F32, Layout::OutIn, vec![100, 64], &second)),
    ]);
    input.hessian = Some(&hessian);
    input.rows = 64;
    let options = json!({ "group_size": 32, "act_order": true, "static_groups": true });
    let output = run("gptq", &options, input).unwrap();
    let config: GptqConfig = tenuis_plugin::serde_json::from_value(options).unwrap();
    for (name, values, rows) in [("first", first, 8), ("second", second, 100)] {
        let gram = GramView::new(64, &hessian).unwrap();
        let expected = tenuis_quant::gptq(&values, [rows, 64], gram, 64, &config).unwrap();
        same(&output.weights[name], &expected.weight);
        let metric =
            |key: &str| output.metrics.iter().find(|(k, _)| *k == format!("{name}/{key}")).map(|(_, v)| *v);
        assert_eq!(metric("proxy_error"), expected.report.proxy_error);
        assert_eq!(metric("damp_percent"), expected.report.damp_percent);
        assert_eq!(metric("fallback"), None);
    }
}

#[test]
fn gptq_records_its_fallback() {
    let mut input = alone(dense(DType::F32, Layout::OutIn, vec![8, 64], &wave(512)));
    let hessian = hessian(64);
    (input.hessian, input.rows) = (Some(hessian.as_slice()), 3);
    let output = run("gptq", &json!({}), input).unwrap();
    assert!(output.metrics.contains(&("w/fallback".to_owned(), 1.0)), "{:?}", output.metrics);
    assert_eq!(output.log[0].level, LogLevel::Warn);
    assert!(output.log[0].message.contains("w: rounded to nearest instead of GPTQ: only 3 calibration rows"));
}

#[test]
fn groups_that_do_not_divide_are_refused_with_the_mend() {
    let error = run(
        "rtn",
        &json!({ "group_size": 48 }),
        alone(dense(DType::F32, Layout::OutIn, vec![1, 64], &wave(64))),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("w: group_size 48 does not divide 64 input features; use \"auto\""),
        "{error}"
    );
}

#[test]
fn options_are_described_by_their_schemas() {
    let (_dir, registry) = registry();
    let message = |technique: &str, options: &Value| {
        let problems = registry.require(technique).unwrap().validate(options).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        message("gptq", &json!({ "bits": 7 })),
        "/bits: 7 is not allowed; allowed are 2, 3, 4, 5, 6, 8"
    );
    assert_eq!(
        message("rtn", &json!({ "group_size": "row" })),
        "/group_size: \"row\" is not allowed; allowed are \"auto\", \"channel\", integer of at least 1"
    );
    assert_eq!(
        message("cast", &json!({ "dtype": "f8" })),
        "/dtype: \"f8\" is not allowed; allowed are \"f16\", \"bf16\", \"f32\""
    );
    assert!(
        message("rtn", &json!({ "bit": 4 })).starts_with("unknown option \"bit\"; allowed are \"bits\", ")
    );
    for (technique, defaults) in
        [("rtn", json!(RtnConfig::default())), ("gptq", json!(GptqConfig::default()))]
    {
        registry.require(technique).unwrap().validate(&defaults).unwrap();
    }
}

fn same(found: &Weight, expected: &GroupedInt) {
    let found: &GroupedInt = found.downcast().unwrap();
    assert_eq!(found.spec(), expected.spec());
    let stored = |w: &GroupedInt| {
        use tenuis_core::Representation as _;
        w.components().into_iter().map(|c| (c.suffix, c.tensor.data().to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(stored(found), stored(expected));
}
