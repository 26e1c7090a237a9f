//! Prefill and decode speed, measured with all models in turn; sweeps, load and energy of the same work.

mod energy;
mod load;
mod profile;
mod protocol;
mod sweep;

pub use load::{LoadProtocol, LoadResult};
pub use profile::SpeedProfile;
pub use protocol::SpeedProtocol;
pub use sweep::{PointSpeed, SweepLimits};
pub use tenuis_measure::Energy;

use crate::error::EvalError;
use crate::quality::{Subject, log_sum_exp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenuis_measure::{
    Clock, Distribution, GenerationTimes, Noise, NoiseLimits, NoiseWatch, Phase, Progress, RoundsError,
    SweepResult, SystemRoot, WallClock,
};
use tenuis_model::{Model, ModelError, Session};

/// Speed of a model under a [`SpeedProtocol`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Speed {
    /// Prompt tokens ÷ median seconds of the prefill.
    pub prefill_tokens_per_s: f64,
    /// 1 ÷ median seconds of a decoding step.
    pub decode_tokens_per_s: f64,
    /// Whole generations per second: 1 ÷ median seconds of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_per_s: Option<f64>,
    /// Seconds from the request to the first token, the KV cache's allocation, the prefill and the choice of the token: the time
    /// to first token (TTFT).
    pub prefill_seconds: Distribution,
    /// Seconds between one token and the next: one decoding step with the choice of its token (inter-token latency).
    pub decode_step_seconds: Distribution,
    /// Seconds of a whole generation, prompt and all tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<Distribution>,
    /// Speed at other batch sizes and lengths, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepResult<PointSpeed>>,
    /// Latency under load, by the name of the arrivals; where asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub load: BTreeMap<String, LoadResult>,
    /// Energy of generations one after the other, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// Joules per generated token of that, prompt included; null where energy is unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joules_per_token: Option<f64>,
    /// Where prefill and decoding spend their time, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<SpeedProfile>,
}

/// Speeds, and whether the machine was quiet meanwhile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MeasuredSpeed {
    /// The speed of every subject, in order.
    pub speeds: Vec<Speed>,
    /// What the machine did besides.
    pub noise: Noise,
}

