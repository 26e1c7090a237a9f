//! What is not a Linear of a block: embeddings, norms, biases and the head.

use super::config::Kept;
use super::fold::{self, Changed, NormTensors, Placed, Vectors};
use super::group::{GroupRun, Made, mean_squared_error, narrow};
use super::stream::Stream;
use crate::error::RunError;
use candle_core::Tensor as Activations;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use tenuis_core::weight::Dense;
use tenuis_core::{Checkpoint, CheckpointWriter, DType, StoredWeights, Tensor, Weight};
use tenuis_host::{GroupInput, GroupOutput, LinearInput, Moments};
use tenuis_linalg::{LayerStats, StatsNeeds};
use tenuis_model::{Linear, Model};
use tenuis_spec::LinearSpec;

/// What is written after the blocks.
pub(super) struct Rest<'a> {
    pub(super) model: &'a Model,
    pub(super) original: Option<&'a Model>,
    /// Norms and biases that took scales.
    pub(super) changed: Changed,
    pub(super) kept: &'a mut Kept,
}

impl Rest<'_> {
    /// Writes every tensor that no block's Linear brought: changed where the technique takes any tensor or the head was
    /// asked for, byte for byte otherwise.
    pub(super) fn write(
        &mut self,
        run: &mut GroupRun<'_>,
        stream: Option<&Stream>,
        writer: &mut CheckpointWriter,
    ) -> Result<(), RunError> {
        let spec = self.model.spec();
        let checkpoint = self.model.checkpoint();
        let stored = StoredWeights::from_checkpoint(checkpoint)?;
        let mut written: BTreeSet<String> = BTreeSet::new();
        for layer in &spec.layers {
            for linear in layer.linears() {
                written.extend(stored.tensor_names(checkpoint, &linear.name));
            }
        }
        if !spec.tied {
            let head = &spec.lm_head.name;
            written.extend(stored.tensor_names(checkpoint, head));
            let mut weight = stored_weight(run, &stored, checkpoint, &spec.lm_head)?;
            if run.targets.head {
                let original = match self.original {
                    Some(o) => {
                        let stored = StoredWeights::from_checkpoint(o.checkpoint())?;
                        Some(stored_weight(run, &stored, o.checkpoint(), &o.spec().lm_head)?)
                    }
                    None => None,
                };
                let new = head_weight(run, self.model, head, &weight, original, stream, &mut self.changed)?;
                weight = new.unwrap_or(weight);
            } else if run.capabilities.any_tensor() && weight.kind() == "dense" {
                let name = format!("{head}.weight");
                if run.targets.outside(head) || run.targets.outside(&name) {
                    weight = any_tensor(run, &name, &weight)?.unwrap_or(weight);
                }
            }
            writer.put_weight(head, weight.as_ref())?;
            self.kept.keep(head, &weight);
        }
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        for name in names.iter().filter(|n| !written.contains(*n)) {
            let tensor = match self.changed.remove(name) {
                Some(folded) => folded,
                None => checkpoint.tensor(name)?,
            };
            let tensor = left(run, spec.layers.len(), name, tensor)?;
            if let Some(dtype) = tensor.dtype().known().filter(|_| is_weight(&tensor)) {
                self.kept.keep_dense(dtype);
            }
            writer.put(name, &tensor)?;
            checkpoint.release([name.as_str()]);
        }
        Ok(())
    }
}

/// Whether a tensor is a vector or a matrix of floats, as the parameters of a network are.
fn is_weight(tensor: &Tensor) -> bool {
    tensor.dtype().known().is_some_and(DType::is_float) && (1..=2).contains(&tensor.shape().len())
}

fn stored_weight(
    run: &GroupRun<'_>,
    stored: &StoredWeights,
    checkpoint: &Checkpoint,
    linear: &LinearSpec,
) -> Result<Weight, RunError> {
    Ok(stored.weight(checkpoint, run.workshop.codecs, &linear.name, linear.shape, linear.layout)?)
}

/// A tensor as the technique leaves it.
fn left(run: &mut GroupRun<'_>, blocks: usize, name: &str, tensor: Tensor) -> Result<Tensor, RunError> {
    if !is_weight(&tensor) {
        return Ok(tensor);
    }
    let dense =
        Dense::new(tensor.clone()).map_err(|source| RunError::Weight { tensor: name.to_owned(), source })?;
    let weight: Weight = Arc::new(dense);
    let chosen = run.capabilities.any_tensor()
        && match block_of(name) {
            Some(block) if block < blocks => run.targets.in_block(block, name),
            _ => run.targets.outside(name),
        };
    if chosen {
        let new = any_tensor(run, name, &weight)?;
        Ok(new.as_ref().and_then(|w| w.downcast::<Dense>()).map_or(tensor, |d| d.tensor().clone()))
    } else {
        run.admit(name, weight.as_ref())?;
        Ok(tensor)
    }
}

/// Gives one tensor of any role to the technique.
fn any_tensor(run: &mut GroupRun<'_>, name: &str, weight: &Weight) -> Result<Option<Weight>, RunError> {
    if !run.admit(name, weight.as_ref())? {
        return Ok(None);
    }
    let mut input = GroupInput::new(vec![LinearInput::new(name, weight.clone())]);
    (input.block, input.n_blocks) = (run.n_blocks as u32, run.n_blocks as u32);
    let mut made = run.run(name, input)?;
    if !made.folds.is_empty() {
        return Err(RunError::Unsupported {
            technique: run.job.technique.id().to_owned(),
            recipe: run.job.loaded.recipe.name.clone(),
            problem: format!("scales the input of {name}, which is no Linear of a block; exclude it"),
        });
    }
    Ok(made.weights.remove(name))
}

