//! Entities in tagged sentences: precision, recall and F1 of whole spans.

mod scheme;
mod spans;

pub use scheme::TagScheme;

use crate::classification::{Average, ClassScore, mean};
use crate::error::{MetricError, check_pairs};
use crate::rouge::PrecisionRecall;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A span of tokens of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// Its type, `_` where tags have none.
    pub kind: String,
    /// Its first token.
    pub start: usize,
    /// The token after its last.
    pub end: usize,
}

/// How tags are read; the default is that of seqeval and of the script conlleval.
///
/// An entity is right where type, first and last token are those of a true one. Per type and over all, with `h` right ones
/// of `p` predicted and `t` true: `P = h / p`, `R = h / t`, `F1 = 2 P R / (P + R)`, a share of nothing being 0.
/// (Tjong Kim Sang and De Meulder 2003, W03-0419.) Higher is better, 0 to 1.
///
/// ```
/// use tenuis_metrics::{Average, EntityConfig};
/// let truth = [vec!["B-PER", "I-PER", "O", "B-LOC"]];
/// let found = [vec!["B-PER", "I-PER", "O", "B-ORG"]];
/// let report = EntityConfig::default().report(&truth, &found)?;
/// assert_eq!(report.average(Average::Micro).f1, 0.5);
/// assert!(report.to_string().contains("micro avg"));
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EntityConfig {
    /// The scheme that tags must follow to count. `None` reads tags of any scheme leniently: an entity also begins where an
    /// inside tag follows nothing or another type.
    pub strict: Option<TagScheme>,
    /// Whether prefixes stand at the end of tags (`PER-B`).
    pub suffix: bool,
}

/// The counts of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntityCounts {
    /// Entities that were found.
    pub hits: usize,
    /// Predicted entities.
    pub predicted: usize,
    /// True entities.
    pub actual: usize,
}

/// Scores of entities by type. Printed, it is the table that seqeval prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityReport {
    counts: BTreeMap<String, EntityCounts>,
}

impl EntityConfig {
    /// The entities of a sentence, first to last.
    ///
    /// ```
    /// use tenuis_metrics::EntityConfig;
    /// let entities = EntityConfig::default().entities(&["O", "I-LOC", "I-LOC"], 0)?;
    /// assert_eq!((entities[0].kind.as_str(), entities[0].start, entities[0].end), ("LOC", 1, 3));
    /// # Ok::<(), tenuis_metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    /// [`MetricError::Tag`], which names `sentence`.
    pub fn entities<T: AsRef<str>>(&self, tags: &[T], sentence: usize) -> Result<Vec<Entity>, MetricError> {
        let allowed = self.strict.map_or(spans::LENIENT, TagScheme::prefixes);
        let tags = tags.iter().enumerate().map(|(token, tag)| {
            let tag = tag.as_ref();
            spans::Tag::parse(tag, self.suffix, self.strict.is_some(), allowed)
                .ok_or_else(|| MetricError::Tag { sentence, token, tag: tag.to_owned(), allowed })
        });
        let tags = tags.collect::<Result<Vec<_>, _>>()?;
        Ok(match self.strict {
            None => spans::lenient(&tags),
            Some(scheme) => scheme::strict(scheme, &tags),
        })
    }

    /// Compares the tags of one sentence.
    ///
    /// # Errors
    /// [`MetricError::TagCount`], [`MetricError::Tag`].
    pub fn sentence<T: AsRef<str>, P: AsRef<str>>(
        &self,
        truth: &[T],
        found: &[P],
        sentence: usize,
    ) -> Result<EntityReport, MetricError> {
        if truth.len() != found.len() {
            return Err(MetricError::TagCount { sentence, expected: truth.len(), found: found.len() });
        }
        let truth: BTreeSet<Entity> = self.entities(truth, sentence)?.into_iter().collect();
        let found: BTreeSet<Entity> = self.entities(found, sentence)?.into_iter().collect();
        let mut report = EntityReport::default();
        for entity in &truth {
            report.of_kind(&entity.kind).actual += 1;
        }
        for entity in &found {
            let hit = truth.contains(entity);
            let counts = report.of_kind(&entity.kind);
            counts.predicted += 1;
            counts.hits += usize::from(hit);
        }
        Ok(report)
    }

