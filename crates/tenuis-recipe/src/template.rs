//! Templates of searches: recipes in which texts such as `$bits` stand for values yet to be chosen.

mod choices;
mod name;

use crate::loaded::{checked, complete, no_stage};
use crate::origin::escaped;
use crate::{LoadedRecipe, Origin, Recipe, RecipeError, keys};
use choices::Condition;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The keys of a recipe in which choices may stand.
const OPEN: [&str; 3] = ["stages", "seed", "calibration"];

/// A recipe as it was written, with its choices still open.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) values: Map<String, Value>,
    axes: Map<String, Value>,
}

/// What a text of a template stands for.
enum Text<'a> {
    /// The value that is chosen of an axis.
    Choice(&'a str),
    /// Another text: `$$bits` for `$bits`.
    Literal(&'a str),
    /// Itself.
    Plain,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        match text.strip_prefix('$') {
            Some(name) if is_name(name) => Self::Choice(name),
            Some(rest) if rest.strip_prefix('$').is_some_and(is_name) => Self::Literal(rest),
            _ => Self::Plain,
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

impl Template {
    /// The template that a recipe is, if it declares a search, with everything in it that can be wrong for every choice checked.
    pub(crate) fn of(values: &Map<String, Value>, origin: &Origin) -> Result<Option<Self>, RecipeError> {
        let stages = values.get("stages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let Some(search) = values.get("search") else {
            return match stages.iter().position(|stage| stage.get("only_if").is_some()) {
                None => Ok(None),
                Some(index) => Err(origin.error(
                    &format!("/stages/{index}/only_if"),
                    "depends on choices, but the recipe has no [search.axes] to choose from",
                )),
            };
        };
        let Some(axes) = search.get("axes").and_then(Value::as_object).filter(|axes| !axes.is_empty()) else {
            let problem = "must be a table with what is varied, such as `bits = [3, 4]`";
            return Err(origin.error("/search/axes", problem));
        };
        if let Some(name) = axes.keys().find(|name| !is_name(name)) {
            let problem =
                "cannot name an axis; allowed are letters, digits (not first), \"_\" and \"-\" (not first)";
            return Err(origin.error(&format!("/search/axes/{}", escaped(name)), problem));
        }
        if stages.is_empty() {
            return Err(no_stage(origin));
        }
        let template = Self { values: values.clone(), axes: axes.clone() };
        template.check_references(stages, origin)?;
        template.check_example(origin)?;
        Ok(Some(template))
    }

    /// What the recipe says whatever is chosen: all but its stages.
    pub(crate) fn outline(&self, origin: &Origin) -> Result<Recipe, RecipeError> {
        let mut values = self.values.clone();
        values.remove("stages");
        if values.get("seed").is_some_and(is_open) {
            values.remove("seed");
        }
        match values.get_mut("calibration") {
            Some(Value::Object(calibration)) => calibration.retain(|_, value| !is_open(value)),
            Some(value) if is_open(value) => drop(values.remove("calibration")),
            _ => {}
        }
        checked(values, origin)
    }

    /// Checks that what is referred to is declared, and the other way round.
    fn check_references(&self, stages: &[Value], origin: &Origin) -> Result<(), RecipeError> {
        let mut used = BTreeSet::new();
        for key in OPEN {
            if let Some(value) = self.values.get(key) {
                self.collect(value, &format!("/{key}"), origin, &mut used)?;
            }
        }
        for (index, stage) in stages.iter().enumerate() {
            for (axis, value) in stage.get("only_if").and_then(Value::as_object).into_iter().flatten() {
                let at = format!("/stages/{index}/only_if/{}", escaped(axis));
                let Some(declared) = self.axes.get(axis) else {
                    return Err(origin.error(&at, self.unknown(axis, "")));
                };
                Condition::of(value)
                    .and_then(|condition| condition.check(declared))
                    .map_err(|e| origin.error(&at, e))?;
                used.insert(axis.clone());
            }
        }
        match self.axes.keys().find(|axis| !used.contains(*axis)) {
            None => Ok(()),
            Some(axis) => Err(origin.error(
                &format!("/search/axes/{}", escaped(axis)),
                format!("nothing depends on it; write \"${axis}\" where its value belongs, or leave it out"),
            )),
        }
    }

    /// Collects the axes that texts stand for.
    fn collect(
        &self,
        value: &Value,
        pointer: &str,
        origin: &Origin,
        used: &mut BTreeSet<String>,
    ) -> Result<(), RecipeError> {
        match value {
            Value::String(text) => match Text::from(text.as_str()) {
                Text::Choice(axis) if self.axes.contains_key(axis) => {
                    used.insert(axis.to_owned());
                    Ok(())
                }
                Text::Choice(axis) => Err(origin.error(pointer, self.unknown(axis, "$"))),
                Text::Plain => match self.axes.keys().find(|axis| text.contains(&format!("${axis}"))) {
                    None => Ok(()),
                    Some(axis) => Err(origin.error(
                        pointer,
                        format!(
                            "{text:?} has \"${axis}\" inside, but only a whole text is replaced by a choice"
                        ),
                    )),
                },
                Text::Literal(_) => Ok(()),
            },
            Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                self.collect(item, &format!("{pointer}/{index}"), origin, used)
            }),
            Value::Object(entries) => {
                entries.iter().filter(|(key, _)| *key != "only_if").try_for_each(|(key, entry)| {
                    self.collect(entry, &format!("{pointer}/{}", escaped(key)), origin, used)
                })
            }
            _ => Ok(()),
        }
    }

    fn unknown(&self, axis: &str, sigil: &str) -> String {
        let meant = keys::nearest(axis, self.axes.keys().map(String::as_str))
            .map(|near| format!(" (did you mean `{sigil}{near}`?)"))
            .unwrap_or_default();
        let axes: Vec<&str> = self.axes.keys().map(String::as_str).collect();
        let escape = if sigil.is_empty() {
            String::new()
        } else {
            format!("; write \"$${axis}\" for the text itself")
        };
        format!("`{sigil}{axis}` is no axis of the search{meant}; there are {}{escape}", axes.join(", "))
    }

    /// Checks every stage with one value of each axis, so that most mistakes show before anything is tried.
    fn check_example(&self, origin: &Origin) -> Result<(), RecipeError> {
        let example: Option<Map<String, Value>> =
            self.axes.iter().map(|(axis, values)| Some((axis.clone(), choices::example(values)?))).collect();
        // An axis without a value is the business of whoever reads the axes.
        example.map_or(Ok(()), |example| checked(self.filled(&example), origin).map(drop))
    }

    /// The recipe with chosen values, all stages, and no search.
    fn filled(&self, choices: &Map<String, Value>) -> Map<String, Value> {
        let mut values = self.values.clone();
        values.remove("search");
        for key in OPEN {
            if let Some(value) = values.get_mut(key) {
                choices::fill(value, choices);
            }
        }
        for stage in values.get_mut("stages").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(stage) = stage.as_object_mut() {
                stage.remove("only_if");
            }
        }
        values
    }

    /// The stages that are part of a trial, by index.
    fn kept(&self, choices: &Map<String, Value>) -> Vec<usize> {
        let stages = self.values.get("stages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let holds = |stage: &Value| {
            stage.get("only_if").and_then(Value::as_object).into_iter().flatten().all(|(axis, value)| {
                let condition = Condition::of(value).ok();
                condition.zip(choices.get(axis)).is_some_and(|(condition, choice)| condition.holds(choice))
            })
        };
        (0..stages.len()).filter(|&index| holds(&stages[index])).collect()
    }
}

