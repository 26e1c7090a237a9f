//! Perplexity, and what it hides: the divergence of a candidate's predictions from the baseline's.

use crate::error::EvalError;
use crate::statistics::nearest_rank;
use crate::tasks::TaskScore;
use crate::windows::Windows;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenuis_model::Model;

/// Logits are taken in batches of about so many values, 256 MiB of f32.
const BATCH_LOGITS: usize = 64 << 20;
/// A batch holds at most so many tokens: beyond that a matrix product gains nothing.
const BATCH_TOKENS: usize = 2048;

/// A text as token ids, with the hash of what it was made from.
#[derive(Clone, Debug)]
pub struct TextData {
    /// Token ids, without special tokens.
    pub tokens: Vec<u32>,
    /// blake3 of the text's bytes, in hexadecimal.
    pub hash: String,
}

/// Perplexity and the protocol it was measured under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Perplexity {
    /// `exp(mean NLL)` over all predictions.
    pub value: f64,
    /// Tokens in the windows that were read.
    pub tokens: usize,
    /// Predictions: every token of a window but its first.
    pub predictions: usize,
    /// Tokens per window.
    pub seq_len: usize,
    /// Distance between window starts in the numbering of whole windows; windows never overlap.
    pub stride: usize,
    /// Windows read.
    pub windows: usize,
    /// Whole windows that the text holds.
    pub windows_of: usize,
    /// blake3 of the text.
    pub data_hash: String,
}

/// How well a model predicts a text, by itself and beside the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Perplexity on the text.
    pub perplexity: Perplexity,
    /// Mean over predictions of `KL(baseline ‖ model)` in nats; 0 for the baseline.
    pub kl_mean: f64,
    /// 99th percentile of the same (nearest rank).
    pub kl_p99: f64,
    /// Share of predictions whose most likely token is the baseline's.
    pub top1_agreement: f64,
    /// Right answers to every task, by its name; absent where there were no tasks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskScore>,
}

/// A model under a name for messages.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What reports call it.
    pub name: &'a str,
    /// The model.
    pub model: &'a Model,
}

