//! Low-rank correction of a compressed weight's error.

use crate::config::CorrectConfig;
use crate::decompose::{Scaling, decompose};
use crate::error::LowRankError;
use crate::methods::{whiten, whitened};
use crate::report::Decomposed;
use rayon::prelude::*;
use tenuis_linalg::GramView;

/// Approximates the error that compression made, `W − Q ≈ B·A`, so that `Q + B·A` is stored and computed instead of `Q`.
///
/// With `whiten` the error of the output is minimised (EoRA: Liu et al. 2024, arXiv 2410.21271, which takes the square
/// root of `XᵀX` from its eigenvalues; any other gives the same product), without it that of the weight (LQER: Zhang et
/// al. 2024, arXiv 2402.02446).
///
/// # Shapes
/// `original` and `compressed`: `[out_features, in_features]`, row-major, `W` and the decoded `Q`; `hessian`: `XᵀX` over `rows`
/// calibration rows, not looked at without `whiten`.
///
/// ```
/// use tenuis_lowrank::{CorrectConfig, RankChoice, correct};
/// let original: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
/// let compressed: Vec<f32> = original.iter().map(|w| (w * 2.0).round() / 2.0).collect();
/// let mut config = CorrectConfig::default();
/// (config.rank, config.whiten) = (RankChoice::Fixed(2), false);
/// let outcome = correct(&original, &compressed, [8, 8], None, &config)?;
/// assert!(outcome.report.retained_energy > 0.3);
/// # Ok::<(), tenuis_lowrank::LowRankError>(())
/// ```
///
/// # Errors
/// As [`svdllm`](crate::svdllm()).
pub fn correct(
    original: &[f32],
    compressed: &[f32],
    shape: [usize; 2],
    hessian: Option<(GramView<'_>, u64)>,
    config: &CorrectConfig,
) -> Result<Decomposed, LowRankError> {
    config.validate()?;
    if compressed.len() != original.len() {
        return Err(LowRankError::Shape { shape, found: compressed.len() });
    }
    let error: Vec<f32> = original.par_iter().zip(compressed).map(|(w, q)| w - q).collect();
    match hessian.filter(|_| config.whiten) {
        None => decompose(&error, shape, Scaling::None, config.rank, &config.solver),
        Some((hessian, _)) if hessian.features() != shape[1] => {
            Err(LowRankError::Features { found: hessian.features(), in_features: shape[1] })
        }
        Some((hessian, rows)) => {
            let whitening = whiten(hessian, rows, config.min_rows, config.ridges);
            whitened(&error, shape, &whitening, config.fallback, config.rank, &config.solver)
        }
    }
}
