//! The golden cases of AWQ's reference implementation and of SmoothQuant's formula.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use safetensors::{Dtype, SafeTensors};
use tenuis_core::{GroupedInt, Representation};
use tenuis_quant::{
    Awq, AwqConfig, GroupSizing, ScaleDtype, awq, awq_round, column_max_abs, int8_per_channel, smooth_scale,
};

const SHAPE: [usize; 2] = [64, 128];

/// Largest difference of a weight, relative to the largest weight. A code that differs is off by a hundredth and more.
const TOLERANCE: f64 = 1e-5;

/// Losses are sums of f32 products here and of f64 there.
const LOSS_TOLERANCE: f64 = 1e-4;

fn tensor(file: &str, name: &str) -> Vec<f64> {
    let path = format!("{}/tests/data/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        Dtype::F64 => view.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        other => panic!("{other:?}"),
    }
}

fn golden(name: &str) -> Vec<f64> {
    tensor("awq", name)
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn config() -> AwqConfig {
    let mut config = AwqConfig::default();
    config.group_size = GroupSizing::Columns(32);
    config.scale_dtype = ScaleDtype::F32;
    config
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    for (index, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * largest, "{what} at {index}: {f} instead of {e}");
    }
}

/// `Ŵ / s`, as the reference gives it.
fn effective(weight: &GroupedInt, scale: &[f32]) -> Vec<f64> {
    let dense = (weight as &dyn Representation).to_dense().unwrap();
    dense.iter().enumerate().map(|(i, &w)| f64::from(w) / f64::from(scale[i % SHAPE[1]])).collect()
}

/// The codes of a reference's weight on our grid: whole numbers, if it is the reference's grid too.
fn same_codes(what: &str, weight: &GroupedInt, scale: &[f32], expected: &[f64]) {
    let mut codes = vec![0; SHAPE[1]];
    let mut steps = vec![0.0; weight.groups()];
    let columns = SHAPE[1] / weight.groups();
    for row in 0..SHAPE[0] {
        weight.codes_row(row, &mut codes);
        weight.scales_row(row, &mut steps).unwrap();
        for (column, &code) in codes.iter().enumerate() {
            let value = expected[row * SHAPE[1] + column] * f64::from(scale[column]);
            let zero = weight.zeros_row(row).unwrap()[column / columns];
            let exact = value / f64::from(steps[column / columns]) + f64::from(zero);
            assert!(
                (exact - f64::from(code)).abs() < 1e-3,
                "{what}: row {row}, column {column}: {code} {exact}"
            );
        }
    }
}

fn run(clip: bool) -> Awq {
    let (weight, inputs) = (narrow(&tensor("golden", "weight")), narrow(&golden("inputs")));
    let mut config = config();
    config.clip = clip;
    awq(&weight, SHAPE, &inputs, &config).unwrap()
}

#[test]
fn rounding_with_zero_points_matches_the_reference() {
    let weight = narrow(&tensor("golden", "weight"));
    let ones = vec![1.0; SHAPE[1]];
    let rounded = awq_round(&weight, SHAPE, &ones, None, &config()).unwrap().weight;
    let expected = golden("awqrtn_w4_g32_asym/W_hat");
    same_codes("awqrtn", &rounded, &ones, &expected);
    close("awqrtn", &effective(&rounded, &ones), &expected, TOLERANCE);
    let (scales, zeros) = (golden("awqrtn_w4_g32_asym/scales"), golden("awqrtn_w4_g32_asym/zeros"));
    for row in 0..SHAPE[0] {
        let mut steps = [0.0; 4];
        rounded.scales_row(row, &mut steps).unwrap();
        close("scales", &steps.map(f64::from), &scales[row * 4..(row + 1) * 4], TOLERANCE);
        let found: Vec<f64> = rounded.zeros_row(row).unwrap().iter().map(|&z| f64::from(z)).collect();
        assert_eq!(found, zeros[row * 4..(row + 1) * 4]);
    }
}

#[test]
fn the_scale_search_matches_the_reference() {
    let found = run(false);
    assert_eq!((found.fallback, found.ratio), (None, 0.3));
    let scale: Vec<f64> = found.scale.iter().map(|&s| f64::from(s)).collect();
    close("scale", &scale, &golden("awq_w4_g32_scale/scales_awq"), TOLERANCE);
    for (step, (f, e)) in found.losses.iter().zip(golden("awq_w4_g32_scale/loss_history")).enumerate() {
        assert!((f / e - 1.0).abs() < LOSS_TOLERANCE, "loss {step}: {f} instead of {e}");
    }
    let expected = golden("awq_w4_g32_scale/W_hat");
    same_codes("scale", &found.weight, &found.scale, &expected);
    close("scale", &effective(&found.weight, &found.scale), &expected, TOLERANCE);
}

#[test]
fn the_clip_search_matches_the_reference() {
    let found = run(true);
    let limits: Vec<f64> = found.clip.unwrap().limits().iter().map(|&l| f64::from(l)).collect();
    close("limits", &limits, &golden("awq_w4_g32_scale_clip/clip_max"), TOLERANCE);
    let expected = golden("awq_w4_g32_scale_clip/W_hat");
    same_codes("clip", &found.weight, &found.scale, &expected);
    close("clip", &effective(&found.weight, &found.scale), &expected, TOLERANCE);
}

#[test]
fn smoothquant_s_scale_matches_the_formula() {
    let (weight, inputs) = (narrow(&tensor("golden", "weight")), narrow(&golden("inputs")));
    let (mut input_max, mut weight_max) = (vec![0.0; SHAPE[1]], vec![0.0; SHAPE[1]]);
    column_max_abs(&inputs, &mut input_max);
    column_max_abs(&weight, &mut weight_max);
    let scale = smooth_scale(&input_max, &weight_max, 0.5);
    let found: Vec<f64> = scale.iter().map(|&s| f64::from(s)).collect();
    close("smoothquant", &found, &golden("smoothquant_alpha0.5/scale"), TOLERANCE);

    // Smoothed weights and inputs are easier to round together.
    let error = |scale: Option<&[f32]>| -> f64 {
        let rounded = int8_per_channel(&weight, SHAPE, scale, ScaleDtype::F32).unwrap();
        let dense = (&rounded as &dyn Representation).to_dense().unwrap();
        let mut sum = 0.0;
        for x in inputs.chunks(SHAPE[1]) {
            let divided: Vec<f32> =
                x.iter().enumerate().map(|(i, x)| x / scale.map_or(1.0, |s| s[i])).collect();
            let step = divided.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
            let token: Vec<f32> = divided.iter().map(|x| (x / step).round_ties_even() * step).collect();
            for (row, rounded) in weight.chunks(SHAPE[1]).zip(dense.chunks(SHAPE[1])) {
                let product = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
                sum += f64::from(product(x, row) - product(&token, rounded)).powi(2);
            }
        }
        sum
    };
    assert!(error(Some(&scale)) < error(None));
}
