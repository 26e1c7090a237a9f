//! Magnitude pruning: the smallest weights go.

use crate::check::check_weight;
use crate::error::PruneError;
use crate::mask::Mask;
use crate::report::Pruned;
use crate::select::{cut, drop_below, drop_in_groups, drop_smallest};
use crate::target::SparsityTarget;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which weights are compared with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MagnitudeScope {
    /// All of the matrix.
    #[default]
    Layer,
    /// Those of one output.
    Row,
}

/// Options of [`magnitude`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MagnitudeConfig {
    /// How much is pruned: a share in 0..1, "N:M", or "inherit".
    pub sparsity: SparsityTarget,
    /// Which weights are compared with each other; under "N:M" those of a group.
    pub scope: MagnitudeScope,
}

impl MagnitudeConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`PruneError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), PruneError> {
        self.sparsity.validate()
    }
}

/// Prunes the weights of least magnitude (Han et al. 2015, arXiv 1506.02626).
///
/// Over a whole layer of `n` weights the `⌊n·s⌋ + 1` smallest go, as in the reference code of Wanda (its threshold is
/// the `⌊n·s⌋`-th of the sorted magnitudes, from 0, and goes as well); in a row of `m` the `⌊m·s⌋` smallest. Nothing
/// goes at `s = 0`. Of equal magnitudes the first go first.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major.
///
/// ```
/// use tenuis_prune::{MagnitudeConfig, SparsityTarget, magnitude};
/// let mut config = MagnitudeConfig::default();
/// config.sparsity = SparsityTarget::NofM("2:4".parse()?);
/// let pruned = magnitude(&[3.0, -1.0, 0.5, -2.0], [1, 4], &config)?;
/// assert_eq!(pruned.weight, [3.0, 0.0, 0.0, -2.0]);
/// # Ok::<(), tenuis_prune::PruneError>(())
/// ```
///
/// # Errors
/// [`PruneError::Config`], [`PruneError::Shape`], [`PruneError::NonFiniteWeight`], [`PruneError::Groups`] and
/// [`PruneError::Everything`].
pub fn magnitude(weight: &[f32], shape: [usize; 2], config: &MagnitudeConfig) -> Result<Pruned, PruneError> {
    config.validate()?;
    check_weight(weight, shape)?;
    let mut mask = Mask::full(shape);
    let width = shape[1].max(1);
    let scores: Vec<f32> = weight.par_iter().map(|w| w.abs()).collect();
    match (config.sparsity.resolve(weight), config.scope) {
        (SparsityTarget::NofM(pattern), _) => {
            pattern.check(shape[1])?;
            let rows = mask.kept_mut().par_chunks_mut(width).zip(scores.par_chunks(width));
            rows.for_each(|(kept, scores)| drop_in_groups(scores, pattern.kept(), pattern.of(), kept));
        }
        (SparsityTarget::Share(share), MagnitudeScope::Row) => {
            let count = (width as f64 * share) as usize;
            mask.kept_mut()
                .par_chunks_mut(width)
                .zip(scores.par_chunks(width))
                .for_each_init(Vec::new, |keys, (kept, scores)| drop_smallest(scores, count, kept, keys));
        }
        (SparsityTarget::Share(share), MagnitudeScope::Layer) => {
            if let Some(count) = count(weight.len(), share)? {
                let mut at = cut(&[&scores], count);
                drop_below(&scores, mask.kept_mut(), &mut at);
            }
        }
        (SparsityTarget::Inherit, _) => {}
    }
    Ok(Pruned::masked(weight, mask))
}

/// How many of `total` scores the references prune for a share of them; `None` for nothing.
pub(crate) fn count(total: usize, sparsity: f64) -> Result<Option<usize>, PruneError> {
    if sparsity == 0.0 || total == 0 {
        return Ok(None);
    }
    let count = (total as f64 * sparsity) as usize + 1;
    if count < total { Ok(Some(count)) } else { Err(PruneError::Everything { sparsity, total }) }
}
