//! SmoothQuant's scale and the eight-bit weights that go with activations rounded per token.

use crate::config::{ScaleDtype, check};
use crate::error::QuantError;
use crate::rtn::check_weight;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tenuis_core::{DType, Int8Dynamic, convert::round_f32};

/// The least magnitude of a weight column and the least scale, as in the reference.
const LEAST: f32 = 1e-5;

/// Options of SmoothQuant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SmoothQuantConfig {
    /// How much of the difficulty moves from activations to weights: 0 none, 1 all.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub alpha: f64,
    /// The type that scales of output channels are stored in.
    pub scale_dtype: ScaleDtype,
    /// Scales inputs also where their producer takes no scale, and leaves a division at run time. Other programs cannot
    /// read such weights.
    pub run_time_scales: bool,
}

impl Default for SmoothQuantConfig {
    fn default() -> Self {
        Self { alpha: 0.5, scale_dtype: ScaleDtype::Auto, run_time_scales: false }
    }
}

impl SmoothQuantConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`QuantError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), QuantError> {
        check("alpha", self.alpha, (0.0..=1.0).contains(&self.alpha), "between 0 and 1")
    }
}

/// Options of [`int8_per_channel`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Int8DynamicConfig {
    /// The type that scales of output channels are stored in.
    pub scale_dtype: ScaleDtype,
}

/// The scale that moves outliers from activations into weights (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438):
/// `s_j = max|X_j|^α / max|W_j|^(1−α)`, for the input `x / s` and the weight `W · diag(s)`.
///
/// # Shapes
/// `input_max`, `weight_max`: `[in_features]`, the largest magnitude of each input channel and of each column over all
/// weights that read it.
///
/// ```
/// let scale = tenuis_quant::smooth_scale(&[16.0, 1.0], &[0.25, 1.0], 0.5);
/// assert_eq!(scale, [8.0, 1.0]);
/// ```
///
/// # Panics
/// If the lengths differ.
pub fn smooth_scale(input_max: &[f32], weight_max: &[f32], alpha: f64) -> Vec<f32> {
    assert_eq!(input_max.len(), weight_max.len());
    let one = |(&x, &w): (&f32, &f32)| {
        let scale = f64::from(x).powf(alpha) / f64::from(w.max(LEAST)).powf(1.0 - alpha);
        (scale as f32).max(LEAST)
    };
    input_max.iter().zip(weight_max).map(one).collect()
}

/// Raises `largest`, `[in_features]`, to the largest magnitude of each column of `weight`, `[out_features, in_features]`.
pub fn column_max_abs(weight: &[f32], largest: &mut [f32]) {
    for row in weight.chunks_exact(largest.len().max(1)) {
        largest.iter_mut().zip(row).for_each(|(most, w)| *most = most.max(w.abs()));
    }
}

/// Rounds a weight, its columns multiplied by `scale` where there is one, to eight bits with one scale per output channel:
/// `q = round(w / s)`, `s = max|w| / 127`, for activations that are rounded per token at run time.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major; `scale`: `[in_features]`.
///
/// # Errors
/// [`QuantError::Shape`], [`QuantError::NonFiniteWeight`], [`QuantError::Scale`].
pub fn int8_per_channel(
    weight: &[f32],
    shape: [usize; 2],
    scale: Option<&[f32]>,
    scale_dtype: ScaleDtype,
) -> Result<Int8Dynamic, QuantError> {
    check_weight(weight, shape)?;
    let [out_features, in_features] = shape;
    if let Some(scale) = scale.filter(|s| s.len() != in_features) {
        return Err(QuantError::Scale { found: scale.len(), in_features });
    }
    let dtype = DType::from(scale_dtype);
    let mut codes = vec![0i8; out_features * in_features];
    let mut steps = vec![0.0f32; out_features];
    codes
        .par_chunks_mut(in_features.max(1))
        .zip(weight.par_chunks(in_features.max(1)))
        .zip(&mut steps)
        .for_each_init(Vec::new, |scaled: &mut Vec<f32>, ((codes, weight), step)| {
            scaled.clear();
            match scale {
                Some(scale) => scaled.extend(weight.iter().zip(scale).map(|(w, s)| w * s)),
                None => scaled.extend_from_slice(weight),
            }
            let largest = scaled.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            *step = storable(dtype, largest / 127.0);
            for (code, w) in codes.iter_mut().zip(scaled.iter()) {
                // Rounding the scale down may carry the largest weight past the last code.
                *code = (w / *step).round_ties_even().clamp(-127.0, 127.0) as i8;
            }
        });
    Ok(Int8Dynamic::from_codes(shape, codes, &steps, dtype)?)
}

