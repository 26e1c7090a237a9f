//! Answers that are right or wrong: exact match, SQuAD's exact match and F1, numeric results.

use crate::error::MetricError;
use crate::rouge::PrecisionRecall;
use crate::text::{is_space, is_word, ngrams, shared, words};
use serde::{Deserialize, Serialize};

/// What of an answer does not matter when it is compared.
///
/// The steps are taken in the order of the fields. [`Normalization::squad`] takes all of them, as the script of SQuAD
/// does; the default takes none.
///
/// ```
/// use tenuis_metrics::Normalization;
/// assert_eq!(Normalization::squad().apply("The  U.S.A.!"), "usa");
/// assert_eq!(Normalization::default().apply(" A "), " A ");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a step that is taken or not")]
#[non_exhaustive]
pub struct Normalization {
    /// Whether case is ignored.
    pub lowercase: bool,
    /// Whether punctuation of ASCII is left out.
    pub punctuation: bool,
    /// Whether the English words a, an and the are left out.
    pub articles: bool,
    /// Whether runs of white space are one space, and none at the ends.
    pub whitespace: bool,
}

impl Normalization {
    /// Takes every step, as the script of SQuAD (Rajpurkar et al. 2016, 1606.05250).
    #[must_use]
    pub const fn squad() -> Self {
        Self { lowercase: true, punctuation: true, articles: true, whitespace: true }
    }

    /// Normalises a text.
    #[must_use]
    pub fn apply(self, text: &str) -> String {
        let mut text = if self.lowercase { text.to_lowercase() } else { text.to_owned() };
        if self.punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        if self.articles {
            text = without_articles(&text);
        }
        if self.whitespace {
            text = words(&text).collect::<Vec<_>>().join(" ");
        }
        text
    }
}

/// Puts a space in the place of every article that is a word of its own; in lower case, as the script of SQuAD.
fn without_articles(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_word(first);
        let end = rest.find(|c| is_word(c) != inside).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = after;
    }
    out
}

/// Whether a prediction equals one of the references after normalisation.
///
/// The mean over items is the metric exact match: higher is better, 0 to 1.
///
/// ```
/// use tenuis_metrics::{Normalization, exact_match};
/// assert!(exact_match("the cat.", &["Cat"], Normalization::squad())?);
/// assert!(!exact_match("the cat.", &["Cat"], Normalization::default())?);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::NoReference`].
pub fn exact_match<S: AsRef<str>>(
    prediction: &str,
    references: &[S],
    normalization: Normalization,
) -> Result<bool, MetricError> {
    if references.is_empty() {
        return Err(MetricError::NoReference { metric: "exact_match", item: 0 });
    }
    let prediction = normalization.apply(prediction);
    Ok(references.iter().any(|reference| normalization.apply(reference.as_ref()) == prediction))
}

/// How many words a prediction shares with the reference that suits it best, after SQuAD's normalisation.
///
/// With `h` shared words, each as often as both have it, `F1 = 2 h / (p + r)` for `p` words of the prediction and `r` of
/// the reference. Where one of them has no words it is 1 if both have none, else 0, as in version 2 of SQuAD
/// (Rajpurkar, Jia, Liang 2018, 1806.03822). The mean over items is the metric: higher is better, 0 to 1 (published values
/// are in percent).
///
/// ```
/// use tenuis_metrics::squad_f1;
/// assert_eq!(squad_f1("in the year 1903", &["1903"])?, 0.5);
/// assert_eq!(squad_f1("", &[""])?, 1.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::NoReference`].
pub fn squad_f1<S: AsRef<str>>(prediction: &str, references: &[S]) -> Result<f64, MetricError> {
    let prediction = Normalization::squad().apply(prediction);
    let prediction: Vec<&str> = words(&prediction).collect();
    let scores = references.iter().map(|reference| {
        let reference = Normalization::squad().apply(reference.as_ref());
        let reference: Vec<&str> = words(&reference).collect();
        if prediction.is_empty() || reference.is_empty() {
            return if prediction.len() == reference.len() { 1.0 } else { 0.0 };
        }
        let hits = shared(&ngrams(&prediction, 1), &ngrams(&reference, 1));
        PrecisionRecall::of(hits, prediction.len(), reference.len()).f1
    });
    scores.reduce(f64::max).ok_or(MetricError::NoReference { metric: "squad_f1", item: 0 })
}

/// Where the result of a worked answer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumericResult {
    /// After the last `####`, and nowhere else (Cobbe et al. 2021, 2110.14168).
    Marked,
    /// The last number of the text.
    Last,
    /// After the last `####` if there is one, else the last number.
    #[default]
    MarkedOrLast,
}

impl NumericResult {
    /// Finds the result of an answer; `None` where there is none.
    ///
    /// A number may have a sign, a currency sign before it, commas between groups of three digits and decimals. It is
    /// compared as a number: `1,000` is `1000.0`.
    ///
    /// ```
    /// use tenuis_metrics::NumericResult;
    /// assert_eq!(NumericResult::MarkedOrLast.find("3 + 4 = 7 apples\n#### 7"), Some(7.0));
    /// assert_eq!(NumericResult::MarkedOrLast.find("so she pays $1,250.50."), Some(1250.5));
    /// assert_eq!(NumericResult::Marked.find("so she pays 5"), None);
    /// assert_eq!(NumericResult::Last.find("from 10-12 to -3"), Some(-3.0));
    /// ```
    pub fn find(self, answer: &str) -> Option<f64> {
        let marked = answer.rsplit_once("####").map(|(_, after)| after);
        match (self, marked) {
            (Self::Last, _) | (Self::MarkedOrLast, None) => numbers(answer).last(),
            (Self::Marked, None) => None,
            // The first number after the mark: text may follow it.
            (_, Some(after)) => {
                numbers(after.trim_start_matches(is_space).lines().next().unwrap_or_default()).next()
            }
        }
    }
}

