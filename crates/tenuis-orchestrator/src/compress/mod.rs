//! From a recipe to a finished checkpoint directory.

mod attempt;
mod check;
mod gated;
mod key;
mod ladder;
mod provenance;

use crate::calibration::Calibration;
use crate::error::RunError;
use crate::registry;
use crate::stage;
use crate::stage::model_scope;
use crate::store::{self, StageStore};
use crate::text::Text;
use crate::workshop::Workshop;
use attempt::State;
pub use check::check_recipe;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, link_checkpoint};
use tenuis_eval::report::{Compression, GateDecision};
use tenuis_host::{PluginRegistry, Technique};
use tenuis_model::Model;
use tenuis_plan::gate::Decision;
use tenuis_recipe::LoadedRecipe;

/// A finished candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its checkpoint directory.
    pub dir: PathBuf,
    /// How it was made, and what gates decided on the way.
    pub compression: Compression,
}

/// A recipe that was matched with plugins, and the text that it is calibrated on.
struct Course<'a> {
    model: &'a Model,
    loaded: &'a LoadedRecipe,
    techniques: Vec<Technique>,
    text: Option<&'a Text>,
    calibration: Option<Calibration>,
    store: StageStore,
    /// What the curves of stages that train are named after.
    target: &'a Path,
}

impl Workshop<'_> {
    /// Applies a recipe to the model's checkpoint and puts the result at `target`.
    ///
    /// A finished checkpoint of the same input, recipe, plugins and calibration at `target` is reused, and so is what the
    /// store has: outputs of stages by what went into them, and the blocks and training states of those that were not
    /// finished. Where stages have gates, those that fail are tried again by the rungs of their ladders, or rolled back.
    ///
    /// # Errors
    /// [`RunError`]; nothing partial is left at `target`. [`RunError::NothingPassed`] where gates left no stage.
    pub fn compress(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
        target: &Path,
    ) -> Result<Candidate, RunError> {
        let own = self.options.store.is_none();
        let store = self.options.store.clone().unwrap_or_else(|| StageStore::at(beside(target)));
        let course = self.course(model, loaded, calibration, store, target)?;
        if let (false, Some(candidate)) = (self.options.fresh, course.published()?) {
            self.log.stage(&loaded.recipe.name, tenuis_plan::ledger::Status::Reused, &[])?;
            if own {
                throw_away(&course.store)?;
            }
            return Ok(candidate);
        }
        let (state, decisions, last) = self.run(&course)?;
        let dir = link_checkpoint(&last, target, provenance::of(&course, &state, &decisions))?;
        if own {
            throw_away(&course.store)?;
        }
        Ok(Candidate { dir, compression: compression(state, &decisions) })
    }

    /// Applies a recipe without giving the result a place of its own: it stays in the store.
    ///
    /// # Errors
    /// As [`Workshop::compress`].
    pub(crate) fn make(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
        store: &StageStore,
        target: &Path,
    ) -> Result<Candidate, RunError> {
        let course = self.course(model, loaded, calibration, store.clone(), target)?;
        let (state, decisions, last) = self.run(&course)?;
        Ok(Candidate { dir: last.dir().to_owned(), compression: compression(state, &decisions) })
    }

    fn course<'a>(
        &self,
        model: &'a Model,
        loaded: &'a LoadedRecipe,
        text: Option<&'a Text>,
        store: StageStore,
        target: &'a Path,
    ) -> Result<Course<'a>, RunError> {
        let techniques = registry::resolve(self.plugins, loaded)?;
        let calibration = calibration_for(self.plugins, model, loaded, &techniques, text)?;
        Ok(Course { model, loaded, techniques, text, calibration, store, target })
    }

    /// Runs the stages of a recipe, one walk of them after the other; what the last of them made comes last.
    fn run(&self, course: &Course<'_>) -> Result<(State, Vec<Decision>, Arc<Checkpoint>), RunError> {
        let mut state = State::start(course.model);
        let mut decisions = Vec::new();
        let mut next = 0;
        while next < course.techniques.len() {
            let alone = |index: usize| is_gated(course.loaded, index);
            let walk = if alone(next) {
                next..next + 1
            } else {
                let walk = stage::walk(
                    self,
                    &state.input,
                    &state.reference,
                    course.loaded,
                    &course.techniques,
                    next,
                )?;
                let end = walk.clone().find(|&index| alone(index)).unwrap_or(walk.end);
                walk.start..end
            };
            next = walk.end;
            if alone(walk.start) {
                let go_on = self.run_gated(course, walk.start, &mut state, &mut decisions)?;
                if !go_on {
                    break;
                }
            } else {
                state = self.attempt(course, course.loaded, &course.techniques, walk, &state)?;
            }
        }
        let Some(last) = state.last.clone() else {
            let reason = decisions.last().map(|decision| decision.reason.clone()).unwrap_or_default();
            return Err(RunError::NothingPassed { recipe: course.loaded.recipe.name.clone(), reason });
        };
        Ok((state, decisions, last))
    }
}

