//! Which metrics there are, and which way is up.

use crate::error::MetricError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Direction {
    /// Accuracy, BLEU and their like.
    HigherIsBetter,
    /// Perplexity, latency, sizes and their like.
    LowerIsBetter,
}

/// The values that a metric can have; a missing end is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Range {
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
}

impl Range {
    /// Whether a value lies within.
    pub fn contains(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "from {min}"),
            (None, Some(max)) => write!(f, "up to {max}"),
            (None, None) => f.write_str("any number"),
        }
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricInfo {
    /// Its name, as [`compute`](crate::compute) takes it.
    pub name: &'static str,
    /// Which values are better.
    pub direction: Direction,
    /// Which values there are.
    pub range: Range,
    /// The fields that a file of predictions must have.
    pub fields: &'static [&'static str],
    /// What it measures.
    pub about: &'static str,
}

use Direction::{HigherIsBetter as Up, LowerIsBetter as Down};

const TEXT: &[&str] = &["prediction", "reference"];
const ALONE: &[&str] = &["prediction"];
const CLASS: &[&str] = &["prediction", "label"];
const SCORE: &[&str] = &["score", "label"];
const TAGS: &[&str] = &["prediction", "tags"];

const SHARE: Range = Range { min: Some(0.0), max: Some(1.0) };
const PERCENT: Range = Range { min: Some(0.0), max: Some(100.0) };
const SIGNED: Range = Range { min: Some(-1.0), max: Some(1.0) };
const POSITIVE: Range = Range { min: Some(0.0), max: None };
const AT_MOST_ONE: Range = Range { min: None, max: Some(1.0) };

const fn info(
    name: &'static str,
    direction: Direction,
    range: Range,
    fields: &'static [&'static str],
    about: &'static str,
) -> MetricInfo {
    MetricInfo { name, direction, range, fields, about }
}

/// Every metric that [`compute`](crate::compute) knows.
pub const METRICS: &[MetricInfo] = &[
    info("bleu", Up, PERCENT, TEXT, "n-grams of words shared with references"),
    info("chrf", Up, PERCENT, TEXT, "n-grams of characters shared with a reference"),
    info("chrf++", Up, PERCENT, TEXT, "n-grams of characters and words shared with a reference"),
    info("ter", Down, POSITIVE, TEXT, "edits and shifts per word of the reference, in percent"),
    info("rouge1", Up, SHARE, TEXT, "words shared with a reference, F1"),
    info("rouge2", Up, SHARE, TEXT, "pairs of words shared with a reference, F1"),
    info("rougeL", Up, SHARE, TEXT, "longest common subsequence of words, F1"),
    info("rougeLsum", Up, SHARE, TEXT, "common subsequences by sentence, F1"),
    info("exact_match", Up, SHARE, TEXT, "answers that are a reference, letter by letter or normalised"),
    info("squad_em", Up, SHARE, TEXT, "answers that are a reference after SQuAD's normalisation"),
    info("squad_f1", Up, SHARE, TEXT, "words shared with a reference after SQuAD's normalisation"),
    info("numeric_match", Up, SHARE, TEXT, "answers whose number is that of a reference"),
    info("accuracy", Up, SHARE, CLASS, "items whose class was found"),
    info("balanced_accuracy", Up, SHARE, CLASS, "mean recall of classes"),
    info("precision", Up, SHARE, CLASS, "what was predicted that is right"),
    info("recall", Up, SHARE, CLASS, "what is right that was predicted"),
    info("f1", Up, SHARE, CLASS, "harmonic mean of precision and recall"),
    info("mcc", Up, SIGNED, CLASS, "correlation of classes (Matthews)"),
    info("cohen_kappa", Up, SIGNED, CLASS, "agreement of classes beyond chance"),
    info("roc_auc", Up, SHARE, SCORE, "how well scores rank the class looked for"),
    info("average_precision", Up, SHARE, SCORE, "area under precision against recall"),
    info("log_loss", Down, POSITIVE, SCORE, "mean surprise at labels, in nats"),
    info("brier", Down, SHARE, SCORE, "mean squared error of probabilities"),
    info("top_k_accuracy", Up, SHARE, SCORE, "items whose class is among the k likeliest"),
    info("mse", Down, POSITIVE, CLASS, "mean squared error"),
    info("rmse", Down, POSITIVE, CLASS, "root of the mean squared error"),
    info("mae", Down, POSITIVE, CLASS, "mean absolute error"),
    info("r2", Up, AT_MOST_ONE, CLASS, "share of variance explained"),
    info("pearson", Up, SIGNED, CLASS, "linear correlation"),
    info("spearman", Up, SIGNED, CLASS, "correlation of ranks"),
    info("kendall", Up, SIGNED, CLASS, "pairs in the same order (tau-b)"),
    info("entity_precision", Up, SHARE, TAGS, "predicted entities that are right"),
    info("entity_recall", Up, SHARE, TAGS, "true entities that were found"),
    info("entity_f1", Up, SHARE, TAGS, "harmonic mean of precision and recall of entities"),
    info("token_accuracy", Up, SHARE, TAGS, "tokens whose tag is right"),
    info("frechet", Down, POSITIVE, TEXT, "distance of the distributions of two sets of features"),
    info("distinct", Up, SHARE, ALONE, "distinct n-grams among all"),
    info("repetition", Down, SHARE, ALONE, "n-grams that occurred in the same text before"),
    info("self_bleu", Down, PERCENT, ALONE, "how alike predictions are to each other"),
];

/// Finds a metric by its name.
///
/// ```
/// use tenuis_metrics::{Direction, metric};
/// assert_eq!(metric("ter")?.direction, Direction::LowerIsBetter);
/// assert!(metric("elegance").is_err());
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::UnknownMetric`], which lists all names.
pub fn metric(name: &str) -> Result<&'static MetricInfo, MetricError> {
    METRICS.iter().find(|metric| metric.name == name).ok_or_else(|| {
        let known = METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>().join(", ");
        MetricError::UnknownMetric { name: name.to_owned(), known }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
    }
}
