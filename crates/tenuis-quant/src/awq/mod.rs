//! Activation-aware weight quantisation (Lin et al. 2023, arXiv 2306.00978).
//!
//! Few input channels matter most, and their magnitude tells which. Multiplying a column of the weight by `s > 1` and
//! dividing the input channel by it leaves the output as it is but makes the rounding error of that column smaller
//! beside the others. The scale is searched on a grid,
//!
//! `s = mean|x|^α / √(max·min)`, `α = i / grid` for `i < grid`,
//!
//! by the output error of the module that the weights belong to; afterwards the range of each group is shrunk
//! ([`clip`]) where that lowers the error of the group's own part of the output. Rounding itself is [`rtn`] with
//! zero points.
//!
//! The reference's grid does not reach to zero where all weights of a group have one sign, and then cuts most of them
//! off; ours always holds zero, which is the same for every other group.

mod clip;
mod config;
mod search;

pub use clip::Clip;
pub use config::AwqConfig;
pub use search::{FoundScale, awq_scale, search_scale, share_channels};

use crate::error::QuantError;
use crate::report::{FallbackReason, Quantized};
use crate::rtn::{check_weight, rtn};
use rayon::prelude::*;
use tenuis_core::GroupedInt;
use tenuis_linalg::{MatMut, MatRef, multiply_add};

/// A matrix quantised by [`awq`], for the input `x / scale`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Awq {
    /// `Ŵ`, so that `y ≈ Ŵ · (x / scale)`.
    pub weight: GroupedInt,
    /// What the input is divided by, `[in_features]`.
    pub scale: Vec<f32>,
    /// Why the scale is 1 everywhere although it was searched for.
    pub fallback: Option<FallbackReason>,
    /// The exponent α that was chosen; 0 without a search.
    pub ratio: f64,
    /// The mean squared error of the output for every candidate, in their order; empty without a search.
    pub losses: Vec<f64>,
    /// The limits of each group's weights, where they were searched for.
    pub clip: Option<Clip>,
}

/// Quantises one matrix by the error of its own output on given inputs.
///
/// In a network the error is that of the parent module and one scale serves all weights that read an input; a caller
/// that has these uses [`search_scale`], [`awq_clip`] and [`awq_round`] as this function does.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, `inputs`: `[tokens, in_features]`, both row-major.
///
/// ```
/// use tenuis_quant::{AwqConfig, GroupSizing, awq};
/// let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<f32>>();
/// let (weight, mut inputs) = (wave(8 * 32, 0.7), wave(64 * 32, 1.3));
/// // One channel is louder than the others.
/// inputs.iter_mut().skip(5).step_by(32).for_each(|x| *x *= 20.0);
/// let mut config = AwqConfig::default();
/// config.group_size = GroupSizing::Columns(16);
/// let quantized = awq(&weight, [8, 32], &inputs, &config)?;
/// assert!(quantized.scale[5] > quantized.scale[4]);
/// assert!(quantized.losses.iter().all(|loss| *loss >= quantized.losses[(quantized.ratio * 20.0).round() as usize]));
/// # Ok::<(), tenuis_quant::QuantError>(())
/// ```
///
/// # Errors
/// [`QuantError::Config`], [`QuantError::GroupSize`], [`QuantError::Shape`], [`QuantError::NonFiniteWeight`],
/// [`QuantError::Inputs`], and [`QuantError::NoAwq`] where the search is of no use and the configuration forbids to
/// fall back.
pub fn awq(weight: &[f32], shape: [usize; 2], inputs: &[f32], config: &AwqConfig) -> Result<Awq, QuantError> {
    config.validate()?;
    check_weight(weight, shape)?;
    let in_features = shape[1];
    if in_features == 0 || inputs.is_empty() || !inputs.len().is_multiple_of(in_features) {
        return Err(QuantError::Inputs { values: inputs.len(), in_features });
    }
    let mut found = FoundScale::ones(in_features);
    if config.scale {
        let mean_abs = mean_abs(inputs, in_features);
        found = search_scale(&mean_abs, config, |scale| {
            let candidate = awq_round(weight, shape, scale, None, config)?;
            output_error(weight, shape, &candidate.weight, scale, inputs)
        })?;
    }
    let clip = if config.clip {
        let divided = divided(inputs, &found.scale);
        Some(awq_clip(weight, shape, &found.scale, &divided, config)?)
    } else {
        None
    };
    let Quantized { weight, .. } = awq_round(weight, shape, &found.scale, clip.as_ref(), config)?;
    let FoundScale { scale, ratio, losses, fallback } = found;
    Ok(Awq { weight, scale, fallback, ratio, losses, clip })
}

