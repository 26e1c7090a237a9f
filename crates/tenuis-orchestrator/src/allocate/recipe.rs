//! An allocation as a recipe.

use super::candidates::Slot;
use super::menu::{Menu, Step, calibration_line, quoted, stage_head};
use super::probe::State;
use super::{AllocateError, AllocateRequest};
use crate::error::RunError;
use serde_json::{Map, json};
use std::fmt::Write;
use tenuis_recipe::LoadedRecipe;
use tenuis_spec::DecoderSpec;

/// Writes a choice as a recipe: the base, the blocks that are left out, then the first steps of all choices, their second steps
/// and so on, each on the Linears that chose it by name. First steps with no weight in common go over the model together.
pub(super) fn write(
    request: &AllocateRequest,
    menu: &Menu,
    slots: &[Slot],
    state: &State,
    spec: &DecoderSpec,
    description: &str,
) -> Result<(String, LoadedRecipe), RunError> {
    let mut text = format!(
        "# Written by `tenuis allocate`.\nname = {}\ndescription = {}\nseed = {}\n",
        quoted(&request.name),
        quoted(description),
        request.seed
    );
    text.push_str(&calibration_line(request.calibration));
    let mut stages = String::new();
    for step in &menu.base {
        stages.push_str(&stage_head(step));
    }
    if !state.dropped.is_empty() {
        let options = Map::from_iter([("remove".to_owned(), json!(state.dropped))]);
        stages.push_str(&stage_head(&Step { technique: "prune-blocks".to_owned(), options }));
    }
    let deepest = menu.choices.iter().map(|choice| choice.steps.len()).max().unwrap_or(0);
    for depth in 0..deepest {
        for (index, choice) in menu.choices.iter().enumerate() {
            let Some(step) = choice.steps.get(depth) else { continue };
            let chosen = slots.iter().zip(&state.picks);
            let chosen = chosen.filter(|(slot, pick)| **pick == Some(index) && !state.lacks(slot));
            let (mut names, mut head) = (Vec::new(), false);
            for (slot, _) in chosen {
                match slot.place {
                    Some((block, position)) => names.extend(name(spec, &state.dropped, block, position)),
                    None => head = true,
                }
            }
            if !names.is_empty() {
                stages.push_str(&stage_head(step));
                stages.push_str("targets.include = [\n");
                for name in &names {
                    // Writing to a string cannot fail.
                    let _ = writeln!(stages, "    {},", quoted(name));
                }
                stages.push_str("]\n");
            }
            if head {
                // By itself: a stage on the head does not go over the model with others.
                stages.push_str(&stage_head(step));
                stages.push_str("targets = { exclude = [\"*\"], head = true }\n");
            }
        }
    }
    if stages.is_empty() {
        return Err(AllocateError::Nothing.into());
    }
    text.push_str(&stages);
    let loaded = LoadedRecipe::parse(&request.name, &text)?;
    Ok((text, loaded))
}

/// What a Linear is called once the blocks before it are gone.
fn name(spec: &DecoderSpec, dropped: &[usize], block: usize, position: usize) -> Option<String> {
    let block = block - dropped.iter().filter(|&&gone| gone < block).count();
    spec.layers.get(block)?.linears().into_iter().nth(position).map(|linear| linear.name)
}
