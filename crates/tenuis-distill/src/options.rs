//! How a run is set up.

use crate::error::TrainError;
use candle_core::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to the floor (Loshchilov and Hutter 2016, SGDR, 1608.03983).
    #[default]
    Cosine,
    /// A straight line down to the floor.
    Linear,
    /// Not at all.
    Constant,
}

/// The type of activations and their gradients; master weights, softmax, norms and losses are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16: half the memory for activations. On a CPU products run in f32 all the same, so it is not faster there.
    Bf16,
    /// float16, with a loss scale that begins at 2¹⁶, doubles after 200 good steps (up to 2²⁴) and halves at every overflow
    /// (down to 1), whose step is skipped and counted (Micikevicius et al. 2017, 1710.03740).
    F16,
}

impl Precision {
    pub(crate) const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// The setting of a training run. Steps are optimiser steps, of `batch_size · accumulate` sequences each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TrainOptions {
    /// Optimiser steps.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Sequences that are run together.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Batches whose gradients are averaged before a step.
    #[schemars(range(min = 1))]
    pub accumulate: usize,
    /// Tokens of a sequence.
    #[schemars(range(min = 1))]
    pub seq_len: usize,
    /// The largest learning rate.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The floor of the schedule, as a share of the largest.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_learning_rate: f64,
    /// How the rate falls.
    pub schedule: Schedule,
    /// Steps during which the rate grows from zero.
    pub warmup: usize,
    /// Decoupled weight decay of matrices (Loshchilov and Hutter 2017, AdamW, 1711.05101); vectors have none.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Decay of the gradient's mean.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta1: f64,
    /// Decay of the gradient's mean square.
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// The global norm beyond which gradients are scaled down; 0 for never.
    #[schemars(range(min = 0.0))]
    pub clip_norm: f64,
    /// The type of activations.
    pub precision: Precision,
    /// Keeps only the inputs of blocks and runs each block again on the way back (Chen et al. 2016, 1604.06174): less
    /// memory for a third more work.
    pub checkpoint_blocks: bool,
    /// The seed of the order of sequences and of new parameters; by default the recipe's, or 0 where there is none.
    pub seed: Option<u64>,
    /// Steps between validations; 0 for none.
    pub valid_every: usize,
    /// The most sequences of the validation text that are read, evenly spaced.
    pub valid_sequences: usize,
    /// Stops after so many validations in a row whose objective is not below the best so far. With any number but 0, the
    /// network has the weights of the best validation in the end, however the run ended; 0 for neither. Needs a validation
    /// text and `valid_every`.
    pub patience: usize,
    /// Steps between saved states, where there is a place to save them; 0 for never.
    pub save_every: usize,
    /// Skipped steps in a row (loss or gradient not finite) beyond which the run fails. A skipped step changes neither
    /// weights nor moments.
    pub max_skipped: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch_size: 8,
            accumulate: 1,
            seq_len: 256,
            learning_rate: 1e-3,
            min_learning_rate: 0.1,
            schedule: Schedule::Cosine,
            warmup: 50,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            clip_norm: 1.0,
            precision: Precision::F32,
            checkpoint_blocks: false,
            seed: None,
            valid_every: 100,
            valid_sequences: 64,
            patience: 0,
            save_every: 200,
            max_skipped: 10,
        }
    }
}

impl TrainOptions {
    /// The learning rate of a step, counted from 0: `learning_rate · (step + 1) / warmup` during the warm-up, and from there
    /// to `steps`, with the share `d` done, `learning_rate · (m + (1 − m) · f(d))` where `m` is `min_learning_rate` and `f` is
    /// `½ (1 + cos πd)`, `1 − d` or 1.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / self.warmup as f64;
        }
        let all = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / all).min(1.0);
        let left = match self.schedule {
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Schedule::Linear => 1.0 - done,
            Schedule::Constant => 1.0,
        };
        self.learning_rate * (self.min_learning_rate + (1.0 - self.min_learning_rate) * left)
    }

    /// Checks what the types cannot; `has_valid` says whether there is a validation text.
    pub(crate) fn validate(&self, has_valid: bool) -> Result<(), TrainError> {
        if self.patience > 0 && (!has_valid || self.valid_every == 0) {
            let allowed = "0 without a validation text or without valid_every";
            return Err(TrainError::Option { option: "patience", value: self.patience.to_string(), allowed });
        }
        for (option, value) in [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("accumulate", self.accumulate),
            ("seq_len", self.seq_len),
        ] {
            if value == 0 {
                return Err(TrainError::Option { option, value: "0".to_owned(), allowed: "at least 1" });
            }
        }
        for (option, value, fine, allowed) in [
            ("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0"),
            ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "at least 0 and below 1"),
            ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "at least 0 and below 1"),
            ("epsilon", self.epsilon, self.epsilon > 0.0, "above 0"),
            ("clip_norm", self.clip_norm, self.clip_norm >= 0.0, "at least 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "at least 0"),
            (
                "min_learning_rate",
                self.min_learning_rate,
                (0.0..=1.0).contains(&self.min_learning_rate),
                "a share from 0 to 1",
            ),
        ] {
            if !fine || !value.is_finite() {
                return Err(TrainError::Option { option, value: value.to_string(), allowed });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall() {
        let options = TrainOptions {
            steps: 110,
            warmup: 10,
            learning_rate: 1.0,
            min_learning_rate: 0.2,
            ..TrainOptions::default()
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, not {b}");
        near(options.rate(0), 0.1);
        near(options.rate(9), 1.0);
        near(options.rate(60), 0.6);
        near(options.rate(110), 0.2);
        near(TrainOptions { schedule: Schedule::Linear, ..options.clone() }.rate(35), 0.8);
        near(TrainOptions { schedule: Schedule::Constant, ..options }.rate(100), 1.0);
    }

    #[test]
    fn senseless_options_are_refused() {
        let bad = TrainOptions { beta2: 1.0, ..TrainOptions::default() };
        assert_eq!(bad.validate(true).unwrap_err().to_string(), "beta2 = 1: must be at least 0 and below 1");
        let blind = TrainOptions { patience: 2, ..TrainOptions::default() };
        assert!(blind.validate(true).is_ok());
        assert!(matches!(blind.validate(false), Err(TrainError::Option { option: "patience", .. })));
    }
}
