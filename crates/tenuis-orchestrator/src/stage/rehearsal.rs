//! Trying a recipe on a corner of one weight, so that a stage that cannot take what an earlier one makes says so before
//! the work and not after an hour of it.

use super::group::GroupRun;
use crate::error::RunError;
use crate::recipe::{LoadedRecipe, ResolvedTargets};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tenuis_core::{DType, Dense, Tensor, Weight};
use tenuis_host::{GroupInput, GroupOutput, LinearInput, Moments, NoEvents, Scope, Technique};
use tenuis_model::Model;
use tenuis_spec::LinearSpec;

/// Rows and columns of the corner: whole groups of every usual size.
const CORNER: [usize; 2] = [16, 384];

/// Calibration rows that are claimed, enough for every technique to trust its statistics.
const ROWS: u64 = 1 << 20;

/// Runs consecutive stages of the group scope on a corner of a weight for each set of stages that share targets.
///
/// Statistics are those of inputs that have nothing to do with each other. A stage that fails on these proves nothing and
/// ends the rehearsal; what counts is whether a stage takes the representation that the one before it made.
///
/// # Errors
/// [`RunError`] that names the recipe's line, where a stage does not.
pub(crate) fn rehearse(
    model: &Model,
    loaded: &LoadedRecipe,
    techniques: &[Technique],
) -> Result<(), RunError> {
    let group = |t: &&Technique| t.scope() == Scope::Group;
    // What a technique of the model scope makes is not known before it has run.
    let stages = techniques.iter().take_while(group).count();
    if stages < 2 {
        return Ok(());
    }
    let blocks = model.spec().layers.len();
    let targets: Vec<ResolvedTargets> = loaded.recipe.stages[..stages]
        .iter()
        .enumerate()
        .map(|(index, stage)| stage.targets.resolve(&loaded.origin, index, blocks))
        .collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    for (block, layer) in model.spec().layers.iter().enumerate() {
        for linear in layer.linears() {
            let chosen: Vec<usize> =
                (0..stages).filter(|&stage| targets[stage].in_block(block, &linear.name)).collect();
            if chosen.len() > 1 && seen.insert(chosen.clone()) {
                play(model, loaded, techniques, &chosen, &linear)?;
            }
        }
    }
    Ok(())
}

fn play(
    model: &Model,
    loaded: &LoadedRecipe,
    techniques: &[Technique],
    stages: &[usize],
    linear: &LinearSpec,
) -> Result<(), RunError> {
    let original = corner(model, linear)?;
    let mut weight = Arc::clone(&original);
    for (place, &index) in stages.iter().enumerate() {
        let technique = &techniques[index];
        let wrong = |problem: String| {
            let problem = format!("{}: {problem}", linear.name);
            RunError::from(loaded.origin.error(&format!("/stages/{index}/technique"), problem))
        };
        let options = Value::Object(loaded.recipe.stages[index].options.clone());
        let mut job = technique.start(&options, 1, Arc::new(NoEvents))?;
        if place > 0 {
            let before = loaded.recipe.stages[stages[place - 1]].technique.as_str();
            job.accepts(&weight.descriptor()).map_err(|e| wrong(format!("after {before}, {e}")))?;
            if weight.kind() == "sparse" && !technique.capabilities().keeps_mask() {
                return Err(wrong(format!(
                    "after {before} it is pruned, and {} does not keep pruned entries at zero",
                    technique.id()
                )));
            }
        }
        if place + 1 == stages.len() {
            break;
        }
        let [_, columns] = weight.shape();
        let mut square = vec![0.0; columns * columns];
        square.iter_mut().step_by(columns + 1).for_each(|v| *v = 1.0);
        let ones = vec![1.0; columns];
        let mut member = LinearInput::new(&linear.name, Arc::clone(&weight));
        member.mask = GroupRun::mask_of(technique.capabilities(), &linear.name, weight.as_ref())?;
        member.original = (place > 0).then(|| Arc::clone(&original));
        let mut input = GroupInput::new(vec![member]);
        (input.n_blocks, input.rows) = (model.spec().layers.len() as u32, ROWS);
        input.hessian = Some(&square);
        input.moments = Some(Moments { sum_abs: &ones, sum_sq: &ones, max_abs: &ones });
        let mut tiles = std::iter::once(square.clone());
        input.tiles = Some(&mut tiles);
        let loss = |_: &GroupOutput| Ok::<f64, Box<dyn std::error::Error + Send + Sync>>(1.0);
        input.out_loss = Some(&loss);
        let Ok(mut output) = job.run(input) else { return Ok(()) };
        let Some(made) = output.weights.remove(&linear.name) else { return Ok(()) };
        weight = made;
    }
    Ok(())
}

/// The first rows and columns of a weight, dense.
fn corner(model: &Model, linear: &LinearSpec) -> Result<Weight, RunError> {
    let whole = model.matrix(&linear.name, linear.shape, linear.layout)?;
    let [rows, columns] = [linear.shape[0].min(CORNER[0]), linear.shape[1].min(CORNER[1])];
    let mut values = vec![0.0; rows * linear.shape[1]];
    let failed = |source| RunError::Weight { tensor: linear.name.clone(), source };
    whole.decode_rows(0..rows, &mut values).map_err(failed)?;
    let values: Vec<f32> =
        values.chunks_exact(linear.shape[1].max(1)).flat_map(|row| row[..columns].iter().copied()).collect();
    let dtype = whole.downcast::<Dense>().map_or(DType::F32, Dense::dtype);
    let dense = Tensor::from_f32(dtype, vec![rows, columns], &values).map_err(tenuis_core::WeightError::from);
    Ok(Arc::new(dense.and_then(Dense::new).map_err(failed)?))
}
