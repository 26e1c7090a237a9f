//! Handing a group of weights to a technique and checking what comes back.

use super::StageJob;
use super::config::Outcome;
use super::fold;
use super::layer_gate;
use super::needs_data;
use super::stream::Stream;
use crate::error::RunError;
use crate::workshop::Workshop;
use candle_core::Tensor as Activations;
use std::collections::BTreeMap;
use std::error::Error;
use tenuis_core::{DType, Representation, Tensor, Weight};
use tenuis_eval::report::Requirement;
use tenuis_host::{Capabilities, GroupInput, GroupOutput, Job, LinearInput, Moments};
use tenuis_linalg::LayerStats;
use tenuis_model::{Block, ModelError};
use tenuis_recipe::{ResolvedTargets, Stage};
use tenuis_spec::LinearSpec;

/// Rows that are decoded at a time to look at every value.
const SCAN_ROWS: usize = 64;

/// A dense weight counts as pruned from one zero in so many values on: a bit of every 16 pays for a bitmask.
const PRUNED_FROM: usize = 16;

/// A running stage: the plugin's job and what it has done so far.
pub(super) struct GroupRun<'a> {
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) job: &'a StageJob<'a>,
    pub(super) technique: Job,
    pub(super) capabilities: Capabilities,
    /// What every group has to meet by itself.
    pub(super) gates: Vec<Requirement>,
    /// More careful techniques for a group that does not: name, job and what it asks for.
    pub(super) rungs: Vec<(String, Job, Capabilities)>,
    pub(super) targets: ResolvedTargets,
    pub(super) outcome: Outcome,
    pub(super) n_blocks: usize,
}

/// What a technique made of a group.
pub(super) struct Made {
    /// The new weights by name.
    pub(super) weights: BTreeMap<String, Weight>,
    /// The scales that the inputs of some of them are to be divided by.
    pub(super) folds: BTreeMap<String, Vec<f32>>,
}

impl Made {
    /// The scale that all members share.
    pub(super) fn shared_scale(&self) -> Option<&[f32]> {
        let first = self.folds.values().next()?;
        self.weights.keys().all(|name| self.folds.get(name) == Some(first)).then_some(first)
    }
}

/// The targeted Linears of one group of a block.
pub(super) struct GroupTask<'a> {
    pub(super) block_index: usize,
    pub(super) group: usize,
    pub(super) linears: &'a [LinearSpec],
    pub(super) stats: Option<&'a LayerStats>,
}