/// Times every model in turn, round by round; then what else the protocol asks for.
///
/// Each model is warmed up by short runs before any counts. The order changes from round to round, so that no model always
/// follows the same one ([`tenuis_measure::Rounds`]). Between rounds a fixed piece of arithmetic is timed, and what the system
/// says of other processes is read: both decide whether the machine counts as quiet.
///
/// # Errors
/// [`EvalError::Context`] where the protocol does not fit a model, or what the model reports.
pub fn measure(
    subjects: &[Subject<'_>],
    protocol: &SpeedProtocol,
    mut progress: impl FnMut(usize),
) -> Result<MeasuredSpeed, EvalError> {
    for subject in subjects {
        protocol.check(subject.model)?;
    }
    let (clock, root) = (WallClock::default(), SystemRoot::default());
    let mut watch = NoiseWatch::start(&root);
    let mut runs: Vec<_> = subjects
        .iter()
        .map(|subject| {
            tenuis_measure::Subject::new(subject.name, |phase| match phase {
                Phase::WarmUp(_) => generate(subject.model, &clock, 1, protocol.short_prompt(), 1),
                Phase::Round(_) => {
                    generate(subject.model, &clock, 1, protocol.prompt_tokens, protocol.decode_tokens)
                }
            })
        })
        .collect();
    let measured = protocol
        .rounds()
        .measure(&mut runs, &clock, |done| match done {
            Progress::Warm { .. } | Progress::Ran { .. } => progress(1),
            Progress::RoundDone { .. } => watch.probe(),
            _ => {}
        })
        .map_err(from_rounds)?;
    drop(runs);
    let mut limits = NoiseLimits::default();
    // The load of the minute before is that of this program's own work; what others did meanwhile is measured by itself.
    limits.load_per_core = f64::INFINITY;
    let noise = watch.finish(&limits);
    let mut speeds = Vec::with_capacity(subjects.len());
    for measured in measured {
        speeds.push(summary(&measured.samples, protocol).ok_or(EvalError::Clock { model: measured.name })?);
    }
    if let Some(limits) = &protocol.sweep {
        for (subject, speed) in subjects.iter().zip(&mut speeds) {
            speed.sweep = Some(sweep::sweep(*subject, limits, &clock)?);
            progress(1);
        }
    }
    if let Some(asked) = &protocol.load {
        // The rate is the baseline's, so that all models get the same requests.
        let service =
            speeds.first().and_then(|speed| speed.latency_seconds).map_or(0.0, |latency| latency.mean);
        for (subject, speed) in subjects.iter().zip(&mut speeds) {
            speed.load = load::load(*subject, protocol, asked, service, &clock)?;
            progress(1);
        }
    }
    if protocol.profile {
        for (subject, speed) in subjects.iter().zip(&mut speeds) {
            speed.profile = Some(profile::profile(subject.model, protocol)?);
            progress(1);
        }
    }
    if protocol.energy {
        for (subject, speed) in subjects.iter().zip(&mut speeds) {
            let (energy, per_token) = energy::energy(subject.model, protocol, &root, &clock)?;
            (speed.energy, speed.joules_per_token) = (Some(energy), per_token);
        }
    }
    Ok(MeasuredSpeed { speeds, noise })
}

fn from_rounds(error: RoundsError<ModelError>) -> EvalError {
    match error {
        RoundsError::Subject { source, .. } => source.into(),
        RoundsError::Config(source) => source.into(),
        other => EvalError::Rounds { problem: other.to_string() },
    }
}

fn summary(samples: &[GenerationTimes], protocol: &SpeedProtocol) -> Option<Speed> {
    let first = samples.iter().filter_map(GenerationTimes::first_token_seconds).collect();
    let prefill_seconds = Distribution::of(first)?;
    let between = samples.iter().flat_map(GenerationTimes::between_tokens_seconds).collect();
    let decode_step_seconds = Distribution::of(between)?;
    let latency_seconds = Distribution::of(samples.iter().map(|s| s.end_seconds).collect());
    Some(Speed {
        prefill_tokens_per_s: protocol.prompt_tokens as f64 / prefill_seconds.median,
        decode_tokens_per_s: 1.0 / decode_step_seconds.median,
        samples_per_s: latency_seconds.map(|latency| 1.0 / latency.median),
        prefill_seconds,
        decode_step_seconds,
        latency_seconds,
        sweep: None,
        load: BTreeMap::new(),
        energy: None,
        joules_per_token: None,
        profile: None,
    })
}

/// Generates `decode_tokens` tokens after the first one, greedily, for a batch of prompts.
fn generate(
    model: &Model,
    clock: &impl Clock,
    batch: usize,
    prompt_tokens: usize,
    decode_tokens: usize,
) -> Result<GenerationTimes, ModelError> {
    let vocab = model.spec().vocab as u32;
    // Any ids do: a dense decoder's time does not depend on them. A stride coprime to most vocabularies varies them.
    let prompt: Vec<u32> =
        (0..(batch * prompt_tokens) as u32).map(|i| i.wrapping_mul(7919) % vocab).collect();
    GenerationTimes::record(clock, batch, prompt_tokens, |token| {
        let mut session = Session::new(model, batch, prompt_tokens + decode_tokens)?;
        let mut next = likeliest(&session.forward(&prompt)?, batch)?;
        token();
        for _ in 0..decode_tokens {
            next = likeliest(&session.forward(&next)?, batch)?;
            token();
        }
        Ok(())
    })
}

/// Any ids do: a dense decoder's time does not depend on them. A stride coprime to most vocabularies varies them.
fn prompt(model: &Model, batch: usize, tokens: usize) -> Vec<u32> {
    let vocab = model.spec().vocab as u32;
    (0..(batch * tokens) as u32).map(|i| i.wrapping_mul(7919) % vocab).collect()
}

/// The likeliest token of every sequence.
fn likeliest(logits: &candle_core::Tensor, batch: usize) -> Result<Vec<u32>, ModelError> {
    let values = logits.flatten_all()?.to_vec1::<f32>()?;
    let vocab = values.len() / batch.max(1);
    Ok(values.chunks_exact(vocab.max(1)).map(|row| log_sum_exp(row).0 as u32).collect())
}
