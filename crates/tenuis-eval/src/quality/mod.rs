//! Perplexity, and what it hides: the divergence of a candidate's predictions from the baseline's.

mod score;
mod slices;

pub use slices::TextSlice;

pub use score::divergence;
pub(crate) use score::log_sum_exp;

use crate::error::EvalError;
use crate::protocol;
use crate::tasks::TaskScore;
use crate::windows::Windows;
use schemars::JsonSchema;
use score::{Score, compare};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tenuis_measure::nearest_rank_of;
use tenuis_metrics::{Direction, Spread};
use tenuis_model::Model;

/// Logits are taken in batches of about so many values, 256 MiB of f32.
const BATCH_LOGITS: usize = 64 << 20;
/// A batch holds at most so many tokens: beyond that a matrix product gains nothing.
const BATCH_TOKENS: usize = 2048;

/// The type that activations are computed in.
pub const COMPUTE_DTYPE: &str = "f32";

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
    /// Predictions: every token of a window but its first, or the last `stride` ones where windows overlap.
    pub predictions: usize,
    /// Tokens per window.
    pub seq_len: usize,
    /// Tokens between the starts of whole windows; less than `seq_len` where they overlap, and each predicts its last ones.
    pub stride: usize,
    /// Windows read.
    pub windows: usize,
    /// Whole windows that the text holds.
    pub windows_of: usize,
    /// blake3 of the text.
    pub data_hash: String,
    /// The hash of all that the value depends on beside the model: text, tokens per window, stride, windows, type of
    /// activations. Values of different protocols are not to be compared. Empty where an older version wrote the report.
    #[serde(default)]
    pub protocol: String,
}

/// How well a model predicts a text, by itself and beside the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Perplexity on the text.
    pub perplexity: Perplexity,
    /// Mean over predictions of `KL(baseline ‖ model)` in nats; 0 for the baseline.
    pub kl_mean: f64,
    /// Median of the same (nearest rank); absent where an older version wrote the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_median: Option<f64>,
    /// 99th percentile of the same (nearest rank).
    pub kl_p99: f64,
    /// Share of predictions whose most likely token is the baseline's.
    pub top1_agreement: f64,
    /// Right answers to every task, by its name; absent where there were no tasks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskScore>,
    /// The same figures on parts of the text, so that a damaged part shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<TextSlice>,
    /// Perplexity under other conditions, by their names; absent where they were not asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub robustness: BTreeMap<String, Robustness>,
    /// Figures of commands of the user's own, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub business: BTreeMap<String, Business>,
}

/// Perplexity on a text that is harder than the one that quality is measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Robustness {
    /// Perplexity, the mean over the runs where there are several.
    pub value: f64,
    /// Mean divergence from the baseline on the same text, in nats, of all runs together.
    pub kl_mean: f64,
    /// Mean and deviation over the runs, one for each seed; null where there is one.
    pub spread: Option<Spread>,
    /// The runs.
    pub runs: Vec<Perplexity>,
}

impl Robustness {
    /// Puts runs together, one for each seed; `None` without any.
    pub fn of(runs: &[Quality]) -> Option<Self> {
        let n = runs.len() as f64;
        let values: Vec<f64> = runs.iter().map(|run| run.perplexity.value).collect();
        (!runs.is_empty()).then(|| Self {
            value: values.iter().sum::<f64>() / n,
            kl_mean: runs.iter().map(|run| run.kl_mean).sum::<f64>() / n,
            spread: if runs.len() > 1 { Spread::of(&values, CONFIDENCE).ok() } else { None },
            runs: runs.iter().map(|run| run.perplexity.clone()).collect(),
        })
    }
}

/// The share of intervals that are to hold the true value.
const CONFIDENCE: f64 = 0.95;

/// A figure that a command of the user's own printed about a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Business {
    /// The number.
    pub value: f64,
    /// Which values are better.
    pub direction: Direction,
    /// The command, which found the model's directory in the environment variable `TENUIS_MODEL`.
    pub command: String,
}

/// The figures of one window of the text: what intervals and slices are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowScore {
    /// The window's first token in the text.
    pub start: usize,
    /// Predictions made.
    pub predictions: usize,
    /// Their mean negative log-likelihood in nats.
    pub nll: f64,
    /// Their mean divergence from the baseline's in nats.
    pub kl: f64,
    /// The share that agrees with the baseline's.
    pub top1_agreement: f64,
}

