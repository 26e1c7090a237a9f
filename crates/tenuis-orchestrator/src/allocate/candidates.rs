//! What every choice makes of every Linear, what that costs and how far the output is off.

use super::menu::Menu;
use super::{AllocateError, AllocateRequest, Resource, Scores};
use crate::calibration::Calibration;
use crate::error::RunError;
use crate::registry;
use crate::stage::StageJob;
use crate::stage::output_error::OutputError;
use crate::stage::trial::Stream;
use crate::stage::trial::Trial;
use crate::workshop::Workshop;
use candle_core::{Device, Tensor};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenuis_core::Weight;
use tenuis_host::Technique;
use tenuis_linalg::StatsNeeds;
use tenuis_model::{Linear, Model, ModelError};
use tenuis_recipe::LoadedRecipe;
use tenuis_spec::LinearSpec;

/// Bytes of Gram matrices that are gathered at a time, beside those of the other groups of a block.
const GRAMS_AT_ONCE: usize = 1 << 30;
/// A kernel is timed for so long, and at least so often; the least time counts.
const TIMED: Duration = Duration::from_millis(4);
const TIMED_TIMES: usize = 5;

/// What a choice makes of a Linear.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The weight, where scores need it.
    pub(super) weight: Option<Weight>,
    pub(super) bytes: u64,
    /// Operations per token.
    pub(super) flops: f64,
    /// 0 where nobody asked.
    pub(super) latency_ms: f64,
    /// `tr(ΔW·H·ΔWᵀ)` over the calibration rows, by `tr(W·H·Wᵀ)`.
    pub(super) error: f64,
}

impl Candidate {
    pub(super) fn cost(&self, resource: Resource) -> f64 {
        match resource {
            Resource::Bytes => self.bytes as f64,
            Resource::Flops => self.flops,
            Resource::Latency => self.latency_ms,
        }
    }
}

/// A Linear that has a choice.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) linear: LinearSpec,
    /// Its block and its place there; `None` for the head.
    pub(super) place: Option<(usize, usize)>,
    /// What it is now.
    pub(super) base: Candidate,
    /// By choice.
    pub(super) candidates: Vec<Candidate>,
}

/// Recipes of the choices and their techniques; `None` where a choice does nothing.
pub(super) struct Choices {
    recipes: Vec<Option<(LoadedRecipe, Vec<Technique>)>>,
}

impl Choices {
    /// Finds the techniques of a menu and checks their options against the model.
    pub(super) fn resolve(
        workshop: &Workshop<'_>,
        request: &AllocateRequest,
        menu: &Menu,
        model: &Model,
        text: &crate::Text,
    ) -> Result<Self, RunError> {
        let resolve = |choice: &super::Choice| {
            if choice.steps.is_empty() {
                return Ok(None);
            }
            let recipe = Menu::recipe(&choice.name, &choice.steps, request.calibration, request.seed)?;
            let techniques = registry::resolve(workshop.plugins, &recipe)?;
            if let Some(whole) = techniques.iter().find(|t| t.scope() == tenuis_host::Scope::Model) {
                return Err(RunError::Unsupported {
                    technique: whole.id().to_owned(),
                    recipe: choice.name.clone(),
                    problem: "works on the whole model; a menu takes techniques that work on one weight"
                        .to_owned(),
                });
            }
            workshop.check(model, &recipe, Some(text))?;
            Ok(Some((recipe, techniques)))
        };
        Ok(Self { recipes: menu.choices.iter().map(resolve).collect::<Result<_, RunError>>()? })
    }
}

