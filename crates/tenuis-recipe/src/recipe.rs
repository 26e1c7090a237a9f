//! What a recipe says.

use crate::{Origin, RecipeError, Targets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

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
/// assert!(wrong.to_string().starts_with("bad.toml:2: "));
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
    /// this recipe has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
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
    /// The techniques, in the order in which they are applied.
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
    /// The options by name: a list of values, or a range `{ from, to, steps, scale, integer }`. A text `$NAME` in a
    /// stage's technique, options or targets stands for the value that a trial has chosen.
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
    /// In a search: the stage is part of those trials only whose choices are among these, by axis.
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

/// A recipe with the places of its keys, for messages.
#[derive(Clone, Debug)]
pub struct LoadedRecipe {
    /// The recipe.
    pub recipe: Recipe,
    /// Where it came from.
    pub origin: Origin,
    /// What paths in it are relative to.
    pub dir: PathBuf,
}

impl LoadedRecipe {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// [`RecipeError`] with the file, the line, the key and the allowed values.
    pub fn open(path: &Path) -> Result<Self, RecipeError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| RecipeError::unreadable(&file, &e))?;
        let mut loaded = Self::parse(&file, &text)?;
        loaded.dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(loaded)
    }

    /// A path of the recipe, as seen from where the program runs.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// Reads a recipe from its text; `file` is what messages call it.
    ///
    /// # Errors
    /// As [`LoadedRecipe::open`].
    pub fn parse(file: &str, text: &str) -> Result<Self, RecipeError> {
        let origin = Origin::parse(file, text)?;
        let recipe: Recipe = toml::from_str(text).map_err(|e| origin.toml_error(text, &e))?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if recipe.name.is_empty() || recipe.name.starts_with('.') || !recipe.name.chars().all(allowed) {
            let problem = format!(
                "{:?} cannot name a directory; allowed are letters, digits, \"-\", \"_\" and \".\" (not first)",
                recipe.name
            );
            return Err(origin.error("/name", problem));
        }
        if recipe.stages.is_empty() {
            return Err(origin.error("/stages", "holds no stage; give at least one [[stages]] table"));
        }
        if recipe.calibration.samples == 0 {
            return Err(origin.error("/calibration/samples", "is 0, but must be at least 1"));
        }
        if recipe.calibration.seq_len.is_some_and(|n| n < 2) {
            return Err(origin.error("/calibration/seq_len", "must be at least 2"));
        }
        for (index, stage) in recipe.stages.iter().enumerate() {
            stage.targets.check(&origin, index)?;
        }
        Ok(Self { recipe, origin, dir: PathBuf::new() })
    }
}
