//! TER: how many edits turn a translation into its reference.

mod edit;
mod shift;

use crate::bleu::{at_item, references_and_case, set_marks_apart, set_stops_apart, version};
use crate::error::{MetricError, check_pairs};
use crate::text::words;
use serde::{Deserialize, Serialize};

const NAME: &str = "ter";

/// How the translation edit rate is computed; the default is that of sacreBLEU and of Tercom.
///
/// ```text
/// TER = 100 · edits / r
/// ```
///
/// Edits are insertions, deletions and substitutions of words and shifts of runs of words, the fewest that the greedy search
/// of Tercom finds for any of the references; `r` is the mean length of the references. Both are summed over the corpus.
/// (Snover, Dorr, Schwartz, Micciulla, Makhoul 2006, AMTA.) Lower is better, from 0; above 100 where nothing fits.
///
/// ```
/// use tenuis_metrics::TerConfig;
/// // One shift, seven words.
/// let score = TerConfig::default().corpus(&["on Monday we met in the park"], &[["we met in the park on Monday"]])?;
/// assert!((score - 100.0 / 7.0).abs() < 1e-12);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TerConfig {
    /// Whether case matters.
    pub case_sensitive: bool,
    /// Whether punctuation is set apart first.
    pub normalized: bool,
    /// Whether punctuation is left out.
    pub no_punct: bool,
}

/// What TER counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TerCounts {
    /// The fewest edits for any reference.
    pub edits: usize,
    /// The mean length of the references.
    pub reference_len: f64,
}

impl TerConfig {
    /// Counts the edits of one sentence.
    ///
    /// # Errors
    /// [`MetricError::NoReference`].
    pub fn count<S: AsRef<str>>(&self, hypothesis: &str, references: &[S]) -> Result<TerCounts, MetricError> {
        let prepared = self.prepare(hypothesis);
        let hypothesis: Vec<&str> = words(&prepared).collect();
        let (mut edits, mut length) = (None, 0);
        for reference in references {
            let mut prepared = self.prepare(reference.as_ref());
            if self.normalized {
                // The published implementation prepares references twice, which sets a few possessives apart that once does
                // not; scores would not agree without it.
                prepared = self.prepare(&prepared);
            }
            let reference: Vec<&str> = words(&prepared).collect();
            length += reference.len();
            let found = shift::edits(&hypothesis, &reference);
            edits = Some(edits.map_or(found, |fewest: usize| fewest.min(found)));
        }
        let edits = edits.ok_or(MetricError::NoReference { metric: NAME, item: 0 })?;
        Ok(TerCounts { edits, reference_len: length as f64 / references.len() as f64 })
    }

    /// Scores sums of counts. Where all references are empty, the rate is 0 without edits and 100 with any.
    pub fn score(&self, counts: TerCounts) -> f64 {
        if counts.reference_len > 0.0 {
            100.0 * counts.edits as f64 / counts.reference_len
        } else if counts.edits > 0 {
            100.0
        } else {
            0.0
        }
    }

    /// Scores a corpus; `references[i]` are those of `hypotheses[i]`.
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NoReference`].
    pub fn corpus<H, R, S>(&self, hypotheses: &[H], references: &[R]) -> Result<f64, MetricError>
    where
        H: AsRef<str>,
        R: AsRef<[S]>,
        S: AsRef<str>,
    {
        check_pairs(NAME, "lists of references", hypotheses.len(), references.len())?;
        let mut sum = TerCounts::default();
        for (item, (hypothesis, references)) in hypotheses.iter().zip(references).enumerate() {
            let counts =
                self.count(hypothesis.as_ref(), references.as_ref()).map_err(|e| at_item(e, item))?;
            sum.edits += counts.edits;
            sum.reference_len += counts.reference_len;
        }
        Ok(self.score(sum))
    }

    /// Describes the computation as text that belongs beside every score; see
    /// [`BleuConfig::signature`](crate::BleuConfig::signature).
    pub fn signature(&self, references: Option<usize>) -> String {
        let yes = |is: bool| if is { "yes" } else { "no" };
        format!(
            "{}|tok:tercom|norm:{}|punct:{}|asian:no|{}",
            references_and_case(references, !self.case_sensitive),
            yes(self.normalized),
            yes(!self.no_punct),
            version(),
        )
    }

    fn prepare(&self, text: &str) -> String {
        let mut text = if self.case_sensitive { text.to_owned() } else { text.to_lowercase() };
        if self.normalized {
            text = text.trim_end_matches(crate::text::is_space).replace("\n-", "").replace('\n', " ");
            text = text.replace("&quot;", "\"").replace("&amp;", "&");
            text = text.replace("&lt;", "<").replace("&gt;", ">");
            let marked = set_marks_apart(&format!(" {text} "));
            text = set_stops_apart(&marked.replace("'s ", " 's "));
        }
        if self.no_punct {
            text.retain(|c| !matches!(c, '.' | ',' | '?' | ':' | ';' | '!' | '"' | '(' | ')'));
        }
        words(&text).collect::<Vec<_>>().join(" ")
    }
}
