//! The exact choice of one alternative per layer under budgets: a multiple-choice knapsack.
//!
//! Given layers `l` with alternatives `j` of loss `dₗⱼ` and costs `cₗⱼᵣ` in one to three resources `r`:
//!
//! ```text
//! min Σₗ d[l, j(l)]   subject to   Σₗ c[l, j(l), r] ≤ Bᵣ for every r,   exactly one j(l) per layer
//! ```
//!
//! 1. Dominated alternatives are dropped (Sinha and Zoltners 1979, "The multiple-choice knapsack problem").
//! 2. The Lagrangian dual `max over λ ≥ 0 of Σₗ minⱼ (dₗⱼ + λ·cₗⱼ) − λ·B` bounds the loss from below (Fisher 1981, "The Lagrangian relaxation
//!    method"); its λ are the prices of the resources. Choices met on the way, improved one layer at a time, bound it from above.
//! 3. Partial sums are extended layer by layer. Dropped are those that another one dominates in loss and all costs, that cannot be completed
//!    within the budgets, or whose bound is no better than the best known choice (Nemhauser and Ullmann 1969; Dyer, Riha and Walker 1995).
//!
//! The result is the optimum, up to the rounding of sums, unless more than [`SolverConfig::max_states`] partial sums survive. Then those with
//! the best bounds are kept, and the least bound of the others limits how far from the optimum the result can be: [`Allocation::gap`].
//!
//! Cost: `O(layers · S · m · log(S·m))` for `m` alternatives and `S` surviving sums. `S` is exponential in the worst case, as the problem is
//! NP-hard; with one resource the bounds leave dozens for hundreds of layers, with three budgets that all bind expect a gap.

mod dual;
mod error;
mod problem;
mod states;

pub use error::SolverError;

use problem::Problem;
use serde::{Deserialize, Serialize};

/// The most resources that a problem can have.
pub const MAX_RESOURCES: usize = 3;

/// Describes one way to store a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alternative {
    /// Its name: `int4`, `2:4`, `rank 64`.
    pub name: String,
    /// Its costs, one per budget, in the budget's unit; not negative.
    pub costs: Vec<f64>,
    /// What it adds to the loss, for example to the predicted KL divergence.
    pub loss: f64,
}

impl Alternative {
    /// Creates an alternative.
    pub fn new(name: &str, costs: &[f64], loss: f64) -> Self {
        Self { name: name.to_owned(), costs: costs.to_vec(), loss }
    }
}

/// Lists the ways to store a layer, of which one is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// The ways.
    pub alternatives: Vec<Alternative>,
}

impl Layer {
    /// Creates a layer.
    pub fn new(name: &str, alternatives: Vec<Alternative>) -> Self {
        Self { name: name.to_owned(), alternatives }
    }
}

/// Limits a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Budget {
    /// The resource's name: `bytes`, `flops`, `latency_ms`.
    pub resource: String,
    /// The most that all layers together may cost.
    pub limit: f64,
}

impl Budget {
    /// Creates a budget.
    pub fn new(resource: &str, limit: f64) -> Self {
        Self { resource: resource.to_owned(), limit }
    }
}

/// Says which alternatives were chosen, at what price, and how sure that is the best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Allocation {
    /// The index of the chosen alternative of each layer.
    pub choices: Vec<usize>,
    /// The sum of their losses.
    pub loss: f64,
    /// The sums of their costs, one per budget.
    pub costs: Vec<f64>,
    /// The dual price of each resource: about how much loss one more unit of it would save. 0 where the budget does not bind.
    pub prices: Vec<f64>,
    /// A loss that no choice within the budgets undercuts.
    pub lower_bound: f64,
    /// `loss − lower_bound`, at least 0; 0 means that the choice is the optimum.
    pub gap: f64,
    /// The most partial sums that were kept at once.
    pub states: usize,
}

impl Allocation {
    /// Tells whether the choice is proven to be the best.
    pub fn is_optimal(&self) -> bool {
        self.gap == 0.0
    }
}

