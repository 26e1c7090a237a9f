//! Running stages once, or finding that they were run before.

use super::Course;
use super::key::Done;
use crate::error::RunError;
use crate::stage::model_scope::{self, ModelInputs};
use crate::stage::{self, LayerRung, StageJob};
use crate::workshop::Workshop;
use serde_json::{Value, json};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tenuis_core::Checkpoint;
use tenuis_eval::report::StageRecord;
use tenuis_host::{Scope, Technique};
use tenuis_model::Model;
use tenuis_plan::ledger::Status;
use tenuis_recipe::LoadedRecipe;
use tenuis_spec::DecoderSpec;

/// What the stages so far have made.
#[derive(Clone)]
pub(super) struct State {
    pub(super) key: String,
    /// What the next stage is given.
    pub(super) input: Arc<Checkpoint>,
    /// What "the original weight" means to it.
    pub(super) reference: Arc<Checkpoint>,
    /// The output of the last stage, once there is one.
    pub(super) last: Option<Arc<Checkpoint>>,
    pub(super) records: Vec<StageRecord>,
    /// How the input came about, the oldest first.
    pub(super) lineage: Vec<Value>,
    /// Where the stages that were taken together end.
    pub(super) walks: Vec<usize>,
    /// The time that all stages took when they were run.
    pub(super) seconds: f64,
    /// Whether none had to be run.
    pub(super) reused: bool,
}

impl State {
    pub(super) fn start(model: &Model) -> Self {
        let checkpoint = model.checkpoint();
        let key = checkpoint.hash().to_hex().to_string();
        let known = checkpoint.manifest().and_then(|m| m.provenance.get("lineage")).and_then(Value::as_array);
        let lineage = match known {
            Some(known) => known.clone(),
            None => vec![json!({ "origin": checkpoint.dir().display().to_string(), "checkpoint": key })],
        };
        Self {
            key,
            input: Arc::clone(checkpoint),
            reference: Arc::clone(checkpoint),
            last: None,
            records: Vec::new(),
            lineage,
            walks: Vec::new(),
            seconds: 0.0,
            reused: true,
        }
    }
}

