//! How well scores rank items: areas under curves.

use super::ClassScores;
use crate::error::{MetricError, check_finite, check_pairs};
use serde::{Deserialize, Serialize};

const AUC: &str = "roc_auc";

/// How areas of several classes become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiClass {
    /// The plain mean over classes, each against all others.
    #[default]
    OneVsRest,
    /// The mean over classes, each against all others, weighted by how many items they have.
    OneVsRestWeighted,
    /// The plain mean over ordered pairs of classes (Hand and Till 2001).
    OneVsOne,
}

/// The area under the curve of true against false positives: how probable it is that an item of the class has the higher
/// score than one that is not of it, where a tie is half a win.
///
/// From the mean rank of equal scores, with `n₁` items of the class and `n₀` others:
/// `AUC = (Σ ranks of the class − n₁ (n₁ + 1) / 2) / (n₀ n₁)` (Mann and Whitney 1947; Hanley and McNeil 1982).
/// Higher is better, 0 to 1.
///
/// ```
/// use tenuis_metrics::roc_auc;
/// assert_eq!(roc_auc(&[true, false, true, false], &[0.9, 0.1, 0.4, 0.4])?, 0.875);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NotFinite`], [`MetricError::OneClass`].
pub fn roc_auc(labels: &[bool], scores: &[f64]) -> Result<f64, MetricError> {
    check(AUC, labels, scores)?;
    let positives = labels.iter().filter(|&&label| label).count();
    let ranks = crate::correlation::ranks(scores);
    let sum: f64 = ranks.iter().zip(labels).filter(|(_, label)| **label).map(|(rank, _)| rank).sum();
    let (n1, n0) = (positives as f64, (labels.len() - positives) as f64);
    Ok((sum - n1 * (n1 + 1.0) / 2.0) / (n0 * n1))
}

/// The area under the curve for several classes.
///
/// ```
/// use tenuis_metrics::{ClassScores, MultiClass, roc_auc_multiclass};
/// let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
/// let scores = [0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.1, 0.2, 0.7].to_vec();
/// let scores = ClassScores::new(classes, &["a", "b", "c"], scores)?;
/// assert_eq!(roc_auc_multiclass(&scores, MultiClass::OneVsRest)?, 1.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] where a class has no items, or all.
pub fn roc_auc_multiclass(scores: &ClassScores, how: MultiClass) -> Result<f64, MetricError> {
    let classes = scores.classes().len();
    let area = |class: usize, others: &dyn Fn(usize) -> bool| {
        let items: Vec<usize> = (0..scores.items()).filter(|&i| others(scores.label(i))).collect();
        let labels: Vec<bool> = items.iter().map(|&i| scores.label(i) == class).collect();
        let values: Vec<f64> = items.iter().map(|&i| scores.row(i)[class]).collect();
        let missing = (!labels.contains(&true)).then_some("a class that has scores has no items");
        let alone = (!labels.contains(&false)).then_some("all items are of one class");
        if let Some(reason) = missing.or(alone) {
            return Err(MetricError::Undefined { metric: AUC, reason });
        }
        roc_auc(&labels, &values)
    };
    let (mut sum, mut total) = (0.0, 0.0);
    for class in 0..classes {
        if how == MultiClass::OneVsOne {
            for other in (0..classes).filter(|&other| other != class) {
                sum += area(class, &|label| label == class || label == other)?;
                total += 1.0;
            }
        } else {
            let items = (0..scores.items()).filter(|&i| scores.label(i) == class).count() as f64;
            let weight = if how == MultiClass::OneVsRestWeighted { items } else { 1.0 };
            sum += weight * area(class, &|_| true)?;
            total += weight;
        }
    }
    Ok(sum / total)
}

/// The mean precision over the curve of precision against recall, `Σ (Rₖ − Rₖ₋₁) Pₖ` over thresholds from the highest
/// score down; equal scores are one threshold. Higher is better, 0 to 1.
///
/// ```
/// use tenuis_metrics::average_precision;
/// let value = average_precision(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8])?;
/// assert!((value - 0.8333).abs() < 1e-4);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// As [`roc_auc`].
pub fn average_precision(labels: &[bool], scores: &[f64]) -> Result<f64, MetricError> {
    check("average_precision", labels, scores)?;
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = labels.iter().filter(|&&label| label).count() as f64;
    let (mut hits, mut seen, mut sum) = (0.0, 0.0, 0.0);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let found = group.iter().filter(|&&i| labels[i]).count() as f64;
        hits += found;
        seen += group.len() as f64;
        sum += found / positives * hits / seen;
    }
    Ok(sum)
}

fn check(metric: &'static str, labels: &[bool], scores: &[f64]) -> Result<(), MetricError> {
    check_pairs(metric, "scores", labels.len(), scores.len())?;
    check_finite(metric, "the score", scores)?;
    match (labels.contains(&true), labels.contains(&false)) {
        (true, true) => Ok(()),
        (found, _) => {
            let class = if found { "the class looked for" } else { "the others" }.to_owned();
            Err(MetricError::OneClass { metric, class })
        }
    }
}