/// Configures the solver.
///
/// ```
/// use tenuis_plan::solver::{Alternative, Budget, Layer, SolverConfig};
/// let layer = |name: &str, harm: f64| Layer::new(name, vec![
///     Alternative::new("int8", &[8.0], 0.01 * harm),
///     Alternative::new("int4", &[4.0], 0.1 * harm),
/// ]);
/// let layers = [layer("attention", 3.0), layer("mlp", 1.0)];
/// let best = SolverConfig::default().solve(&layers, &[Budget::new("bytes", 12.0)])?;
/// assert_eq!(best.choices, [0, 1]); // the sensitive layer keeps its bits
/// assert!(best.is_optimal() && best.prices[0] > 0.0);
/// # Ok::<(), tenuis_plan::solver::SolverError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SolverConfig {
    /// Partial sums kept per layer, at 40 bytes each; beyond that the result has a gap.
    pub max_states: usize,
}

impl Default for SolverConfig {
    /// 20 000 partial sums.
    fn default() -> Self {
        Self { max_states: 20_000 }
    }
}

impl SolverConfig {
    /// Sets how many partial sums are kept.
    #[must_use]
    pub fn with_max_states(self, max_states: usize) -> Self {
        Self { max_states }
    }

    /// Chooses one alternative per layer so that the sum of losses is least and every budget is kept.
    ///
    /// # Errors
    ///
    /// [`SolverError`] if the input does not fit together or is not finite, if the budgets cannot be kept
    /// ([`Infeasible`](SolverError::Infeasible), [`InfeasibleTogether`](SolverError::InfeasibleTogether)), or if `max_states` was too small to tell.
    pub fn solve(&self, layers: &[Layer], budgets: &[Budget]) -> Result<Allocation, SolverError> {
        if self.max_states == 0 {
            return Err(SolverError::MaxStates);
        }
        let problem = Problem::new(layers, budgets)?;
        let dual = dual::maximise(&problem);
        let search = states::search(&problem, &dual, self.max_states);
        let Some((loss, picks)) = search.best else {
            return Err(if search.dropped_bound.is_finite() {
                SolverError::Undecided { max_states: self.max_states }
            } else {
                SolverError::InfeasibleTogether
            });
        };
        let lower_bound = loss.min(search.dropped_bound.max(dual.bound));
        Ok(Allocation {
            choices: problem.alternatives_of(&picks),
            loss,
            costs: problem.costs_of(&picks)[..budgets.len()].to_vec(),
            prices: dual.prices[..budgets.len()].to_vec(),
            lower_bound,
            gap: loss - lower_bound,
            states: search.states,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sums of a few numbers in another order.
    const ROUNDING: f64 = 1e-9;

    fn brute_force(layers: &[Layer], budgets: &[Budget]) -> Option<f64> {
        fn descend(layers: &[Layer], budgets: &[Budget], costs: &[f64], loss: f64) -> Option<f64> {
            let Some((layer, rest)) = layers.split_first() else {
                let within = budgets.iter().zip(costs).all(|(b, c)| *c <= b.limit);
                return within.then_some(loss);
            };
            let next = layer.alternatives.iter().filter_map(|a| {
                let costs: Vec<_> = costs.iter().zip(&a.costs).map(|(x, y)| x + y).collect();
                descend(rest, budgets, &costs, loss + a.loss)
            });
            next.min_by(f64::total_cmp)
        }
        descend(layers, budgets, &vec![0.0; budgets.len()], 0.0)
    }

    fn problems(resources: usize) -> impl Strategy<Value = (Vec<Layer>, Vec<Budget>)> {
        // Small integers make ties, dominated alternatives and budgets that are met exactly common.
        let alternative =
            (prop::collection::vec(0u32..12, resources), -3i32..20).prop_map(|(costs, loss)| {
                Alternative::new("a", &costs.into_iter().map(f64::from).collect::<Vec<_>>(), f64::from(loss))
            });
        let layer = prop::collection::vec(alternative, 1..5).prop_map(|a| Layer::new("l", a));
        let budgets =
            prop::collection::vec((0u32..40).prop_map(|b| Budget::new("r", f64::from(b))), resources);
        (prop::collection::vec(layer, 1..7), budgets)
    }

    fn any_problem() -> impl Strategy<Value = (Vec<Layer>, Vec<Budget>)> {
        (1..=MAX_RESOURCES).prop_flat_map(problems)
    }

    fn check_consistent(found: &Allocation, layers: &[Layer], budgets: &[Budget]) {
        let chosen = || layers.iter().zip(&found.choices).map(|(layer, &choice)| &layer.alternatives[choice]);
        assert!((chosen().map(|a| a.loss).sum::<f64>() - found.loss).abs() < ROUNDING);
        for (r, budget) in budgets.iter().enumerate() {
            let cost: f64 = chosen().map(|a| a.costs[r]).sum();
            assert!((cost - found.costs[r]).abs() < ROUNDING && cost <= budget.limit + ROUNDING);
            assert!(found.prices[r] >= 0.0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn the_optimum_is_that_of_brute_force((layers, budgets) in any_problem()) {
            let found = SolverConfig::default().solve(&layers, &budgets);
            match brute_force(&layers, &budgets) {
                Some(loss) => {
                    let found = found.unwrap();
                    prop_assert!((found.loss - loss).abs() < ROUNDING, "{found:?} {loss}");
                    prop_assert!(found.is_optimal());
                    check_consistent(&found, &layers, &budgets);
                }
                None => prop_assert!(matches!(found, Err(SolverError::Infeasible { .. } | SolverError::InfeasibleTogether)), "{found:?}"),
            }
        }

        #[test]
        fn the_gap_covers_the_optimum_when_states_are_dropped((layers, budgets) in any_problem()) {
            let found = SolverConfig::default().with_max_states(1).solve(&layers, &budgets);
            if let (Ok(found), Some(loss)) = (found, brute_force(&layers, &budgets)) {
                prop_assert!(found.loss >= loss - ROUNDING && found.lower_bound <= loss + ROUNDING, "{found:?} {loss}");
                check_consistent(&found, &layers, &budgets);
            }
        }

        #[test]
        fn more_budget_never_hurts((layers, budgets) in any_problem(), more in 0u32..20) {
            let wider: Vec<_> = budgets.iter().map(|b| Budget::new("r", b.limit + f64::from(more))).collect();
            if let Ok(tight) = SolverConfig::default().solve(&layers, &budgets) {
                let wide = SolverConfig::default().solve(&layers, &wider).unwrap();
                prop_assert!(wide.loss <= tight.loss + ROUNDING);
                // The prices of the tighter problem bound what the wider one can save.
                let worth: f64 = tight.prices.iter().map(|price| price * f64::from(more)).sum();
                let bound = tight.loss - wide.loss;
                let integrality = tight.loss - relaxed(&layers, &budgets, &tight.prices);
                prop_assert!(bound <= worth + integrality + ROUNDING, "{bound} {worth} {integrality}");
            }
        }
    }

    fn relaxed(layers: &[Layer], budgets: &[Budget], prices: &[f64]) -> f64 {
        let priced = |a: &Alternative| a.loss + a.costs.iter().zip(prices).map(|(c, p)| c * p).sum::<f64>();
        let least: f64 =
            layers.iter().map(|l| l.alternatives.iter().map(priced).fold(f64::INFINITY, f64::min)).sum();
        least - budgets.iter().zip(prices).map(|(b, p)| b.limit * p).sum::<f64>()
    }

    /// Layers of a network: each bit halves the error and costs bytes; time and energy depend on the kernel as much as on the bits.
    fn network(layers: usize, resources: usize) -> (Vec<Layer>, Vec<Budget>) {
        const BITS: [f64; 6] = [2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
        /// Budgets as shares of the mean alternative's cost, such that each binds.
        const SHARES: [f64; 3] = [0.95, 0.85, 0.85];
        let mut draw = 1u64;
        let mut uniform = move || {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (draw >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut layer = |l: usize| {
            let (size, harm) = (1e6 * (1.0 + (l % 7) as f64), 0.1 + uniform());
            let mut alternative = |bits: f64| {
                let (kernel, wires) = (0.5 + uniform(), 0.5 + uniform());
                let costs = [(size * bits / 8.0).round(), size * kernel, size * wires * bits.sqrt()];
                Alternative::new("bits", &costs[..resources], harm * (-bits).exp2() * (0.5 + uniform()))
            };
            Layer::new("layer", BITS.map(&mut alternative).to_vec())
        };
        let layers: Vec<_> = (0..layers).map(&mut layer).collect();
        let mean = |r: usize| {
            let of = |layer: &Layer| {
                layer.alternatives.iter().map(|a| a.costs[r]).sum::<f64>() / BITS.len() as f64
            };
            layers.iter().map(of).sum::<f64>()
        };
        let budgets = (0..resources).map(|r| Budget::new("r", (mean(r) * SHARES[r]).round())).collect();
        (layers, budgets)
    }

    #[test]
    fn a_network_of_hundreds_of_layers_is_solved_to_the_optimum() {
        let (layers, budgets) = network(224, 1);
        let found = SolverConfig::default().solve(&layers, &budgets).unwrap();
        assert!(found.is_optimal(), "{found:?}");
        check_consistent(&found, &layers, &budgets);
    }

    /// What three budgets may leave open with few partial sums, as a share of the loss.
    const SMALL_GAP: f64 = 0.02;

    #[test]
    fn several_budgets_that_bind_leave_a_small_gap_at_most() {
        for resources in [2, 3] {
            let (layers, budgets) = network(30, resources);
            let found = SolverConfig::default().with_max_states(500).solve(&layers, &budgets).unwrap();
            assert!(found.prices.iter().all(|price| *price > 0.0), "{found:?}");
            assert!(found.gap <= SMALL_GAP * found.loss && found.states <= 500, "{found:?}");
            check_consistent(&found, &layers, &budgets);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let layers =
            |costs: &[f64], loss: f64| [Layer::new("q_proj", vec![Alternative::new("int4", costs, loss)])];
        let bytes = [Budget::new("bytes", 1.0)];
        let message = |layers: &[Layer], budgets: &[Budget]| {
            SolverConfig::default().solve(layers, budgets).unwrap_err().to_string()
        };
        for (found, wanted) in [
            (message(&[], &bytes), "no layers"),
            (message(&[Layer::new("q_proj", vec![])], &bytes), "q_proj"),
            (message(&layers(&[1.0, 2.0], 0.0), &bytes), "int4"),
            (message(&layers(&[f64::NAN], 0.0), &bytes), "NaN"),
            (message(&layers(&[-1.0], 0.0), &bytes), "-1"),
            (message(&layers(&[1.0], f64::INFINITY), &bytes), "inf"),
            (message(&layers(&[], 0.0), &[]), "1 to 3"),
            (message(&layers(&[2.0], 0.0), &bytes), "bytes"),
            (message(&layers(&[2.0], 0.0), &[Budget::new("bytes", f64::NAN)]), "NaN"),
            (
                SolverConfig { max_states: 0 }.solve(&layers(&[1.0], 0.0), &bytes).unwrap_err().to_string(),
                "max_states",
            ),
        ] {
            assert!(found.contains(wanted), "{found:?} lacks {wanted:?}");
        }
    }

    #[test]
    fn budgets_that_exclude_each_other_are_told_apart() {
        let either = vec![Alternative::new("a", &[0.0, 2.0], 0.0), Alternative::new("b", &[2.0, 0.0], 0.0)];
        let budgets = [Budget::new("bytes", 1.0), Budget::new("flops", 1.0)];
        let found = SolverConfig::default().solve(&[Layer::new("l", either)], &budgets);
        assert_eq!(found, Err(SolverError::InfeasibleTogether));
    }

    #[test]
    fn a_loose_budget_has_no_price() {
        let (layers, _) = network(10, 1);
        let found = SolverConfig::default().solve(&layers, &[Budget::new("bytes", 1e12)]).unwrap();
        assert_eq!((found.prices.as_slice(), found.gap), ([0.0].as_slice(), 0.0));
    }
}
