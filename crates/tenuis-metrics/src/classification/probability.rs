//! Probabilities of classes: log loss, Brier score, top-k accuracy.

use crate::error::{MetricError, check_finite, check_pairs};

/// How far the probabilities of an item may sum from 1: they may have been printed with few digits.
const SUM_TOLERANCE: f64 = 1e-3;

/// What each item scores for each class, and its label.
///
/// # Shapes
/// `scores`: `[items, classes]`, row-major, columns in the order of `classes`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScores {
    classes: Vec<String>,
    labels: Vec<usize>,
    scores: Vec<f64>,
}

impl ClassScores {
    /// Checks shapes and labels.
    ///
    /// # Errors
    /// [`MetricError::Config`] for fewer than two classes, [`MetricError::Empty`], [`MetricError::Features`],
    /// [`MetricError::NotFinite`], [`MetricError::UnknownClass`].
    pub fn new<L: AsRef<str>>(
        classes: Vec<String>,
        labels: &[L],
        scores: Vec<f64>,
    ) -> Result<Self, MetricError> {
        let metric = "class scores";
        if classes.len() < 2 {
            let value = classes.join(", ");
            return Err(MetricError::Config { option: "classes", value, allowed: "at least two names" });
        }
        if labels.is_empty() {
            return Err(MetricError::Empty { metric });
        }
        if scores.len() != labels.len() * classes.len() {
            return Err(MetricError::Features { metric, features: classes.len(), found: scores.len() });
        }
        if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
            let item = at / classes.len();
            return Err(MetricError::NotFinite { metric, what: "a score", item, value: scores[at] });
        }
        let label = |(item, label): (usize, &L)| {
            let label = label.as_ref();
            classes.iter().position(|class| class == label).ok_or_else(|| MetricError::UnknownClass {
                metric,
                item,
                class: label.to_owned(),
                known: classes.join(", "),
            })
        };
        let labels = labels.iter().enumerate().map(label).collect::<Result<_, _>>()?;
        Ok(Self { classes, labels, scores })
    }

    /// The classes, in the order of the columns.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.labels.len()
    }

    /// The index of an item's class.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn label(&self, item: usize) -> usize {
        self.labels[item]
    }

    /// What an item scores for each class.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn row(&self, item: usize) -> &[f64] {
        let classes = self.classes.len();
        &self.scores[item * classes..(item + 1) * classes]
    }

    /// Some items, with repetition.
    pub(crate) fn select(&self, items: &[usize]) -> Self {
        Self {
            classes: self.classes.clone(),
            labels: items.iter().map(|&i| self.labels[i]).collect(),
            scores: items.iter().flat_map(|&i| self.row(i)).copied().collect(),
        }
    }
}

/// The mean surprise at the labels, `−(1/n) Σ ln pᵢ(labelᵢ)`, in nats. Lower is better, from 0.
///
/// Probabilities below the smallest relative step of f64, 2.2e-16, count as that, so that one certain error does not make the
/// mean infinite.
///
/// ```
/// use tenuis_metrics::{ClassScores, log_loss};
/// let classes = vec!["no".to_owned(), "yes".to_owned()];
/// let scores = ClassScores::new(classes, &["yes", "no"], vec![0.5, 0.5, 0.5, 0.5])?;
/// assert_eq!(log_loss(&scores)?, 2.0f64.ln());
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Probability`] where a row is no distribution.
pub fn log_loss(scores: &ClassScores) -> Result<f64, MetricError> {
    let mut sum = 0.0;
    for item in 0..scores.items() {
        let row = scores.row(item);
        let total: f64 = row.iter().sum();
        let problem = match row.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            Some(p) => Some(format!("{p} for one class; they must lie between 0 and 1")),
            None if (total - 1.0).abs() > SUM_TOLERANCE => Some(format!("{total} in sum; it must be 1")),
            None => None,
        };
        if let Some(problem) = problem {
            return Err(MetricError::Probability { metric: "log_loss", item, problem });
        }
        sum -= row[scores.label(item)].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    }
    Ok(sum / scores.items() as f64)
}

/// The mean squared distance of probabilities from what happened, `(1/n) Σ (pᵢ − yᵢ)²` (Brier 1950), for two classes.
/// Lower is better, 0 to 1.
///
/// ```
/// assert_eq!(tenuis_metrics::brier(&[true, false], &[0.5, 0.0])?, 0.125);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NotFinite`], [`MetricError::Probability`].
pub fn brier(labels: &[bool], probabilities: &[f64]) -> Result<f64, MetricError> {
    let metric = "brier";
    check_pairs(metric, "probabilities", labels.len(), probabilities.len())?;
    check_finite(metric, "the probability", probabilities)?;
    if let Some(item) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let problem = format!("{}; they must lie between 0 and 1", probabilities[item]);
        return Err(MetricError::Probability { metric, item, problem });
    }
    let square = |(&label, &p): (&bool, &f64)| (p - f64::from(u8::from(label))).powi(2);
    Ok(labels.iter().zip(probabilities).map(square).sum::<f64>() / labels.len() as f64)
}

/// The share of items whose class is among the `k` with the highest scores. Higher is better, 0 to 1.
///
/// Of classes with equal scores the later ones come first, as scikit-learn has it.
///
/// ```
/// use tenuis_metrics::{ClassScores, top_k_accuracy};
/// let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
/// let scores = ClassScores::new(classes, &["a", "c"], vec![0.3, 0.5, 0.2, 0.3, 0.5, 0.2])?;
/// assert_eq!(top_k_accuracy(&scores, 2)?, 0.5);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Config`] where `k` is 0.
pub fn top_k_accuracy(scores: &ClassScores, k: usize) -> Result<f64, MetricError> {
    if k == 0 {
        return Err(MetricError::Config { option: "top_k", value: "0".into(), allowed: "at least 1" });
    }
    let hits = (0..scores.items()).filter(|&item| is_in_top(scores, item, k)).count();
    Ok(hits as f64 / scores.items() as f64)
}

/// Whether fewer than `k` classes come before the item's own.
pub(crate) fn is_in_top(scores: &ClassScores, item: usize, k: usize) -> bool {
    let (row, label) = (scores.row(item), scores.label(item));
    let before = |(class, &score): (usize, &f64)| score > row[label] || score == row[label] && class > label;
    row.iter().enumerate().filter(|&at| before(at)).count() < k
}
