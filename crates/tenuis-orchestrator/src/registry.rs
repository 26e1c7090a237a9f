//! Finding the technique that a recipe names.

use crate::error::{RunError, schema_problem};
use serde_json::Value;
use std::fmt::Write;
use tenuis_host::{PluginError, PluginRegistry, Technique};
use tenuis_recipe::LoadedRecipe;

/// Looks every stage's technique up and checks its options against the technique's own schema, before any work.
///
/// The techniques are seeded with the recipe's seed.
///
/// # Errors
/// [`RunError::Recipe`] with the line of the technique or option, and the known techniques or allowed values.
pub(crate) fn resolve(registry: &PluginRegistry, loaded: &LoadedRecipe) -> Result<Vec<Technique>, RunError> {
    if loaded.is_template() {
        let problem = "makes this recipe a template, which has no stages until a search has chosen values";
        return Err(loaded.origin.error("/search", problem).into());
    }
    let mut techniques = Vec::with_capacity(loaded.recipe.stages.len());
    for (index, stage) in loaded.recipe.stages.iter().enumerate() {
        let technique = registry
            .require(&stage.technique)
            .map_err(|error| unknown(loaded, index, &stage.technique, &error))?;
        let options = Value::Object(stage.options.clone());
        if let Err(problems) = technique.validate(&options)
            && let Some((pointer, message)) = schema_problem(&problems)
        {
            let pointer = format!("/stages/{index}/options{pointer}");
            return Err(loaded.origin.error(&pointer, message).into());
        }
        techniques.push(technique.seeded(loaded.recipe.seed));
    }
    Ok(techniques)
}

fn unknown(loaded: &LoadedRecipe, index: usize, technique: &str, error: &PluginError) -> RunError {
    let mut problem = error.to_string();
    if let Some((_, plugin)) = HOMES.iter().find(|(id, _)| *id == technique) {
        // Writing to a string cannot fail.
        let _ = write!(problem, "; it belongs to the plugin {plugin:?}, whose library was not loaded");
    }
    loaded.origin.error(&format!("/stages/{index}/technique"), problem).into()
}

/// Techniques of the first-party plugins, for this message only: they are loaded like anybody's.
const HOMES: [(&str, &str); 12] = [
    ("cast", "tenuis-quant"),
    ("rtn", "tenuis-quant"),
    ("gptq", "tenuis-quant"),
    ("distill", "tenuis-distill"),
    ("prune-channels", "tenuis-prune"),
    ("prune-heads", "tenuis-prune"),
    ("prune-blocks", "tenuis-prune"),
    ("svd", "tenuis-lowrank"),
    ("asvd", "tenuis-lowrank"),
    ("svdllm", "tenuis-lowrank"),
    ("svdllm-budget", "tenuis-lowrank"),
    ("correct", "tenuis-lowrank"),
];
