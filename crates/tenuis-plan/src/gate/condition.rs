//! Conditions and what is known of their figures.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bounds a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// `value < limit`.
    Below(f64),
    /// `value <= limit`.
    AtMost(f64),
    /// `value > limit`.
    Above(f64),
    /// `value >= limit`.
    AtLeast(f64),
    /// It could not be computed, because the baseline's figure was not measured.
    Unknown,
}

/// Holds what is known of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// It was counted, as bytes are.
    Exact(f64),
    /// It was estimated, as every quality is.
    Interval {
        /// The estimate.
        value: f64,
        /// The lower bound of its confidence interval.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// It was not measured.
    Missing,
}

/// Says whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// It does, with its whole interval.
    Holds,
    /// Its bound does not.
    Broken,
    /// Something was not measured or is not finite, which never counts as passed.
    Undecided,
}

/// States a condition and what it is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Condition {
    /// Its text, for people and the ledger.
    pub requirement: String,
    /// The limit in the figure's unit.
    pub limit: Limit,
    /// What is known.
    pub evidence: Evidence,
}

impl Condition {
    /// Creates a condition.
    pub fn new(requirement: &str, limit: Limit, evidence: Evidence) -> Self {
        Self { requirement: requirement.to_owned(), limit, evidence }
    }

    /// Yields the value that the limit is held against: the worse bound, or the exact value.
    pub fn decisive(&self) -> Option<f64> {
        let value = match (self.evidence, self.limit) {
            (Evidence::Exact(value), _) => value,
            // An interval that does not hold its own estimate is no evidence.
            (Evidence::Interval { value, low, high }, _) if !(low <= value && value <= high) => return None,
            (Evidence::Interval { high, .. }, Limit::Below(_) | Limit::AtMost(_)) => high,
            (Evidence::Interval { low, .. }, Limit::Above(_) | Limit::AtLeast(_)) => low,
            (Evidence::Interval { .. }, Limit::Unknown) | (Evidence::Missing, _) => return None,
        };
        value.is_finite().then_some(value)
    }

    /// Judges it.
    pub fn verdict(&self) -> Verdict {
        let Some(value) = self.decisive() else { return Verdict::Undecided };
        let holds = match self.limit {
            Limit::Below(limit) if limit.is_finite() => value < limit,
            Limit::AtMost(limit) if limit.is_finite() => value <= limit,
            Limit::Above(limit) if limit.is_finite() => value > limit,
            Limit::AtLeast(limit) if limit.is_finite() => value >= limit,
            _ => return Verdict::Undecided,
        };
        if holds { Verdict::Holds } else { Verdict::Broken }
    }
}

impl fmt::Display for Condition {
    /// Writes the condition and what decided it, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.verdict() {
            Verdict::Holds => "holds",
            Verdict::Broken => "does not hold",
            Verdict::Undecided => {
                return write!(f, "{} is undecided: not everything was measured", self.requirement);
            }
        };
        match self.evidence {
            Evidence::Interval { value, low, high } => {
                write!(f, "{} {outcome}: {value}, interval {low} to {high}", self.requirement)
            }
            Evidence::Exact(value) => write!(f, "{} {outcome}: {value}", self.requirement),
            Evidence::Missing => write!(f, "{} {outcome}", self.requirement),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(limit: Limit, evidence: Evidence) -> Condition {
        Condition::new("it", limit, evidence)
    }

    #[test]
    fn the_worse_bound_decides() {
        let estimate = Evidence::Interval { value: 1.0, low: 0.9, high: 1.1 };
        for (limit, wanted) in [
            (Limit::AtMost(1.1), Verdict::Holds),
            (Limit::Below(1.1), Verdict::Broken),
            (Limit::AtMost(1.05), Verdict::Broken),
            (Limit::AtLeast(0.9), Verdict::Holds),
            (Limit::Above(0.9), Verdict::Broken),
            (Limit::AtLeast(0.95), Verdict::Broken),
            (Limit::Unknown, Verdict::Undecided),
            (Limit::AtMost(f64::NAN), Verdict::Undecided),
        ] {
            assert_eq!(condition(limit, estimate).verdict(), wanted, "{limit:?}");
        }
    }

    #[test]
    fn what_is_no_evidence_decides_nothing() {
        for evidence in [
            Evidence::Missing,
            Evidence::Exact(f64::NAN),
            Evidence::Interval { value: 1.0, low: f64::NAN, high: 2.0 },
            Evidence::Interval { value: 3.0, low: 1.0, high: 2.0 },
            Evidence::Interval { value: 1.0, low: 0.0, high: f64::INFINITY },
        ] {
            let condition = condition(Limit::AtMost(9.0), evidence);
            assert_eq!(condition.verdict(), Verdict::Undecided, "{evidence:?}");
            assert!(condition.to_string().contains("undecided"));
        }
    }
}
