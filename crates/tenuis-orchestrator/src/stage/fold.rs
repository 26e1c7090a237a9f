//! Folding a technique's input scales into whatever produces the input.
//!
//! A technique that multiplied the columns of a group's weights by scales `s` made them for the input `x / s`. The
//! spec says what that input comes from. Where that is a norm, its weight (and bias) is divided by `s`; where it is
//! the rows of another Linear, those rows (and their biases) are. A Linear of the group that the technique was not
//! given reads the same input, so its columns are multiplied by `s`.
//!
//! The producing Linear may have been compressed a moment ago: dividing a row of a grouped integer weight divides its
//! scales and leaves its codes, and those are the codes that the divided row would have been given, because grids are
//! fitted row by row. So the order of the groups does not matter, but for one more rounding of the scales.
//!
//! What cannot be folded is divided out at run time ([`InputScaled`]).

use super::group::Made;
use crate::error::RunError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tenuis_core::{Checkpoint, InputScaled, Tensor, Weight};
use tenuis_model::Block;
use tenuis_spec::{InputGroup, NormSpec, Producer};

/// Norms and biases that folding has changed, by the name of the tensor. They are written after the blocks.
pub(super) type Changed = BTreeMap<String, Tensor>;

/// What became of a group's scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// There were none.
    Nothing,
    /// The producer took them.
    Folded,
    /// They are divided out at run time, because of this.
    AtRunTime(&'static str),
}

/// Where the stored norms and biases are, and those that are not stored yet.
pub(super) struct Vectors<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) changed: &'a mut Changed,
}

impl Vectors<'_> {
    /// A vector as it will be written: `map` applied to every value, rounded to the stored type; `None` where that
    /// overflows.
    fn mapped(&self, name: &str, map: impl Fn(usize, f32) -> f32) -> Result<Option<Tensor>, RunError> {
        let at = |source| RunError::Tensor { tensor: name.to_owned(), source };
        let stored = match self.changed.get(name) {
            Some(tensor) => tensor.clone(),
            None => self.checkpoint.tensor(name)?,
        };
        let dtype = stored.known_dtype().map_err(at)?;
        let values = stored.to_f32().map_err(at)?;
        let values: Vec<f32> = values.iter().enumerate().map(|(i, &v)| map(i, v)).collect();
        let tensor = Tensor::from_f32(dtype, stored.shape().to_vec(), &values).map_err(at)?;
        let finite = tensor.to_f32().map_err(at)?.iter().all(|v| v.is_finite());
        Ok(finite.then_some(tensor))
    }

    /// A norm whose output is multiplied by `factors`: its weight and bias. `None` where they overflow.
    pub(super) fn norm(&self, norm: &NormSpec, factors: &[f32]) -> Result<Option<NormTensors>, RunError> {
        // The factor that is applied is the stored weight, or that plus one.
        let offset = if norm.plus_one { 1.0 } else { 0.0 };
        let weight = format!("{}.weight", norm.name);
        let Some(tensor) = self.mapped(&weight, |i, v| (v + offset) * factors[i] - offset)? else {
            return Ok(None);
        };
        let mut tensors = vec![(weight, tensor)];
        if norm.bias {
            let bias = format!("{}.bias", norm.name);
            let Some(tensor) = self.mapped(&bias, |i, v| v * factors[i])? else { return Ok(None) };
            tensors.push((bias, tensor));
        }
        Ok(Some(NormTensors(tensors)))
    }
}

/// The tensors of a norm, by name: weight, and bias where there is one.
pub(super) struct NormTensors(pub(super) Vec<(String, Tensor)>);

/// Everything that a fold changes, computed before anything is.
struct Plan {
    /// Weights of the block by module.
    weights: Vec<(String, Weight)>,
    /// A norm of the block.
    norm: Option<(String, NormTensors)>,
    /// A bias: module, name of the tensor, values.
    bias: Option<(String, String, Tensor)>,
}

/// The producer's channel behind every input channel of a group of which the technique is given the members that
/// `targeted` says; `None` where a scale would have to be divided out at run time anyway.
pub(super) fn channels(
    block: &Block,
    group: &InputGroup,
    targeted: impl Fn(&str) -> bool,
) -> Option<Vec<i32>> {
    let untargeted = group.linears.iter().filter(|l| !targeted(&l.name));
    if untargeted.filter_map(|l| block.weight(&l.name)).any(|w| w.kind() != "dense") {
        return None;
    }
    let inputs = 0..group.in_features();
    match &group.producer {
        Producer::Norm { .. } => Some(inputs.map(|channel| channel as i32).collect()),
        Producer::Linear { rows, .. } => Some(inputs.map(|channel| rows.row(channel) as i32).collect()),
        Producer::None => None,
    }
}

