//! What can go wrong while predictions are scored.

use crate::predictions::FileError;
use crate::ratings::RatingError;
use tenuis_linalg::{EigenError, SvdError};
use thiserror::Error;

/// Why there is no score.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There are no items.
    #[error("{metric}: there is nothing to score; give at least one item")]
    Empty {
        /// The metric's name.
        metric: &'static str,
    },
    /// Two lists that belong together have different lengths.
    #[error("{metric}: {found} {what} for {expected} predictions")]
    Length {
        /// The metric's name.
        metric: &'static str,
        /// What there is too much or too little of.
        what: &'static str,
        /// The number of predictions.
        expected: usize,
        /// The number of the others.
        found: usize,
    },
    /// An item has nothing to be compared with.
    #[error("{metric}: item {item} has no reference")]
    NoReference {
        /// The metric's name.
        metric: &'static str,
        /// Its index, from 0.
        item: usize,
    },
    /// A number is a NaN or an infinity.
    #[error("{metric}: {what} of item {item} is {value}; it must be finite")]
    NotFinite {
        /// The metric's name.
        metric: &'static str,
        /// Which number.
        what: &'static str,
        /// Its item's index, from 0.
        item: usize,
        /// What it is.
        value: f64,
    },
    /// A probability lies outside of `[0, 1]`, or those of an item do not sum to 1.
    #[error("{metric}: the probabilities of item {item} are {problem}")]
    Probability {
        /// The metric's name.
        metric: &'static str,
        /// The item's index, from 0.
        item: usize,
        /// What is wrong with them.
        problem: String,
    },
    /// A label is none of the classes that scores stand for.
    #[error("{metric}: item {item} has the class {class:?}, which is none of {known}")]
    UnknownClass {
        /// The metric's name.
        metric: &'static str,
        /// The item's index, from 0.
        item: usize,
        /// The label.
        class: String,
        /// The classes that there are.
        known: String,
    },
    /// The metric tells classes apart, and there is only one.
    #[error("{metric}: every item is of class {class:?}; at least two classes must occur")]
    OneClass {
        /// The metric's name.
        metric: &'static str,
        /// The class.
        class: String,
    },
    /// The formula has no value for this input.
    #[error("{metric} is not defined: {reason}")]
    Undefined {
        /// The metric's name.
        metric: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// An option has a value that makes no sense.
    #[error("{option} is {value}, but must be {allowed}")]
    Config {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A tag does not belong to the scheme.
    #[error("sentence {sentence}, token {token}: the tag {tag:?} must begin with one of {allowed}")]
    Tag {
        /// The sentence's index, from 0.
        sentence: usize,
        /// The token's index, from 0.
        token: usize,
        /// The tag.
        tag: String,
        /// The prefixes of the scheme.
        allowed: &'static str,
    },
    /// A sentence has not as many predicted tags as true ones.
    #[error("sentence {sentence}: {found} predicted tags for {expected} tokens")]
    TagCount {
        /// The sentence's index, from 0.
        sentence: usize,
        /// True tags.
        expected: usize,
        /// Predicted tags.
        found: usize,
    },
    /// Values that are no rows of features.
    #[error("{metric}: {found} values are no rows of {features} features")]
    Features {
        /// The metric's name.
        metric: &'static str,
        /// Features of a row.
        features: usize,
        /// Values that were given.
        found: usize,
    },
    /// Too few rows for a covariance.
    #[error("{metric}: {rows} rows have no covariance; give at least {needed}")]
    Rows {
        /// The metric's name.
        metric: &'static str,
        /// Rows there are.
        rows: usize,
        /// Rows that are needed.
        needed: usize,
    },
    /// Two files that are compared ask for different things.
    #[error(
        "field {field:?} differs between the files (line {} of the baseline, line {} of the candidate); both must answer \
         the same items in the same order", lines.0, lines.1
    )]
    DifferentItems {
        /// The field.
        field: String,
        /// The lines in both files, from 1.
        lines: (u64, u64),
    },
    /// There is no metric of that name.
    #[error("there is no metric {name:?}; there are {known}")]
    UnknownMetric {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// The eigenvalues of a covariance could not be computed.
    #[error(transparent)]
    Eigen(#[from] EigenError),
    /// The singular values of a product of covariances could not be computed.
    #[error(transparent)]
    Svd(#[from] SvdError),
    /// A file of predictions cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Ratings cannot be used.
    #[error(transparent)]
    Rating(#[from] RatingError),
}

/// Checks that there are items, and as many of the second kind as of the first.
pub(crate) fn check_pairs(
    metric: &'static str,
    what: &'static str,
    predictions: usize,
    others: usize,
) -> Result<(), MetricError> {
    if predictions != others {
        return Err(MetricError::Length { metric, what, expected: predictions, found: others });
    }
    if predictions == 0 { Err(MetricError::Empty { metric }) } else { Ok(()) }
}

/// Checks that all values are finite.
pub(crate) fn check_finite(
    metric: &'static str,
    what: &'static str,
    values: &[f64],
) -> Result<(), MetricError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(item) => Err(MetricError::NotFinite { metric, what, item, value: values[item] }),
        None => Ok(()),
    }
}