/// A model's quality, and that of every window.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// The figures of the whole text.
    pub quality: Quality,
    /// The figures of its windows, in order; the same windows for every model.
    pub windows: Vec<WindowScore>,
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
/// The first subject is the baseline. `progress` is called with the number of windows done, and may end it.
///
/// # Errors
/// [`EvalError::Cancelled`] where `progress` said so, else where a model fails, gives logits that are not finite, or has another vocabulary.
pub fn measure(
    subjects: &[Subject<'_>],
    data: &TextData,
    windows: Windows,
    mut progress: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<Measured>, EvalError> {
    let Some(baseline) = subjects.first() else { return Ok(Vec::new()) };
    let (vocab, seq) = (baseline.model.spec().vocab, windows.seq_len());
    for subject in &subjects[1..] {
        let found = subject.model.spec().vocab;
        if found != vocab {
            return Err(EvalError::Vocabulary { model: subject.name.to_owned(), expected: vocab, found });
        }
    }
    let batch = (BATCH_LOGITS / (vocab * seq)).min(BATCH_TOKENS / seq).max(1);
    let mut all: Vec<Vec<Score>> = subjects.iter().map(|_| Vec::new()).collect();
    let starts: Vec<usize> = windows.starts().collect();
    for (index, starts) in starts.chunks(batch).enumerate() {
        let tokens: Vec<u32> = starts.iter().flat_map(|&s| &data.tokens[s..s + seq]).copied().collect();
        let reference = logits(baseline, &tokens, starts.len(), seq)?;
        for (position, (subject, kept)) in subjects.iter().zip(&mut all).enumerate() {
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
            for (scores, &start) in scores.chunks(seq - 1).zip(starts) {
                kept.extend_from_slice(&scores[seq - 1 - windows.predicted(start)..]);
            }
        }
        if progress(starts.len()).is_break() {
            return Err(EvalError::Cancelled);
        }
    }
    let reference = all.first().map(Vec::as_slice).unwrap_or_default();
    Ok(all.iter().map(|scores| finish(scores, reference, data, windows)).collect())
}

fn logits(subject: &Subject<'_>, tokens: &[u32], batch: usize, seq: usize) -> Result<Vec<f32>, EvalError> {
    Ok(subject.model.logits_vec(tokens, batch, seq)?)
}

fn finish(scores: &[Score], reference: &[Score], data: &TextData, windows: Windows) -> Measured {
    let mut rest = scores;
    let summaries = windows.starts().map(|start| {
        let (scores, after) = rest.split_at(windows.predicted(start).min(rest.len()));
        rest = after;
        let n = scores.len() as f64;
        WindowScore {
            start,
            predictions: scores.len(),
            nll: scores.iter().map(|s| s.nll).sum::<f64>() / n,
            kl: scores.iter().map(|s| f64::from(s.kl)).sum::<f64>() / n,
            top1_agreement: scores.iter().filter(|s| s.agrees).count() as f64 / n,
        }
    });
    let summaries: Vec<WindowScore> = summaries.collect();
    let n = scores.len() as f64;
    let mut divergences: Vec<f32> = scores.iter().map(|s| s.kl).collect();
    divergences.sort_by(f32::total_cmp);
    let quality = Quality {
        perplexity: perplexity(scores.iter().map(|s| s.nll).sum::<f64>() / n, data, windows),
        kl_mean: scores.iter().map(|s| f64::from(s.kl)).sum::<f64>() / n,
        kl_median: nearest_rank_of(&divergences, 0.5).map(f64::from),
        kl_p99: nearest_rank_of(&divergences, 0.99).map_or(0.0, f64::from),
        top1_agreement: scores.iter().filter(|s| s.agrees).count() as f64 / n,
        tasks: BTreeMap::new(),
        slices: slices::slices(scores, reference, windows.seq_len() - 1),
        robustness: BTreeMap::new(),
        business: BTreeMap::new(),
    };
    Measured { quality, windows: summaries }
}

fn perplexity(nll: f64, data: &TextData, windows: Windows) -> Perplexity {
    Perplexity {
        value: nll.exp(),
        tokens: windows.tokens(),
        predictions: windows.predictions(),
        seq_len: windows.seq_len(),
        stride: windows.stride(),
        windows: windows.count(),
        windows_of: windows.whole(),
        data_hash: data.hash.clone(),
        protocol: protocol::hash(&[
            ("measure", "perplexity"),
            ("data", &data.hash),
            ("seq_len", &windows.seq_len().to_string()),
            ("stride", &windows.stride().to_string()),
            ("windows", &windows.count().to_string()),
            ("dtype", COMPUTE_DTYPE),
        ]),
    }
}
