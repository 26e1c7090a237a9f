//! What an evaluation worked out of a candidate beside its baseline.

use super::or_default;
use serde::Deserialize;
use std::collections::BTreeMap;
use tenuis_metrics::Direction;

/// What a candidate gained and lost.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Figures {
    /// What became smaller, by name, such as `bytes`.
    #[serde(default, deserialize_with = "or_default")]
    pub compression: BTreeMap<String, Compressed>,
    /// What is left of the quality, by name, such as `perplexity` or `task.facts`.
    #[serde(default, deserialize_with = "or_default")]
    pub retention: BTreeMap<String, Retention>,
    /// What became faster: `prefill` and `decode`.
    #[serde(default, deserialize_with = "or_default")]
    pub speed_up: BTreeMap<String, SpeedUp>,
    /// Perplexity left in percent ÷ fraction of the bytes.
    pub efficiency: Option<f64>,
    /// The weighted score.
    pub score: Option<f64>,
    /// Its weights, by criterion.
    #[serde(default, deserialize_with = "or_default")]
    pub score_weights: BTreeMap<String, Option<f64>>,
}

/// A quantity before and after.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Compressed {
    /// Before.
    pub original: Option<f64>,
    /// After.
    pub compressed: Option<f64>,
    /// Original ÷ compressed.
    pub compression_ratio: Option<f64>,
    /// Compressed ÷ original.
    pub fraction: Option<f64>,
    /// The change in percent.
    pub change_percent: Option<f64>,
}

/// A quality before and after.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Retention {
    /// Which values are better.
    pub direction: Option<Direction>,
    /// The baseline's value.
    pub baseline: Option<f64>,
    /// The candidate's.
    pub candidate: Option<f64>,
    /// What is left, in percent.
    pub percent: Option<f64>,
    /// The change in percent.
    pub change_percent: Option<f64>,
    /// Candidate − baseline with its interval.
    pub difference: Option<Difference>,
}

/// A difference and where the true one lies.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Difference {
    /// The difference itself.
    pub value: Option<f64>,
    /// The lower end of its interval.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The share of such intervals that hold the true one.
    pub confidence: Option<f64>,
}

/// How often as fast.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct SpeedUp {
    /// The baseline's median ÷ the candidate's.
    pub measured: Option<f64>,
    /// What fewer bytes or operations would allow.
    pub theoretical: Option<f64>,
    /// Whether the first stays clearly below the second.
    pub falls_short: Option<bool>,
}

impl Difference {
    /// Whether zero lies outside the interval; none where there is no interval.
    pub fn is_significant(&self) -> Option<bool> {
        Some(self.low? > 0.0 || self.high? < 0.0)
    }
}

impl Retention {
    /// Whether the difference is significant; none where it has no interval.
    pub fn is_significant(&self) -> Option<bool> {
        self.difference?.is_significant()
    }

    /// Whether the candidate is worse than the baseline, significantly or not.
    pub fn is_worse(&self) -> Option<bool> {
        let (from, to) = (self.baseline?, self.candidate?);
        Some(match self.direction.unwrap_or(Direction::HigherIsBetter) {
            Direction::HigherIsBetter => to < from,
            Direction::LowerIsBetter => to > from,
        })
    }
}
