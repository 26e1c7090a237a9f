//! From a recipe to a finished checkpoint directory.

use crate::calibration::Calibration;
use crate::error::RunError;
use crate::observer::Observer;
use crate::registry;
use crate::stage::model_scope::{self, ModelInputs};
use crate::stage::{self, Forms, StageJob};
use crate::text::Text;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::report::{Compression, StageRecord};
use tenuis_host::{PluginRegistry, Scope, Technique};
use tenuis_model::Model;
use tenuis_recipe::LoadedRecipe;
use tenuis_spec::DecoderSpec;

/// What a compression run works with.
pub struct Workshop<'a> {
    /// The loaded plugins.
    pub plugins: &'a PluginRegistry,
    /// The codecs of weights, those of plugins included.
    pub codecs: &'a CodecRegistry,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// What is asked for.
    pub options: CompressOptions,
}

impl std::fmt::Debug for Workshop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Options of a compression run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompressOptions {
    /// Copy weights that are NaN or infinite through, uncompressed, instead of failing.
    pub allow_nonfinite: bool,
    /// Start over even where a finished checkpoint of the same inputs exists.
    pub fresh: bool,
    /// Payload bytes at which a new weight file is begun.
    pub max_shard_bytes: u64,
    /// Worker threads.
    pub threads: usize,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self {
            allow_nonfinite: false,
            fresh: false,
            max_shard_bytes: 5_000_000_000,
            threads: rayon::current_num_threads(),
        }
    }
}

/// A finished candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its checkpoint directory.
    pub dir: PathBuf,
    /// How it was made.
    pub compression: Compression,
}

impl Workshop<'_> {
    /// Checks a recipe against plugins, model and calibration text before any work.
    ///
    /// # Errors
    /// [`RunError`] that names the recipe's line, or what is missing.
    pub fn check(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
    ) -> Result<(), RunError> {
        let techniques = registry::resolve(self.plugins, loaded)?;
        let mut forms = Forms::stored(model, self.codecs)?;
        for (index, technique) in techniques.iter().enumerate() {
            model_scope::check(self, model, loaded, index, technique, calibration)?;
            let targets = match technique.scope() {
                Scope::Group => Some(stage::check_targets(model, loaded, index, technique)?),
                Scope::Model => None,
            };
            forms.pass(loaded, index, technique, targets.as_ref())?;
        }
        let needy = needy(loaded, &techniques)?;
        calibration_for(model, loaded, &techniques, &needy, calibration).map(drop)
    }

    /// Applies a recipe to the model's checkpoint and writes the result to `target`.
    ///
    /// A finished checkpoint of the same input, recipe, plugins and calibration at `target` is reused. The stages
    /// before the last write to hidden siblings of `target`, which are removed at the end and reused after a crash.
    ///
    /// # Errors
    /// [`RunError`]; nothing partial is left at `target`.
    pub fn compress(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
        target: &Path,
    ) -> Result<Candidate, RunError> {
        let techniques = registry::resolve(self.plugins, loaded)?;
        let text = calibration;
        let needy = needy(loaded, &techniques)?;
        let calibration = calibration_for(model, loaded, &techniques, &needy, text)?;
        let recipe = &loaded.recipe;
        let started = Instant::now();
        let mut key = model.checkpoint().hash().to_hex().to_string();
        let mut input = Arc::clone(model.checkpoint());
        let mut reference = Arc::clone(model.checkpoint());
        let mut records = Vec::with_capacity(techniques.len());
        let mut steps = Vec::new();
        let mut all_reused = true;
        let mut walk = 0..0;
        while walk.end < techniques.len() {
            walk = stage::walk(self, &input, &reference, loaded, &techniques, walk.end)?;
            let (first, last) = (walk.start, walk.end == techniques.len());
            let dir = if last { target.to_owned() } else { step_dir(target, first) };
            let inputs = match techniques[first].scope() {
                Scope::Model => Some(ModelInputs::open(model, loaded, first, &techniques[first], text)?),
                Scope::Group => None,
            };
            let learns_from = inputs.as_ref().map(ModelInputs::identity);
            let calibrated = calibration.as_ref().filter(|_| needy[first]);
            for index in walk.clone() {
                let side_by_side = walk.len();
                key =
                    stage_key(&key, &techniques[index], loaded, index, calibrated, learns_from, side_by_side);
            }
            let reused = if self.options.fresh { None } else { finished(&dir, &key, walk.len()) };
            let made = if let Some(records) = reused {
                records
            } else {
                all_reused = false;
                let mut jobs = Vec::with_capacity(walk.len());
                for index in walk.clone() {
                    let technique = &techniques[index];
                    check_originals(technique, loaded, &records)?;
                    jobs.push(StageJob {
                        loaded,
                        index,
                        technique,
                        input: &input,
                        source: model.checkpoint(),
                        reference: &reference,
                        calibration: calibrated,
                        target: &dir,
                    });
                }
                let provenance = |made: &[StageRecord]| {
                    json!({
                        "key": key,
                        "recipe": recipe,
                        "stage": walk.end - 1,
                        "record": made.last(),
                        "stages": records.iter().chain(made).collect::<Vec<_>>(),
                        "seconds": started.elapsed().as_secs_f64(),
                    })
                };
                match &inputs {
                    Some(inputs) => {
                        let provenance = |record: &StageRecord| provenance(std::slice::from_ref(record));
                        vec![model_scope::run(self, &jobs[0], inputs, &key, provenance)?]
                    }
                    None => stage::run(self, &jobs, provenance)?,
                }
            };
            records.extend(made);
            if !last {
                steps.push(dir.clone());
                input = Arc::new(Checkpoint::open(&dir)?);
                if inputs.is_some() && !same_network(&input, &reference) {
                    reference = Arc::clone(&input);
                }
            }
        }
        for dir in steps {
            std::fs::remove_dir_all(&dir).map_err(|source| RunError::File { path: dir.clone(), source })?;
        }
        let seconds = match (all_reused, finished_provenance(target)) {
            (true, Some(provenance)) => provenance.get("seconds").and_then(Value::as_f64).unwrap_or_default(),
            _ => started.elapsed().as_secs_f64(),
        };
        let compression = Compression { reused: all_reused, seconds, stages: records, decisions: Vec::new() };
        Ok(Candidate { dir: target.to_owned(), compression })
    }
}

