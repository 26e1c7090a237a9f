//! One budget of weights, spread over layers by what each further direction is worth.

use crate::error::LowRankError;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What the allocation has to know of a layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerSpectrum<'a> {
    /// `[out_features, in_features]`.
    pub shape: [usize; 2],
    /// Squared singular values of the (whitened) weight, largest first, all of them.
    pub squared: &'a [f64],
}

impl LayerSpectrum<'_> {
    /// Weights that one direction costs.
    fn per_rank(&self) -> usize {
        self.shape[0] + self.shape[1]
    }

    fn weights(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// The largest rank whose factors have fewer weights than the matrix.
    fn most(&self) -> usize {
        (self.weights().saturating_sub(1) / self.per_rank().max(1)).min(self.squared.len())
    }
}

/// The next step of a layer: one direction more, or all that are left, densely stored.
struct Step {
    layer: usize,
    /// The share of the layer's energy for each weight.
    worth: f64,
    cost: usize,
    /// The rank behind the step; `None` where the layer is dense.
    rank: Option<usize>,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Step {}

impl PartialOrd for Step {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Step {
    /// By worth; of equal ones the first layer's comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.worth.total_cmp(&other.worth).then(other.layer.cmp(&self.layer))
    }
}

/// Spreads `keep` of all weights over layers so that `Σ_l (truncation loss of l) / (energy of l)` is as small as it gets.
///
/// A layer's loss falls by `σ²_{k+1}` for `out + in` weights when its rank grows from `k` to `k + 1`, and ever less for the
/// same price, so taking the best step wherever it is, until the budget is spent, is optimal up to the last step. A
/// layer whose next direction would make it larger than the dense matrix may be left dense, as one last step. Every
/// layer gets rank 1 before any gets more. Dividing by each layer's energy makes layers of different scale comparable.
///
/// Returns the rank of each layer, `None` where it stays dense.
///
/// ```
/// use tenuis_lowrank::{LayerSpectrum, allocate};
/// let steep = LayerSpectrum { shape: [4, 4], squared: &[1.0, 0.0, 0.0, 0.0] };
/// let flat = LayerSpectrum { shape: [4, 4], squared: &[1.0, 1.0, 1.0, 1.0] };
/// assert_eq!(allocate(&[steep, flat], 0.75)?, [Some(1), None]);
/// # Ok::<(), tenuis_lowrank::LowRankError>(())
/// ```
///
/// # Errors
/// [`LowRankError::Config`] where `keep` is not above 0 and at most 1, [`LowRankError::Budget`] where it is less than rank 1 for
/// every layer.
pub fn allocate(layers: &[LayerSpectrum<'_>], keep: f64) -> Result<Vec<Option<usize>>, LowRankError> {
    if !(keep > 0.0 && keep <= 1.0) {
        let value = keep.to_string();
        return Err(LowRankError::Config { option: "keep", value, allowed: "above 0 and at most 1" });
    }
    let all: usize = layers.iter().map(LayerSpectrum::weights).sum();
    let mut left = (keep * all as f64) as usize;
    // A matrix too thin for any product stays as it is.
    let mut ranks: Vec<Option<usize>> = layers.iter().map(|l| (l.most() > 0).then_some(1)).collect();
    let first = |layer: &LayerSpectrum<'_>| layer.per_rank().min(layer.weights());
    let needed: usize = layers.iter().map(first).sum();
    let Some(rest) = left.checked_sub(needed) else {
        return Err(LowRankError::Budget { keep, least: needed as f64 / all.max(1) as f64 });
    };
    left = rest;
    let totals: Vec<f64> = layers.iter().map(|l| l.squared.iter().sum()).collect();
    let step = |index: usize, rank: usize| -> Option<Step> {
        let (layer, total) = (&layers[index], totals[index]);
        let share =
            |loss: f64, cost: usize| if total > 0.0 { loss / total / cost.max(1) as f64 } else { 0.0 };
        if rank < layer.most() {
            let cost = layer.per_rank();
            return Some(Step {
                layer: index,
                worth: share(layer.squared[rank], cost),
                cost,
                rank: Some(rank + 1),
            });
        }
        let cost = layer.weights() - rank * layer.per_rank();
        Some(Step { layer: index, worth: share(layer.squared[rank..].iter().sum(), cost), cost, rank: None })
    };
    let mut steps: BinaryHeap<Step> = (0..layers.len())
        .filter(|&index| ranks[index].is_some())
        .filter_map(|index| step(index, 1))
        .collect();
    while let Some(best) = steps.pop() {
        // One that is too dear does not keep cheaper ones of other layers from being taken.
        let Some(rest) = left.checked_sub(best.cost) else { continue };
        left = rest;
        ranks[best.layer] = best.rank;
        steps.extend(best.rank.and_then(|rank| step(best.layer, rank)));
    }
    Ok(ranks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost(layer: &LayerSpectrum<'_>, rank: Option<usize>) -> usize {
        rank.map_or(layer.weights(), |rank| rank * layer.per_rank()).min(layer.weights())
    }

    fn loss(layer: &LayerSpectrum<'_>, rank: Option<usize>) -> f64 {
        let total: f64 = layer.squared.iter().sum();
        rank.map_or(0.0, |rank| layer.squared[rank..].iter().sum::<f64>() / total)
    }

    proptest! {
        /// Within the budget; and no worse than the same share for every layer.
        #[test]
        fn beats_the_uniform_choice(
            shapes in prop::collection::vec((6usize..30, 6usize..30), 1..6), keep in 0.35f64..1.0, decay in 0.3f64..2.0,
        ) {
            let spectra: Vec<Vec<f64>> = shapes
                .iter()
                .enumerate()
                .map(|(l, &(m, n))| {
                    (0..m.min(n)).map(|k| (1.0 + k as f64).powf(-decay * (1.0 + l as f64))).collect()
                })
                .collect();
            let layers: Vec<LayerSpectrum<'_>> = shapes
                .iter()
                .zip(&spectra)
                .map(|(&(m, n), squared)| LayerSpectrum { shape: [m, n], squared })
                .collect();
            let ranks = allocate(&layers, keep).unwrap();
            let all: usize = layers.iter().map(LayerSpectrum::weights).sum();
            let spent: usize = layers.iter().zip(&ranks).map(|(l, r)| cost(l, *r)).sum();
            prop_assert!(spent as f64 <= keep * all as f64);
            let found: f64 = layers.iter().zip(&ranks).map(|(l, r)| loss(l, *r)).sum();
            let uniform = layers.iter().map(|l| Some(((keep * l.weights() as f64) as usize / l.per_rank()).max(1)));
            let uniform: f64 = layers.iter().zip(uniform).map(|(l, r)| loss(l, r)).sum();
            // One step of the coarsest layer is what rounding may cost.
            let step = layers.iter().map(|l| 1.0 / l.squared.len() as f64).fold(0.0, f64::max);
            prop_assert!(found <= uniform + step, "{found} instead of {uniform}");
        }
    }

    #[test]
    fn budgets_that_cannot_be_kept_are_refused() {
        let layer = LayerSpectrum { shape: [10, 10], squared: &[1.0; 10] };
        let error = allocate(&[layer, layer], 0.1).unwrap_err();
        assert!(matches!(error, LowRankError::Budget { .. }) && error.to_string().contains("0.2"), "{error}");
        assert!(matches!(allocate(&[layer], 1.5), Err(LowRankError::Config { .. })));
        assert_eq!(allocate(&[layer, layer], 1.0).unwrap(), [None, None]);
        // A vector has no product that is smaller.
        let thin = LayerSpectrum { shape: [1, 10], squared: &[1.0] };
        assert_eq!(allocate(&[thin, layer], 0.6).unwrap()[0], None);
    }
}
