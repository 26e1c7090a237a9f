//! Classes: confusion, accuracy, precision, recall, F1, and what corrects them for chance.

mod probability;
mod ranking;

pub use probability::{ClassScores, brier, log_loss, top_k_accuracy};
pub use ranking::{MultiClass, average_precision, roc_auc, roc_auc_multiclass};

use crate::error::{MetricError, check_pairs};
use crate::rouge::PrecisionRecall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the scores of classes become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// From sums over classes: every item weighs the same.
    Micro,
    /// The plain mean: every class weighs the same.
    #[default]
    Macro,
    /// The mean weighted by support.
    Weighted,
}

/// The scores of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClassScore {
    /// The class.
    pub class: String,
    /// Its precision, recall and F1.
    #[serde(flatten)]
    pub scores: PrecisionRecall,
    /// How many items are of this class.
    pub support: usize,
}

/// How often items of each class were taken for each class. Everything that needs no scores follows from it.
///
/// Classes are those that occur among labels or predictions, sorted. `counts[t][p]` are items of class `t` that were taken
/// for `p`.
///
/// ```
/// use tenuis_metrics::{Average, Confusion};
/// let confusion = Confusion::of(&["cat", "dog", "dog"], &["cat", "dog", "cat"])?;
/// assert_eq!(confusion.classes(), ["cat", "dog"]);
/// assert_eq!(confusion.counts(), [[1, 0], [1, 1]]);
/// assert_eq!(confusion.accuracy(), 2.0 / 3.0);
/// assert_eq!(confusion.average(Average::Micro).f1, 2.0 / 3.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: Vec<String>,
    counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Counts pairs of label and prediction.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::Length`].
    pub fn of<L: AsRef<str>, P: AsRef<str>>(labels: &[L], predictions: &[P]) -> Result<Self, MetricError> {
        check_pairs("classification", "labels", predictions.len(), labels.len())?;
        let labels = labels.iter().map(AsRef::as_ref);
        let predictions = predictions.iter().map(AsRef::as_ref);
        let mut index: BTreeMap<&str, usize> =
            labels.clone().chain(predictions.clone()).map(|class| (class, 0)).collect();
        index.values_mut().enumerate().for_each(|(at, slot)| *slot = at);
        let mut counts = vec![vec![0; index.len()]; index.len()];
        for (label, prediction) in labels.zip(predictions) {
            counts[index[label]][index[prediction]] += 1;
        }
        Ok(Self { classes: index.into_keys().map(str::to_owned).collect(), counts })
    }

    /// Counts pairs of indices into classes that are known; for those that occur nowhere there are no scores.
    pub(crate) fn of_indices(classes: &[String], pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for (label, prediction) in pairs {
            counts[label][prediction] += 1;
        }
        let occurs: Vec<usize> = (0..classes.len())
            .filter(|&c| counts[c].iter().any(|&n| n > 0) || counts.iter().any(|row| row[c] > 0))
            .collect();
        let pick = |row: &Vec<usize>| occurs.iter().map(|&c| row[c]).collect();
        Self {
            classes: occurs.iter().map(|&c| classes[c].clone()).collect(),
            counts: occurs.iter().map(|&c| pick(&counts[c])).collect(),
        }
    }

    /// The classes, sorted.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The counts: rows are labels, columns predictions.
    pub fn counts(&self) -> &[Vec<usize>] {
        &self.counts
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// The share of items whose class was found. Higher is better, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.hits() as f64 / self.items() as f64
    }

    /// The mean recall of the classes that labels have. Higher is better, 0 to 1.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls: Vec<f64> =
            self.per_class().iter().filter(|c| c.support > 0).map(|c| c.scores.recall).collect();
        recalls.iter().sum::<f64>() / recalls.len() as f64
    }

    /// Precision, recall, F1 and support of each class. A share of nothing is 0, as scikit-learn has it by default.
    pub fn per_class(&self) -> Vec<ClassScore> {
        let score = |(at, class): (usize, &String)| ClassScore {
            class: class.clone(),
            scores: PrecisionRecall::of(self.counts[at][at], self.predicted(at), self.support(at)),
            support: self.support(at),
        };
        self.classes.iter().enumerate().map(score).collect()
    }

    /// Precision, recall and F1 of all classes. Higher is better, 0 to 1.
    ///
    /// The F1 of a mean is the mean of F1, not that of mean precision and recall. With every item in one class, all three
    /// micro averages are the accuracy.
    pub fn average(&self, average: Average) -> PrecisionRecall {
        if average == Average::Micro {
            return PrecisionRecall::of(self.hits(), self.items(), self.items());
        }
        mean(&self.per_class(), average)
    }

    /// Precision, recall and F1 of one class, for two classes of which one is what is looked for.
    ///
    /// # Errors
    /// [`MetricError::UnknownClass`] where neither labels nor predictions have it.
    pub fn of_class(&self, class: &str) -> Result<ClassScore, MetricError> {
        self.per_class().into_iter().find(|c| c.class == class).ok_or_else(|| MetricError::UnknownClass {
            metric: "classification",
            item: 0,
            class: class.to_owned(),
            known: self.classes.join(", "),
        })
    }

    /// The correlation of labels and predictions, Matthews's coefficient. Higher is better, −1 to 1.
    ///
    /// With `c` hits of `s` items, `tₖ` labels and `pₖ` predictions of class `k`:
    ///
    /// ```text
    /// MCC = (c s − Σ pₖ tₖ) / √((s² − Σ pₖ²) (s² − Σ tₖ²))
    /// ```
    ///
    /// 0 where labels or predictions have one class only. (Matthews 1975; several classes: Gorodkin 2004.)
    pub fn matthews(&self) -> f64 {
        let (hits, items) = (self.hits() as f64, self.items() as f64);
        let sum = |of: &dyn Fn(usize) -> f64| (0..self.classes.len()).map(of).sum::<f64>();
        let predicted = |k: usize| self.predicted(k) as f64;
        let labelled = |k: usize| self.support(k) as f64;
        let covariance = hits * items - sum(&|k| predicted(k) * labelled(k));
        let spread = |of: &dyn Fn(usize) -> f64| items * items - sum(&|k| of(k) * of(k));
        let scale = spread(&predicted) * spread(&labelled);
        if scale == 0.0 { 0.0 } else { covariance / scale.sqrt() }
    }

    /// Agreement beyond chance, Cohen's kappa: `(pₒ − pₑ) / (1 − pₑ)` for the observed share `pₒ` and the share `pₑ` to expect
    /// of independent raters. Higher is better, −1 to 1. (Cohen 1960.)
    ///
    /// # Errors
    /// [`MetricError::Undefined`] where both sides have the same one class, so that chance explains all.
    pub fn kappa(&self) -> Result<f64, MetricError> {
        let items = self.items() as f64;
        let chance: f64 = (0..self.classes.len())
            .map(|k| self.predicted(k) as f64 * self.support(k) as f64 / (items * items))
            .sum();
        if chance >= 1.0 {
            let reason = "all labels and all predictions are of one class";
            return Err(MetricError::Undefined { metric: "cohen_kappa", reason });
        }
        Ok((self.accuracy() - chance) / (1.0 - chance))
    }

    fn hits(&self) -> usize {
        (0..self.classes.len()).map(|k| self.counts[k][k]).sum()
    }

    fn support(&self, class: usize) -> usize {
        self.counts[class].iter().sum()
    }

    fn predicted(&self, class: usize) -> usize {
        self.counts.iter().map(|row| row[class]).sum()
    }
}

/// The plain or weighted mean over classes; 0 where no class has a weight.
pub(crate) fn mean(classes: &[ClassScore], average: Average) -> PrecisionRecall {
    let weight = |c: &ClassScore| if average == Average::Weighted { c.support as f64 } else { 1.0 };
    let total: f64 = classes.iter().map(weight).sum();
    let of = |value: &dyn Fn(&PrecisionRecall) -> f64| {
        let sum: f64 = classes.iter().map(|c| weight(c) * value(&c.scores)).sum();
        if total > 0.0 { sum / total } else { 0.0 }
    };
    PrecisionRecall { precision: of(&|s| s.precision), recall: of(&|s| s.recall), f1: of(&|s| s.f1) }
}
