//! Speed at other batch sizes and lengths.

use super::generate;
use crate::error::EvalError;
use crate::quality::Subject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_measure::{Clock, GenerationSpeed, GenerationTimes, Sweep, SweepPoint, SweepResult, SweepStep};
use tenuis_model::Model;

/// Generations at each point; the first one is not counted.
const RUNS: usize = 4;
/// Tokens generated after each prompt.
const DECODED: usize = 8;

/// How far a sweep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepLimits {
    /// The most sequences together; powers of two up to it are tried.
    pub max_batch_size: usize,
    /// The longest prompt; powers of two from 32 up to it are tried.
    pub max_prompt_tokens: usize,
}

/// Speed at one point of a sweep; medians of three generations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointSpeed {
    /// Prompt tokens of all sequences per second.
    pub prefill_tokens_per_s: f64,
    /// Generated tokens of all sequences per second.
    pub decode_tokens_per_s: Option<f64>,
    /// Median seconds to the first token.
    pub first_token_seconds: f64,
    /// Median seconds between tokens.
    pub step_seconds: Option<f64>,
}

pub(super) fn sweep(
    subject: Subject<'_>,
    limits: &SweepLimits,
    clock: &impl Clock,
) -> Result<SweepResult<PointSpeed>, EvalError> {
    let model = subject.model;
    let mut sweep = Sweep::default();
    sweep.max_batch_size = limits.max_batch_size;
    sweep.max_sequence_length = limits.max_prompt_tokens;
    sweep.min_sequence_length = sweep.min_sequence_length.min(limits.max_prompt_tokens);
    sweep.max_positions = Some(model.spec().max_positions.saturating_sub(DECODED));
    sweep.max_bytes = crate::memory::available().map(|bytes| bytes / 2);
    let plan = sweep.plan(|point| Some(bytes(model, point)))?;
    plan.run(|point| {
        let runs: Vec<GenerationTimes> = (0..RUNS)
            .map(|_| generate(model, clock, point.batch_size, point.sequence_length, DECODED))
            .collect::<Result<_, _>>()?;
        let speed = GenerationSpeed::of(&runs[1..])?;
        Ok(SweepStep::Measured(PointSpeed {
            prefill_tokens_per_s: speed.prefill_tokens_per_second,
            decode_tokens_per_s: speed.decode_tokens_per_second,
            first_token_seconds: speed.first_token_seconds.median,
            step_seconds: speed.between_tokens_seconds.map(|seconds| seconds.median),
        }))
    })
}

/// What a point needs beside the weights: keys and values, and a few hidden states and feed-forward rows of each token.
fn bytes(model: &Model, point: SweepPoint) -> u64 {
    let spec = model.spec();
    let tokens = (point.batch_size * (point.sequence_length + DECODED)) as u64;
    let widest = spec.layers.iter().map(|layer| layer.mlp.d_ff()).max().unwrap_or(0) as u64;
    let per_token = 4 * (8 * spec.d_model as u64 + 4 * widest);
    crate::memory::kv_cache_bytes(spec, point.batch_size, point.sequence_length + DECODED)
        + tokens * per_token
}
