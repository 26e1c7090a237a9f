//! The options of `distill`.

use schemars::JsonSchema;
use serde::Deserialize;
use tenuis_distill::{LoraConfig, Objective, Selection, TrainOptions};
use tenuis_quant::RtnConfig;

/// Trains the student toward the teacher, toward the text, or both.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DistillConfig {
    /// How the student begins.
    pub(crate) student: StudentConfig,
    /// Which parameters are trained: `"*"` for all, `"norms"`, or patterns over tensor names.
    pub(crate) train: TrainedParameters,
    /// Trains low-rank adapters in the place of `train`, and merges them at the end.
    pub(crate) lora: Option<LoraConfig>,
    /// Rounds the Linears of all blocks in the forward pass as they are stored at the end (quantisation-aware training).
    /// A weight that is quantised already keeps its own grid and needs no mention here.
    pub(crate) quantize: Option<RtnConfig>,
    /// What the student learns.
    pub(crate) objective: Objective,
    /// How it learns.
    pub(crate) training: TrainOptions,
    /// Keeps the teacher's so many likeliest tokens of every position on disk, so that it need not run again in a second
    /// pass over the text. 8 bytes for each; worth it for a large teacher and several passes.
    #[schemars(range(min = 1))]
    pub(crate) top_k: Option<usize>,
}

/// How a student begins.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StudentConfig {
    /// The layers of the teacher that make the student, in this order, in the place of the model that the stage is given.
    pub(crate) keep_layers: Option<Vec<usize>>,
}

/// Patterns over the names of tensors.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum TrainedParameters {
    /// One pattern.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Default for TrainedParameters {
    fn default() -> Self {
        Self::One("*".to_owned())
    }
}

impl TrainedParameters {
    pub(crate) fn selection(&self) -> Selection {
        match self {
            Self::One(pattern) => Selection(vec![pattern.clone()]),
            Self::Many(patterns) => Selection(patterns.clone()),
        }
    }
}
