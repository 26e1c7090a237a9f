//! Why a search cannot go on.

use super::TrialId;
use thiserror::Error;

/// Says why a search cannot begin or go on.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No options are declared.
    #[error("there are no options to search; declare at least one")]
    EmptySpace,
    /// An axis makes no sense.
    #[error("option {option}: {problem}")]
    Axis {
        /// The option.
        option: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A grid has too many points.
    #[error(
        "the grid has {points} points, and at most {most} are tried; take fewer values or steps, or search at random"
    )]
    Grid {
        /// Its points, as far as they can be counted.
        points: String,
        /// The limit.
        most: usize,
    },
    /// A number of the method makes no sense.
    #[error("{key} is {value}; it must be {allowed}")]
    Method {
        /// Which number.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A text is no trial's name.
    #[error("{text:?} names no trial; write BRACKET.RUNG.OPTIONS, three numbers")]
    TrialName {
        /// The text.
        text: String,
    },
    /// The search does not propose that trial, or not yet.
    #[error(
        "trial {trial} is none that this search proposes; was its state saved with another space, method or seed?"
    )]
    UnknownTrial {
        /// The trial.
        trial: TrialId,
    },
    /// A trial has a result already.
    #[error(
        "trial {trial} has another result already; results do not change, so start a new search to measure again"
    )]
    Told {
        /// The trial.
        trial: TrialId,
    },
    /// A result is no number to compare.
    #[error("{figure} of trial {trial} is {value}; tell a result that is not finite as failed")]
    NotFinite {
        /// The trial.
        trial: TrialId,
        /// Which figure.
        figure: String,
        /// What it is.
        value: f64,
    },
}