impl GroupRun<'_> {
    /// What the recipe says of the stage.
    pub(super) fn stage(&self) -> &Stage {
        &self.job.loaded.recipe.stages[self.job.index]
    }

    /// Whether every group has to meet a condition, for which errors are weighed by its input.
    pub(super) fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Whether the technique, or one of its rungs, has a capability.
    pub(super) fn any(&self, has: impl Fn(&Capabilities) -> bool) -> bool {
        has(&self.capabilities) || self.rungs.iter().any(|(_, _, capabilities)| has(capabilities))
    }

    /// Runs the technique on the targeted Linears of a block's group, and the next rung of the ladder as long as a layer gate
    /// does not hold; nothing where none does.
    pub(super) fn group(
        &mut self,
        block: &Block,
        original: Option<&Block>,
        task: &GroupTask<'_>,
        stream: Option<&Stream>,
    ) -> Result<Option<Made>, RunError> {
        let Some(made) = self.attempt(block, original, task, stream)? else { return Ok(None) };
        if !self.is_gated() {
            return Ok(Some(made));
        }
        let mut made = made;
        for rung in 0..=self.rungs.len() {
            let errors = layer_gate::relative_errors(block, &made, task.stats)?;
            let Some(broken) = layer_gate::broken(&self.gates, &errors) else {
                for (name, error) in errors {
                    self.outcome.measured(format!("{name}/{}", layer_gate::RELATIVE_ERROR), error);
                }
                return Ok(Some(made));
            };
            let Some((name, ..)) = self.rungs.get(rung) else {
                self.outcome.remark(format!("{broken}; left as it was"));
                break;
            };
            self.outcome.remark(format!("{broken}; done again by {name}"));
            self.swap(rung);
            let again = self.attempt(block, original, task, stream);
            self.swap(rung);
            match again? {
                Some(again) => made = again,
                None => break,
            }
        }
        Ok(None)
    }

    /// Puts a rung of the ladder in the place of the technique, or back.
    fn swap(&mut self, rung: usize) {
        let (_, technique, capabilities) = &mut self.rungs[rung];
        std::mem::swap(&mut self.technique, technique);
        std::mem::swap(&mut self.capabilities, capabilities);
    }

    /// Runs the technique on the targeted Linears of a block's group.
    fn attempt(
        &mut self,
        block: &Block,
        original: Option<&Block>,
        task: &GroupTask<'_>,
        stream: Option<&Stream>,
    ) -> Result<Option<Made>, RunError> {
        let mut members = Vec::with_capacity(task.linears.len());
        for linear in task.linears {
            let Some(weight) = block.weight(&linear.name) else { continue };
            if !self.admit(&linear.name, weight.as_ref())? {
                continue;
            }
            let mut member = LinearInput::new(&linear.name, weight.clone());
            member.bias = block.bias(&linear.name).map(|b| bias_tensor(&linear.name, b)).transpose()?;
            member.original = original.and_then(|o| o.weight(&linear.name)).cloned();
            member.mask = self.mask(&linear.name, weight.as_ref())?;
            members.push(member);
        }
        let Some(first) = members.first().map(|m| m.name.clone()) else { return Ok(None) };
        // Statistics may be there for another technique's sake.
        let stats = task.stats.filter(|_| needs_data(self.capabilities));
        let gram = stats.filter(|_| self.capabilities.needs_hessian()).and_then(LayerStats::gram);
        if let Some(stats) = stats {
            self.outcome.note_rows(&first, stats, gram.is_some());
        }
        let moments = stats.filter(|_| self.capabilities.needs_moments());
        let moments = moments.and_then(LayerStats::moments).map(narrow);
        let channels = block.spec().groups().get(task.group).and_then(|group| {
            fold::channels(block, group, |name| members.iter().any(|member| member.name == name))
        });
        let mut input = GroupInput::new(members);
        input.producer = channels.as_deref();
        input.block = task.block_index as u32;
        input.n_blocks = self.n_blocks as u32;
        input.rows = stats.map_or(0, LayerStats::rows);
        input.hessian = gram.map(|g| g.view().values());
        input.moments =
            moments.as_ref().map(|(sum_abs, sum_sq, max_abs)| Moments { sum_abs, sum_sq, max_abs });

        let mut tiles =
            stream.filter(|_| self.capabilities.needs_inputs()).map(|s| s.tiles(block, task.group));
        if let Some(tiles) = &mut tiles {
            input.tiles = Some(tiles);
        }
        let scorer = match stream.filter(|_| self.capabilities.needs_out_loss()) {
            Some(stream) => Some(Scorer::new(block, stream.sample())?),
            None => None,
        };
        let loss = scorer.as_ref().map(|s| move |candidate: &GroupOutput| s.loss(candidate));
        if let Some(loss) = &loss {
            input.out_loss = Some(loss);
        }
        self.run(&first, input).map(Some)
    }

    /// Runs the technique on a prepared group.
    pub(super) fn run(&mut self, first: &str, input: GroupInput<'_>) -> Result<Made, RunError> {
        let output = self.technique.run(input).map_err(|source| RunError::Technique {
            weight: first.to_owned(),
            technique: self.job.technique.id().to_owned(),
            source: Box::new(source),
        })?;
        self.outcome.note(&output);
        let mut folds = output.folds;
        folds.retain(|_, scale| scale.iter().any(|s| *s != 1.0));
        Ok(Made { weights: output.weights, folds })
    }

    /// Which entries of a pruned weight are kept, `None` where a weight is not pruned.
    ///
    /// A sparse weight is pruned whatever technique comes next; one that does not keep zeros is refused by the host. A
    /// dense one counts as pruned where so many entries are zero that a sparse form of it could be smaller: other
    /// programs have no other way to store it.
    ///
    /// A technique that keeps zeros and asks for the original weight chooses between the two: it may prune the original
    /// afresh, so the mask of the weight as it is does not bind it, and it sees the zeros.
    pub(super) fn mask(&self, name: &str, weight: &dyn Representation) -> Result<Option<Tensor>, RunError> {
        let capabilities = self.capabilities;
        if capabilities.keeps_mask() && capabilities.needs_original() {
            return Ok(None);
        }
        let pruned = weight.kind() == "sparse";
        let may_be = weight.kind() == "dense" && capabilities.keeps_mask();
        if !(pruned || may_be) {
            return Ok(None);
        }
        let [rows, columns] = weight.shape();
        let (mut kept, mut zeros) = (Vec::with_capacity(rows * columns), 0);
        tiles(name, weight, |tile| {
            zeros += tile.iter().filter(|v| **v == 0.0).count();
            kept.extend(tile.iter().map(|v| u8::from(*v != 0.0)));
        })?;
        if !pruned && zeros * PRUNED_FROM < kept.len() {
            return Ok(None);
        }
        let mask = Tensor::from_vec(DType::U8, vec![rows, columns], kept)
            .map_err(|source| RunError::Tensor { tensor: name.to_owned(), source })?;
        Ok(Some(mask))
    }

    /// Whether a weight may be given to the technique: one that is not finite fails the run, or is copied through.
    pub(super) fn admit(&mut self, name: &str, weight: &dyn Representation) -> Result<bool, RunError> {
        let count = non_finite(name, weight)?;
        if count == 0 {
            return Ok(true);
        }
        if !self.workshop.options.allow_nonfinite {
            return Err(RunError::NonFiniteWeight {
                checkpoint: self.job.input.dir().to_owned(),
                tensor: name.to_owned(),
                count,
            });
        }
        self.outcome.skip(name, count);
        Ok(false)
    }
}

