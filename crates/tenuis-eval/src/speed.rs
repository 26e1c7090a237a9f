//! Prefill and decode speed, measured with all models in turn.

use crate::error::EvalError;
use crate::quality::Subject;
use crate::statistics::Distribution;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tenuis_model::{Model, ModelError, Session};

/// How speed is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SpeedProtocol {
    /// Tokens of the prompt, processed in one batch of one sequence.
    pub prompt_tokens: usize,
    /// Tokens generated one by one after the prompt.
    pub decode_tokens: usize,
    /// Rounds that are run and not counted.
    pub warmup: usize,
    /// Rounds that are counted. In each round every model has its turn, so that a drift of the machine's speed
    /// reaches all alike.
    pub repeats: usize,
    /// Worker threads.
    pub threads: usize,
}

impl SpeedProtocol {
    /// The default protocol, cut to the positions of the model: 128 tokens of prompt, 32 of decoding, one round of
    /// warm-up and five that count.
    pub fn for_positions(max_positions: usize) -> Self {
        let decode_tokens = 32.min(max_positions / 4).max(1);
        Self {
            prompt_tokens: 128.min(max_positions.saturating_sub(decode_tokens)).max(1),
            decode_tokens,
            warmup: 1,
            repeats: 5,
            threads: rayon::current_num_threads(),
        }
    }

    /// Sets the counted rounds.
    #[must_use]
    pub const fn with_repeats(mut self, repeats: usize) -> Self {
        self.repeats = if repeats == 0 { 1 } else { repeats };
        self
    }
}

/// Speed of a model under a [`SpeedProtocol`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Speed {
    /// Prompt tokens ÷ median seconds of the prefill.
    pub prefill_tokens_per_s: f64,
    /// 1 ÷ median seconds of a decoding step.
    pub decode_tokens_per_s: f64,
    /// Seconds of one prefill.
    pub prefill_seconds: Distribution,
    /// Seconds of one decoding step.
    pub decode_step_seconds: Distribution,
}

/// Times every model in turn, round by round.
///
/// # Errors
/// [`EvalError::Context`] where the protocol does not fit a model, or what the model reports.
pub fn measure(
    subjects: &[Subject<'_>],
    protocol: SpeedProtocol,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Speed>, EvalError> {
    let tokens = protocol.prompt_tokens + protocol.decode_tokens;
    for subject in subjects {
        let max_positions = subject.model.spec().max_positions;
        if tokens > max_positions {
            return Err(EvalError::Context { tokens, max_positions });
        }
    }
    let mut samples: Vec<Samples> = subjects.iter().map(|_| Samples::default()).collect();
    for round in 0..protocol.warmup + protocol.repeats {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let (prefill, steps) = time(subject.model, protocol)?;
            if round >= protocol.warmup {
                samples.prefill.push(prefill);
                samples.steps.extend(steps);
            }
            progress(1);
        }
    }
    Ok(samples.into_iter().filter_map(|s| s.finish(protocol)).collect())
}

#[derive(Default)]
struct Samples {
    prefill: Vec<f64>,
    steps: Vec<f64>,
}

impl Samples {
    fn finish(self, protocol: SpeedProtocol) -> Option<Speed> {
        let prefill_seconds = Distribution::of(self.prefill)?;
        let decode_step_seconds = Distribution::of(self.steps)?;
        Some(Speed {
            prefill_tokens_per_s: protocol.prompt_tokens as f64 / prefill_seconds.median,
            decode_tokens_per_s: 1.0 / decode_step_seconds.median,
            prefill_seconds,
            decode_step_seconds,
        })
    }
}

/// One prefill and the steps after it, in seconds.
fn time(model: &Model, protocol: SpeedProtocol) -> Result<(f64, Vec<f64>), ModelError> {
    let vocab = model.spec().vocab as u32;
    // Any ids do: a dense decoder's time does not depend on them. A stride coprime to most vocabularies varies them.
    let prompt: Vec<u32> = (0..protocol.prompt_tokens as u32).map(|i| i * 7919 % vocab).collect();
    let mut session = Session::new(model, 1, protocol.prompt_tokens + protocol.decode_tokens)?;
    let started = Instant::now();
    session.forward(&prompt)?;
    let prefill = started.elapsed().as_secs_f64();
    let mut steps = Vec::with_capacity(protocol.decode_tokens);
    for i in 0..protocol.decode_tokens as u32 {
        let started = Instant::now();
        session.forward(&[i * 104_729 % vocab])?;
        steps.push(started.elapsed().as_secs_f64());
    }
    Ok((prefill, steps))
}