    /// Compares the tags of sentences.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::TagCount`], [`MetricError::Tag`].
    pub fn report<A, B, T, P>(&self, truth: &[A], found: &[B]) -> Result<EntityReport, MetricError>
    where
        A: AsRef<[T]>,
        B: AsRef<[P]>,
        T: AsRef<str>,
        P: AsRef<str>,
    {
        check_pairs("entities", "tagged sentences", found.len(), truth.len())?;
        let mut report = EntityReport::default();
        for (sentence, (truth, found)) in truth.iter().zip(found).enumerate() {
            report.add(&self.sentence(truth.as_ref(), found.as_ref(), sentence)?);
        }
        Ok(report)
    }
}

impl EntityReport {
    /// Adds the counts of other sentences.
    pub fn add(&mut self, other: &Self) {
        for (kind, counts) in &other.counts {
            let sum = self.of_kind(kind);
            sum.hits += counts.hits;
            sum.predicted += counts.predicted;
            sum.actual += counts.actual;
        }
    }

    /// The counts of each type, sorted by its name.
    pub const fn counts(&self) -> &BTreeMap<String, EntityCounts> {
        &self.counts
    }

    /// The scores of each type, sorted by its name.
    pub fn per_class(&self) -> Vec<ClassScore> {
        let score = |(kind, c): (&String, &EntityCounts)| ClassScore {
            class: kind.clone(),
            scores: PrecisionRecall::of(c.hits, c.predicted, c.actual),
            support: c.actual,
        };
        self.counts.iter().map(score).collect()
    }

    /// The scores over all types; 0 where there are no entities.
    pub fn average(&self, average: Average) -> PrecisionRecall {
        if average == Average::Micro {
            let sum = |of: fn(&EntityCounts) -> usize| self.counts.values().map(of).sum();
            return PrecisionRecall::of(sum(|c| c.hits), sum(|c| c.predicted), sum(|c| c.actual));
        }
        mean(&self.per_class(), average)
    }

    /// The number of true entities.
    pub fn support(&self) -> usize {
        self.counts.values().map(|c| c.actual).sum()
    }

    fn of_kind(&mut self, kind: &str) -> &mut EntityCounts {
        self.counts.entry(kind.to_owned()).or_default()
    }
}

impl fmt::Display for EntityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.per_class();
        let longest = classes.iter().map(|c| c.class.chars().count()).max().unwrap_or_default();
        let width = longest.max("weighted avg".len());
        let head = ["precision", "recall", "f1-score", "support"].map(|name| format!(" {name:>9}")).concat();
        writeln!(f, "{:>width$} {head}\n", "")?;
        let row = |name: &str, scores: PrecisionRecall, support: usize| {
            let PrecisionRecall { precision, recall, f1 } = scores;
            format!("{name:>width$}  {precision:>9.2} {recall:>9.2} {f1:>9.2} {support:>9}")
        };
        for class in &classes {
            writeln!(f, "{}", row(&class.class, class.scores, class.support))?;
        }
        writeln!(f)?;
        let averages = [Average::Micro, Average::Macro, Average::Weighted];
        for (name, average) in ["micro avg", "macro avg", "weighted avg"].into_iter().zip(averages) {
            writeln!(f, "{}", row(name, self.average(average), self.support()))?;
        }
        Ok(())
    }
}

/// The share of tokens whose tag is the true one. Higher is better, 0 to 1.
///
/// ```
/// let value = tenuis_metrics::token_accuracy(&[vec!["O", "B-LOC"]], &[vec!["O", "O"]])?;
/// assert_eq!(value, 0.5);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`], also where no sentence has tokens, [`MetricError::Length`], [`MetricError::TagCount`].
pub fn token_accuracy<A, B, T, P>(truth: &[A], found: &[B]) -> Result<f64, MetricError>
where
    A: AsRef<[T]>,
    B: AsRef<[P]>,
    T: AsRef<str>,
    P: AsRef<str>,
{
    let metric = "token_accuracy";
    check_pairs(metric, "tagged sentences", found.len(), truth.len())?;
    let (mut hits, mut tokens) = (0, 0);
    for (sentence, (truth, found)) in truth.iter().zip(found).enumerate() {
        let (truth, found) = (truth.as_ref(), found.as_ref());
        if truth.len() != found.len() {
            return Err(MetricError::TagCount { sentence, expected: truth.len(), found: found.len() });
        }
        hits += truth.iter().zip(found).filter(|(a, b)| a.as_ref() == b.as_ref()).count();
        tokens += truth.len();
    }
    if tokens == 0 { Err(MetricError::Empty { metric }) } else { Ok(hits as f64 / tokens as f64) }
}
