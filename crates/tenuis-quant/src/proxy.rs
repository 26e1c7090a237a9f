//! The error that GPTQ minimises, for any quantised weight.

use crate::error::QuantError;
use crate::rtn::check_weight;
use rayon::prelude::*;
use tenuis_core::{GroupedInt, Representation};
use tenuis_linalg::GramView;

/// Measures `tr((W − Ŵ)·H·(W − Ŵ)ᵀ)`: the squared output error over the rows behind the Hessian `H = XᵀX`.
///
/// Takes `out·in²` FLOPs, as much as quantising; [`QuantReport::proxy_error`](crate::QuantReport::proxy_error) is a
/// by-product of GPTQ.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major, as the quantised one.
///
/// # Errors
/// [`QuantError::Shape`], [`QuantError::NonFiniteWeight`] and [`QuantError::HessianFeatures`].
pub fn proxy_error(weight: &[f32], quantized: &GroupedInt, hessian: GramView<'_>) -> Result<f64, QuantError> {
    let shape = quantized.shape();
    check_weight(weight, shape)?;
    let features = shape[1];
    if hessian.features() != features {
        return Err(QuantError::HessianFeatures { hessian: hessian.features(), in_features: features });
    }
    let parts: Vec<f64> = weight
        .par_chunks((ROWS * features).max(1))
        .enumerate()
        .map(|(part, weight)| {
            let rows = weight.len() / features;
            let mut error = vec![0.0; weight.len()];
            quantized.decode_rows(part * ROWS..part * ROWS + rows, &mut error)?;
            error.iter_mut().zip(weight).for_each(|(e, w)| *e = w - *e);
            let mut sum = 0.0;
            // Every row of H serves several rows of the weight while it is in cache.
            for i in 0..features {
                let upper = hessian.upper_row(i);
                for row in error.chunks_exact(features) {
                    if row[i] != 0.0 {
                        let tail: f64 = dot(&upper[1..], &row[i + 1..]).into();
                        let own = f64::from(row[i]);
                        sum += own * (own * f64::from(upper[0]) + 2.0 * tail);
                    }
                }
            }
            Ok::<f64, QuantError>(sum)
        })
        .collect::<Result<_, _>>()?;
    Ok(parts.iter().sum())
}

const ROWS: usize = 16;

/// Independent partial sums, so that the loop can use vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
