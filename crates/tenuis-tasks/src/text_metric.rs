//! Metrics of what a model wrote, for one item, a slice or all.

use serde::{Deserialize, Serialize};
use std::fmt;
use tenuis_metrics::{
    BleuConfig, BleuCounts, ChrfConfig, ChrfCounts, Direction, MetricError, Normalization, NumericResult,
    RougeConfig, RougeKind, TerConfig, TerCounts, exact_match, numeric_match, squad_f1,
};

/// A metric of `tenuis-metrics` that compares a text with its references.
///
/// All values are shares: BLEU, chrF and TER, which are published in percent, are divided by 100, so that the values of
/// all tasks can stand in one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TextMetric {
    /// Answers that are a reference ([`exact_match`]).
    #[default]
    #[serde(rename = "exact_match")]
    ExactMatch,
    /// Answers whose number is that of a reference ([`numeric_match`]).
    #[serde(rename = "numeric_match")]
    NumericMatch,
    /// Answers that are a reference after SQuAD's normalisation.
    #[serde(rename = "squad_em")]
    SquadEm,
    /// Words shared with a reference ([`squad_f1`]).
    #[serde(rename = "squad_f1")]
    SquadF1,
    /// N-grams of words over all items ([`BleuConfig`]).
    #[serde(rename = "bleu")]
    Bleu,
    /// N-grams of characters over all items ([`ChrfConfig`]).
    #[serde(rename = "chrf")]
    Chrf,
    /// N-grams of characters and words over all items ([`ChrfConfig::plus_plus`]).
    #[serde(rename = "chrf++")]
    ChrfPlusPlus,
    /// Edits per word of the reference over all items ([`TerConfig`]).
    #[serde(rename = "ter")]
    Ter,
    /// Words shared ([`RougeKind::N`]).
    #[serde(rename = "rouge1")]
    Rouge1,
    /// Pairs of words shared ([`RougeKind::N`]).
    #[serde(rename = "rouge2")]
    Rouge2,
    /// The longest common subsequence ([`RougeKind::L`]).
    #[serde(rename = "rougeL")]
    RougeL,
    /// Common subsequences by sentence ([`RougeKind::Lsum`]).
    #[serde(rename = "rougeLsum")]
    RougeLsum,
}

impl TextMetric {
    /// Its name in `tenuis-metrics`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::NumericMatch => "numeric_match",
            Self::SquadEm => "squad_em",
            Self::SquadF1 => "squad_f1",
            Self::Bleu => "bleu",
            Self::Chrf => "chrf",
            Self::ChrfPlusPlus => "chrf++",
            Self::Ter => "ter",
            Self::Rouge1 => "rouge1",
            Self::Rouge2 => "rouge2",
            Self::RougeL => "rougeL",
            Self::RougeLsum => "rougeLsum",
        }
    }

    /// Which values are better.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Ter => Direction::LowerIsBetter,
            _ => Direction::HigherIsBetter,
        }
    }

    /// Whether an item is right or wrong and nothing between.
    pub const fn is_right_or_wrong(self) -> bool {
        matches!(self, Self::ExactMatch | Self::NumericMatch | Self::SquadEm)
    }

    const fn rouge(self) -> RougeKind {
        match self {
            Self::Rouge1 => RougeKind::N(1),
            Self::Rouge2 => RougeKind::N(2),
            Self::RougeL => RougeKind::L,
            _ => RougeKind::Lsum,
        }
    }
}

impl fmt::Display for TextMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text and its references.
pub(crate) type Pair<'a> = (&'a str, &'a [String]);

/// What of each item goes into the value of several.
#[derive(Debug)]
pub(crate) enum Counts {
    /// The value of several is the mean of theirs.
    Mean(Vec<f64>),
    Bleu(BleuConfig, Vec<BleuCounts>),
    Chrf(ChrfConfig, Vec<Vec<ChrfCounts>>),
    Ter(TerConfig, Vec<TerCounts>),
}

fn share(is: Result<bool, MetricError>) -> Result<f64, MetricError> {
    is.map(|is| f64::from(u8::from(is)))
}

impl Counts {
    pub(crate) fn new(
        metric: TextMetric,
        normalization: Normalization,
        pairs: &[Pair<'_>],
    ) -> Result<Self, MetricError> {
        fn each<T>(
            pairs: &[Pair<'_>],
            of: impl Fn(&str, &[String]) -> Result<T, MetricError>,
        ) -> Result<Vec<T>, MetricError> {
            pairs.iter().map(|&(text, references)| of(text, references)).collect()
        }
        Ok(match metric {
            TextMetric::ExactMatch => {
                Self::Mean(each(pairs, |text, refs| share(exact_match(text, refs, normalization)))?)
            }
            TextMetric::SquadEm => {
                Self::Mean(each(pairs, |text, refs| share(exact_match(text, refs, Normalization::squad())))?)
            }
            TextMetric::NumericMatch => Self::Mean(each(pairs, |text, refs| {
                share(numeric_match(text, refs, NumericResult::MarkedOrLast))
            })?),
            TextMetric::SquadF1 => Self::Mean(each(pairs, squad_f1)?),
            TextMetric::Bleu => {
                let config = BleuConfig::default();
                let counts = each(pairs, |text, refs| config.count(text, refs))?;
                Self::Bleu(config, counts)
            }
            TextMetric::Chrf | TextMetric::ChrfPlusPlus => {
                let words = metric == TextMetric::ChrfPlusPlus;
                let config = if words { ChrfConfig::plus_plus() } else { ChrfConfig::default() };
                let counts = each(pairs, |text, refs| config.count(text, refs))?;
                Self::Chrf(config, counts)
            }
            TextMetric::Ter => {
                let config = TerConfig::default();
                let counts = each(pairs, |text, refs| config.count(text, refs))?;
                Self::Ter(config, counts)
            }
            TextMetric::Rouge1 | TextMetric::Rouge2 | TextMetric::RougeL | TextMetric::RougeLsum => {
                let (config, kind) = (RougeConfig::default(), metric.rouge());
                Self::Mean(each(pairs, |text, refs| config.best(kind, text, refs).map(|best| best.f1))?)
            }
        })
    }

    /// The value of items by their indices, of which there is at least one.
    pub(crate) fn value(&self, items: &[usize]) -> f64 {
        match self {
            Self::Mean(values) => items.iter().map(|&item| values[item]).sum::<f64>() / items.len() as f64,
            Self::Bleu(config, counts) => {
                let mut sum = BleuCounts::zero(config.max_order);
                for &item in items {
                    sum.add(&counts[item]);
                }
                config.score(sum).score / 100.0
            }
            Self::Chrf(config, counts) => {
                let mut sum = vec![ChrfCounts::default(); config.char_order + config.word_order];
                for &item in items {
                    for (sum, one) in sum.iter_mut().zip(&counts[item]) {
                        sum.hypothesis += one.hypothesis;
                        sum.reference += one.reference;
                        sum.shared += one.shared;
                    }
                }
                config.score(&sum) / 100.0
            }
            Self::Ter(config, counts) => {
                let sum = items.iter().map(|&item| &counts[item]).fold(TerCounts::default(), |sum, one| {
                    TerCounts {
                        edits: sum.edits + one.edits,
                        reference_len: sum.reference_len + one.reference_len,
                    }
                });
                config.score(sum) / 100.0
            }
        }
    }
}
