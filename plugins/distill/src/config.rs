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
    /// Which parameters are trained: `"*"` for all, `"norms"`, `"factors"` for those of low-rank weights, or patterns over
    /// tensor names.
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
}

/// How a student begins.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StudentConfig {
    /// The layers of the teacher that make the student, in this order, in the place of the model that the stage is given:
    /// a list of numbers, or the share of layers as a number below 1, which keeps evenly spaced ones with both ends.
    pub(crate) keep_layers: Option<KeepLayers>,
}

/// Layers to keep.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum KeepLayers {
    /// These.
    List(Vec<usize>),
    /// So many of all.
    Share(#[schemars(range(min = 0.0, max = 1.0))] f64),
}

impl KeepLayers {
    /// The layers out of `layers`.
    pub(crate) fn of(&self, layers: usize) -> Vec<usize> {
        let share = match self {
            Self::List(list) => return list.clone(),
            Self::Share(share) => *share,
        };
        let kept = ((share * layers as f64).round() as usize).clamp(1, layers.max(1));
        if kept == 1 {
            return vec![0];
        }
        (0..kept).map(|i| (i * (layers - 1) + (kept - 1) / 2) / (kept - 1)).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_layers_keeps_both_ends() {
        let of = |share, layers| KeepLayers::Share(share).of(layers);
        assert_eq!(of(0.5, 4), [0, 3]);
        assert_eq!(of(0.5, 8), [0, 2, 5, 7]);
        assert_eq!(of(0.75, 4), [0, 2, 3]);
        assert_eq!(of(1.0, 3), [0, 1, 2]);
        assert_eq!(of(0.1, 2), [0]);
    }

    #[test]
    fn options_are_read_as_recipes_spell_them() {
        let parse = |json| serde_json::from_value::<DistillConfig>(json);
        let config = parse(serde_json::json!({
            "student": { "keep_layers": [0, 1] }, "train": "norms",
            "objective": { "divergence": "reverse_kl", "temperature": 2.0 }, "training": { "steps": 5 },
        }));
        let config = config.unwrap();
        assert_eq!(config.training.steps, 5);
        assert_eq!(config.train.selection().0, ["norms"]);
        assert!(parse(serde_json::json!({ "studnt": {} })).is_err());
    }
}
