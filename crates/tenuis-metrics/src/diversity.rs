//! How varied texts are: distinct n-grams, repetition, self-BLEU.

use crate::bleu::{BleuConfig, BleuCounts, closest};
use crate::error::MetricError;
use crate::text::{ngrams, words};
use std::collections::{HashMap, HashSet};

/// The share of distinct n-grams of words among all n-grams of all texts. Higher is better, above 0 to 1.
///
/// (Li et al. 2016, 1510.03055.) It falls with the amount of text: compare equal amounts only. Words are what white space
/// separates.
///
/// ```
/// assert_eq!(tenuis_metrics::distinct(&["a b a", "a b"], 1)?, 0.4);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Config`] where `n` is 0, [`MetricError::Empty`] where no text has `n` words.
pub fn distinct<T: AsRef<str>>(texts: &[T], n: usize) -> Result<f64, MetricError> {
    let metric = "distinct";
    check_order(n)?;
    let texts: Vec<Vec<&str>> = texts.iter().map(|text| words(text.as_ref()).collect()).collect();
    let all: HashSet<&[&str]> = texts.iter().flat_map(|words| words.windows(n)).collect();
    let total: usize = texts.iter().map(|words| (words.len() + 1).saturating_sub(n)).sum();
    if total == 0 { Err(MetricError::Empty { metric }) } else { Ok(all.len() as f64 / total as f64) }
}

/// The share of a text's n-grams of words that occurred in it before, `1 − distinct / all`; `None` for fewer than `n` words.
/// Lower is better, 0 to below 1.
///
/// The mean over texts is the metric (seq-rep-n of Welleck et al. 2019, 1908.04319).
///
/// ```
/// assert_eq!(tenuis_metrics::repetition("so so so so so", 4), Some(0.5));
/// assert_eq!(tenuis_metrics::repetition("so so", 4), None);
/// ```
pub fn repetition(text: &str, n: usize) -> Option<f64> {
    let words: Vec<&str> = words(text).collect();
    if n == 0 || words.len() < n {
        return None;
    }
    let total = words.len() + 1 - n;
    Some(1.0 - ngrams(&words, n).len() as f64 / total as f64)
}

/// The mean over texts of [`repetition`], texts of fewer than `n` words aside. Lower is better.
///
/// # Errors
/// [`MetricError::Config`] where `n` is 0, [`MetricError::Empty`] where no text has `n` words.
pub fn mean_repetition<T: AsRef<str>>(texts: &[T], n: usize) -> Result<f64, MetricError> {
    check_order(n)?;
    let shares: Vec<f64> = texts.iter().filter_map(|text| repetition(text.as_ref(), n)).collect();
    match shares.len() {
        0 => Err(MetricError::Empty { metric: "repetition" }),
        count => Ok(shares.iter().sum::<f64>() / count as f64),
    }
}

/// The mean sentence BLEU of each text with all others as references. Lower is more varied, 0 to 100.
///
/// (Zhu et al. 2018, 1802.01886.)
///
/// ```
/// use tenuis_metrics::{BleuConfig, self_bleu};
/// let same = self_bleu(&["one and the same", "one and the same"], &BleuConfig::default())?;
/// assert!((same - 100.0).abs() < 1e-9);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Rows`] for fewer than two texts, [`MetricError::Config`].
pub fn self_bleu<T: AsRef<str>>(texts: &[T], config: &BleuConfig) -> Result<f64, MetricError> {
    config.check()?;
    if texts.len() < 2 {
        return Err(MetricError::Rows { metric: "self_bleu", rows: texts.len(), needed: 2 });
    }
    let mut config = config.clone();
    config.effective_order = true;
    let texts: Vec<Vec<String>> = texts.iter().map(|text| config.tokens(text.as_ref())).collect();
    let mut counts: Vec<BleuCounts> = (0..texts.len()).map(|_| BleuCounts::zero(config.max_order)).collect();
    for n in 1..=config.max_order {
        let each: Vec<_> = texts.iter().map(|tokens| ngrams(tokens, n)).collect();
        // Of every n-gram the two highest counts: all that the others of any text can have.
        let mut most: HashMap<&[String], [(usize, usize); 2]> = HashMap::new();
        for (text, ngrams) in each.iter().enumerate() {
            for (ngram, &count) in ngrams {
                let [first, second] = most.entry(ngram).or_insert([(0, usize::MAX); 2]);
                if count > first.0 {
                    *second = std::mem::replace(first, (count, text));
                } else if count > second.0 {
                    *second = (count, text);
                }
            }
        }
        for (text, ngrams) in each.iter().enumerate() {
            counts[text].totals[n - 1] = (texts[text].len() + 1).saturating_sub(n);
            let of_others = |ngram: &[String]| {
                most.get(ngram).map_or(0, |[first, second]| if first.1 == text { second.0 } else { first.0 })
            };
            counts[text].matches[n - 1] =
                ngrams.iter().map(|(ngram, &count)| count.min(of_others(ngram))).sum();
        }
    }
    let mut sum = 0.0;
    for (text, mut counts) in counts.into_iter().enumerate() {
        let others = texts.iter().enumerate().filter(|(other, _)| *other != text);
        counts.hypothesis_len = texts[text].len();
        counts.reference_len = closest(texts[text].len(), others.map(|(_, tokens)| tokens.len()));
        sum += config.score(counts).score;
    }
    Ok(sum / texts.len() as f64)
}

fn check_order(n: usize) -> Result<(), MetricError> {
    if n > 0 {
        return Ok(());
    }
    Err(MetricError::Config { option: "ngram", value: "0".into(), allowed: "at least 1" })
}