/// Whether two checkpoints have the same layers, so that a weight of one can be compared with that of the other.
fn same_network(a: &Checkpoint, b: &Checkpoint) -> bool {
    let layers =
        |checkpoint: &Checkpoint| DecoderSpec::from_config(checkpoint.config()).map(|spec| spec.layers);
    matches!((layers(a), layers(b)), (Ok(a), Ok(b)) if a == b)
}

/// Which stages need the model to be run on calibration text.
fn needy(loaded: &LoadedRecipe, techniques: &[Technique]) -> Result<Vec<bool>, RunError> {
    let needs = |(index, technique): (usize, &Technique)| {
        let statistics = model_scope::wanted(loaded, index, technique)?;
        Ok(stage::needs_data(technique.capabilities()) || statistics.any())
    };
    techniques.iter().enumerate().map(needs).collect()
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

/// Cuts the calibration text as the recipe asks, where any of its techniques needs it.
fn calibration_for(
    model: &Model,
    loaded: &LoadedRecipe,
    techniques: &[Technique],
    needy: &[bool],
    text: Option<&Text>,
) -> Result<Option<Calibration>, RunError> {
    let Some(needy) = techniques.iter().zip(needy).find(|(_, needy)| **needy).map(|(t, _)| t) else {
        return Ok(None);
    };
    let text = text.ok_or_else(|| RunError::NoCalibration {
        technique: needy.id().to_owned(),
        recipe: loaded.recipe.name.clone(),
    })?;
    Calibration::of(text, loaded.recipe.calibration, model.spec().max_positions).map(Some)
}

/// A hidden sibling of the target for the output of a stage that is not the last.
fn step_dir(target: &Path, index: usize) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.stage-{index}"))
}

/// The identity of a stage's output: what went in and what was done to it.
fn stage_key(
    input: &str,
    technique: &Technique,
    loaded: &LoadedRecipe,
    index: usize,
    calibration: Option<&Calibration>,
    learns_from: Option<&Value>,
    side_by_side: usize,
) -> String {
    let stage = &loaded.recipe.stages[index];
    let mut identity = json!({
        "input": input,
        "technique": technique.id(),
        "version": technique.version(),
        "plugin": technique.plugin_hash(),
        "stage": stage,
        "seed": loaded.recipe.seed,
        "calibration": calibration.map(Calibration::source),
    });
    if let Some(inputs) = learns_from {
        identity["inputs"] = inputs.clone();
    }
    if side_by_side > 1 {
        identity["side by side"] = side_by_side.into();
    }
    blake3::hash(identity.to_string().as_bytes()).to_hex().to_string()
}

fn finished_provenance(dir: &Path) -> Option<Value> {
    Checkpoint::open(dir).ok()?.manifest().map(|m| m.provenance.clone())
}

/// The records of the last `count` stages of a checkpoint that was finished with the same key; anything else there does
/// not count.
fn finished(dir: &Path, key: &str, count: usize) -> Option<Vec<StageRecord>> {
    let checkpoint = Checkpoint::open(dir).ok()?;
    let provenance = checkpoint.manifest()?.provenance.clone();
    if provenance.get("key")?.as_str()? != key || checkpoint.verify().is_err() {
        return None;
    }
    let mut stages: Vec<StageRecord> = serde_json::from_value(provenance.get("stages")?.clone()).ok()?;
    let before = stages.len().checked_sub(count)?;
    Some(stages.split_off(before))
}
