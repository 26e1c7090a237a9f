//! chrF and chrF++: F-scores of character and word n-grams.

use crate::bleu::{at_item, references_and_case, version};
use crate::error::{MetricError, check_pairs};
use crate::text::{is_space, ngrams, shared, words};
use serde::{Deserialize, Serialize};

const NAME: &str = "chrf";

/// How chrF is computed; the default is chrF2, `word_order` 2 makes it chrF++.
///
/// With the mean precision `P` and recall `R` over all orders of which both sides have n-grams:
///
/// ```text
/// chrF = 100 · (1 + β²) P R / (β² P + R)
/// ```
///
/// Counts are summed over the corpus first; of several references the one with the highest score of its own counts.
/// (Popović 2015, W15-3049; chrF++: Popović 2017, W17-4770; the effective order of sacreBLEU, Post 2018, 1804.08771.)
/// Higher is better, 0 to 100.
///
/// ```
/// use tenuis_metrics::ChrfConfig;
/// let score = ChrfConfig::default().corpus(&["the cat"], &[["the cat"]])?;
/// assert_eq!(score, 100.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ChrfConfig {
    /// The longest n-grams of characters.
    pub char_order: usize,
    /// The longest n-grams of words; 0 leaves words out.
    pub word_order: usize,
    /// How much more recall weighs than precision.
    pub beta: f64,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// Whether spaces are characters.
    pub whitespace: bool,
}

impl Default for ChrfConfig {
    fn default() -> Self {
        Self { char_order: 6, word_order: 0, beta: 2.0, lowercase: false, whitespace: false }
    }
}

/// What chrF counts for one order: n-grams of the hypothesis, of the reference, and shared ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChrfCounts {
    /// N-grams of the hypothesis; 0 where the reference has none of this order.
    pub hypothesis: usize,
    /// N-grams of the reference.
    pub reference: usize,
    /// N-grams that both have.
    pub shared: usize,
}

impl ChrfConfig {
    /// chrF++, which counts words and pairs of words too.
    #[must_use]
    pub fn plus_plus() -> Self {
        Self { word_order: 2, ..Self::default() }
    }

    /// Counts one sentence, an element per order, characters first.
    ///
    /// # Errors
    /// [`MetricError::NoReference`], and [`MetricError::Config`] where an option makes no sense.
    pub fn count<S: AsRef<str>>(
        &self,
        hypothesis: &str,
        references: &[S],
    ) -> Result<Vec<ChrfCounts>, MetricError> {
        self.check()?;
        let hypothesis = Segment::new(self, hypothesis);
        let mut best: Option<(f64, Vec<ChrfCounts>)> = None;
        for reference in references {
            let counts = self.compare(&hypothesis, &Segment::new(self, reference.as_ref()));
            let score = self.score(&counts);
            if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                best = Some((score, counts));
            }
        }
        best.map(|(_, counts)| counts).ok_or(MetricError::NoReference { metric: NAME, item: 0 })
    }

    /// Scores sums of counts, 0 to 100; 0 where no order has n-grams on both sides.
    pub fn score(&self, counts: &[ChrfCounts]) -> f64 {
        let both = counts.iter().filter(|c| c.hypothesis > 0 && c.reference > 0);
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for c in both {
            precision += c.shared as f64 / c.hypothesis as f64;
            recall += c.shared as f64 / c.reference as f64;
            orders += 1.0;
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall, factor) = (precision / orders, recall / orders, self.beta * self.beta);
        100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall)
    }

    /// Scores a corpus; `references[i]` are those of `hypotheses[i]`.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NoReference`], [`MetricError::Config`].
    pub fn corpus<H, R, S>(&self, hypotheses: &[H], references: &[R]) -> Result<f64, MetricError>
    where
        H: AsRef<str>,
        R: AsRef<[S]>,
        S: AsRef<str>,
    {
        check_pairs(NAME, "lists of references", hypotheses.len(), references.len())?;
        let mut sum = vec![ChrfCounts::default(); self.char_order + self.word_order];
        for (item, (hypothesis, references)) in hypotheses.iter().zip(references).enumerate() {
            let counts =
                self.count(hypothesis.as_ref(), references.as_ref()).map_err(|e| at_item(e, item))?;
            for (sum, c) in sum.iter_mut().zip(counts) {
                sum.hypothesis += c.hypothesis;
                sum.reference += c.reference;
                sum.shared += c.shared;
            }
        }
        Ok(self.score(&sum))
    }

    /// Describes the computation as text that belongs beside every score; see
    /// [`BleuConfig::signature`](crate::BleuConfig::signature).
    pub fn signature(&self, references: Option<usize>) -> String {
        let beta = if self.beta == 2.0 { String::new() } else { format!("|beta:{}", self.beta) };
        format!(
            "{}|eff:yes|nc:{}|nw:{}|space:{}{beta}|{}",
            references_and_case(references, self.lowercase),
            self.char_order,
            self.word_order,
            if self.whitespace { "yes" } else { "no" },
            version(),
        )
    }

    fn check(&self) -> Result<(), MetricError> {
        if self.char_order == 0 {
            return Err(MetricError::Config {
                option: "char_order",
                value: "0".into(),
                allowed: "at least 1",
            });
        }
        if !(self.beta.is_finite() && self.beta > 0.0) {
            let value = self.beta.to_string();
            return Err(MetricError::Config { option: "beta", value, allowed: "a positive number" });
        }
        Ok(())
    }

    fn compare(&self, hypothesis: &Segment, reference: &Segment) -> Vec<ChrfCounts> {
        let chars = (1..=self.char_order).map(|n| counts(&hypothesis.chars, &reference.chars, n));
        chars.chain((1..=self.word_order).map(|n| counts(&hypothesis.words, &reference.words, n))).collect()
    }
}

fn counts<T: std::hash::Hash + Eq>(hypothesis: &[T], reference: &[T], n: usize) -> ChrfCounts {
    let total = |tokens: &[T]| (tokens.len() + 1).saturating_sub(n);
    ChrfCounts {
        hypothesis: if total(reference) == 0 { 0 } else { total(hypothesis) },
        reference: total(reference),
        shared: shared(&ngrams(hypothesis, n), &ngrams(reference, n)),
    }
}

/// The characters and words of a text.
struct Segment {
    chars: Vec<char>,
    words: Vec<String>,
}

impl Segment {
    fn new(config: &ChrfConfig, text: &str) -> Self {
        let text = if config.lowercase { text.to_lowercase() } else { text.to_owned() };
        let mut cut = Vec::new();
        if config.word_order > 0 {
            words(&text).for_each(|word| split_punctuation(word, &mut cut));
        }
        Self { chars: text.chars().filter(|&c| config.whitespace || !is_space(c)).collect(), words: cut }
    }
}

/// Sets one mark of ASCII at the end of a word apart, or else one at its beginning.
fn split_punctuation(word: &str, cut: &mut Vec<String>) {
    let (mut chars, mut from_end) = (word.chars(), word.chars());
    let (first, last) = (chars.next(), from_end.next_back());
    let is_mark = |c: Option<char>| c.is_some_and(|c| c.is_ascii_punctuation());
    let (before, after) = match () {
        () if chars.as_str().is_empty() => (word, ""),
        () if is_mark(last) => word.split_at(from_end.as_str().len()),
        () if is_mark(first) => word.split_at(word.len() - chars.as_str().len()),
        () => (word, ""),
    };
    cut.push(before.to_owned());
    if !after.is_empty() {
        cut.push(after.to_owned());
    }
}
