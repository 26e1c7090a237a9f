//! Why nothing was allocated.

use tenuis_plan::solver::SolverError;
use thiserror::Error;

/// Says why there is no allocation.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// A menu cannot be read.
    #[error("{file}: {problem}")]
    Menu {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A budget is none.
    #[error(
        "{text:?} is no budget; write a share of what the model takes, such as 0.25x, or a number such as 1.5e6"
    )]
    BudgetForm {
        /// What was given.
        text: String,
    },
    /// Nothing limits the choice.
    #[error("there is no budget; give one of bytes, flops and latency")]
    NoBudget,
    /// Even the cheapest choices take too much.
    #[error(
        "the least that this menu makes of the model takes {needed} {resource}, {fixed} of them in what no choice touches, and \
         the budget is {limit}; raise it or offer smaller choices"
    )]
    TooSmall {
        /// The resource.
        resource: &'static str,
        /// The least that can be reached.
        needed: f64,
        /// What no choice touches.
        fixed: f64,
        /// The budget.
        limit: f64,
    },
    /// Nothing is to be done.
    #[error(
        "the budget leaves every weight as it is; lower it, and compress by a recipe if the form alone matters"
    )]
    Nothing,
    /// The weights of all choices do not fit into the memory that scores may take.
    #[error(
        "the weights of all choices take more than {limit} bytes, and scores need all of them in memory; raise the limit, \
         offer fewer choices, or take the scores from the output error (`error`)"
    )]
    TooManyCandidates {
        /// The limit in bytes.
        limit: u64,
    },
    /// The solver refused the problem.
    #[error("the choice could not be made: {0}")]
    Solver(#[from] SolverError),
}