/// Goes over the model once, block by block, and lets every choice have a try at every Linear. All see the activations of the
/// model as it is, and share one Gram matrix per input.
pub(super) fn gather(
    workshop: &Workshop<'_>,
    request: &AllocateRequest,
    menu: &Menu,
    choices: &Choices,
    model: &Model,
    calibration: &Calibration,
) -> Result<Vec<Slot>, RunError> {
    let nowhere = Path::new("");
    let checkpoint = model.checkpoint();
    let jobs: Vec<Option<Vec<StageJob<'_>>>> = choices
        .recipes
        .iter()
        .map(|choice| {
            let (loaded, techniques) = choice.as_ref()?;
            let job = |(index, technique)| StageJob {
                loaded,
                index,
                technique,
                input: checkpoint,
                source: checkpoint,
                reference: checkpoint,
                calibration: Some(calibration),
                target: nowhere,
                state: nowhere,
                curves: nowhere,
                rungs: &[],
            };
            Some(techniques.iter().enumerate().map(job).collect())
        })
        .collect();
    let mut trials: Vec<Option<Trial<'_>>> = jobs
        .iter()
        .map(|jobs| jobs.as_ref().map(|jobs| Trial::start(workshop, jobs, model)).transpose())
        .collect::<Result<_, _>>()?;
    let needs =
        StatsNeeds { hessian: true, moments: trials.iter().flatten().any(|trial| trial.needs().moments) };
    let timed = request.budgets.iter().any(|(resource, _)| *resource == Resource::Latency);
    let mut weigh = Weigh { keeps: request.scores != Scores::Error, timed, kept: 0, request };

    let mut stream = Stream::start(model, calibration)?;
    let n_blocks = model.spec().layers.len();
    workshop.observer.begin("allocate: trying every choice", n_blocks as u64 + 1);
    let mut slots = Vec::new();
    for index in 0..n_blocks {
        if workshop.observer.cancelled() {
            return Err(RunError::Cancelled);
        }
        let block = model.load_block(index)?;
        let groups = block.spec().groups();
        let order = block.spec().linears();
        let mut of_block = Vec::with_capacity(order.len());
        let mut first = 0;
        while first < groups.len() {
            let gram = 4 * groups[first].in_features().pow(2);
            let wanted: Vec<usize> =
                (first..groups.len()).take((GRAMS_AT_ONCE / gram.max(1)).max(1)).collect();
            first += wanted.len();
            let statistics = stream.collect(&block, index, &groups, &wanted, needs)?;
            for (place, stats) in wanted.into_iter().zip(statistics) {
                let (group, Some(stats)) = (&groups[place], stats) else { continue };
                let mut made = Vec::with_capacity(trials.len());
                for trial in &mut trials {
                    made.push(match trial {
                        Some(trial) => {
                            Some(trial.group(&block, index, (place, group), Some(&stats), &stream)?)
                        }
                        None => None,
                    });
                }
                let errors = OutputError::by(Some(&stats));
                // Of experts, a token meets few.
                let share = stats.rows() as f64 / stream.rows().max(1) as f64;
                for (member, linear) in group.linears.iter().enumerate() {
                    let Some(weight) = block.weight(&linear.name) else { continue };
                    let made: Vec<&Weight> = made
                        .iter()
                        .map(|made| made.as_ref().map_or(weight, |weights| &weights[member]))
                        .collect();
                    let position = order.iter().position(|l| l.name == linear.name).unwrap_or_default();
                    of_block.push(weigh.slot(
                        linear,
                        Some((index, position)),
                        weight,
                        &made,
                        &errors,
                        share,
                    )?);
                }
            }
        }
        of_block.sort_by_key(|slot: &Slot| slot.place);
        slots.extend(of_block);
        stream.advance(&block)?;
        model.release_block(index);
        workshop.observer.advance(1);
    }
    if menu.head && !model.spec().tied {
        let linear = &model.spec().lm_head;
        let weight = model.matrix(&linear.name, linear.shape, linear.layout)?;
        let stats = stream.collect_final(model, needs)?;
        let mut made = Vec::with_capacity(trials.len());
        for trial in &mut trials {
            made.push(match trial {
                Some(trial) => trial.head(model, &weight, &stream)?,
                None => Arc::clone(&weight),
            });
        }
        let made: Vec<&Weight> = made.iter().collect();
        slots.push(weigh.slot(linear, None, &weight, &made, &OutputError::by(Some(&stats)), 1.0)?);
    }
    workshop.observer.advance(1);
    workshop.observer.end();
    Ok(slots)
}

/// Weighs what techniques made.
struct Weigh<'a> {
    keeps: bool,
    timed: bool,
    /// Bytes of the weights that are kept.
    kept: u64,
    request: &'a AllocateRequest,
}

impl Weigh<'_> {
    fn slot(
        &mut self,
        linear: &LinearSpec,
        place: Option<(usize, usize)>,
        base: &Weight,
        made: &[&Weight],
        errors: &OutputError<'_>,
        share: f64,
    ) -> Result<Slot, RunError> {
        let whole = errors.whole(&linear.name, base.as_ref())?;
        let mut weigh = |weight: &Weight| -> Result<Candidate, RunError> {
            let error = if Arc::ptr_eq(weight, base) {
                0.0
            } else {
                let error = errors.squared(&linear.name, base.as_ref(), weight.as_ref(), None)?;
                // Nothing is known of an input that no token had: whatever is smallest will do.
                if whole > 0.0 { (error / whole).max(0.0) } else { 0.0 }
            };
            if self.keeps && !Arc::ptr_eq(weight, base) {
                self.kept += weight.stored_bytes();
                if self.kept > self.request.max_candidate_bytes {
                    return Err(
                        AllocateError::TooManyCandidates { limit: self.request.max_candidate_bytes }.into()
                    );
                }
            }
            Ok(Candidate {
                weight: self.keeps.then(|| Arc::clone(weight)),
                bytes: weight.stored_bytes(),
                flops: 2.0 * share * weight.parameters() as f64,
                latency_ms: if self.timed { share * latency(linear, weight)? } else { 0.0 },
                error,
            })
        };
        let candidates = made.iter().map(|weight| weigh(weight)).collect::<Result<_, _>>()?;
        Ok(Slot { linear: linear.clone(), place, base: weigh(base)?, candidates })
    }
}

/// The least time of one row through the weight's kernel, in milliseconds.
fn latency(linear: &LinearSpec, weight: &Weight) -> Result<f64, RunError> {
    let mut spec = linear.clone();
    spec.bias = false;
    let kernel = Linear::new(spec, Arc::clone(weight), None)?;
    let x = Tensor::ones((1, linear.shape[1]), candle_core::DType::F32, &Device::Cpu)
        .map_err(ModelError::from)?;
    let (begun, mut least, mut times) = (Instant::now(), f64::INFINITY, 0);
    while times < TIMED_TIMES || begun.elapsed() < TIMED {
        let start = Instant::now();
        kernel.forward(&x)?;
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
        times += 1;
    }
    Ok(least)
}