fn is_open(value: &Value) -> bool {
    value.as_str().is_some_and(|text| matches!(Text::from(text), Text::Choice(_)))
}

impl LoadedRecipe {
    /// Makes a recipe of a search's template by choosing a value of each axis; `None` where the choices leave no stage.
    ///
    /// The recipe is named after its choices, differently for different ones. Two trials may still come to the same, where
    /// stages that depend on a choice are left out.
    ///
    /// ```
    /// use serde_json::json;
    /// use tenuis_recipe::LoadedRecipe;
    /// let template = LoadedRecipe::parse(
    ///     "search.toml",
    ///     r#"
    ///     name = "small"
    ///     [search.axes]
    ///     bits = [3, 4]
    ///     sparsity = [0, 0.5]
    ///     [[stages]]
    ///     technique = "sparsegpt"
    ///     options = { sparsity = "$sparsity" }
    ///     only_if = { sparsity = { not = 0 } }
    ///     [[stages]]
    ///     technique = "gptq"
    ///     options = { bits = "$bits" }
    ///     "#,
    /// )?;
    /// let choices = json!({ "bits": 3, "sparsity": 0 });
    /// let trial = template.trial(choices.as_object().unwrap())?.unwrap();
    /// assert_eq!(trial.recipe.name, "small-bits-3-sparsity-0");
    /// assert_eq!(trial.recipe.stages.len(), 1);
    /// assert_eq!(trial.recipe.stages[0].options["bits"], 3);
    /// # Ok::<(), tenuis_recipe::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// [`RecipeError`] where the recipe is no template, a choice is missing or for no axis, or a value does not fit its place.
    pub fn trial(&self, choices: &Map<String, Value>) -> Result<Option<Self>, RecipeError> {
        let Some(template) = &self.template else {
            return Err(self
                .origin
                .error("/search", "is missing: there is nothing to choose in this recipe"));
        };
        let at = |axis: &str| format!("/search/axes/{}", escaped(axis));
        if let Some(axis) = template.axes.keys().find(|axis| !choices.contains_key(*axis)) {
            return Err(self.origin.error(&at(axis), "no value was chosen"));
        }
        if let Some(axis) = choices.keys().find(|axis| !template.axes.contains_key(*axis)) {
            return Err(self.origin.error("/search/axes", template.unknown(axis, "")));
        }
        let kept = template.kept(choices);
        if kept.is_empty() {
            return Ok(None);
        }
        let mut values = template.filled(choices);
        let mut origin = self.origin.clone();
        origin.forget("/search");
        origin.forget("/stages");
        if let Some(stages) = values.get_mut("stages").and_then(Value::as_array_mut) {
            *stages = kept.iter().map(|&index| std::mem::take(&mut stages[index])).collect();
            for (now, before) in kept.iter().enumerate() {
                origin.take(&self.origin, &format!("/stages/{before}"), &format!("/stages/{now}"));
            }
        }
        values.insert("name".to_owned(), name::of(&self.recipe.name, choices).into());
        let recipe = complete(values, &origin)?;
        Ok(Some(Self { recipe, origin, dir: self.dir.clone(), template: None }))
    }
}

#[cfg(test)]
mod tests;
