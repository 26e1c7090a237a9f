//! What may become of a weight.

use super::AllocateError;
use crate::error::RunError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use tenuis_core::DType;
use tenuis_core::weight::Dense;
use tenuis_model::Model;
use tenuis_recipe::{CalibrationSpec, LoadedRecipe};

/// The most blocks that may be left out: every set of so many is solved for.
const MOST_DROPPED: usize = 2;

/// A technique with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The technique's name, as `tenuis plugins list` shows it.
    pub technique: String,
    /// Its options.
    #[serde(default)]
    pub options: Map<String, Value>,
}

/// One thing that may become of a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Names it in records.
    pub name: String,
    /// Techniques of the group scope, one after the other. None: the weight stays as `base` leaves it.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// What there is to choose from.
///
/// ```
/// use tenuis_orchestrator::allocate::Menu;
/// let menu = Menu::parse("menu.toml", r#"
///     base = [{ technique = "cast", options = { dtype = "f16" } }]
///     head = true
///     drop_blocks = 1
///     [[choices]]
///     name = "f16"
///     [[choices]]
///     name = "sparse-int4"
///     steps = [
///         { technique = "sparsegpt", options = { sparsity = "2:4" } },
///         { technique = "gptq", options = { bits = 4 } },
///     ]
/// "#)?;
/// assert_eq!(menu.choices[1].steps.len(), 2);
/// # Ok::<(), tenuis_orchestrator::RunError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Menu {
    /// What is done to the whole model first, whatever is chosen; as a rule a cast of what is left to f16.
    #[serde(default)]
    pub base: Vec<Step>,
    /// Whether the head has a choice too; one that is the embedding has none.
    #[serde(default)]
    pub head: bool,
    /// How many whole blocks may be left out at most.
    #[serde(default)]
    pub drop_blocks: usize,
    /// The choices of every Linear.
    pub choices: Vec<Choice>,
}

