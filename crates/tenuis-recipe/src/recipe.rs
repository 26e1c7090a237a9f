//! What a recipe says.

use crate::Targets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to do with a checkpoint, as a TOML file says it.
///
/// ```
/// use tenuis_recipe::LoadedRecipe;
/// let loaded = LoadedRecipe::parse(
///     "mine.toml",
///     r#"
///     name = "mine"
///     [[stages]]
///     technique = "gptq"
///     options = { bits = 4, group_size = 32 }
///     targets = { exclude = ["*.down_proj"] }
///     "#,
/// )?;
/// assert_eq!(loaded.recipe.stages[0].technique, "gptq");
///
/// let wrong = LoadedRecipe::parse("bad.toml", "name = \"x\"\nstagez = []").unwrap_err();
/// assert!(wrong.to_string().starts_with("bad.toml:2:1: key `stagez`: "));
/// # Ok::<(), tenuis_recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the candidate and its directory: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// A sentence for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The recipe that this one changes: the name of a built-in one, or a file relative to this one. Its keys stand where
    /// this recipe has none of its own, except for its name and description; gates are those of both. A loaded recipe has
    /// them filled in, and no such key any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// What is different in the stages of the recipe that this one extends, by the stage's name (its technique where it
    /// has none): keys take the place of the stage's own, tables are merged. Filled in like `extends`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, Map<String, Value>>,
    /// Seeds whatever a technique draws at random.
    #[serde(default)]
    pub seed: u64,
    /// How much calibration text is used.
    #[serde(default)]
    pub calibration: CalibrationSpec,
    /// Conditions that have to hold after every stage, such as `perplexity <= 1.03x baseline`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// What becomes of the stages behind one whose every rung failed.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
    /// What a search may vary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSpec>,
    /// The techniques, in the order in which they are applied; none in a search's template, whose trials have them.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

/// What becomes of a recipe when every rung of a stage's ladder has failed its gates; the stage itself is rolled back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The recipe ends with what the last good stage made.
    #[default]
    Stop,
    /// The stage is left out, and the next one goes on from the last good one.
    Skip,
}

impl OnFailure {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a search varies, and how it looks for the best.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchSpec {
    /// How trials are chosen: `grid`, `random`, `halving` or `hyperband`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How many trials at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<usize>,
    /// The options by name: a list of values, or a range `{ from, to, steps, scale, integer }`. A text `$NAME` anywhere in
    /// a stage, the seed or the calibration stands for the value that a trial has chosen; `$$NAME` for the text `$NAME`.
    pub axes: Map<String, Value>,
}

/// A more careful way to do a stage, tried when the one before it failed the gates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rung {
    /// Names the rung in reports; by default what it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another technique; its options are then those of the rung alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
    /// Options that take the place of the stage's own.
    pub options: Map<String, Value>,
}

/// How much calibration text the stages of a recipe see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationSpec {
    /// Windows, evenly spaced over the text; fewer where the text is shorter. Published GPTQ runs use 128.
    pub samples: usize,
    /// Tokens per window; by default 2048 or the model's positions, whichever is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq_len: Option<usize>,
}

impl Default for CalibrationSpec {
    fn default() -> Self {
        Self { samples: 128, seq_len: None }
    }
}

/// One technique with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Names the stage in reports and for `changes`; by default it goes by its technique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The technique's name, as `tenuis plugins list` shows it.
    pub technique: String,
    /// Its options; the technique's own schema says which there are.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Which weights it gets.
    #[serde(default)]
    pub targets: Targets,
    /// Whether the Linears of a block are calibrated one input group after the other, each on the output of the
    /// groups already compressed. Costs one more pass over the block per group.
    #[serde(default)]
    pub true_sequential: bool,
    /// Conditions that have to hold after this stage, beside those of the recipe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// Conditions that every group of Linears has to meet by itself, such as `relative_error <= 0.05`: a group that does
    /// not is done again by the next rung, and left as it was when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_gates: Vec<String>,
    /// More careful ways to do this stage, the boldest first, tried in turn when a gate fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<Rung>,
    /// As the recipe's own, for this stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// In a search: the stage is part of those trials only whose choices are these, by axis: a value, a list of values,
    /// or `{ not = … }` with either.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub only_if: Map<String, Value>,
    /// The checkpoint that a technique of the model scope learns from; by default the model as it was given. A path is
    /// relative to the recipe's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// The texts that a technique of the model scope reads.
    #[serde(default, skip_serializing_if = "StageData::is_default")]
    pub data: StageData,
}

impl Stage {
    /// What the stage goes by: its name, or else its technique.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.technique)
    }
}

/// The texts of a stage; paths are relative to the recipe's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StageData {
    /// What is trained on; by default the calibration text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// What is validated on; by default the end of the text that is trained on, which is then left out there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<PathBuf>,
}

impl StageData {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
