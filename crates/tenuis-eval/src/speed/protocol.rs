//! How speed is measured.

use super::load::LoadProtocol;
use super::sweep::SweepLimits;
use crate::error::EvalError;
use crate::protocol::hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_measure::{Rounds, WarmUp};
use tenuis_model::Model;

/// How speed is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SpeedProtocol {
    /// Tokens of the prompt, processed in one batch of one sequence.
    pub prompt_tokens: usize,
    /// Tokens generated one by one after the first.
    pub decode_tokens: usize,
    /// The most runs of a model that are made before any counts; they are short, a few tokens each.
    pub warmup: usize,
    /// The seconds after which a warm-up ends in any case.
    #[serde(default)]
    pub warmup_seconds: f64,
    /// Rounds that are counted. In each round every model has its turn, so that a drift of the machine's speed
    /// reaches all alike.
    pub repeats: usize,
    /// Worker threads.
    pub threads: usize,
    /// Batch sizes and lengths that are tried beside; absent where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepLimits>,
    /// Requests that come by themselves; absent where none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadProtocol>,
    /// Whether time is attributed to operations.
    #[serde(default)]
    pub profile: bool,
    /// Whether energy was looked for.
    #[serde(default)]
    pub energy: bool,
    /// The hash of all that the speeds depend on beside model and machine. Empty where an older version wrote the report.
    #[serde(default)]
    pub protocol: String,
}

impl SpeedProtocol {
    /// The default protocol, cut to the positions of the model: 128 tokens of prompt, 32 of decoding, a warm-up of 100 short
    /// runs or 2 s, and ten rounds that count.
    pub fn for_positions(max_positions: usize) -> Self {
        let decode_tokens = 32.min(max_positions / 4).max(1);
        let rounds = Rounds::default();
        Self {
            prompt_tokens: 128.min(max_positions.saturating_sub(decode_tokens)).max(1),
            decode_tokens,
            warmup: rounds.warm_up.runs,
            warmup_seconds: rounds.warm_up.seconds,
            repeats: rounds.rounds,
            threads: rayon::current_num_threads(),
            sweep: None,
            load: None,
            profile: false,
            energy: true,
            protocol: String::new(),
        }
        .hashed()
    }

    /// Sets the counted rounds.
    #[must_use]
    pub fn with_repeats(mut self, repeats: usize) -> Self {
        self.repeats = repeats.max(1);
        self.hashed()
    }

    /// Sets the lengths of prompt and generation.
    #[must_use]
    pub fn with_lengths(mut self, prompt_tokens: usize, decode_tokens: usize) -> Self {
        (self.prompt_tokens, self.decode_tokens) = (prompt_tokens.max(1), decode_tokens.max(1));
        self.hashed()
    }

    /// Asks for a sweep.
    #[must_use]
    pub fn with_sweep(mut self, sweep: Option<SweepLimits>) -> Self {
        self.sweep = sweep;
        self
    }

    /// Asks for load.
    #[must_use]
    pub fn with_load(mut self, load: Option<LoadProtocol>) -> Self {
        self.load = load;
        self
    }

    /// Asks for a profile.
    #[must_use]
    pub const fn with_profile(mut self, profile: bool) -> Self {
        self.profile = profile;
        self
    }

    /// Steps that a measurement of so many models reports.
    pub fn steps(&self, models: usize) -> usize {
        let once = [true, self.sweep.is_some(), self.load.is_some(), self.profile];
        models * (self.repeats + once.into_iter().filter(|&done| done).count())
    }

    /// The hash of what memory depends on of this: lengths and threads.
    pub fn memory(&self) -> String {
        let numbers = [self.prompt_tokens, self.decode_tokens, self.threads].map(|n| n.to_string());
        let names = ["prompt_tokens", "decode_tokens", "threads"];
        let fields = names.into_iter().zip(numbers.iter().map(String::as_str));
        hash(&[("measure", "memory")].into_iter().chain(fields).collect::<Vec<_>>())
    }

    pub(super) fn rounds(&self) -> Rounds {
        let mut warm_up = WarmUp::default();
        (warm_up.runs, warm_up.seconds) = (self.warmup.max(1), self.warmup_seconds);
        let mut rounds = Rounds::default();
        (rounds.warm_up, rounds.rounds) = (warm_up, self.repeats);
        rounds
    }

    /// Tokens of a warm-up's prompt.
    pub(super) const fn short_prompt(&self) -> usize {
        if self.prompt_tokens < SHORT_PROMPT { self.prompt_tokens } else { SHORT_PROMPT }
    }

    /// Refuses lengths that a model has no positions for.
    ///
    /// # Errors
    /// [`EvalError::Context`].
    pub fn check(&self, model: &Model) -> Result<(), EvalError> {
        let tokens = self.prompt_tokens + self.decode_tokens;
        let max_positions = model.spec().max_positions;
        if tokens > max_positions { Err(EvalError::Context { tokens, max_positions }) } else { Ok(()) }
    }

    fn hashed(mut self) -> Self {
        let numbers = [self.prompt_tokens, self.decode_tokens, self.warmup, self.repeats, self.threads];
        let numbers = numbers.map(|n| n.to_string());
        let names = ["prompt_tokens", "decode_tokens", "warmup", "repeats", "threads"];
        let mut fields = vec![("measure", "speed")];
        fields.extend(names.into_iter().zip(numbers.iter().map(String::as_str)));
        self.protocol = hash(&fields);
        self
    }
}

/// Long enough for the kernels of several rows.
const SHORT_PROMPT: usize = 16;