/// Rounds `W · diag(scale)`, within the limits of `clip` where there are some.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, `scale`: `[in_features]`.
///
/// # Errors
/// As [`rtn`], and [`QuantError::Scale`] for a scale of another length.
pub fn awq_round(
    weight: &[f32],
    shape: [usize; 2],
    scale: &[f32],
    clip: Option<&Clip>,
    config: &AwqConfig,
) -> Result<Quantized, QuantError> {
    let mut scaled = scale_columns(weight, shape, scale)?;
    if let Some(clip) = clip {
        clip.apply(&mut scaled, shape);
    }
    rtn(&scaled, shape, &config.to_rtn())
}

/// Searches the limits of each group's weights for `W · diag(scale)` and inputs that are divided by `scale` already.
///
/// For a row's weights `w` in a group and `q` their rounding within `±limit`, the error is `mean((x · (w − q))²)` over
/// at most about [`AwqConfig::clip_tokens`] evenly spaced tokens, and the limits tried are
/// `max|w| · (1 − i / clip_grid)` for `i < clip_max_shrink · clip_grid`.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, `scale`: `[in_features]`, `inputs`: `[tokens, in_features]`.
///
/// # Errors
/// As [`awq`].
pub fn awq_clip(
    weight: &[f32],
    shape: [usize; 2],
    scale: &[f32],
    inputs: &[f32],
    config: &AwqConfig,
) -> Result<Clip, QuantError> {
    check_weight(weight, shape)?;
    let scaled = scale_columns(weight, shape, scale)?;
    clip::search(&scaled, shape, inputs, config)
}

fn scale_columns(weight: &[f32], shape: [usize; 2], scale: &[f32]) -> Result<Vec<f32>, QuantError> {
    let in_features = shape[1];
    if scale.len() != in_features {
        return Err(QuantError::Scale { found: scale.len(), in_features });
    }
    check_weight(weight, shape)?;
    let mut scaled = weight.to_vec();
    scaled.par_chunks_mut(in_features.max(1)).for_each(|row| {
        row.iter_mut().zip(scale).for_each(|(value, scale)| *value *= scale);
    });
    Ok(scaled)
}

/// `mean|x|` per channel, in f64.
fn mean_abs(inputs: &[f32], in_features: usize) -> Vec<f64> {
    let mut sums = vec![0.0; in_features];
    for row in inputs.chunks_exact(in_features) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x.abs()));
    }
    let tokens = (inputs.len() / in_features) as f64;
    sums.iter_mut().for_each(|sum| *sum /= tokens);
    sums
}

fn divided(inputs: &[f32], scale: &[f32]) -> Vec<f32> {
    let rows = inputs.chunks_exact(scale.len());
    rows.flat_map(|row| row.iter().zip(scale).map(|(x, s)| x / s)).collect()
}

/// Tokens that one product takes at a time.
const TOKENS: usize = 256;

/// `mean((x · (W − Ŵ/s)ᵀ)²)` over tokens and outputs.
fn output_error(
    weight: &[f32],
    shape: [usize; 2],
    rounded: &GroupedInt,
    scale: &[f32],
    inputs: &[f32],
) -> Result<f64, QuantError> {
    use tenuis_core::Representation as _;
    let [out_features, in_features] = shape;
    let mut error = vec![0.0; weight.len()];
    rounded.decode_rows(0..out_features, &mut error)?;
    for (error, weight) in error.chunks_exact_mut(in_features).zip(weight.chunks_exact(in_features)) {
        for ((error, weight), scale) in error.iter_mut().zip(weight).zip(scale) {
            *error = weight - *error / scale;
        }
    }
    let rhs = MatRef::new(&error, shape, [in_features, 1]).transposed();
    let parts: Vec<f64> = inputs
        .par_chunks(TOKENS * in_features)
        .map(|x| {
            let tokens = x.len() / in_features;
            let mut product = vec![0.0f32; tokens * out_features];
            let lhs = MatRef::new(x, [tokens, in_features], [in_features, 1]);
            multiply_add(MatMut::new(&mut product, [tokens, out_features], [out_features, 1]), 1.0, lhs, rhs);
            product.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
        })
        .collect();
    let count = inputs.len() / in_features * out_features;
    Ok(parts.iter().sum::<f64>() / count.max(1) as f64)
}
