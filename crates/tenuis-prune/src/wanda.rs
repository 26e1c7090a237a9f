//! Wanda: magnitudes weighed by the activations that they meet.

use crate::check::{check_squares, check_weight};
use crate::error::PruneError;
use crate::mask::Mask;
use crate::report::Pruned;
use crate::select::{drop_in_groups, drop_smallest};
use crate::target::SparsityTarget;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Options of [`wanda`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WandaConfig {
    /// How much is pruned of every row: a share in 0..1, "N:M", or "inherit".
    pub sparsity: SparsityTarget,
}

impl WandaConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`PruneError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), PruneError> {
        self.sparsity.validate()
    }
}

/// Prunes in every row the weights of least `|W[o, i]| · ‖X_i‖₂` (Sun et al. 2023, arXiv 2306.11695); what is kept
/// stays as it is.
///
/// Of the `m` weights of a row the `⌊m·s⌋` of least score go, of equal ones the first.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major. `sum_squares`: `[in_features]`, `‖X_i‖₂²` over the calibration
/// rows, which is the diagonal of `XᵀX`; its scale does not matter.
///
/// ```
/// use tenuis_prune::{WandaConfig, wanda};
/// let pruned = wanda(&[3.0, -1.0, 0.5, -2.0], [1, 4], &[0.01, 1.0, 100.0, 1.0], &WandaConfig::default())?;
/// assert_eq!(pruned.weight, [0.0, 0.0, 0.5, -2.0]);
/// # Ok::<(), tenuis_prune::PruneError>(())
/// ```
///
/// # Errors
/// [`PruneError::Config`], [`PruneError::Shape`], [`PruneError::NonFiniteWeight`], [`PruneError::Features`],
/// [`PruneError::Statistic`] and [`PruneError::Groups`].
pub fn wanda(
    weight: &[f32],
    shape: [usize; 2],
    sum_squares: &[f32],
    config: &WandaConfig,
) -> Result<Pruned, PruneError> {
    config.validate()?;
    check_weight(weight, shape)?;
    check_squares(sum_squares, shape[1])?;
    let width = shape[1].max(1);
    let target = config.sparsity.resolve(weight);
    if let SparsityTarget::NofM(pattern) = target {
        pattern.check(shape[1])?;
    }
    let norms: Vec<f32> = sum_squares.iter().map(|s| s.sqrt()).collect();
    let mut mask = Mask::full(shape);
    let rows = mask.kept_mut().par_chunks_mut(width).zip(weight.par_chunks(width));
    rows.for_each_init(
        || (vec![0.0f32; width], Vec::new()),
        |(scores, keys), (kept, weight)| {
            for ((score, w), norm) in scores.iter_mut().zip(weight).zip(&norms) {
                *score = w.abs() * norm;
            }
            match target {
                SparsityTarget::NofM(pattern) => drop_in_groups(scores, pattern.kept(), pattern.of(), kept),
                SparsityTarget::Share(share) => {
                    drop_smallest(scores, (width as f64 * share) as usize, kept, keys);
                }
                SparsityTarget::Inherit => {}
            }
        },
    );
    Ok(Pruned::masked(weight, mask))
}
