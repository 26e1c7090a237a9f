//! The more careful ways to do a stage.

use crate::error::RunError;
use crate::registry;
use crate::stage::LayerRung;
use serde_json::Value;
use std::fmt::Write;
use tenuis_host::{PluginRegistry, Technique};
use tenuis_recipe::{LoadedRecipe, RecipeError, Stage};

/// A rung of a stage's ladder: the recipe with it in the stage's place.
pub(super) struct Rung {
    pub(super) name: String,
    /// Its place in the ladder.
    index: usize,
    pub(super) loaded: LoadedRecipe,
    pub(super) technique: Technique,
    pub(super) techniques: Vec<Technique>,
}

/// The rungs of a stage, the boldest first; the stage as it stands is none of them.
pub(super) fn rungs(
    plugins: &PluginRegistry,
    loaded: &LoadedRecipe,
    index: usize,
) -> Result<Vec<Rung>, RunError> {
    let stage = &loaded.recipe.stages[index];
    let mut rungs: Vec<Rung> = Vec::with_capacity(stage.ladder.len());
    for (place, rung) in stage.ladder.iter().enumerate() {
        let mut variant = loaded.clone();
        let changed = &mut variant.recipe.stages[index];
        match &rung.technique {
            Some(technique) if *technique != stage.technique => {
                changed.technique.clone_from(technique);
                changed.options.clone_from(&rung.options);
            }
            _ => changed.options.extend(rung.options.clone()),
        }
        let name = rung.name.clone().unwrap_or_else(|| label(changed));
        let techniques = registry::resolve(plugins, &variant)
            .map_err(|error| named(loaded, index, place, &name, error))?;
        let technique = techniques[index].clone();
        rungs.push(Rung { name, index: place, loaded: variant, technique, techniques });
    }
    Ok(rungs)
}

/// The rungs that single groups of a stage climb down, where it has layer gates.
pub(super) fn layer_rungs(
    plugins: &PluginRegistry,
    loaded: &LoadedRecipe,
    index: usize,
) -> Result<Vec<LayerRung>, RunError> {
    if loaded.recipe.stages[index].layer_gates.is_empty() {
        return Ok(Vec::new());
    }
    let of = |rung: Rung| LayerRung {
        options: Value::Object(rung.loaded.recipe.stages[index].options.clone()),
        name: rung.name,
        technique: rung.technique,
    };
    Ok(rungs(plugins, loaded, index)?.into_iter().map(of).collect())
}

/// What a stage is called: its technique and the options that are set.
pub(super) fn label(stage: &Stage) -> String {
    let mut label = stage.technique.clone();
    for (option, value) in &stage.options {
        // Writing to a string cannot fail.
        let _ = match value {
            Value::String(text) => write!(label, " {option}={text}"),
            other => write!(label, " {option}={other}"),
        };
    }
    label
}

/// A problem of a rung, at the rung's own line.
pub(super) fn in_rung(loaded: &LoadedRecipe, stage: usize, rung: &Rung, error: RunError) -> RunError {
    named(loaded, stage, rung.index, &rung.name, error)
}

fn named(loaded: &LoadedRecipe, stage: usize, rung: usize, name: &str, error: RunError) -> RunError {
    match error {
        RunError::Recipe(RecipeError { problem, .. }) => loaded
            .origin
            .error(&format!("/stages/{stage}/ladder/{rung}"), format!("{name}: {problem}"))
            .into(),
        other => other,
    }
}
