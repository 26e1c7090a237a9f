//! One budget for several matrices: every one gets the sparsity that its weights call for.

use crate::check::check_weight;
use crate::error::PruneError;
use crate::magnitude::count;
use crate::mask::Mask;
use crate::report::Pruned;
use crate::select::{Cut, Search, drop_below};
use crate::target::SparsityTarget;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// By what weights of different matrices are compared with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GlobalScore {
    /// `|w|`: matrices of small weights are pruned more.
    #[default]
    Magnitude,
    /// `w² / Σ v²` over all `v` of the same matrix with `|v| ≥ |w|` (LAMP: Lee et al. 2020, arXiv 2010.07611): what is
    /// left of a matrix counts the more the less there is of it, so that none is emptied.
    Lamp,
}

/// Options of pruning under one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GlobalConfig {
    /// The share of all weights together that is pruned, at least 0 and below 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub sparsity: f64,
    /// By what weights of different matrices are compared.
    pub score: GlobalScore,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self { sparsity: 0.5, score: GlobalScore::Magnitude }
    }
}

impl GlobalConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`PruneError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), PruneError> {
        SparsityTarget::Share(self.sparsity).validate()
    }
}

/// Looks for the score below which a share of the weights of several matrices lies, without holding them all: the caller
/// shows every matrix once in each pass, and there are three.
///
/// ```
/// use tenuis_prune::{GlobalConfig, GlobalSearch};
/// let matrices = [vec![0.1f32, 0.2, 0.3, 0.4], vec![1.0, 2.0, 3.0, 4.0]];
/// let mut search = GlobalSearch::new(8, &GlobalConfig::default())?;
/// while search.is_open() {
///     for matrix in &matrices {
///         search.count(matrix, [1, 4])?;
///     }
///     search.advance();
/// }
/// let first = search.prune(&matrices[0], [1, 4])?;
/// let second = search.prune(&matrices[1], [1, 4])?;
/// assert_eq!((first.report.pruned, second.report.pruned), (4, 1));
/// # Ok::<(), tenuis_prune::PruneError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GlobalSearch {
    score: GlobalScore,
    /// `None` where nothing is pruned.
    search: Option<Search>,
    cut: Option<Cut>,
}

impl GlobalSearch {
    /// Begins a search over so many weights in all.
    ///
    /// # Errors
    /// [`PruneError::Config`], and [`PruneError::Everything`] where nothing would be left.
    pub fn new(total: usize, config: &GlobalConfig) -> Result<Self, PruneError> {
        config.validate()?;
        let count = count(total, config.sparsity)?;
        Ok(Self { score: config.score, search: count.map(Search::new::<f32>), cut: None })
    }

    /// Whether there is another pass.
    pub fn is_open(&self) -> bool {
        self.search.as_ref().is_some_and(Search::is_open)
    }

    /// Counts a matrix `[out_features, in_features]`, row-major, in the pass at hand.
    ///
    /// # Errors
    /// [`PruneError::Shape`] and [`PruneError::NonFiniteWeight`].
    pub fn count(&mut self, weight: &[f32], shape: [usize; 2]) -> Result<(), PruneError> {
        check_weight(weight, shape)?;
        if let Some(search) = &mut self.search {
            search.count(&[&scores(self.score, weight)]);
        }
        Ok(())
    }

    /// Ends a pass in which every matrix was counted once.
    pub fn advance(&mut self) {
        if let Some(search) = &mut self.search {
            search.advance();
            self.cut = (!search.is_open()).then(|| search.cut());
        }
    }

    /// Prunes a matrix by what was found. Of equal scores the first go first, hence the order of calls matters.
    ///
    /// # Errors
    /// [`PruneError::Shape`] and [`PruneError::NonFiniteWeight`].
    pub fn prune(&mut self, weight: &[f32], shape: [usize; 2]) -> Result<Pruned, PruneError> {
        check_weight(weight, shape)?;
        let mut mask = Mask::full(shape);
        if let Some(cut) = &mut self.cut {
            drop_below(&scores(self.score, weight), mask.kept_mut(), cut);
        }
        Ok(Pruned::masked(weight, mask))
    }
}

fn scores(score: GlobalScore, weight: &[f32]) -> Vec<f32> {
    let magnitudes = || weight.par_iter().map(|w| w.abs());
    match score {
        GlobalScore::Magnitude => magnitudes().collect(),
        GlobalScore::Lamp => {
            let mut order: Vec<(u32, usize)> =
                magnitudes().map(f32::to_bits).zip((0..weight.len()).into_par_iter()).collect();
            order.par_sort_unstable();
            let mut scores = vec![0.0; weight.len()];
            let mut at_least = 0.0f64;
            for &(bits, index) in order.iter().rev() {
                let square = f64::from(f32::from_bits(bits)).powi(2);
                at_least += square;
                scores[index] = if at_least > 0.0 { (square / at_least) as f32 } else { 0.0 };
            }
            scores
        }
    }
}

/// Prunes several matrices under one budget (see [`GlobalSearch`]).
///
/// # Shapes
/// `weights`: each `[out_features, in_features]`, row-major, with its shape.
///
/// # Errors
/// As [`GlobalSearch`].
pub fn magnitude_global(
    weights: &[(&[f32], [usize; 2])],
    config: &GlobalConfig,
) -> Result<Vec<Pruned>, PruneError> {
    let mut search = GlobalSearch::new(weights.iter().map(|(weight, _)| weight.len()).sum(), config)?;
    while search.is_open() {
        for (weight, shape) in weights {
            search.count(weight, *shape)?;
        }
        search.advance();
    }
    weights.iter().map(|(weight, shape)| search.prune(weight, *shape)).collect()
}