/// Whether the result of a worked answer is that of one of the references.
///
/// An answer without a result is wrong. The mean over items is the metric: higher is better, 0 to 1. Unlike the task of
/// worked problems, which compares what stands after the mark letter by letter, this compares numbers.
///
/// ```
/// use tenuis_metrics::{NumericResult, numeric_match};
/// assert!(numeric_match("It is 72.0", &["48 + 24 = 72\n#### 72"], NumericResult::MarkedOrLast)?);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::NoReference`] without references, and where none of them has a result.
pub fn numeric_match<S: AsRef<str>>(
    prediction: &str,
    references: &[S],
    result: NumericResult,
) -> Result<bool, MetricError> {
    let mut results =
        references.iter().filter_map(|r| NumericResult::MarkedOrLast.find(r.as_ref())).peekable();
    if results.peek().is_none() {
        return Err(MetricError::NoReference { metric: "numeric_match", item: 0 });
    }
    let found = result.find(prediction);
    Ok(results.any(|reference| found == Some(reference)))
}

/// The numbers of a text, first to last.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(c) = text[at..].chars().next() {
            if begins_number(&text[..at], c)
                && let Some((value, length)) = number(&text[at..])
            {
                at += length;
                return Some(value);
            }
            at += c.len_utf8();
        }
        None
    })
}

/// Whether a number may begin with `c` after that text. A hyphen after a letter or digit is no sign, and what follows the
/// point of a version belongs to it.
fn begins_number(before: &str, c: char) -> bool {
    let last = before.chars().next_back();
    match (c, last) {
        ('0'..='9', Some('.')) => !before[..before.len() - 1].ends_with(|c: char| c.is_ascii_digit()),
        ('0'..='9', Some(last)) => !last.is_ascii_alphanumeric(),
        ('+' | '-' | '$', Some(last)) => !last.is_alphanumeric(),
        ('.', Some(last)) => is_space(last),
        ('0'..='9' | '+' | '-' | '$' | '.', None) => true,
        _ => false,
    }
}

/// A number that a text begins with, and its length in bytes.
fn number(text: &str) -> Option<(f64, usize)> {
    let bytes = text.as_bytes();
    let mut plain = String::new();
    let mut at = 0;
    if bytes.first() == Some(&b'-') || bytes.first() == Some(&b'+') {
        plain.push(char::from(bytes[0]));
        at = 1;
    }
    if bytes.get(at) == Some(&b'$') {
        at += 1;
    }
    let start = at;
    let digits =
        |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    loop {
        let count = digits(at);
        plain.push_str(&text[at..at + count]);
        at += count;
        // A comma stays in the number where exactly three digits follow it.
        if !(count > 0 && bytes.get(at) == Some(&b',') && digits(at + 1) == 3) {
            break;
        }
        at += 1;
    }
    let decimals = digits(at + 1);
    if bytes.get(at) == Some(&b'.') && decimals > 0 {
        plain.push_str(&text[at..=at + decimals]);
        at += 1 + decimals;
    }
    if at == start {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    value.is_finite().then_some((value, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_are_words() {
        let squad = |text| Normalization::squad().apply(text);
        assert_eq!(squad("A cat, an owl & the theatre"), "cat owl theatre");
        assert_eq!(squad("the"), "");
        assert_eq!(squad("l'éa"), "léa");
        // An underscore is punctuation and goes before the words are looked at.
        assert_eq!(squad("_a_"), "");
    }

    #[test]
    fn numbers_are_found() {
        let all = |text: &str| numbers(text).collect::<Vec<_>>();
        assert_eq!(all("a 1 b -2.5 c $3,000 d"), [1.0, -2.5, 3000.0]);
        assert_eq!(all("-$4 and $-5"), [-4.0, -5.0]);
        assert_eq!(all("10-12"), [10.0, 12.0]);
        assert_eq!(all("1,2,3 and 12,34"), [1.0, 2.0, 3.0, 12.0, 34.0]);
        assert!(all("x2 v1.2").is_empty());
        assert_eq!(all("1. 2."), [1.0, 2.0]);
        assert_eq!(all(".5 is...6"), [0.5, 6.0]);
        assert_eq!(all("1,234,567.89%"), [1_234_567.89]);
        assert_eq!(all("€5 – 6元 7"), [5.0, 6.0, 7.0]);
        assert!(all("").is_empty());
        assert!(all("-").is_empty());
    }

    #[test]
    fn results_after_a_mark() {
        assert_eq!(NumericResult::Marked.find("1 #### 2 #### 3 or 4"), Some(3.0));
        assert_eq!(NumericResult::Marked.find("#### none"), None);
        assert_eq!(NumericResult::MarkedOrLast.find("no number"), None);
    }

    #[test]
    fn references_without_a_result_are_an_error() {
        assert!(matches!(
            numeric_match("5", &["none"], NumericResult::Last),
            Err(MetricError::NoReference { metric: "numeric_match", .. })
        ));
        assert!(!numeric_match("none", &["5"], NumericResult::Last).unwrap());
    }
}
