//! BLEU: how many n-grams of a translation its references have.

mod tokenizer;

pub use tokenizer::BleuTokenizer;
pub(crate) use tokenizer::{set_marks_apart, set_stops_apart};

use crate::error::{MetricError, check_pairs};
use crate::text::ngrams;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

const NAME: &str = "bleu";

/// What stands in for a precision of zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// Nothing: one order without a match makes the score 0.
    None,
    /// The `k`-th order without a match counts as `1 / 2ᵏ` of a match (NIST; method 3 of Chen and Cherry 2014).
    #[default]
    Exp,
    /// An order without a match counts as so much of a match; 0.1 is usual (method 1).
    Floor(f64),
    /// So much is added to matches and n-grams of all orders above 1; 1 is usual (method 2, Lin and Och 2004).
    AddK(f64),
}

/// How BLEU is computed; the default is that of sacreBLEU.
///
/// For `mₙ` matched of `tₙ` n-grams of the hypotheses, each counted at most as often as in the reference that has it most
/// often, with hypotheses of `c` tokens and closest references of `r`:
///
/// ```text
/// BLEU = 100 · min(1, exp(1 − r/c)) · exp( Σₙ ln(mₙ/tₙ) / N )      n = 1 … N = max_order
/// ```
///
/// (Papineni, Roukos, Ward, Zhu 2002, ACL P02-1040; the tokenizers and defaults of Post 2018, 1804.08771.)
/// Higher is better, 0 to 100. Numbers of different signatures cannot be compared.
///
/// ```
/// use tenuis_metrics::BleuConfig;
/// let bleu = BleuConfig::default();
/// let score = bleu.corpus(&["the cat sat on the mat"], &[["the cat sat on a mat"]])?;
/// assert!((score.score - 53.7285).abs() < 1e-4);
/// assert!(bleu.signature(Some(1)).starts_with("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|"));
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BleuConfig {
    /// How text is cut.
    pub tokenizer: BleuTokenizer,
    /// What stands in for a precision of zero.
    pub smoothing: Smoothing,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// Whether `N` ends at the longest n-gram that the hypotheses have. Meant for single sentences, see
    /// [`BleuConfig::sentence`].
    pub effective_order: bool,
    /// The longest n-grams that count, `N`.
    pub max_order: usize,
}

impl Default for BleuConfig {
    fn default() -> Self {
        Self {
            tokenizer: BleuTokenizer::default(),
            smoothing: Smoothing::default(),
            lowercase: false,
            effective_order: false,
            max_order: 4,
        }
    }
}

/// What BLEU counts; sums over sentences are those of the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BleuCounts {
    /// Tokens of the hypothesis.
    pub hypothesis_len: usize,
    /// Tokens of the reference whose length is closest, the shorter one of two.
    pub reference_len: usize,
    /// Matched n-grams of each order.
    pub matches: Vec<usize>,
    /// N-grams of the hypothesis of each order.
    pub totals: Vec<usize>,
}

impl BleuCounts {
    /// No sentence at all.
    pub fn zero(max_order: usize) -> Self {
        Self { hypothesis_len: 0, reference_len: 0, matches: vec![0; max_order], totals: vec![0; max_order] }
    }

    /// Adds the counts of another sentence.
    pub fn add(&mut self, other: &Self) {
        self.hypothesis_len += other.hypothesis_len;
        self.reference_len += other.reference_len;
        self.matches.iter_mut().zip(&other.matches).for_each(|(a, b)| *a += b);
        self.totals.iter_mut().zip(&other.totals).for_each(|(a, b)| *a += b);
    }
}

/// A BLEU score and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Bleu {
    /// The score, 0 to 100.
    pub score: f64,
    /// The precision of each order in percent, after smoothing.
    pub precisions: Vec<f64>,
    /// The factor that punishes short hypotheses, 0 to 1.
    pub brevity_penalty: f64,
    /// What was counted.
    pub counts: BleuCounts,
}

impl BleuConfig {
    /// Counts the matches of one sentence.
    ///
    /// # Errors
    /// [`MetricError::NoReference`], and [`MetricError::Config`] where an option makes no sense.
    pub fn count<S: AsRef<str>>(
        &self,
        hypothesis: &str,
        references: &[S],
    ) -> Result<BleuCounts, MetricError> {
        self.check()?;
        if references.is_empty() {
            return Err(MetricError::NoReference { metric: NAME, item: 0 });
        }
        let hypothesis = self.tokens(hypothesis);
        let references: Vec<_> = references.iter().map(|r| self.tokens(r.as_ref())).collect();
        Ok(self.count_tokens(&hypothesis, &references))
    }