/// Runs every model over the same windows and compares each prediction with the baseline's.
///
/// For logits `l` of a position, `log p = l − log Σ exp l`, computed around the maximum in f32 and summed in f64:
///
/// * NLL: `−log p[next token]`; perplexity: `exp(mean NLL)`;
/// * `KL(b ‖ c) = Σ_v p_b[v] · (log p_b[v] − log p_c[v])`;
/// * top-1 agreement: both have their maximum at the same token (the first of equal ones).
///
/// The first subject is the baseline. `progress` is called with the number of windows done.
///
/// # Errors
/// [`EvalError`] where a model fails, gives logits that are not finite, or has another vocabulary.
pub fn measure(
    subjects: &[Subject<'_>],
    data: &TextData,
    windows: Windows,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Quality>, EvalError> {
    let Some(baseline) = subjects.first() else { return Ok(Vec::new()) };
    let (vocab, seq) = (baseline.model.spec().vocab, windows.seq_len());
    for subject in &subjects[1..] {
        let found = subject.model.spec().vocab;
        if found != vocab {
            return Err(EvalError::Vocabulary { model: subject.name.to_owned(), expected: vocab, found });
        }
    }
    let batch = (BATCH_LOGITS / (vocab * seq)).min(BATCH_TOKENS / seq).max(1);
    let mut sums: Vec<Sums> = subjects.iter().map(|_| Sums::default()).collect();
    let starts: Vec<usize> = windows.starts().collect();
    for (index, starts) in starts.chunks(batch).enumerate() {
        let tokens: Vec<u32> = starts.iter().flat_map(|&s| &data.tokens[s..s + seq]).copied().collect();
        let reference = logits(baseline, &tokens, starts.len(), seq)?;
        for (position, (subject, sums)) in subjects.iter().zip(&mut sums).enumerate() {
            let own;
            let candidate = if position == 0 {
                &reference
            } else {
                own = logits(subject, &tokens, starts.len(), seq)?;
                &own
            };
            let scores = compare(&reference, candidate, &tokens, seq, vocab);
            if let Some(bad) = scores.iter().position(|s| !s.nll.is_finite() || !s.kl.is_finite()) {
                let window = index * batch + bad / (seq - 1);
                return Err(EvalError::NonFinite { model: subject.name.to_owned(), window });
            }
            sums.add(&scores);
        }
        progress(starts.len());
    }
    Ok(sums.into_iter().map(|s| s.finish(data, windows)).collect())
}

fn logits(subject: &Subject<'_>, tokens: &[u32], batch: usize, seq: usize) -> Result<Vec<f32>, EvalError> {
    Ok(subject.model.logits_vec(tokens, batch, seq)?)
}

/// One prediction's figures.
struct Score {
    nll: f64,
    kl: f32,
    agrees: bool,
}

/// Scores all predictions of a batch, in order.
fn compare(reference: &[f32], candidate: &[f32], tokens: &[u32], seq: usize, vocab: usize) -> Vec<Score> {
    let same = std::ptr::eq(reference, candidate);
    (0..tokens.len() / seq * (seq - 1))
        .into_par_iter()
        .map(|i| {
            let at = i / (seq - 1) * seq + i % (seq - 1);
            let row = at * vocab..(at + 1) * vocab;
            let (b, c) = (&reference[row.clone()], &candidate[row]);
            let next = tokens[at + 1] as usize;
            let (c_top, c_lse) = log_sum_exp(c);
            let nll = c_lse - f64::from(c[next]);
            if same {
                return Score { nll, kl: 0.0, agrees: true };
            }
            let (b_top, b_lse) = log_sum_exp(b);
            let shift = c_lse - b_lse;
            let kl: f64 = b
                .iter()
                .zip(c)
                .map(|(&lb, &lc)| {
                    let p = (lb - b_lse as f32).exp();
                    f64::from(p) * (f64::from(lb) - f64::from(lc) + shift)
                })
                .sum();
            // Rounding may leave a divergence of zero a hair below it.
            Score { nll, kl: if kl < 0.0 { 0.0 } else { kl as f32 }, agrees: b_top == c_top }
        })
        .collect()
}

/// The position of the maximum and `log Σ exp`.
pub(crate) fn log_sum_exp(logits: &[f32]) -> (usize, f64) {
    let (mut top, mut max) = (0, f32::NEG_INFINITY);
    for (i, &l) in logits.iter().enumerate() {
        if l > max {
            (top, max) = (i, l);
        }
    }
    let sum: f64 = logits.iter().map(|&l| f64::from((l - max).exp())).sum();
    (top, f64::from(max) + sum.ln())
}

#[derive(Default)]
struct Sums {
    nll: f64,
    kl: f64,
    agreed: usize,
    divergences: Vec<f32>,
}

impl Sums {
    fn add(&mut self, scores: &[Score]) {
        for score in scores {
            self.nll += score.nll;
            self.kl += f64::from(score.kl);
            self.agreed += usize::from(score.agrees);
        }
        self.divergences.extend(scores.iter().map(|s| s.kl));
    }

    fn finish(mut self, data: &TextData, windows: Windows) -> Quality {
        let n = self.divergences.len() as f64;
        self.divergences.sort_by(f32::total_cmp);
        Quality {
            perplexity: Perplexity {
                value: (self.nll / n).exp(),
                tokens: windows.tokens(),
                predictions: windows.predictions(),
                seq_len: windows.seq_len(),
                stride: windows.seq_len(),
                windows: windows.count(),
                windows_of: windows.whole(),
                data_hash: data.hash.clone(),
            },
            kl_mean: self.kl / n,
            kl_p99: f64::from(nearest_rank(&self.divergences, 0.99)),
            top1_agreement: self.agreed as f64 / n,
            tasks: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 exponentials bound the error of a divergence of a few tokens.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn divergence_of_known_distributions() {
        // p = (3/4, 1/4), q = (1/2, 1/2) at the only prediction of a window of two tokens.
        let reference = [3f32.ln(), 0.0, 0.0, 0.0];
        let candidate = [5.0, 5.0, 0.0, 0.0];
        let scores = compare(&reference, &candidate, &[0, 1], 2, 2);
        assert_eq!(scores.len(), 1);
        let expected = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
        assert!((f64::from(scores[0].kl) - expected).abs() < TOLERANCE);
        assert!((scores[0].nll - 2f64.ln()).abs() < TOLERANCE);
        assert!(scores[0].agrees, "the first of equal maxima counts");
    }

    #[test]
    fn nothing_crosses_a_window() {
        // Two windows of two tokens: predictions at positions 0 and 2 only.
        let logits: Vec<f32> = vec![0.0, 1.0, 9.0, 0.0, 0.0, 3.0, 9.0, 0.0];
        let scores = compare(&logits, &logits, &[0, 1, 0, 1], 2, 2);
        let nll: Vec<f64> = scores.iter().map(|s| s.nll).collect();
        assert_eq!(nll.len(), 2);
        assert!((nll[0] - (1.0 + (-1f64).exp()).ln()).abs() < TOLERANCE);
        assert!((nll[1] - (1.0 + (-3f64).exp()).ln()).abs() < TOLERANCE);
    }

    #[test]
    fn infinite_logits_are_seen() {
        let scores = compare(&[0.0, 0.0], &[f32::INFINITY, 0.0], &[0, 0], 2, 1);
        assert!(!scores[0].nll.is_finite() || !scores[0].kl.is_finite());
    }
}
