//! Round to nearest: each weight goes to the closest point of its group's grid.

use crate::config::RtnConfig;
use crate::error::QuantError;
use crate::grid::{Grid, GridFit};
use crate::report::{QuantReport, Quantized};
use rayon::prelude::*;
use tenuis_core::{GroupedInt, GroupedIntSpec};
use tenuis_linalg::first_non_finite;

/// Rounds a weight to nearest, group by group:
/// `code = clamp(round(w / scale) + zero, 0, 2^bits − 1)`, halves to even, `ŵ = scale · (code − zero)`.
///
/// The symmetric grid has `scale = 2·max|w| / (2^bits − 1)` and its zero in the middle; the other spans
/// `[min(w, 0), max(w, 0)]`. With `mse` the range of each group is shrunk to the least error. No calibration data.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major.
///
/// ```
/// use tenuis_quant::{RtnConfig, rtn};
/// let quantized = rtn(&[-7.5, -1.0, 0.0, 7.5], [1, 4], &RtnConfig::default())?;
/// let mut codes = [0; 4];
/// quantized.weight.codes_row(0, &mut codes);
/// assert_eq!(codes, [0, 7, 8, 15]);
/// # Ok::<(), tenuis_quant::QuantError>(())
/// ```
///
/// # Errors
/// [`QuantError::Config`], [`QuantError::GroupSize`], [`QuantError::Shape`] and [`QuantError::NonFiniteWeight`].
pub fn rtn(weight: &[f32], shape: [usize; 2], config: &RtnConfig) -> Result<Quantized, QuantError> {
    config.validate()?;
    check_weight(weight, shape)?;
    let [out_features, in_features] = shape;
    let group_size = config.group_size.resolve(in_features)?;
    let spec = GroupedIntSpec {
        bits: config.bits,
        group_size,
        symmetric: config.symmetric,
        scale_dtype: config.scale_dtype.into(),
        group_index: false,
    };
    let groups = group_size.groups(in_features)?;
    let columns = group_size.columns(in_features).max(1);
    let fit = GridFit::<f64>::new(config.bits, config.symmetric, config.scale_dtype, config.mse);

    let mut codes = vec![0u8; out_features * in_features];
    let mut scales = vec![0.0f32; out_features * groups];
    let mut zeros = vec![0u8; out_features * groups];
    let errors: Vec<f64> = codes
        .par_chunks_mut(in_features.max(1))
        .zip(weight.par_chunks(in_features.max(1)))
        .zip(scales.par_chunks_mut(groups.max(1)).zip(zeros.par_chunks_mut(groups.max(1))))
        .map(|((codes, weight), (scales, zeros))| {
            let parts =
                codes.chunks_mut(columns).zip(weight.chunks(columns)).zip(scales.iter_mut().zip(zeros));
            // f64 costs little beside the memory traffic and decides ties as the exact quotient would.
            let mut error = 0.0;
            for ((codes, weight), (scale, zero)) in parts {
                let grid = fit.search(weight);
                (*scale, *zero) = (grid.scale as f32, grid.zero as u8);
                error += round(grid, fit.max_code(), weight, codes);
            }
            error
        })
        .collect();
    let zeros = (!config.symmetric).then_some(&*zeros);
    let weight = GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, None)?;
    let report = QuantReport { weight_error: errors.iter().sum(), ..QuantReport::default() };
    Ok(Quantized { weight, report })
}

/// Independent sums of a group's errors.
const LANES: usize = 8;

/// Chooses the codes of a group; returns `Σ(w − ŵ)²`.
fn round(grid: Grid<f64>, max_code: f64, weight: &[f32], codes: &mut [u8]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has both features.
        #[expect(unsafe_code, reason = "calls code compiled for a newer instruction set")]
        unsafe {
            return round_with_avx2(grid, max_code, weight, codes);
        }
    }
    round_body(grid, max_code, weight, codes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn round_with_avx2(grid: Grid<f64>, max_code: f64, weight: &[f32], codes: &mut [u8]) -> f64 {
    round_body(grid, max_code, weight, codes)
}

#[expect(clippy::inline_always, reason = "compiled once for each instruction set")]
#[inline(always)]
fn round_body(grid: Grid<f64>, max_code: f64, weight: &[f32], codes: &mut [u8]) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = weight.as_chunks::<LANES>();
    let (code_chunks, code_rest) = codes.as_chunks_mut::<LANES>();
    let one = |w: f32| {
        let code = grid.code(f64::from(w), max_code);
        // Through i32, which has a vector instruction where u8 has none.
        (code as i32 as u8, (f64::from(w) - grid.value(code)).powi(2))
    };
    for (chunk, codes) in chunks.iter().zip(code_chunks) {
        for ((sum, &w), slot) in sums.iter_mut().zip(chunk).zip(codes) {
            let (code, error) = one(w);
            *slot = code;
            *sum += error;
        }
    }
    for (&w, slot) in rest.iter().zip(code_rest) {
        let (code, error) = one(w);
        *slot = code;
        sums[0] += error;
    }
    sums.iter().sum()
}

/// Checks that a weight fits its shape and is finite.
pub(crate) fn check_weight(weight: &[f32], shape: [usize; 2]) -> Result<(), QuantError> {
    if shape[0].checked_mul(shape[1]) != Some(weight.len()) {
        return Err(QuantError::Shape { shape, found: weight.len() });
    }
    match first_non_finite(weight) {
        None => Ok(()),
        Some(at) => {
            Err(QuantError::NonFiniteWeight { row: at / shape[1], column: at % shape[1], value: weight[at] })
        }
    }
}