/// A scale as stored, held inside its type and such that the largest code times it is finite; a row of zeros gets 1.
fn storable(dtype: DType, step: f32) -> f32 {
    let most = (f32::MAX / 127.0).next_down();
    let (smallest, largest) = match dtype {
        DType::F16 => (half::f16::from_bits(1).to_f32(), half::f16::MAX.to_f32()),
        // Its bits are the upper half of an f32's: cutting the others off rounds down.
        DType::BF16 => (half::bf16::from_bits(1).to_f32(), f32::from_bits(most.to_bits() & 0xffff_0000)),
        _ => (f32::from_bits(1), most),
    };
    if step == 0.0 { 1.0 } else { round_f32(dtype, step).clamp(smallest, largest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenuis_core::Representation;

    #[test]
    fn every_row_spans_its_codes() {
        let weight = [1.27, -0.5, 0.0, 254.0, 127.0, -1.0, 0.0, 0.0, 0.0];
        let rounded = int8_per_channel(&weight, [3, 3], None, ScaleDtype::F32).unwrap();
        assert_eq!(rounded.codes_row(0), [127, -50, 0]);
        assert_eq!(rounded.codes_row(1), [127, 64, 0], "halves to even: 63.5, 0.5");
        assert_eq!(rounded.codes_row(2), [0, 0, 0]);
        let dense = (&rounded as &dyn Representation).to_dense().unwrap();
        assert!(weight.iter().zip(&dense).all(|(w, d)| (w - d).abs() <= 1.0));
    }

    #[test]
    fn scales_multiply_columns() {
        let (weight, scale) = ([1.0, 2.0, 3.0, -4.0], [4.0, 0.5]);
        let scaled: Vec<f32> = weight.iter().zip([4.0, 0.5, 4.0, 0.5]).map(|(w, s)| w * s).collect();
        let (a, b) = (
            int8_per_channel(&weight, [2, 2], Some(&scale), ScaleDtype::F16).unwrap(),
            int8_per_channel(&scaled, [2, 2], None, ScaleDtype::F16).unwrap(),
        );
        assert_eq!((a.codes_row(0), a.codes_row(1)), (b.codes_row(0), b.codes_row(1)));
        assert!(matches!(
            int8_per_channel(&weight, [2, 2], Some(&[1.0]), ScaleDtype::F16),
            Err(QuantError::Scale { found: 1, in_features: 2 })
        ));
    }

    #[test]
    fn scales_are_never_zero_or_infinite() {
        for dtype in [ScaleDtype::F16, ScaleDtype::Bf16, ScaleDtype::F32] {
            for w in [f32::MAX, f32::from_bits(1), 0.0] {
                let rounded = int8_per_channel(&[w, -w], [1, 2], None, dtype).unwrap();
                let dense = (&rounded as &dyn Representation).to_dense().unwrap();
                assert!(dense.iter().all(|v| v.is_finite()), "{w} {dtype:?}");
            }
        }
        let silent = smooth_scale(&[0.0, 1.0], &[0.0, 0.0], 0.5);
        assert!(silent.iter().all(|s| s.is_finite() && *s > 0.0), "{silent:?}");
    }
}
