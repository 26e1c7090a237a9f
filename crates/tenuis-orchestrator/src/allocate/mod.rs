//! Which technique for which weight: candidates from several families, scored by one calibration, and the choice that loses least
//! within budgets of bytes, operations or time.
//!
//! 1. The model is made what it will be where nothing is chosen (`base`, as a rule a cast to f16).
//! 2. Every [`Choice`] of the [`Menu`] is tried on every Linear, through the plugins and with the statistics that a recipe would
//!    give them. What comes back is weighed: stored bytes, operations, on request time, and the error of the output
//!    `tr(ΔW·H·ΔWᵀ)`.
//! 3. Each choice is scored by the divergence `KL(original ‖ model)` that it alone makes of the predictions on text that no technique
//!    was calibrated on ([`Scores`]).
//! 4. One choice per Linear, and blocks to leave out, are chosen so that the sum is least within the budgets:
//!    [`tenuis_plan::solver`], exactly.
//! 5. The sum is not the divergence of the whole. The search goes on from the best of what was measured, uniform choices included,
//!    by differences taken there, and takes a step only where the measured divergence falls.
//! 6. The choice is written as an ordinary recipe, which is compressed, checked and evaluated like any other.
//!
//! Choosing by the loss of each layer under a budget: HAWQ-V3 (Yao et al. 2021, arXiv 2011.10680), with an integer programme; that sums of
//! losses mislead at high compression: EvoPress (Sieberling et al. 2024, arXiv 2410.14649).

mod candidates;
mod error;
mod menu;
mod probe;
mod problem;
mod recipe;
mod record;
mod request;
mod search;

pub use error::AllocateError;
pub use menu::{Choice, Menu, Step};
pub use record::{LinearRecord, Record, Round, Spent, Sum, Tried, Uniform};
pub use request::{AllocateRequest, Limit, Resource, Scores};

use crate::calibration::Calibration;
use crate::error::RunError;
use crate::text::Text;
use crate::workshop::Workshop;
use candidates::{Choices, Slot};
use probe::Probe;
use problem::{Bound, Problem};
use search::Found;
use std::path::PathBuf;
use std::sync::Arc;
use tenuis_core::Checkpoint;
use tenuis_model::Model;
use tenuis_plan::solver::MAX_RESOURCES;
use tenuis_recipe::LoadedRecipe;

/// An allocation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Allocated {
    /// The recipe, to be used at once.
    pub recipe: LoadedRecipe,
    /// The same as a file holds it.
    pub text: String,
    /// What was tried and why this was chosen.
    pub record: Record,
}

impl Workshop<'_> {
    /// Chooses for every Linear of a model what is to become of it, within budgets.
    ///
    /// The same request gives the same recipe, on any number of threads, unless time is a budget.
    ///
    /// # Errors
    /// [`RunError::Allocate`] where there is no budget or none can be kept; else what a recipe with the same techniques would be
    /// refused for.
    pub fn allocate(
        &self,
        model: &Model,
        text: &Text,
        request: &AllocateRequest,
    ) -> Result<Allocated, RunError> {
        if request.budgets.is_empty() {
            return Err(AllocateError::NoBudget.into());
        }
        if request.budgets.len() > MAX_RESOURCES {
            return Err(AllocateError::from(tenuis_plan::solver::SolverError::Budgets {
                found: request.budgets.len(),
            })
            .into());
        }
        let menu = match &request.menu {
            Some(menu) => menu.clone(),
            None => Menu::builtin(model)?,
        };
        let scratch = Scratch(request.scratch.clone());
        let checkpoint = if menu.base.is_empty() {
            Arc::clone(model.checkpoint())
        } else {
            let recipe = Menu::recipe("base", &menu.base, request.calibration, request.seed)?;
            self.check(model, &recipe, Some(text))?;
            std::fs::create_dir_all(&scratch.0)
                .map_err(|source| RunError::File { path: scratch.0.clone(), source })?;
            let made = self.compress(model, &recipe, Some(text), &scratch.0.join("base"))?;
            Arc::new(Checkpoint::open(&made.dir)?)
        };
        let base = Model::open(checkpoint, self.codecs)?;
        let calibration = Calibration::of(text, request.calibration, base.spec().max_positions)?;
        let choices = Choices::resolve(self, request, &menu, &base, text)?;
        let slots = candidates::gather(self, request, &menu, &choices, &base, &calibration)?;
        let problem = Problem::new(&slots, bounds(request, model, &base, &slots));
        let slice = calibration.beside(text, request.score_tokens);
        let found = if request.scores == Scores::Error {
            search::by_error(&problem)?
        } else {
            let mut probe = Probe::new(model, &base, &slice)?;
            let n_blocks = base.spec().layers.len();
            search::by_divergence(&problem, &mut probe, &menu, request, n_blocks, self.observer.as_ref())?
        };
        let record = self::record(request, &menu, model, &calibration, &slice, &problem, &found);
        let described = describe(&record);
        let (text, recipe) = recipe::write(request, &menu, &slots, &found.state, base.spec(), &described)?;
        Ok(Allocated { recipe, text, record })
    }
}