    /// Scores sums of counts.
    pub fn score(&self, counts: BleuCounts) -> Bleu {
        let (c, r) = (counts.hypothesis_len as f64, counts.reference_len as f64);
        let brevity_penalty = match counts.hypothesis_len {
            0 if counts.reference_len > 0 => 0.0,
            _ if c < r => (1.0 - r / c).exp(),
            _ => 1.0,
        };
        let mut precisions = vec![0.0; self.max_order];
        if counts.matches.iter().all(|&m| m == 0) {
            return Bleu { score: 0.0, precisions, brevity_penalty, counts };
        }
        let (mut share, mut order) = (1.0, self.max_order);
        for (n, precision) in precisions.iter_mut().enumerate() {
            let added = match self.smoothing {
                Smoothing::AddK(k) if n > 0 => k,
                _ => 0.0,
            };
            let (matched, total) = (counts.matches[n] as f64 + added, counts.totals[n] as f64 + added);
            if total == 0.0 {
                break;
            }
            if self.effective_order {
                order = n + 1;
            }
            let matched = match self.smoothing {
                _ if matched > 0.0 => matched,
                Smoothing::Exp => {
                    share /= 2.0;
                    share
                }
                Smoothing::Floor(floor) => floor,
                _ => 0.0,
            };
            *precision = 100.0 * matched / total;
        }
        // The logarithm of 0 is minus infinity, whose exponential is 0, as it should be.
        let mean = precisions[..order].iter().map(|p| p.ln()).sum::<f64>() / order as f64;
        Bleu { score: brevity_penalty * mean.exp(), precisions, brevity_penalty, counts }
    }

    /// Scores a corpus; `references[i]` are those of `hypotheses[i]`.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NoReference`], [`MetricError::Config`].
    pub fn corpus<H, R, S>(&self, hypotheses: &[H], references: &[R]) -> Result<Bleu, MetricError>
    where
        H: AsRef<str>,
        R: AsRef<[S]>,
        S: AsRef<str>,
    {
        check_pairs(NAME, "lists of references", hypotheses.len(), references.len())?;
        let mut sum = BleuCounts::zero(self.max_order);
        for (item, (hypothesis, references)) in hypotheses.iter().zip(references).enumerate() {
            sum.add(&self.count(hypothesis.as_ref(), references.as_ref()).map_err(|e| at_item(e, item))?);
        }
        Ok(self.score(sum))
    }

    /// Scores one sentence, with the effective order, so that short sentences are not all 0.
    ///
    /// # Errors
    /// As [`BleuConfig::count`].
    pub fn sentence<S: AsRef<str>>(&self, hypothesis: &str, references: &[S]) -> Result<Bleu, MetricError> {
        let config = Self { effective_order: true, ..self.clone() };
        Ok(config.score(config.count(hypothesis, references)?))
    }

    /// Describes the computation as text that belongs beside every score. `references` is how many each hypothesis has,
    /// `None` where that varies.
    pub fn signature(&self, references: Option<usize>) -> String {
        let smoothing = match self.smoothing {
            Smoothing::None => "none".to_owned(),
            Smoothing::Exp => "exp".to_owned(),
            Smoothing::Floor(value) => format!("floor[{value:.2}]"),
            Smoothing::AddK(value) => format!("add-k[{value:.2}]"),
        };
        let order = if self.max_order == 4 { String::new() } else { format!("|order:{}", self.max_order) };
        format!(
            "{}|eff:{}|tok:{}|smooth:{smoothing}{order}|{}",
            references_and_case(references, self.lowercase),
            if self.effective_order { "yes" } else { "no" },
            self.tokenizer,
            version(),
        )
    }

    pub(crate) fn check(&self) -> Result<(), MetricError> {
        if self.max_order == 0 {
            return Err(MetricError::Config {
                option: "max_order",
                value: "0".into(),
                allowed: "at least 1",
            });
        }
        match self.smoothing {
            Smoothing::Floor(value) | Smoothing::AddK(value) if !(value.is_finite() && value > 0.0) => {
                let allowed = "a positive number";
                Err(MetricError::Config { option: "smoothing", value: value.to_string(), allowed })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn tokens(&self, text: &str) -> Vec<String> {
        if self.lowercase {
            self.tokenizer.tokenize(&text.to_lowercase())
        } else {
            self.tokenizer.tokenize(text)
        }
    }

    fn count_tokens(&self, hypothesis: &[String], references: &[Vec<String>]) -> BleuCounts {
        let mut counts = BleuCounts::zero(self.max_order);
        counts.hypothesis_len = hypothesis.len();
        counts.reference_len = closest(hypothesis.len(), references.iter().map(Vec::len));
        for n in 1..=self.max_order {
            let mut most: HashMap<&[String], usize> = HashMap::new();
            for reference in references {
                for (ngram, count) in ngrams(reference, n) {
                    let known = most.entry(ngram).or_insert(0);
                    *known = count.max(*known);
                }
            }
            counts.matches[n - 1] = crate::text::shared(&ngrams(hypothesis, n), &most);
            counts.totals[n - 1] = (hypothesis.len() + 1).saturating_sub(n);
        }
        counts
    }
}

/// The length closest to that of the hypothesis, the shorter one of two.
pub(crate) fn closest(hypothesis: usize, references: impl Iterator<Item = usize>) -> usize {
    references.min_by_key(|&length| (length.abs_diff(hypothesis), length)).unwrap_or(0)
}

/// Names the item in an error that knows only of its own.
pub(crate) fn at_item(error: MetricError, item: usize) -> MetricError {
    match error {
        MetricError::NoReference { metric, .. } => MetricError::NoReference { metric, item },
        other => other,
    }
}

/// The first two fields of a signature.
pub(crate) fn references_and_case(references: Option<usize>, lowercase: bool) -> String {
    let references = references.map_or_else(|| "var".to_owned(), |count| count.to_string());
    format!("nrefs:{references}|case:{}", if lowercase { "lc" } else { "mixed" })
}

/// The last field of a signature: whose number it is.
pub(crate) const fn version() -> &'static str {
    concat!("tenuis:", env!("CARGO_PKG_VERSION"))
}
