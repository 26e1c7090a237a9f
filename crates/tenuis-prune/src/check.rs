//! What holds for every weight before it is pruned.

use crate::error::PruneError;
use rayon::prelude::*;

/// Weights that one task looks at.
const TASK: usize = 1 << 16;

/// Checks that a weight fits its shape and is finite.
pub(crate) fn check_weight(weight: &[f32], shape: [usize; 2]) -> Result<(), PruneError> {
    if shape[0].checked_mul(shape[1]) != Some(weight.len()) {
        return Err(PruneError::Shape { what: "a weight", shape, found: weight.len() });
    }
    // w·0 is 0 for a finite w and NaN for any other, and a sum of them takes no branches.
    let sound = |part: &[f32]| {
        let (lanes, rest) = part.as_chunks::<16>();
        let mut sums = [0.0f32; 16];
        for lane in lanes {
            for (sum, &w) in sums.iter_mut().zip(lane) {
                *sum += w * 0.0;
            }
        }
        sums.iter().chain(rest).map(|w| w * 0.0).sum::<f32>() == 0.0
    };
    let bad = weight.par_chunks(TASK).position_first(|part| !sound(part));
    match bad.and_then(|p| (p * TASK..weight.len()).find(|&at| !weight[at].is_finite())) {
        None => Ok(()),
        Some(at) => {
            Err(PruneError::NonFiniteWeight { row: at / shape[1], column: at % shape[1], value: weight[at] })
        }
    }
}

/// Checks the diagonal of `XᵀX`.
pub(crate) fn check_squares(sum_squares: &[f32], in_features: usize) -> Result<(), PruneError> {
    if sum_squares.len() != in_features {
        return Err(PruneError::Features { found: sum_squares.len(), in_features });
    }
    match sum_squares.iter().position(|s| !s.is_finite() || *s < 0.0) {
        Some(channel) => Err(PruneError::Statistic { channel, value: sum_squares[channel] }),
        None => Ok(()),
    }
}

/// Checks a mask of weights that may be kept.
pub(crate) fn check_mask(mask: Option<&[u8]>, shape: [usize; 2]) -> Result<(), PruneError> {
    match mask.filter(|mask| mask.len() != shape[0] * shape[1]) {
        Some(mask) => Err(PruneError::Shape { what: "a mask", shape, found: mask.len() }),
        None => Ok(()),
    }
}
