//! Keys that no recipe has, and the ones that were probably meant.

use crate::origin::escaped;
use crate::{CalibrationSpec, Origin, Recipe, RecipeError, Rung, SearchSpec, Stage, StageData, Targets};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// Checks the keys of every table whose keys are ours; types are left to reading.
pub(crate) fn check(values: &Map<String, Value>, origin: &Origin) -> Result<(), RecipeError> {
    known::<Recipe>(values, "", origin)?;
    table::<CalibrationSpec>(values.get("calibration"), "/calibration", origin)?;
    table::<SearchSpec>(values.get("search"), "/search", origin)?;
    for (index, value) in list(values.get("stages")) {
        stage(value, &format!("/stages/{index}"), origin)?;
    }
    for (name, value) in values.get("changes").and_then(Value::as_object).into_iter().flatten() {
        stage(value, &format!("/changes/{}", escaped(name)), origin)?;
    }
    Ok(())
}

fn stage(value: &Value, pointer: &str, origin: &Origin) -> Result<(), RecipeError> {
    table::<Stage>(Some(value), pointer, origin)?;
    table::<Targets>(value.get("targets"), &format!("{pointer}/targets"), origin)?;
    table::<StageData>(value.get("data"), &format!("{pointer}/data"), origin)?;
    list(value.get("ladder"))
        .try_for_each(|(index, rung)| table::<Rung>(Some(rung), &format!("{pointer}/ladder/{index}"), origin))
}

fn list(value: Option<&Value>) -> impl Iterator<Item = (usize, &Value)> {
    value.and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn table<T: JsonSchema>(value: Option<&Value>, pointer: &str, origin: &Origin) -> Result<(), RecipeError> {
    value.and_then(Value::as_object).map_or(Ok(()), |values| known::<T>(values, pointer, origin))
}

fn known<T: JsonSchema>(
    values: &Map<String, Value>,
    pointer: &str,
    origin: &Origin,
) -> Result<(), RecipeError> {
    let schema = T::json_schema(&mut SchemaGenerator::default());
    let allowed: Vec<&String> =
        schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).collect();
    let Some(unknown) = values.keys().find(|key| !allowed.contains(key)) else { return Ok(()) };
    let meant = nearest(unknown, allowed.iter().map(|key| key.as_str()))
        .map(|near| format!(" (did you mean `{near}`?)"))
        .unwrap_or_default();
    let allowed: Vec<String> = allowed.iter().map(|key| format!("`{key}`")).collect();
    let problem = format!("there is no such key{meant}; allowed are {}", allowed.join(", "));
    Err(origin.error(&format!("{pointer}/{}", escaped(unknown)), problem))
}

/// How alike two names must be (Jaro 1989, from 0 to 1) for one to be offered in place of the other.
const ALIKE: f64 = 0.7;

/// The name that is most like another one, where any is like it.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|candidate| (strsim::jaro(name, candidate), candidate))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
