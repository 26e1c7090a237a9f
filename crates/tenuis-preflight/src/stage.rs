//! What is asked for: the stages of a recipe, the calibration and the evaluation, as shapes.

use crate::form::Form;
use crate::method::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a technique works on at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The Linears of a block that share an input.
    #[default]
    Group,
    /// The whole checkpoint.
    Model,
}

/// What a technique asks the pipeline for, as its capabilities say; of a technique of the model scope, what its
/// statistics are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of a technique's capabilities")]
pub struct Needs {
    /// `XᵀX` of every group's input.
    pub hessian: bool,
    /// Sums per input channel.
    pub moments: bool,
    /// The inputs themselves, batch by batch: one more pass over the block for each group.
    pub inputs: bool,
    /// The loss of the block's output: passes over the block for each candidate.
    pub out_loss: bool,
    /// The weight as an f32 matrix.
    pub dense: bool,
    /// The original weight beside the present one, where the two are not the same.
    pub original: bool,
    /// Whether tensors outside of Linears are given to it too.
    pub any_tensor: bool,
}

impl Needs {
    /// Whether the calibration text has to be run.
    pub const fn data(self) -> bool {
        self.hessian || self.moments || self.inputs || self.out_loss
    }
}

/// The training of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Training {
    /// Updates of the weights.
    pub steps: u64,
    /// Sequences that pass through the network together.
    pub batch_size: u64,
    /// Such batches for one update.
    pub accumulate: u64,
    /// Tokens of a sequence.
    pub seq_len: u64,
    /// Whether blocks are run again in the backward pass, so that the activations of one are kept at a time.
    pub checkpoint_blocks: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self { steps: 1000, batch_size: 8, accumulate: 1, seq_len: 256, checkpoint_blocks: false }
    }
}

impl Training {
    /// Reads the keys of the trainer's options; absent ones are as by default.
    ///
    /// ```
    /// use tenuis_preflight::Training;
    /// let options = serde_json::json!({ "steps": 20, "seq_len": 128 });
    /// let training = Training::of_options(options.as_object().unwrap());
    /// assert_eq!((training.steps, training.batch_size, training.seq_len), (20, 8, 128));
    /// ```
    pub fn of_options(options: &Map<String, Value>) -> Self {
        let usual = Self::default();
        let number = |key: &str, usual: u64| options.get(key).and_then(Value::as_u64).unwrap_or(usual);
        Self {
            steps: number("steps", usual.steps),
            batch_size: number("batch_size", usual.batch_size),
            accumulate: number("accumulate", usual.accumulate),
            seq_len: number("seq_len", usual.seq_len),
            checkpoint_blocks: options.get("checkpoint_blocks").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

/// One stage of a recipe.
///
/// ```
/// use tenuis_preflight::StageShape;
/// let stage = StageShape::group("gptq", serde_json::json!({ "bits": 4, "group_size": 128 }));
/// assert!(stage.needs.hessian && !stage.true_sequential);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct StageShape {
    /// The technique's name.
    pub technique: String,
    /// What it works on at a time.
    pub scope: Scope,
    /// What it asks for.
    pub needs: Needs,
    /// Whether the groups of a block are calibrated one after the other.
    pub true_sequential: bool,
    /// Whether the stage goes over the model together with the one before, on one calibration pass.
    pub joins_previous: bool,
    /// The modules that it is given; all Linears of all blocks where absent. The head is one where it is named.
    pub targets: Option<BTreeSet<String>>,
    /// Its options, of which the well-known ones are read: `bits`, `group_size`, `symmetric`, `sparsity`, `rank`,
    /// `keep`, `ratio`, `count`, `remove`, `round_to`, `layers`, `dtype`, `precision`, `mse`, `solver`.
    pub options: Map<String, Value>,
    /// Original ÷ compressed bytes of what it is given, where that is known better than from the options.
    pub output_ratio: Option<f64>,
    /// What the plugin says it needs beside what it is given, where it was asked.
    pub workspace_bytes: Option<u64>,
    /// Whether a candidate's loss may be measured, for which a whole checkpoint is written and removed.
    pub writes_candidates: bool,
    /// Its training, if it trains.
    pub training: Option<Training>,
}

impl StageShape {
    /// A stage of the group scope with the needs that the technique of this name has in Tenuis; of a name that is not
    /// known, none.
    pub fn group(technique: &str, options: Value) -> Self {
        let method = Method::of(technique);
        Self {
            technique: technique.to_owned(),
            needs: method.needs(),
            options: object(options),
            ..Self::default()
        }
    }

    /// A stage of the model scope; where the technique is known to train, with the training of its options.
    pub fn model(technique: &str, options: Value) -> Self {
        let options = object(options);
        let training = (Method::of(technique) == Method::Train).then(|| Training::of_options(&options));
        Self { technique: technique.to_owned(), scope: Scope::Model, options, training, ..Self::default() }
    }

    /// Sets [`StageShape::needs`].
    #[must_use]
    pub const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// Sets [`StageShape::true_sequential`].
    #[must_use]
    pub const fn true_sequential(mut self, true_sequential: bool) -> Self {
        self.true_sequential = true_sequential;
        self
    }

    /// Sets [`StageShape::targets`].
    #[must_use]
    pub fn targets(mut self, modules: impl IntoIterator<Item = String>) -> Self {
        self.targets = Some(modules.into_iter().collect());
        self
    }

    pub(crate) fn method(&self) -> Method {
        Method::of(&self.technique)
    }

    /// What becomes of the weights, as far as the options tell.
    pub(crate) fn form(&self) -> Form {
        match self.output_ratio {
            Some(ratio) if ratio > 0.0 && ratio.is_finite() => Form::Share(1.0 / ratio),
            _ => Form::of(self.method(), &self.options),
        }
    }

    pub(crate) fn takes(&self, module: &str) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.contains(module))
    }

    pub(crate) fn takes_head(&self, module: &str) -> bool {
        self.targets.as_ref().is_some_and(|targets| targets.contains(module))
    }
}

fn object(options: Value) -> Map<String, Value> {
    match options {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// How much text the stages see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Windows of text.
    pub samples: u64,
    /// Tokens of a window.
    pub seq_len: u64,
}

/// Tokens of a batch, as the pipeline cuts them.
const BATCH_TOKENS: u64 = 2048;

impl Calibration {
    /// Tokens in all windows.
    pub const fn tokens(self) -> u64 {
        self.samples * self.seq_len
    }

    /// Tokens of the largest batch: as many whole windows as fit into 2048 tokens, at least one.
    ///
    /// ```
    /// use tenuis_preflight::Calibration;
    /// assert_eq!(Calibration { samples: 128, seq_len: 512 }.batch_tokens(), 2048);
    /// assert_eq!(Calibration { samples: 2, seq_len: 512 }.batch_tokens(), 1024);
    /// assert_eq!(Calibration { samples: 128, seq_len: 4096 }.batch_tokens(), 4096);
    /// ```
    pub fn batch_tokens(self) -> u64 {
        let windows = (BATCH_TOKENS / self.seq_len.max(1)).max(1);
        windows.min(self.samples) * self.seq_len
    }

    pub(crate) fn batches(self) -> u64 {
        self.tokens().div_ceil(self.batch_tokens().max(1))
    }
}

/// The text that the baseline and the candidates are measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Tokens that are run.
    pub tokens: u64,
    /// Tokens of a window.
    pub seq_len: u64,
    /// Checkpoints that are measured, the baseline among them.
    pub models: u64,
}
