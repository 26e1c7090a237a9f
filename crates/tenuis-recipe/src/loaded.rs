//! Reading recipes: from a file to what it says, checked, with the place of every key.

use crate::source::Source;
use crate::template::Template;
use crate::{Origin, Recipe, RecipeError, extend};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A recipe with the places of its keys, for messages.
///
/// What it extends is filled in, changes included:
///
/// ```
/// use tenuis_recipe::LoadedRecipe;
/// let loaded = LoadedRecipe::parse(
///     "int3.toml",
///     r#"
///     name = "int3"
///     extends = "int4-gptq"
///     [changes.gptq]
///     options = { bits = 3 }
///     "#,
/// )?;
/// let options = &loaded.recipe.stages[0].options;
/// assert_eq!((&options["bits"], &options["group_size"]), (&3.into(), &"auto".into()));
/// let error = loaded.origin.error("/stages/0/options/bits", "…");
/// assert_eq!(error.to_string(), "int3.toml:5:17: key `changes.gptq.options.bits`: …");
/// # Ok::<(), tenuis_recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LoadedRecipe {
    /// The recipe. That of a search's template has no stages: they are known once values have been chosen, by
    /// [`LoadedRecipe::trial`].
    pub recipe: Recipe,
    /// Where it came from.
    pub origin: Origin,
    /// What paths in it are relative to.
    pub dir: PathBuf,
    pub(crate) template: Option<Template>,
}

impl LoadedRecipe {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// [`RecipeError`] with the file, the line, the key and the allowed values.
    pub fn open(path: &Path) -> Result<Self, RecipeError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Origin::new(&file).whole(None, format!("cannot be read: {e}")))?;
        Self::read(&file, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// A path of the recipe, as seen from where the program runs.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.dir.join(path)
    }

    /// Reads a recipe from its text; `file` is what messages call it. Files that it names are relative to the working
    /// directory.
    ///
    /// # Errors
    /// As [`LoadedRecipe::open`].
    pub fn parse(file: &str, text: &str) -> Result<Self, RecipeError> {
        Self::read(file, text, Path::new(""))
    }

    /// Whether the recipe is the template of a search: only its trials can be carried out.
    pub const fn is_template(&self) -> bool {
        self.template.is_some()
    }

    /// Everything that the recipe says, what is open in the stages of a template included: two recipes that differ in this may
    /// do different things.
    pub fn content(&self) -> Value {
        match &self.template {
            Some(template) => Value::Object(template.values.clone()),
            None => serde_json::to_value(&self.recipe).unwrap_or_default(),
        }
    }

    fn read(file: &str, text: &str, dir: &Path) -> Result<Self, RecipeError> {
        let Source { values, origin } = extend::read(file, text, dir)?;
        let template = Template::of(&values, &origin)?;
        let recipe = match &template {
            None => complete(values, &origin)?,
            Some(template) => template.outline(&origin)?,
        };
        Ok(Self { recipe, origin, dir: dir.to_owned(), template })
    }
}

/// A recipe that can be carried out.
pub(crate) fn complete(values: Map<String, Value>, origin: &Origin) -> Result<Recipe, RecipeError> {
    let recipe = checked(values, origin)?;
    if recipe.stages.is_empty() {
        return Err(no_stage(origin));
    }
    for (index, stage) in recipe.stages.iter().enumerate() {
        let earlier = || recipe.stages[..index].iter().any(|other| other.name == stage.name);
        if stage.name.is_some() && earlier() {
            return Err(origin.error(&format!("/stages/{index}/name"), "names an earlier stage too"));
        }
    }
    Ok(recipe)
}

pub(crate) fn no_stage(origin: &Origin) -> RecipeError {
    origin.error("/stages", "holds no stage; give at least one [[stages]] table, or `extends` a recipe")
}

/// A recipe all of whose values have the right type and make sense by themselves.
pub(crate) fn checked(values: Map<String, Value>, origin: &Origin) -> Result<Recipe, RecipeError> {
    let recipe: Recipe = serde_path_to_error::deserialize(Value::Object(values)).map_err(|error| {
        let pointer = pointer(error.path());
        origin.error(&pointer, error.into_inner().to_string())
    })?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if recipe.name.is_empty() || recipe.name.starts_with('.') || !recipe.name.chars().all(allowed) {
        let problem = format!(
            "{:?} cannot name a directory; allowed are letters, digits, \"-\", \"_\" and \".\" (not first)",
            recipe.name
        );
        return Err(origin.error("/name", problem));
    }
    if recipe.calibration.samples == 0 {
        return Err(origin.error("/calibration/samples", "is 0, but must be at least 1"));
    }
    if recipe.calibration.seq_len.is_some_and(|n| n < 2) {
        return Err(origin.error("/calibration/seq_len", "must be at least 2"));
    }
    for (index, stage) in recipe.stages.iter().enumerate() {
        stage.targets.check(origin, index)?;
        for (rung, step) in stage.ladder.iter().enumerate() {
            if step.technique.is_none() && step.options.is_empty() {
                let problem = "changes nothing; give it a `technique` or `options`";
                return Err(origin.error(&format!("/stages/{index}/ladder/{rung}"), problem));
            }
        }
    }
    Ok(recipe)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        // Writing to a string cannot fail.
        let _ = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } => write!(pointer, "/{}", crate::origin::escaped(key)),
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
    }
    pointer
}
