//! ROUGE: how much of a reference a summary has.

mod lcs;
mod porter;

use crate::error::{MetricError, check_pairs};
use crate::text::{ngrams, shared};
use serde::{Deserialize, Serialize};

/// Precision, recall and their harmonic mean, each 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrecisionRecall {
    /// The share of what was predicted that is right.
    pub precision: f64,
    /// The share of what is right that was predicted.
    pub recall: f64,
    /// `2 P R / (P + R)`; 0 where both are 0.
    pub f1: f64,
}

impl PrecisionRecall {
    /// Divides counts; a share of nothing is 0.
    ///
    /// ```
    /// use tenuis_metrics::PrecisionRecall;
    /// let found = PrecisionRecall::of(1, 2, 4);
    /// assert_eq!((found.precision, found.recall), (0.5, 0.25));
    /// assert_eq!(PrecisionRecall::of(0, 0, 3).f1, 0.0);
    /// ```
    pub fn of(hits: usize, predicted: usize, actual: usize) -> Self {
        let share = |of: usize| if of == 0 { 0.0 } else { hits as f64 / of as f64 };
        Self::new(share(predicted), share(actual))
    }

    pub(crate) fn new(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }
}

/// What two texts are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RougeKind {
    /// Runs of so many words, ROUGE-N.
    N(usize),
    /// The longest common subsequence of words, ROUGE-L.
    L,
    /// The union of the longest common subsequences of the reference's sentences with those of the summary; sentences
    /// are lines. ROUGE-L at the level of summaries.
    Lsum,
}

/// How ROUGE is computed; the default is that of Google's `rouge-score`.
///
/// Words are runs of letters and digits of ASCII in lower case. With `h` hits among `p` n-grams or words of the prediction and
/// `r` of the reference, `P = h / p`, `R = h / r`, `F = 2 P R / (P + R)`; a corpus has the mean of its items.
/// (Lin 2004, W04-1013; a word that several sentences share counts once, as in version 1.5.5 of Lin's script.)
/// Higher is better, 0 to 1. Text in other scripts has no words here and scores 0.
///
/// ```
/// use tenuis_metrics::{RougeConfig, RougeKind};
/// let rouge = RougeConfig::default();
/// let score = rouge.score(RougeKind::L, "the cat sat", "the cat was sitting");
/// assert_eq!((score.precision, score.recall), (2.0 / 3.0, 0.5));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RougeConfig {
    /// Whether words of more than three letters are reduced to their stems (Porter 1980). For English only.
    pub stemmer: bool,
}

impl RougeConfig {
    /// Scores a prediction against one reference.
    pub fn score(&self, kind: RougeKind, prediction: &str, reference: &str) -> PrecisionRecall {
        match kind {
            RougeKind::N(n) => {
                let (p, r) = (self.words(prediction), self.words(reference));
                // Without n there is nothing to count.
                let (p, r) = if n == 0 { (Vec::new(), Vec::new()) } else { (p, r) };
                let hits = shared(&ngrams(&p, n.max(1)), &ngrams(&r, n.max(1)));
                let total = |words: &[String]| (words.len() + 1).saturating_sub(n.max(1));
                PrecisionRecall::of(hits, total(&p), total(&r))
            }
            RougeKind::L => {
                let (p, r) = (self.words(prediction), self.words(reference));
                PrecisionRecall::of(lcs::length(&r, &p), p.len(), r.len())
            }
            RougeKind::Lsum => {
                let sentences =
                    |text: &str| text.split('\n').map(|line| self.words(line)).collect::<Vec<_>>();
                lcs::summary(&sentences(reference), &sentences(prediction))
            }
        }
    }

    /// Scores a prediction against the reference that gives the highest F.
    ///
    /// # Errors
    /// [`MetricError::NoReference`].
    pub fn best<S: AsRef<str>>(
        &self,
        kind: RougeKind,
        prediction: &str,
        references: &[S],
    ) -> Result<PrecisionRecall, MetricError> {
        let scores = references.iter().map(|r| self.score(kind, prediction, r.as_ref()));
        // The first of equal ones, as its precision and recall may differ.
        scores
            .reduce(|best, next| if next.f1 > best.f1 { next } else { best })
            .ok_or(MetricError::NoReference { metric: kind.name(), item: 0 })
    }

    /// The mean over a corpus; `references[i]` are those of `predictions[i]`.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NoReference`].
    pub fn corpus<P, R, S>(
        &self,
        kind: RougeKind,
        predictions: &[P],
        references: &[R],
    ) -> Result<PrecisionRecall, MetricError>
    where
        P: AsRef<str>,
        R: AsRef<[S]>,
        S: AsRef<str>,
    {
        check_pairs(kind.name(), "lists of references", predictions.len(), references.len())?;
        let (mut sum, count) = (PrecisionRecall::default(), predictions.len() as f64);
        for (item, (prediction, references)) in predictions.iter().zip(references).enumerate() {
            let score = self.best(kind, prediction.as_ref(), references.as_ref());
            let score = score.map_err(|e| crate::bleu::at_item(e, item))?;
            sum.precision += score.precision;
            sum.recall += score.recall;
            sum.f1 += score.f1;
        }
        Ok(PrecisionRecall {
            precision: sum.precision / count,
            recall: sum.recall / count,
            f1: sum.f1 / count,
        })
    }

    fn words(&self, text: &str) -> Vec<String> {
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.map(|word| if self.stemmer { porter::stem_long(word) } else { word.to_owned() }).collect()
    }
}

impl RougeKind {
    const fn name(self) -> &'static str {
        match self {
            Self::N(1) => "rouge1",
            Self::N(2) => "rouge2",
            Self::N(_) => "rougeN",
            Self::L => "rougeL",
            Self::Lsum => "rougeLsum",
        }
    }
}
