//! Why a report cannot be shown.

use thiserror::Error;

/// Why there is no page.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The text is not JSON.
    #[error("the report is not JSON: {0}; give the report.json that an evaluation wrote")]
    Json(#[source] serde_json::Error),
    /// A field is missing or of the wrong kind.
    #[error("the report's field `{field}`: {source}")]
    Field {
        /// Where it stands, such as `candidates[1].size.bytes`.
        field: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The form is one that this version does not know.
    #[error("the report's field `schema` is {found:?}, expected {expected:?}; use the version that wrote it")]
    Schema {
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A template of ours failed.
    #[error("the page's template: {0}")]
    Template(#[from] minijinja::Error),
}

/// Why there is no front.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrontError {
    /// A point has too few or too many values.
    #[error("point {point} has {found} values for {expected} objectives")]
    Length {
        /// Its index, from 0.
        point: usize,
        /// The number of objectives.
        expected: usize,
        /// The number of its values.
        found: usize,
    },
    /// A value is a NaN, of which nothing is better or worse.
    #[error("value {objective} of point {point} is not a number")]
    NotANumber {
        /// The point's index, from 0.
        point: usize,
        /// The objective's index, from 0.
        objective: usize,
    },
}
