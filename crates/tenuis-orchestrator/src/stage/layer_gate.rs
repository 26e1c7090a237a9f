//! Conditions that every group of Linears has to meet by itself.

use super::group::Made;
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
    let mut errors = BTreeMap::new();
    for (name, new) in &made.weights {
        let Some(old) = block.weight(name) else { continue };
        let [rows, columns] = old.shape();
        let wrong = |source| RunError::Weight { tensor: name.clone(), source };
        let (mut w, mut delta) = (vec![0.0f32; rows * columns], vec![0.0f32; rows * columns]);
        old.decode_rows(0..rows, &mut w).map_err(wrong)?;
        new.decode_rows(0..rows, &mut delta).map_err(wrong)?;
        if let Some(scale) = made.folds.get(name) {
            // The new weight is for the input divided by the scale.
            for row in delta.chunks_mut(columns) {
                row.iter_mut().zip(scale).for_each(|(v, s)| *v /= s);
            }
        }
        delta.iter_mut().zip(&w).for_each(|(d, w)| *d -= w);
        let (error, whole) = (energy(&delta, columns, stats), energy(&w, columns, stats));
        errors.insert(name.clone(), if whole > 0.0 { error / whole } else { error });
    }
    Ok(errors)
}

/// `tr(W·H·Wᵀ)`.
fn energy(w: &[f32], columns: usize, stats: Option<&LayerStats>) -> f64 {
    if let Some(gram) = stats.and_then(LayerStats::gram) {
        return tenuis_linalg::energy(gram.view(), w);
    }
    let squares = stats.and_then(LayerStats::moments).map(tenuis_linalg::Moments::sum_squares);
    let weighted = |row: &[f32]| -> f64 {
        let weight = |i: usize| squares.map_or(1.0, |s| s[i]);
        row.iter().enumerate().map(|(i, &w)| weight(i) * f64::from(w) * f64::from(w)).sum()
    };
    w.chunks(columns).map(weighted).sum()
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
