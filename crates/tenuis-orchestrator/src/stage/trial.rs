//! Techniques tried on the weights of a model, for what they would make of them; no checkpoint is written.

use super::config::Outcome;
use super::fold::Changed;
use super::group::{GroupRun, GroupTask};
pub(crate) use super::stream::Stream;
use super::{Events, StageJob, needs_data, rest};
use crate::error::RunError;
use crate::workshop::Workshop;
use serde_json::Value;
use std::sync::Arc;
use tenuis_core::Weight;
use tenuis_linalg::{LayerStats, StatsNeeds};
use tenuis_model::{Block, Model};
use tenuis_spec::InputGroup;

/// The stages of one recipe, each applied to what the one before it made of a weight. Every trial of a walk sees the
/// activations of the model as it is.
pub(crate) struct Trial<'a> {
    runs: Vec<GroupRun<'a>>,
}

impl<'a> Trial<'a> {
    /// Starts the techniques of a recipe that was checked against the model.
    pub(crate) fn start(
        workshop: &'a Workshop<'a>,
        jobs: &'a [StageJob<'a>],
        model: &Model,
    ) -> Result<Self, RunError> {
        let n_blocks = model.spec().layers.len();
        let run = |job: &'a StageJob<'a>| {
            let stage = &job.loaded.recipe.stages[job.index];
            let options = Value::Object(stage.options.clone());
            let events = Arc::new(Events(Arc::clone(&workshop.observer)));
            Ok(GroupRun {
                workshop,
                job,
                technique: job.technique.start(&options, workshop.options.threads as u32, events)?,
                capabilities: job.technique.capabilities(),
                targets: stage.targets.resolve(&job.loaded.origin, job.index, n_blocks)?,
                gates: Vec::new(),
                rungs: Vec::new(),
                outcome: Outcome::new(job.technique),
                n_blocks,
            })
        };
        Ok(Self { runs: jobs.iter().map(run).collect::<Result<_, RunError>>()? })
    }

    /// What is to be known of a group's input.
    pub(crate) fn needs(&self) -> StatsNeeds {
        StatsNeeds {
            hessian: self.runs.iter().any(|run| run.capabilities.needs_hessian()),
            moments: self.runs.iter().any(|run| run.capabilities.needs_moments()),
        }
    }

    /// What becomes of the weights of a group, in their order.
    ///
    /// # Errors
    /// [`RunError::Unsupported`] where a technique scales the input, which other weights read too.
    pub(crate) fn group(
        &mut self,
        block: &Block,
        index: usize,
        (place, group): (usize, &InputGroup),
        stats: Option<&LayerStats>,
        stream: &Stream,
    ) -> Result<Vec<Weight>, RunError> {
        let mut changed = block.clone();
        for (step, run) in self.runs.iter_mut().enumerate() {
            let task = GroupTask { block_index: index, group: place, linears: &group.linears, stats };
            let original = (step > 0).then_some(block);
            let Some(made) = run.group(&changed, original, &task, Some(stream))? else { continue };
            if !made.folds.is_empty() {
                return Err(RunError::Unsupported {
                    technique: run.job.technique.id().to_owned(),
                    recipe: run.job.loaded.recipe.name.clone(),
                    problem: "scales the inputs of weights, which their neighbours read as well; a menu takes techniques that \
                              change the weight alone"
                        .to_owned(),
                });
            }
            for (name, weight) in made.weights {
                changed.set_weight(&name, weight)?;
            }
        }
        Ok(group.linears.iter().filter_map(|linear| changed.weight(&linear.name)).cloned().collect())
    }

    /// What becomes of the head.
    pub(crate) fn head(
        &mut self,
        model: &Model,
        weight: &Weight,
        stream: &Stream,
    ) -> Result<Weight, RunError> {
        let mut current = Weight::clone(weight);
        for (step, run) in self.runs.iter_mut().enumerate() {
            let original = (step > 0).then(|| Weight::clone(weight));
            let name = &model.spec().lm_head.name;
            let mut folded = Changed::new();
            let looks = needs_data(run.capabilities).then_some(stream);
            let made = rest::head_weight(run, model, name, &current, original, looks, &mut folded)?;
            current = made.unwrap_or(current);
        }
        Ok(current)
    }
}