impl Menu {
    /// Reads a menu file.
    ///
    /// # Errors
    /// [`RunError::File`] where it cannot be read, else as [`Menu::parse`].
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RunError::File { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a menu from its text; `file` is what messages call it.
    ///
    /// # Errors
    /// [`AllocateError::Menu`] with the line of what is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, RunError> {
        let refused = |problem: String| AllocateError::Menu { file: file.to_owned(), problem };
        let menu: Self = toml::from_str(text).map_err(|e| refused(e.to_string()))?;
        if menu.choices.is_empty() {
            return Err(refused("offers nothing; give at least one [[choices]] table".to_owned()).into());
        }
        if menu.drop_blocks > MOST_DROPPED {
            let problem =
                format!("drop_blocks is {}; at most {MOST_DROPPED} are tried together", menu.drop_blocks);
            return Err(refused(problem).into());
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = menu.choices.iter().find(|choice| !names.insert(&choice.name)) {
            return Err(refused(format!("has two choices named {:?}; rename one", twice.name)).into());
        }
        Ok(menu)
    }

    /// The menu for a model where none is given: integers of 8 to 2 bits by GPTQ, 50 and 70 % of the weights pruned by
    /// SparseGPT, half of them with integers on top, products of low rank by SVD-LLM, and the weight as it is; with
    /// groups of 32 columns for the narrow grids where every matrix can be cut so. Floats wider than 16 bits are cast first.
    ///
    /// # Errors
    /// [`RunError::Model`] where a weight cannot be read.
    pub fn builtin(model: &Model) -> Result<Self, RunError> {
        let spec = model.spec();
        let by_32 = spec.linears().all(|linear| linear.shape[1].is_multiple_of(32));
        let narrow: Value = if by_32 { json!(32) } else { json!("auto") };
        let gptq = |bits: u8, group: &Value, symmetric: bool| {
            ("gptq", json!({ "bits": bits, "group_size": group, "symmetric": symmetric }))
        };
        let auto = json!("auto");
        let sparse = |sparsity: Value| ("sparsegpt", json!({ "sparsity": sparsity }));
        let rank = |keep: f64| ("svdllm", json!({ "rank": { "keep": keep } }));
        let choices = vec![
            choice("keep", vec![]),
            choice("int8", vec![gptq(8, &auto, true)]),
            choice("int6", vec![gptq(6, &auto, true)]),
            choice("int5", vec![gptq(5, &auto, true)]),
            choice("int4", vec![gptq(4, &auto, true)]),
            choice("int4-fine", vec![gptq(4, &narrow, true)]),
            choice("int3", vec![gptq(3, &auto, false)]),
            choice("int3-fine", vec![gptq(3, &narrow, false)]),
            choice("int2", vec![gptq(2, &auto, false)]),
            choice("int2-fine", vec![gptq(2, &narrow, false)]),
            choice("sparse-50", vec![sparse(json!(0.5))]),
            choice("sparse-70", vec![sparse(json!(0.7))]),
            choice("sparse-50-int8", vec![sparse(json!(0.5)), gptq(8, &auto, true)]),
            choice("sparse-50-int4", vec![sparse(json!(0.5)), gptq(4, &narrow, true)]),
            choice("sparse-2of4-int4", vec![sparse(json!("2:4")), gptq(4, &narrow, true)]),
            choice("rank-80", vec![rank(0.8)]),
            choice("rank-50", vec![rank(0.5)]),
            choice("rank-50-int8", vec![rank(0.5), gptq(8, &auto, true)]),
        ];
        let mut wide = false;
        for linear in spec.linears() {
            let weight = model.weight(&linear)?;
            wide |= weight
                .downcast::<Dense>()
                .is_some_and(|dense| matches!(dense.dtype(), DType::F32 | DType::F64));
        }
        let base = if wide { vec![step(("cast", json!({ "dtype": "f16" })))] } else { Vec::new() };
        Ok(Self { base, head: true, drop_blocks: 1, choices })
    }

    /// A choice applied by itself, or what comes first, as a recipe.
    pub(crate) fn recipe(
        name: &str,
        steps: &[Step],
        calibration: CalibrationSpec,
        seed: u64,
    ) -> Result<LoadedRecipe, RunError> {
        let mut text = format!("name = {}\nseed = {seed}\n", quoted(name));
        text.push_str(&calibration_line(calibration));
        for step in steps {
            text.push_str(&stage_head(step));
        }
        Ok(LoadedRecipe::parse(&format!("menu, choice {name:?}"), &text)?)
    }
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The line of a recipe that says how it is calibrated.
pub(super) fn calibration_line(calibration: CalibrationSpec) -> String {
    let samples = calibration.samples;
    match calibration.seq_len {
        Some(seq_len) => format!("calibration = {{ samples = {samples}, seq_len = {seq_len} }}\n"),
        None => format!("calibration = {{ samples = {samples} }}\n"),
    }
}

/// A stage without its targets.
pub(super) fn stage_head(step: &Step) -> String {
    let options = toml::Value::try_from(&step.options).map_or_else(|_| "{}".to_owned(), |v| v.to_string());
    format!("\n[[stages]]\ntechnique = {}\noptions = {options}\n", quoted(&step.technique))
}

fn step((technique, options): (&str, Value)) -> Step {
    let options = match options {
        Value::Object(options) => options,
        _ => Map::new(),
    };
    Step { technique: technique.to_owned(), options }
}

fn choice(name: &str, steps: Vec<(&str, Value)>) -> Choice {
    Choice { name: name.to_owned(), steps: steps.into_iter().map(step).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_menu_is_named() {
        for (text, part) in [
            ("choices = []", "at least one"),
            ("choices = [{ name = \"a\" }, { name = \"a\" }]", "\"a\""),
            ("choices = [{ name = \"a\", step = [] }]", "step"),
            ("drop_blocks = 3\nchoices = [{ name = \"a\" }]", "at most 2"),
        ] {
            let error = Menu::parse("menu.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("menu.toml: ") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_choice_is_a_recipe_of_its_steps() {
        let nested = step(("svdllm", json!({ "rank": { "keep": 0.5 } })));
        let made = Menu::recipe("a \"b\"", &[nested], CalibrationSpec::default(), 3);
        // The name of a choice is no name of a directory.
        assert!(made.is_err());
        let nested = step(("svdllm", json!({ "rank": { "keep": 0.5 } })));
        let made =
            Menu::recipe("half", std::slice::from_ref(&nested), CalibrationSpec::default(), 3).unwrap();
        assert_eq!((made.recipe.seed, &made.recipe.stages[0].options), (3, &nested.options));
    }
}
