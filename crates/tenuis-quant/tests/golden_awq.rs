//! The golden cases of AWQ's reference implementation and of SmoothQuant's formula.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use safetensors::{Dtype, SafeTensors};
use tenuis_core::{GroupedInt, Representation};
use tenuis_quant::{
    AwqConfig, GroupSizing, ScaleDtype, awq, awq_clip, awq_round, column_max_abs, int8_per_channel,
    smooth_scale,
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
fn effective(weight: &GroupedInt, scale: &[f64]) -> Vec<f64> {
    let dense = (weight as &dyn Representation).to_dense().unwrap();
    dense.iter().enumerate().map(|(i, &w)| f64::from(w) / scale[i % SHAPE[1]]).collect()
}

/// The codes of a reference's weight on our grid: whole numbers, if it is the reference's grid too.
fn same_codes(what: &str, weight: &GroupedInt, scale: &[f64], expected: &[f64]) {
    let mut codes = vec![0; SHAPE[1]];
    let mut steps = vec![0.0; weight.groups()];
    let columns = SHAPE[1] / weight.groups();
    for row in 0..SHAPE[0] {
        weight.codes_row(row, &mut codes);
        weight.scales_row(row, &mut steps).unwrap();
        for (column, &code) in codes.iter().enumerate() {
            let value = expected[row * SHAPE[1] + column] * scale[column];
            let zero = weight.zeros_row(row).unwrap()[column / columns];
            let exact = value / f64::from(steps[column / columns]) + f64::from(zero);
            assert!(
                (exact - f64::from(code)).abs() < 1e-3,
                "{what}: row {row}, column {column}: {code} {exact}"
            );
        }
    }
}

#[test]
fn rounding_with_zero_points_matches_the_reference() {
    let weight = narrow(&tensor("golden", "weight"));
    let ones = vec![1.0; SHAPE[1]];
    let rounded = awq_round(&weight, SHAPE, &ones, None, &config()).unwrap();
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
    let (weight, inputs) = (narrow(&tensor("golden", "weight")), narrow(&golden("inputs")));
    let mut config = config();
    config.clip = false;
    let found = awq(&weight, SHAPE, &inputs, &config).unwrap();
    assert_eq!((found.fallback, found.ratio), (None, 0.3));
    close("scale", &found.scale, &golden("awq_w4_g32_scale/scales_awq"), TOLERANCE);
    for (step, (f, e)) in found.losses.iter().zip(golden("awq_w4_g32_scale/loss_history")).enumerate() {
        assert!((f / e - 1.0).abs() < LOSS_TOLERANCE, "loss {step}: {f} instead of {e}");
    }
    let expected = golden("awq_w4_g32_scale/W_hat");
    same_codes("scale", &found.weight, &found.scale, &expected);
    close("scale", &effective(&found.weight, &found.scale), &expected, TOLERANCE);
}

/// With the reference's own scale: where both ends of a group are cut off, its zero point is ±7.5 steps from them, and the
/// last bits of the scale decide between 7 and 8.
#[test]
fn the_clip_search_matches_the_reference() {
    let weight = narrow(&tensor("golden", "weight"));
    let scale = golden("awq_w4_g32_scale_clip/scales_awq");
    let inputs: Vec<f32> =
        golden("inputs").iter().enumerate().map(|(i, x)| (x / scale[i % SHAPE[1]]) as f32).collect();
    let clip = awq_clip(&weight, SHAPE, &scale, &inputs, &config()).unwrap();
    close("limits", clip.limits(), &golden("awq_w4_g32_scale_clip/clip_max"), TOLERANCE);
    let rounded = awq_round(&weight, SHAPE, &scale, Some(&clip), &config()).unwrap();
    let expected = golden("awq_w4_g32_scale_clip/W_hat");
    same_codes("clip", &rounded, &scale, &expected);
    close("clip", &effective(&rounded, &scale), &expected, TOLERANCE);
}

/// With a scale of our own the limits lead to an error that is as small.
#[test]
fn all_searches_together_are_as_good_as_the_reference() {
    let (weight, inputs) = (narrow(&tensor("golden", "weight")), narrow(&golden("inputs")));
    let found = awq(&weight, SHAPE, &inputs, &config()).unwrap();
    let error = |effective: &[f64]| -> f64 {
        let row = |x: &[f32], w: usize| -> f64 {
            let range = w * SHAPE[1]..(w + 1) * SHAPE[1];
            let parts = x.iter().zip(&weight[range.clone()]).zip(&effective[range]);
            parts.map(|((&x, &w), e)| f64::from(x) * (f64::from(w) - e)).sum()
        };
        inputs.chunks(SHAPE[1]).map(|x| (0..SHAPE[0]).map(|w| row(x, w).powi(2)).sum::<f64>()).sum()
    };
    let (ours, reference) =
        (error(&effective(&found.weight, &found.scale)), error(&golden("awq_w4_g32_scale_clip/W_hat")));
    assert!(ours < 1.02 * reference, "{ours} {reference}");
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
