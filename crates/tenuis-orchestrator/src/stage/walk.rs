//! Which stages of a recipe go over the model together.

use super::needs_data;
use crate::error::RunError;
use crate::workshop::Workshop;
use std::ops::Range;
use std::sync::Arc;
use tenuis_core::Checkpoint;
use tenuis_host::{Scope, Technique};
use tenuis_model::Model;
use tenuis_recipe::{LoadedRecipe, ResolvedTargets};
use tenuis_spec::{DecoderSpec, LayerSpec};

/// The stages from `first` on that one pass of the calibration text serves: those that follow each other, look at
/// activations and have no weight in common. They go through the blocks side by side, so that weights that share an input
/// share its statistics whichever of them they belong to.
///
/// # Errors
/// [`RunError`] where the input cannot be read or a target does not exist in it.
pub(crate) fn walk(
    workshop: &Workshop<'_>,
    input: &Arc<Checkpoint>,
    reference: &Arc<Checkpoint>,
    loaded: &LoadedRecipe,
    techniques: &[Technique],
    first: usize,
) -> Result<Range<usize>, RunError> {
    let mut walk = first..first + 1;
    // Where weights are compared with those of another checkpoint, no scale may be moved beside the comparison.
    let compares = !Arc::ptr_eq(input, reference);
    let joins =
        |technique: &Technique| looks(technique) && !(compares && technique.capabilities().needs_original());
    if !joins(&techniques[first]) || !techniques.get(walk.end).is_some_and(&joins) {
        return Ok(walk);
    }
    let model = Model::open(Arc::clone(input), workshop.codecs)?;
    let spec = model.spec();
    let stages = &loaded.recipe.stages;
    let resolve = |index: usize| stages[index].targets.resolve(&loaded.origin, index, spec.layers.len());
    let mut taken = vec![resolve(first)?];
    while techniques.get(walk.end).is_some_and(&joins) {
        let targets = resolve(walk.end)?;
        let heads = targets.head && taken.iter().any(|other| other.head);
        let apart = !heads && !overlap(spec, &taken, &targets);
        if !apart || stages[walk.end].true_sequential != stages[first].true_sequential {
            break;
        }
        taken.push(targets);
        walk.end += 1;
    }
    Ok(walk)
}

/// Whether a technique looks at activations, one weight after the other.
fn looks(technique: &Technique) -> bool {
    let capabilities = technique.capabilities();
    technique.scope() == Scope::Group && needs_data(capabilities) && !capabilities.any_tensor()
}

fn overlap(spec: &DecoderSpec, taken: &[ResolvedTargets], targets: &ResolvedTargets) -> bool {
    spec.layers.iter().enumerate().any(|(block, layer): (usize, &LayerSpec)| {
        layer.linears().iter().any(|linear| {
            targets.in_block(block, &linear.name)
                && taken.iter().any(|other| other.in_block(block, &linear.name))
        })
    })
}