/// Gives the head to the technique, with the statistics of its input: the final norm's output.
pub(super) fn head_weight(
    run: &mut GroupRun<'_>,
    model: &Model,
    name: &str,
    weight: &Weight,
    original: Option<Weight>,
    stream: Option<&Stream>,
    changed: &mut Changed,
) -> Result<Option<Weight>, RunError> {
    if !run.admit(name, weight.as_ref())? {
        return Ok(None);
    }
    let (caps, spec) = (run.capabilities, model.spec());
    let needs = StatsNeeds { hessian: caps.needs_hessian(), moments: caps.needs_moments() };
    let stats = match stream.filter(|_| needs.hessian || needs.moments) {
        Some(stream) => Some(stream.collect_final(model, needs)?),
        None => None,
    };
    let mut member = LinearInput::new(name, weight.clone());
    member.original = original;
    member.mask = run.mask(name, weight.as_ref())?;
    let mut input = GroupInput::new(vec![member]);
    (input.block, input.n_blocks) = (run.n_blocks as u32, run.n_blocks as u32);
    input.rows = stats.as_ref().map_or(0, LayerStats::rows);
    input.hessian = stats.as_ref().and_then(LayerStats::gram).map(|g| g.view().values());
    let moments = stats.as_ref().and_then(LayerStats::moments).map(narrow);
    input.moments = moments.as_ref().map(|(sum_abs, sum_sq, max_abs)| Moments { sum_abs, sum_sq, max_abs });
    let channels: Option<Vec<i32>> = spec.final_norm.as_ref().map(|norm| (0..norm.dim as i32).collect());
    input.producer = channels.as_deref();
    let mut tiles = stream.filter(|_| caps.needs_inputs()).map(|stream| stream.final_tiles(model));
    if let Some(tiles) = &mut tiles {
        input.tiles = Some(tiles);
    }
    let scorer = match stream.filter(|_| caps.needs_out_loss()) {
        Some(stream) => Some(HeadScorer::new(model, weight, stream)?),
        None => None,
    };
    let loss = scorer.as_ref().map(|scorer| |candidate: &GroupOutput| scorer.loss(candidate));
    if let Some(loss) = &loss {
        input.out_loss = Some(loss);
    }
    let mut made = run.run(name, input)?;
    let factors: Option<Vec<f32>> = made.shared_scale().map(|scale| scale.iter().map(|s| 1.0 / s).collect());
    let Some(factors) = factors else { return Ok(made.weights.remove(name)) };
    let vectors = Vectors { checkpoint: model.checkpoint(), changed };
    let folded = match &spec.final_norm {
        Some(norm) => vectors.norm(norm, &factors)?,
        None => None,
    };
    let placed = if let Some(NormTensors(tensors)) = folded {
        changed.extend(tensors);
        made.folds.clear();
        Placed::Folded
    } else {
        Placed::AtRunTime("the final norm cannot take it")
    };
    run.outcome.note_scales(name, placed);
    Ok(fold::divided_at_run_time(made)?.remove(name))
}

/// Scores candidates for the head by the mean squared error of the logits.
struct HeadScorer {
    head: LinearSpec,
    inputs: Vec<Activations>,
    expected: Vec<Activations>,
}

impl HeadScorer {
    fn new(model: &Model, weight: &Weight, stream: &Stream) -> Result<Self, RunError> {
        // A bias would cancel.
        let head = model.spec().lm_head.clone();
        let linear = Linear::new(head.clone(), weight.clone(), None)?;
        let inputs: Vec<_> = stream.sample().iter().map(|h| model.final_norm(h)).collect::<Result<_, _>>()?;
        let expected = inputs.iter().map(|x| linear.forward(x)).collect::<Result<_, _>>()?;
        Ok(Self { head, inputs, expected })
    }

    fn loss(&self, candidate: &GroupOutput) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let made = Made { weights: candidate.weights.clone(), folds: candidate.folds.clone() };
        let weight = fold::divided_at_run_time(made)?.remove(&self.head.name);
        let Some(weight) = weight else { return Ok(0.0) };
        let linear = Linear::new(self.head.clone(), weight, None)?;
        let outputs = self.inputs.iter().map(|x| linear.forward(x)).collect::<Result<Vec<_>, _>>()?;
        mean_squared_error(&outputs, &self.expected)
    }
}

/// The block that a tensor's name places it in: the first part of it that is a number.
fn block_of(name: &str) -> Option<usize> {
    name.split('.').find_map(|part| part.parse().ok())
}

/// The type that all dense tensors share, once the last was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CommonType {
    /// Nothing was seen.
    #[default]
    None,
    /// One type so far.
    One(DType),
    /// More than one.
    Mixed,
}

impl CommonType {
    pub(super) fn add(&mut self, dtype: DType) {
        *self = match *self {
            Self::None => Self::One(dtype),
            Self::One(d) if d == dtype => Self::One(d),
            Self::One(_) | Self::Mixed => Self::Mixed,
        };
    }
}
