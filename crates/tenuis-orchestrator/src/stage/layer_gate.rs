//! Conditions that every group of Linears has to meet by itself.

use super::group::Made;
use super::output_error::OutputError;
use crate::error::RunError;
use std::collections::BTreeMap;
use tenuis_eval::report::Requirement;
use tenuis_linalg::LayerStats;
use tenuis_model::Block;
use tenuis_plan::gate::{Condition, Evidence, Verdict};
use tenuis_recipe::{LoadedRecipe, Origin, RecipeError};

/// The figure that layer gates are about: `‖ΔW·X‖² ÷ ‖W·X‖²`, the share of a Linear's output that compression changes, by the
/// calibration's XᵀX; by its channels' mean squares where no Hessian was gathered, and by the weights alone where nothing was.
pub(super) const RELATIVE_ERROR: &str = "relative_error";

/// Reads a stage's layer gates.
pub(super) fn parse(
    texts: &[String],
    origin: &Origin,
    stage: usize,
) -> Result<Vec<Requirement>, RecipeError> {
    let read = |(index, text): (usize, &String)| {
        Requirement::about(text, &[RELATIVE_ERROR])
            .map_err(|e| origin.error(&format!("/stages/{stage}/layer_gates/{index}"), e.to_string()))
    };
    texts.iter().enumerate().map(read).collect()
}

/// Checks that a stage's layer gates can be read.
pub(crate) fn check(loaded: &LoadedRecipe, stage: usize) -> Result<(), RecipeError> {
    parse(&loaded.recipe.stages[stage].layer_gates, &loaded.origin, stage).map(drop)
}

/// The relative output error of every Linear that was made anew, by module.
pub(super) fn relative_errors(
    block: &Block,
    made: &Made,
    stats: Option<&LayerStats>,
) -> Result<BTreeMap<String, f64>, RunError> {
    let by = OutputError::by(stats);
    let mut errors = BTreeMap::new();
    for (name, new) in &made.weights {
        let Some(old) = block.weight(name) else { continue };
        let scale = made.folds.get(name).map(Vec::as_slice);
        let error = by.squared(name, old.as_ref(), new.as_ref(), scale)?;
        let whole = by.whole(name, old.as_ref())?;
        errors.insert(name.clone(), if whole > 0.0 { error / whole } else { error });
    }
    Ok(errors)
}

/// The first gate that a Linear does not meet, as a sentence.
pub(super) fn broken(gates: &[Requirement], errors: &BTreeMap<String, f64>) -> Option<String> {
    gates.iter().find_map(|gate| {
        errors.iter().find_map(|(name, &error)| {
            let condition = Condition::new(&gate.to_string(), gate.limit(None), Evidence::Exact(error));
            (condition.verdict() != Verdict::Holds).then(|| format!("{name}: {condition}"))
        })
    })
}
