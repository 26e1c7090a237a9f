//! What holds for every weight before it is pruned.

use crate::error::PruneError;
use tenuis_linalg::first_non_finite;

/// Checks that a weight fits its shape and is finite.
pub(crate) fn check_weight(weight: &[f32], shape: [usize; 2]) -> Result<(), PruneError> {
    if shape[0].checked_mul(shape[1]) != Some(weight.len()) {
        return Err(PruneError::Shape { what: "a weight", shape, found: weight.len() });
    }
    match first_non_finite(weight) {
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