impl Course<'_> {
    /// The candidate that lies at the target, if it is the one that this course would make.
    fn published(&self) -> Result<Option<Candidate>, RunError> {
        // What gates decide is not known before they are asked; they are asked again, of what the store has.
        if (0..self.techniques.len()).any(|index| is_gated(self.loaded, index)) {
            return Ok(None);
        }
        let Some(key) = self.key_at_target()? else { return Ok(None) };
        let Some((checkpoint, stages)) = store::finished(self.target, &key, self.techniques.len()) else {
            return Ok(None);
        };
        let provenance = checkpoint.manifest().map(|manifest| manifest.provenance.clone());
        let seconds = provenance.as_ref().and_then(|p| p.get("seconds")).and_then(Value::as_f64);
        let compression =
            Compression { reused: true, seconds: seconds.unwrap_or_default(), stages, decisions: Vec::new() };
        Ok(Some(Candidate { dir: self.target.to_owned(), compression }))
    }
}

/// Removes a store that was kept for one candidate alone, if it is still there.
fn throw_away(store: &StageStore) -> Result<(), RunError> {
    match std::fs::remove_dir_all(store.root()) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RunError::File { path: store.root().to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn compression(state: State, decisions: &[Decision]) -> Compression {
    Compression {
        reused: state.reused,
        seconds: state.seconds,
        stages: state.records,
        decisions: decisions.iter().map(GateDecision::from).collect(),
    }
}

/// Whether something is decided behind a stage.
fn is_gated(loaded: &LoadedRecipe, index: usize) -> bool {
    let stage = &loaded.recipe.stages[index];
    let ladder = !stage.ladder.is_empty() && stage.layer_gates.is_empty();
    !loaded.recipe.gates.is_empty() || !stage.gates.is_empty() || ladder
}

/// Where the stages of a checkpoint are kept until it is finished, if there is no store: a hidden sibling.
fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.stages"))
}

/// Whether a stage cannot be run without calibration text.
fn needs_text(loaded: &LoadedRecipe, index: usize, technique: &Technique) -> Result<bool, RunError> {
    let statistics = model_scope::wanted(loaded, index, technique)?;
    Ok(stage::needs_data(technique.capabilities()) || statistics.any())
}

/// Whether the model is run on calibration text for a stage, where there is one: its technique needs that, or the gates on
/// its layers weigh errors by it.
fn looks_at_text(loaded: &LoadedRecipe, index: usize, technique: &Technique) -> Result<bool, RunError> {
    Ok(!loaded.recipe.stages[index].layer_gates.is_empty() || needs_text(loaded, index, technique)?)
}

/// Cuts the calibration text as the recipe asks, where anything of it looks at that: a stage, a rung of a ladder, a gate.
fn calibration_for(
    plugins: &PluginRegistry,
    model: &Model,
    loaded: &LoadedRecipe,
    techniques: &[Technique],
    text: Option<&Text>,
) -> Result<Option<Calibration>, RunError> {
    let mut looked_at = false;
    for (index, technique) in techniques.iter().enumerate() {
        looked_at |= looks_at_text(loaded, index, technique)?;
        let rungs = ladder::rungs(plugins, loaded, index)?;
        let stage = std::iter::once((loaded, technique));
        for (loaded, technique) in stage.chain(rungs.iter().map(|rung| (&rung.loaded, &rung.technique))) {
            let needed = needs_text(loaded, index, technique)?;
            if needed && text.is_none() {
                let (technique, recipe) = (technique.id().to_owned(), loaded.recipe.name.clone());
                return Err(RunError::NoCalibration { technique, recipe });
            }
            looked_at |= needed;
        }
    }
    let positions = model.spec().max_positions;
    let text = text.filter(|_| looked_at);
    text.map(|text| Calibration::of(text, loaded.recipe.calibration, positions)).transpose()
}