/// Counts the values of a weight that are NaN or infinite.
fn non_finite(name: &str, weight: &dyn Representation) -> Result<usize, RunError> {
    let mut count = 0;
    tiles(name, weight, |tile| count += tile.iter().filter(|v| !v.is_finite()).count())?;
    Ok(count)
}

/// Decodes a weight some rows at a time.
fn tiles(name: &str, weight: &dyn Representation, mut look: impl FnMut(&[f32])) -> Result<(), RunError> {
    let [rows, columns] = weight.shape();
    let mut tile = vec![0.0; SCAN_ROWS.min(rows) * columns];
    for start in (0..rows).step_by(SCAN_ROWS) {
        let end = (start + SCAN_ROWS).min(rows);
        let tile = &mut tile[..(end - start) * columns];
        weight
            .decode_rows(start..end, tile)
            .map_err(|source| RunError::Weight { tensor: name.to_owned(), source })?;
        look(tile);
    }
    Ok(())
}

fn bias_tensor(name: &str, bias: &[f32]) -> Result<Tensor, RunError> {
    Tensor::from_f32(DType::F32, vec![bias.len()], bias)
        .map_err(|source| RunError::Tensor { tensor: format!("{name}.bias"), source })
}

/// Scores candidate weights by the mean squared error of the block's output: the block is the parent module.
struct Scorer<'a> {
    block: &'a Block,
    sample: &'a [Activations],
    expected: Vec<Activations>,
}

impl<'a> Scorer<'a> {
    fn new(block: &'a Block, sample: &'a [Activations]) -> Result<Self, RunError> {
        let expected = sample.iter().map(|h| block.forward(h, None)).collect::<Result<_, _>>()?;
        Ok(Self { block, sample, expected })
    }

    fn loss(&self, candidate: &GroupOutput) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let mut block = self.block.clone();
        let made = Made { weights: candidate.weights.clone(), folds: candidate.folds.clone() };
        for (name, weight) in fold::divided_at_run_time(made)? {
            block.set_weight(&name, weight)?;
        }
        let outputs = self.sample.iter().map(|h| block.forward(h, None)).collect::<Result<Vec<_>, _>>()?;
        mean_squared_error(&outputs, &self.expected)
    }
}

/// `mean((outputs − expected)²)` over all batches.
pub(super) fn mean_squared_error(
    outputs: &[Activations],
    expected: &[Activations],
) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let (mut sum, mut count) = (0.0, 0usize);
    for (output, expected) in outputs.iter().zip(expected) {
        let error = (output - expected).and_then(|d| d.sqr()).and_then(|d| d.sum_all());
        sum += f64::from(error.and_then(|e| e.to_scalar::<f32>()).map_err(ModelError::from)?);
        count += expected.elem_count();
    }
    Ok(sum / count.max(1) as f64)
}

/// Moments as techniques get them.
pub(super) fn narrow(moments: &tenuis_linalg::Moments) -> (Vec<f32>, Vec<f32>, &[f32]) {
    let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    (narrow(moments.sum_abs()), narrow(moments.sum_squares()), moments.max_abs())
}