/// Puts the new weights of a group into the block, and its scales where they belong.
pub(super) fn place(
    block: &mut Block,
    group: &InputGroup,
    made: Made,
    vectors: &mut Vectors<'_>,
) -> Result<Placed, RunError> {
    if made.folds.is_empty() {
        for (name, weight) in made.weights {
            block.set_weight(&name, weight)?;
        }
        return Ok(Placed::Nothing);
    }
    match plan(block, group, &made, vectors)? {
        Ok(plan) => {
            commit(block, made, plan, vectors.changed)?;
            Ok(Placed::Folded)
        }
        Err(reason) => {
            for (name, weight) in divided_at_run_time(made)? {
                block.set_weight(&name, weight)?;
            }
            Ok(Placed::AtRunTime(reason))
        }
    }
}

/// The weights with their scales beside them.
pub(super) fn divided_at_run_time(made: Made) -> Result<BTreeMap<String, Weight>, RunError> {
    let Made { weights, folds } = made;
    let wrap = |(name, weight): (String, Weight)| {
        let Some(scale) = folds.get(&name) else { return Ok((name, weight)) };
        match InputScaled::new(weight, scale) {
            Ok(scaled) => Ok((name, Arc::new(scaled) as Weight)),
            Err(source) => Err(RunError::Weight { tensor: name, source }),
        }
    };
    weights.into_iter().map(wrap).collect()
}

/// What folding takes, or why it is not possible.
fn plan(
    block: &Block,
    group: &InputGroup,
    made: &Made,
    vectors: &Vectors<'_>,
) -> Result<Result<Plan, &'static str>, RunError> {
    let Some(scale) = made.shared_scale() else {
        return Ok(Err("its members ask for different scales"));
    };
    let mut plan = Plan { weights: Vec::new(), norm: None, bias: None };
    for linear in group.linears.iter().filter(|l| !made.weights.contains_key(&l.name)) {
        let Some(weight) = block.weight(&linear.name) else { continue };
        let scaled = weight
            .scale_columns(scale)
            .map_err(|source| RunError::Weight { tensor: linear.name.clone(), source })?;
        let Some(scaled) = scaled else {
            return Ok(Err("a Linear that reads the same input cannot be scaled"));
        };
        plan.weights.push((linear.name.clone(), scaled));
    }
    match &group.producer {
        Producer::None => return Ok(Err("its input comes from nothing that takes a scale")),
        Producer::Norm { name } => {
            let factors: Vec<f32> = scale.iter().map(|s| 1.0 / s).collect();
            let norm = block.spec().norms().find(|norm| norm.name == *name);
            let Some(norm) = norm else { return Ok(Err("the norm before it is not in the block")) };
            match vectors.norm(norm, &factors)? {
                Some(tensors) => plan.norm = Some((name.clone(), tensors)),
                None => return Ok(Err("the norm before it would overflow")),
            }
        }
        Producer::Linear { name, rows } => {
            let Some(weight) = block.weight(name) else {
                return Ok(Err("the Linear before it is not in the block"));
            };
            let mut factors = vec![None; weight.shape()[0]];
            for (channel, &scale) in scale.iter().enumerate() {
                if *factors[rows.row(channel)].get_or_insert(scale) != scale {
                    return Ok(Err(
                        "channels that share a row of the Linear before it have different scales",
                    ));
                }
            }
            let factors: Vec<f32> = factors.into_iter().map(|s| s.map_or(1.0, |s| 1.0 / s)).collect();
            let scaled = weight
                .scale_rows(&factors)
                .map_err(|source| RunError::Weight { tensor: name.clone(), source })?;
            let Some(scaled) = scaled else { return Ok(Err("the Linear before it cannot be scaled")) };
            plan.weights.push((name.clone(), scaled));
            if block.bias(name).is_some() {
                let bias = format!("{name}.bias");
                let Some(tensor) = vectors.mapped(&bias, |i, v| v * factors[i])? else {
                    return Ok(Err("the bias before it would overflow"));
                };
                plan.bias = Some((name.clone(), bias, tensor));
            }
        }
    }
    Ok(Ok(plan))
}

fn commit(block: &mut Block, made: Made, plan: Plan, changed: &mut Changed) -> Result<(), RunError> {
    for (name, weight) in plan.weights.into_iter().chain(made.weights) {
        block.set_weight(&name, weight)?;
    }
    let values = |name: &str, tensor: &Tensor| match tensor.to_f32() {
        Ok(values) => Ok(values.into_owned()),
        Err(source) => Err(RunError::Tensor { tensor: name.to_owned(), source }),
    };
    if let Some((module, NormTensors(tensors))) = plan.norm {
        let mut vectors = tensors.iter().map(|(name, tensor)| values(name, tensor));
        let weight = vectors.next().transpose()?.unwrap_or_default();
        block.set_norm(&module, weight, vectors.next().transpose()?)?;
        changed.extend(tensors);
    }
    if let Some((module, name, tensor)) = plan.bias {
        block.set_bias(&module, values(&name, &tensor)?)?;
        changed.insert(name, tensor);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