/// A directory that goes when the work is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is found by the next run, which writes over it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Budgets in units, with what is spent in any case.
fn bounds(request: &AllocateRequest, model: &Model, base: &Model, slots: &[Slot]) -> Vec<Bound> {
    let bound = |&(resource, limit): &(Resource, Limit)| {
        let chosen: f64 = slots.iter().map(|slot| slot.base.cost(resource)).sum();
        let n_blocks = base.spec().layers.len();
        let (whole, fixed, of_block) = match resource {
            Resource::Bytes => {
                let fixed = base.checkpoint().tensor_bytes() as f64 - chosen;
                let of_block = (0..n_blocks).map(|block| beside_linears(base, block, slots)).collect();
                (model.checkpoint().tensor_bytes() as f64, fixed, of_block)
            }
            Resource::Flops | Resource::Latency => (chosen, 0.0, vec![0.0; n_blocks]),
        };
        let limit = match limit {
            Limit::Share(share) => share * whole,
            Limit::Absolute(number) => number,
        };
        Bound { resource, limit, fixed, of_block }
    };
    request.budgets.iter().map(bound).collect()
}

/// The bytes of a block that are no weight of a Linear: norms, biases, routers.
fn beside_linears(model: &Model, block: usize, slots: &[Slot]) -> f64 {
    let Some(layer) = model.spec().layers.get(block) else { return 0.0 };
    let checkpoint = model.checkpoint();
    let bytes = |name: &str| checkpoint.info(name).map_or(0, tenuis_core::TensorInfo::bytes);
    let all: u64 = layer
        .tensors()
        .into_iter()
        .map(|tensor| match &tensor.module {
            Some((module, _)) => model.component_names(module).iter().map(|name| bytes(name)).sum(),
            None => bytes(&tensor.name),
        })
        .sum();
    let of_block = slots.iter().filter(|slot| slot.place.is_some_and(|(place, _)| place == block));
    all as f64 - of_block.map(|slot| slot.base.bytes as f64).sum::<f64>()
}

fn record(
    request: &AllocateRequest,
    menu: &Menu,
    model: &Model,
    calibration: &Calibration,
    slice: &Calibration,
    problem: &Problem<'_>,
    found: &Found,
) -> Record {
    let used = problem.costs(&found.state);
    let spent = problem.bounds.iter().zip(&request.budgets).zip(used).zip(&found.sum.prices);
    let lost: f64 = found.state.dropped.iter().filter_map(|&block| found.of_blocks.get(block)).sum();
    let linear = |index: usize, slot: &Slot| LinearRecord {
        name: slot.linear.name.clone(),
        shape: slot.linear.shape,
        chosen: found.state.picks[index]
            .filter(|_| !found.state.lacks(slot))
            .map(|pick| menu.choices[pick].name.clone()),
        tried: slot
            .candidates
            .iter()
            .zip(&menu.choices)
            .zip(&found.losses[index])
            .map(|((candidate, choice), loss)| Tried {
                choice: choice.name.clone(),
                bytes: candidate.bytes,
                flops: candidate.flops,
                latency_ms: (candidate.latency_ms > 0.0).then_some(candidate.latency_ms),
                error: candidate.error,
                loss: *loss,
            })
            .collect(),
    };
    Record {
        schema: record::SCHEMA,
        recipe: request.name.clone(),
        model: model.checkpoint().hash().to_hex().to_string(),
        calibration: calibration.source().clone(),
        score_tokens: slice.tokens(),
        scores: request.scores,
        menu: menu.clone(),
        budgets: spent
            .map(|(((bound, (resource, asked)), used), price)| Spent {
                resource: *resource,
                asked: *asked,
                limit: bound.limit,
                used,
                fixed: bound.fixed,
                price: *price,
            })
            .collect(),
        sum: Sum { predicted: found.sum.loss, divergence: found.sum_divergence, gap: found.sum.gap },
        predicted: search::predicted(&found.losses, problem.slots, &found.state).map(|sum| sum + lost),
        divergence: found.divergence,
        dropped_blocks: found.state.dropped.clone(),
        block_divergence: found.of_blocks.clone(),
        uniform: found.uniform.clone(),
        rounds: found.rounds.clone(),
        linears: problem.slots.iter().enumerate().map(|(index, slot)| linear(index, slot)).collect(),
    }
}

/// A sentence for the recipe.
fn describe(record: &Record) -> String {
    let budgets =
        record.budgets.iter().map(|b| format!("{:.6} of {:.6} {}", b.used, b.limit, b.resource.name()));
    let budgets = budgets.collect::<Vec<_>>().join(", ");
    match record.divergence {
        Some(divergence) => format!("{budgets}; KL {divergence:.4} on {} tokens", record.score_tokens),
        None => budgets,
    }
}