impl Workshop<'_> {
    /// Runs the stages of a walk on what those before it have made, or takes what the store has of them.
    pub(super) fn attempt(
        &self,
        course: &Course<'_>,
        loaded: &LoadedRecipe,
        techniques: &[Technique],
        walk: Range<usize>,
        state: &State,
    ) -> Result<State, RunError> {
        let first = walk.start;
        let inputs = course.inputs(loaded, techniques, first)?;
        let scope = techniques[first].scope();
        let calibrated = course.calibration_of(loaded, techniques, first)?;
        let done = Done {
            loaded,
            techniques,
            walk: walk.clone(),
            calibration: calibrated,
            learns_from: inputs.as_ref().map(ModelInputs::identity),
        };
        let key = done.key(&state.key);
        let ids: Vec<&str> = walk.clone().map(|index| techniques[index].id()).collect();
        let name = ids.join(" + ");
        let about = [("key", key.as_str()), ("input", state.key.as_str()), ("recipe", &loaded.recipe.name)];
        let found = self.may_reuse(&key).then(|| course.store.finished(&key, walk.len())).flatten();
        let reused = found.is_some();
        let (checkpoint, made) = if let Some((checkpoint, records)) = found {
            self.log.stage(&name, Status::Reused, &about)?;
            (checkpoint, records)
        } else {
            self.log.stage(&name, Status::Started, &about)?;
            let made = self.execute(course, &done, state, &key, inputs.as_ref());
            let status = match &made {
                Ok(_) => Status::Finished,
                Err(error) if error.is_cancelled() => Status::Interrupted,
                Err(_) => Status::Failed,
            };
            let error = made.as_ref().err().map(ToString::to_string);
            let mut about = about.to_vec();
            about.extend(error.as_deref().map(|error| ("error", error)));
            self.log.stage(&name, status, &about)?;
            let made = made?;
            self.remember(&key);
            (Checkpoint::open(&course.store.dir(&key))?, made)
        };
        let seconds = checkpoint.manifest().and_then(|m| m.provenance.get("seconds")).and_then(Value::as_f64);
        let checkpoint = Arc::new(checkpoint);
        let mut next = state.clone();
        for index in walk.clone() {
            next.lineage.push(json!({
                "technique": techniques[index].id(),
                "version": techniques[index].version(),
                "plugin": techniques[index].plugin_hash(),
                "options": loaded.recipe.stages[index].options,
                "key": key,
                "checkpoint": checkpoint.hash().to_hex().to_string(),
            }));
        }
        next.records.extend(made);
        next.walks.push(walk.end);
        next.seconds += seconds.unwrap_or_default();
        next.reused &= reused;
        next.key = key;
        if scope == Scope::Model && !same_network(&checkpoint, &next.reference) {
            next.reference = Arc::clone(&checkpoint);
        }
        next.input = Arc::clone(&checkpoint);
        next.last = Some(checkpoint);
        Ok(next)
    }

    fn execute(
        &self,
        course: &Course<'_>,
        done: &Done<'_>,
        state: &State,
        key: &str,
        inputs: Option<&ModelInputs>,
    ) -> Result<Vec<StageRecord>, RunError> {
        let Done { loaded, techniques, walk, calibration, .. } = done;
        let started = Instant::now();
        let (dir, resumable) = (course.store.dir(key), course.store.state_dir(key)?);
        let curves = curves_file(course.target, walk.start);
        let mut rungs: Vec<Vec<LayerRung>> = Vec::with_capacity(walk.len());
        for index in walk.clone() {
            rungs.push(super::ladder::layer_rungs(self.plugins, loaded, index)?);
        }
        let mut jobs = Vec::with_capacity(walk.len());
        for (index, rungs) in walk.clone().zip(&rungs) {
            let technique = &techniques[index];
            check_originals(technique, loaded, &state.records)?;
            jobs.push(StageJob {
                loaded,
                index,
                technique,
                input: &state.input,
                source: course.model.checkpoint(),
                reference: &state.reference,
                calibration: *calibration,
                target: &dir,
                state: &resumable,
                curves: &curves,
                rungs,
            });
        }
        let provenance = |made: &[StageRecord]| json!({ "key": key, "input": state.key, "stages": made, "seconds": started.elapsed().as_secs_f64() });
        let made = match inputs {
            Some(inputs) => {
                let provenance = |record: &StageRecord| provenance(std::slice::from_ref(record));
                model_scope::run(self, &jobs[0], inputs, provenance).map(|record| vec![record])
            }
            None => stage::run(self, &jobs, provenance),
        };
        // What a failed stage has saved is gone on from; where it saved nothing, nothing is left, and no run goes on from it.
        let made = made.map_err(|error| match (fs::remove_dir(&resumable), error) {
            (Ok(()), RunError::Paused { .. }) => RunError::Cancelled,
            (_, error) => error,
        })?;
        fs::remove_dir_all(&resumable)
            .map_err(|source| RunError::File { path: resumable.clone(), source })?;
        Ok(made)
    }
}

/// Where the curves of a stage are kept, beside the candidate's checkpoint.
fn curves_file(target: &Path, index: usize) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!("{name}.stage-{index}.metrics.jsonl"))
}

/// Whether two checkpoints have the same layers, so that a weight of one can be compared with that of the other.
fn same_network(a: &Checkpoint, b: &Checkpoint) -> bool {
    let layers =
        |checkpoint: &Checkpoint| DecoderSpec::from_config(checkpoint.config()).map(|spec| spec.layers);
    matches!((layers(a), layers(b)), (Ok(a), Ok(b)) if a == b)
}

/// A technique that compares weights with the uncompressed ones cannot follow one that moved scales between tensors.
fn check_originals(
    technique: &Technique,
    loaded: &LoadedRecipe,
    before: &[StageRecord],
) -> Result<(), RunError> {
    let folded = before.iter().find(|record| stage::has_folded(record));
    match folded.filter(|_| technique.scope() == Scope::Group && technique.capabilities().needs_original()) {
        None => Ok(()),
        Some(earlier) => Err(RunError::Unsupported {
            technique: technique.id().to_owned(),
            recipe: loaded.recipe.name.clone(),
            problem: format!(
                "compares weights with the uncompressed ones, but {} has folded scales into other tensors; put it before \
                 that stage, or turn the scales off there",
                earlier.technique
            ),
        }),
    }
}
