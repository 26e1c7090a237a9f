//! Activation-aware weight quantisation (Lin et al. 2023, arXiv 2306.00978).
//!
//! Few input channels matter most, and their magnitude tells which. Multiplying a column of the weight by `s > 1` and
//! dividing the input channel by it leaves the output as it is but makes the rounding error of that column smaller
//! beside the others. The scale is searched on a grid,
//!
//! `s = mean|x|^α / √(max·min)`, `α = i / grid` for `i < grid`,
//!
//! by the output error of the module that the weights belong to; afterwards the range of each group is shrunk
//! ([`clip`]) where that lowers the error of the group's own part of the output. Rounding itself is [`rtn`](crate::rtn()) with
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
use crate::grid::{Grid, GridFit};
use crate::report::FallbackReason;
use crate::rtn::check_weight;
use rayon::prelude::*;
use tenuis_core::{GroupedInt, GroupedIntSpec};
use tenuis_linalg::{MatMut, MatRef, multiply_add};

/// A matrix quantised by [`awq`], for the input `x / scale`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Awq {
    /// `Ŵ`, so that `y ≈ Ŵ · (x / scale)`.
    pub weight: GroupedInt,
    /// What the input is divided by, `[in_features]`; each is an f32.
    pub scale: Vec<f64>,
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
            output_error(weight, shape, &candidate, scale, inputs)
        })?;
    }
    let clip = if config.clip {
        let divided = divided(inputs, &found.scale);
        Some(awq_clip(weight, shape, &found.scale, &divided, config)?)
    } else {
        None
    };
    let weight = awq_round(weight, shape, &found.scale, clip.as_ref(), config)?;
    let FoundScale { scale, ratio, losses, fallback } = found;
    Ok(Awq { weight, scale, fallback, ratio, losses, clip })
}

/// Rounds `W · diag(scale)`, within the limits of `clip` where there are some, as [`rtn`](crate::rtn()) does.
///
/// Computes in f64: where both ends of a group are cut off, zero lies exactly between two codes, and it is rounding alone
/// that decides for one.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, `scale`: `[in_features]`.
///
/// # Errors
/// [`QuantError::Config`], [`QuantError::GroupSize`], [`QuantError::Shape`], [`QuantError::NonFiniteWeight`], and
/// [`QuantError::Scale`] for a scale of another length or one that overflows the weight.
pub fn awq_round(
    weight: &[f32],
    shape: [usize; 2],
    scale: &[f64],
    clip: Option<&Clip>,
    config: &AwqConfig,
) -> Result<GroupedInt, QuantError> {
    config.validate()?;
    let scaled = scale_columns(weight, shape, scale)?;
    let [out_features, in_features] = shape;
    let group_size = config.group_size.resolve(in_features)?;
    let spec = GroupedIntSpec {
        bits: config.bits,
        group_size,
        symmetric: config.symmetric,
        scale_dtype: config.scale_dtype.into(),
        group_index: false,
    };
    let (groups, columns) = (group_size.groups(in_features)?, group_size.columns(in_features).max(1));
    let fit = GridFit::<f64>::new(config.bits, config.symmetric, config.scale_dtype, None);
    let mut codes = vec![0u8; out_features * in_features];
    let mut steps = vec![0.0f32; out_features * groups];
    let mut zeros = vec![0u8; out_features * groups];
    codes
        .par_chunks_mut(columns)
        .zip(scaled.par_chunks(columns))
        .zip(steps.par_iter_mut().zip(&mut zeros))
        .enumerate()
        .for_each(|(group, ((codes, values), (step, zero)))| {
            let limit = clip.map_or(f64::INFINITY, |clip| clip.limits()[group]);
            let grid = span(&fit, values, limit);
            (*step, *zero) = (grid.scale as f32, grid.zero as u8);
            for (code, value) in codes.iter_mut().zip(values) {
                *code = grid.code(value.clamp(-limit, limit), fit.max_code()) as u8;
            }
        });
    let zeros = (!config.symmetric).then_some(&*zeros);
    Ok(GroupedInt::from_codes(spec, shape, &codes, &steps, zeros, None)?)
}

/// The grid of a group's values within ±limit.
fn span(fit: &GridFit<f64>, values: &[f64], limit: f64) -> Grid<f64> {
    let range = values.iter().fold((0.0f64, 0.0f64), |(min, max), value| {
        let value = value.clamp(-limit, limit);
        (min.min(value), max.max(value))
    });
    fit.span(range.0, range.1)
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
    scale: &[f64],
    inputs: &[f32],
    config: &AwqConfig,
) -> Result<Clip, QuantError> {
    awq_clip_while(weight, shape, scale, inputs, config, &|| true)
}

/// As [`awq_clip`], as long as `go_on` says so, which is asked every few milliseconds.
///
/// # Errors
/// As [`awq`], and [`QuantError::Stopped`].
pub fn awq_clip_while(
    weight: &[f32],
    shape: [usize; 2],
    scale: &[f64],
    inputs: &[f32],
    config: &AwqConfig,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Clip, QuantError> {
    config.validate()?;
    let scaled = scale_columns(weight, shape, scale)?;
    clip::search(&scaled, shape, inputs, config, go_on)
}

fn scale_columns(weight: &[f32], shape: [usize; 2], scale: &[f64]) -> Result<Vec<f64>, QuantError> {
    check_weight(weight, shape)?;
    let in_features = shape[1];
    let sound = |s: &f64| s.is_finite() && *s > 0.0;
    if scale.len() != in_features || !scale.iter().all(sound) {
        return Err(QuantError::Scale { found: scale.len(), in_features });
    }
    let mut scaled = vec![0.0; weight.len()];
    let rows = in_features.max(1);
    scaled.par_chunks_mut(rows).zip(weight.par_chunks(rows)).for_each(|(scaled, weight)| {
        for ((value, w), s) in scaled.iter_mut().zip(weight).zip(scale) {
            *value = f64::from(*w) * s;
        }
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
    for sum in &mut sums {
        *sum /= tokens;
    }
    sums
}

fn divided(inputs: &[f32], scale: &[f64]) -> Vec<f32> {
    let rows = inputs.chunks_exact(scale.len());
    rows.flat_map(|row| row.iter().zip(scale).map(|(x, s)| (f64::from(*x) / s) as f32)).collect()
}

/// Tokens that one product takes at a time.
const TOKENS: usize = 256;

/// `mean((x · (W − Ŵ/s)ᵀ)²)` over tokens and outputs.
fn output_error(
    weight: &[f32],
    shape: [usize; 2],
    rounded: &GroupedInt,
    scale: &[f64],
    inputs: &[f32],
) -> Result<f64, QuantError> {
    use tenuis_core::Representation as _;
    let [out_features, in_features] = shape;
    let mut error = vec![0.0; weight.len()];
    rounded.decode_rows(0..out_features, &mut error)?;
    for (error, weight) in error.chunks_exact_mut(in_features).zip(weight.chunks_exact(in_features)) {
        for ((error, weight), scale) in error.iter_mut().zip(weight).zip(scale) {
            *error = (f64::from(*weight) - f64::from(*error) / scale) as f32;
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
