//! Round to nearest: each weight goes to the closest point of its group's grid.

use crate::config::RtnConfig;
use crate::error::QuantError;
use crate::grid::GridFit;
use crate::report::{QuantReport, Quantized};
use rayon::prelude::*;
use tenuis_core::{GroupedInt, GroupedIntSpec};

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
            let mut group = Vec::with_capacity(columns);
            let mut error = 0.0;
            for ((codes, weight), (scale, zero)) in parts {
                group.clear();
                group.extend(weight.iter().map(|&w| f64::from(w)));
                let grid = fit.search(&group);
                (*scale, *zero) = (grid.scale as f32, grid.zero as u8);
                for (code, &w) in codes.iter_mut().zip(&group) {
                    let exact = grid.code(w, fit.max_code());
                    *code = exact as u8;
                    error += (w - grid.value(exact)).powi(2);
                }
            }
            error
        })
        .collect();
    let zeros = (!config.symmetric).then_some(&*zeros);
    let weight = GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, None)?;
    let report = QuantReport { weight_error: errors.iter().sum(), ..QuantReport::default() };
    Ok(Quantized { weight, report })
}

/// Checks that a weight fits its shape and is finite.
pub(crate) fn check_weight(weight: &[f32], shape: [usize; 2]) -> Result<(), QuantError> {
    if shape[0].checked_mul(shape[1]) != Some(weight.len()) {
        return Err(QuantError::Shape { shape, found: weight.len() });
    }
    match weight.par_iter().position_first(|w| !w.is_finite()) {
        None => Ok(()),
        Some(at) => {
            Err(QuantError::NonFiniteWeight { row: at / shape[1], column: at % shape[1], value: weight[at] })
        }
    }
}
