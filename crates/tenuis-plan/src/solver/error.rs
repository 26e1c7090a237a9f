//! Why there is no allocation.

use thiserror::Error;

/// Says why there is no allocation.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SolverError {
    /// There is nothing to choose for.
    #[error("there are no layers; give at least one")]
    NoLayers,
    /// A layer has nothing to choose from.
    #[error("layer {layer} has no alternatives; give at least one, for example the layer as it is")]
    NoAlternatives {
        /// The layer.
        layer: String,
    },
    /// There are too many or too few budgets.
    #[error("there are {found} budgets; give 1 to 3, and treat others as constraints on the result")]
    Budgets {
        /// Budgets given.
        found: usize,
    },
    /// An alternative does not have one cost per budget.
    #[error(
        "{alternative} of layer {layer} has {found} costs for {expected} budgets; give one per budget, in their order"
    )]
    Costs {
        /// The layer.
        layer: String,
        /// The alternative.
        alternative: String,
        /// Budgets.
        expected: usize,
        /// Costs.
        found: usize,
    },
    /// A loss, a cost or a limit is no number to add up.
    #[error("{what} is {value}; losses and limits must be finite, costs also not negative")]
    Number {
        /// Whose number it is.
        what: String,
        /// What it is.
        value: f64,
    },
    /// Even the cheapest alternatives cost too much.
    #[error(
        "the cheapest alternatives cost {needed} {resource} together, and the budget is {limit}; raise it or offer cheaper ones"
    )]
    Infeasible {
        /// The resource.
        resource: String,
        /// The least that all layers can cost.
        needed: f64,
        /// The budget.
        limit: f64,
    },
    /// Each budget can be kept, but not all at once.
    #[error(
        "each budget can be kept alone, but not all of them together; raise one or offer alternatives that are cheap in all"
    )]
    InfeasibleTogether,
    /// Nothing within the budgets was found before partial sums were dropped.
    #[error(
        "nothing within the budgets was found among {max_states} partial sums; raise max_states or a budget"
    )]
    Undecided {
        /// The limit.
        max_states: usize,
    },
    /// Nothing may be kept.
    #[error("max_states is 0; it must be at least 1")]
    MaxStates,
}
