//! The main job: compress a model by every recipe, measure all beside the original, report.

mod business;
mod measure;
mod robustness;
mod samples;
mod written;

pub use business::BusinessMetric;
pub use measure::{MeasureRequest, MemoryProbe, SpeedRequest, measure_only};
pub use robustness::RobustnessRequest;
pub use written::write_report;

use crate::compress::{CompressOptions, Workshop};
use crate::error::RunError;
use crate::observer::Observer;
use crate::recipe::LoadedRecipe;
use crate::text::Text;
use samples::Samples;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::quality::{self, COMPUTE_DTYPE, Quality, Subject};
use tenuis_eval::report::{self, Compression, Entry, Figures, Items, Machine, Protocol, Report, Requirement};
use tenuis_eval::size::Size;
use tenuis_eval::tasks::Task;
use tenuis_eval::{EvalError, Prices, Weights, Windows};
use tenuis_host::PluginRegistry;
use tenuis_model::{Model, Tokenizer};

/// What to evaluate and how.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// The model's checkpoint directory.
    pub model: PathBuf,
    /// The recipes; each becomes a candidate.
    pub recipes: Vec<LoadedRecipe>,
    /// Checkpoints that were made elsewhere, by this program or another; each is a candidate under its directory's name.
    pub others: Vec<PathBuf>,
    /// Conditions that candidates have to meet; what becomes of them is part of the report.
    pub requirements: Vec<Requirement>,
    /// The text that quality is measured on.
    pub data: PathBuf,
    /// Files of questions to be answered, each a task; see [`tenuis_eval::tasks`].
    pub tasks: Vec<PathBuf>,
    /// Commands of the user's own that print a number about a model.
    pub business: Vec<BusinessMetric>,
    /// Harder texts.
    pub robustness: RobustnessRequest,
    /// The text that techniques are calibrated on.
    pub calibration: Option<PathBuf>,
    /// Where the candidates' checkpoints go, one directory each.
    pub out: PathBuf,
    /// Tokens per window; by default 2048 or the model's positions, whichever is less.
    pub seq_len: Option<usize>,
    /// Tokens between the starts of windows; by default windows do not overlap.
    pub stride: Option<usize>,
    /// Evaluate at most so many tokens, in evenly spaced windows.
    pub max_tokens: Option<usize>,
    /// How speed and memory are measured.
    pub measure: MeasureRequest,
    /// What counts how much in the score of all.
    pub weights: Weights,
    /// What the machine costs; without, costs are left out.
    pub prices: Option<Prices>,
    /// Options of the compression.
    pub compress: CompressOptions,
}

/// Compresses, measures and reports.
///
/// All recipes, plugins, texts, tasks and the model are checked before any work begins.
///
/// # Errors
/// [`RunError`]; candidates that were finished before the failure remain and are reused by the next run.
pub fn evaluate(
    request: &EvalRequest,
    plugins: &PluginRegistry,
    codecs: &CodecRegistry,
    observer: &Arc<dyn Observer>,
) -> Result<Report, RunError> {
    let mut names = BTreeSet::new();
    let others: Vec<String> = request.others.iter().map(|dir| name_of(dir)).collect();
    let all = request.recipes.iter().map(|r| &r.recipe.name).chain(&others);
    if let Some(twice) = all.into_iter().find(|name| !names.insert(name.as_str())) {
        return Err(RunError::DuplicateName { name: twice.clone() });
    }
    let checkpoint = Arc::new(Checkpoint::open(&request.model)?);
    let mut warnings = checkpoint.warnings().to_vec();
    let model = Model::open(checkpoint, codecs)?;
    warnings.extend_from_slice(model.warnings());
    let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
    let max_positions = model.spec().max_positions;
    let seq_len = request.seq_len.unwrap_or_else(|| max_positions.min(2048));
    if seq_len > max_positions {
        return Err(RunError::TooLong { what: "--seq-len", seq_len, max_positions });
    }
    observer.begin("tokenising", 0);
    let data = Text::open(&request.data, &tokenizer)?;
    let calibration = request.calibration.as_deref().map(|p| Text::open(p, &tokenizer)).transpose()?;
    let tasks = open_tasks(&request.tasks, &tokenizer, &model)?;
    observer.end();
    let windows = Windows::strided(
        data.data.tokens.len(),
        seq_len,
        request.stride.unwrap_or(seq_len),
        request.max_tokens,
    )
    .map_err(EvalError::from)?;
    if calibration.as_ref().is_some_and(|c| c.data.hash == data.data.hash) {
        warnings.push("calibration and evaluation text are the same file: the figures flatter".to_owned());
    }
    let workshop =
        Workshop { plugins, codecs, observer: Arc::clone(observer), options: request.compress.clone() };
    for loaded in &request.recipes {
        workshop.check(&model, loaded, calibration.as_ref())?;
    }

    // What is made elsewhere is opened before anything is made here.
    let mut opened = Vec::with_capacity(others.len());
    for dir in &request.others {
        let other = Model::open(Arc::new(Checkpoint::open(dir)?), codecs)?;
        if other.spec().vocab != model.spec().vocab {
            let (expected, found) = (model.spec().vocab, other.spec().vocab);
            return Err(RunError::OtherVocabulary { dir: dir.clone(), expected, found });
        }
        let name = name_of(dir);
        warnings.extend(other.checkpoint().warnings().iter().map(|warning| format!("{name}: {warning}")));
        warnings.extend(other.warnings().iter().map(|warning| format!("{name}: {warning}")));
        opened.push(other);
    }

    let mut candidates = Vec::with_capacity(request.recipes.len() + others.len());
    let mut calibrated = None;
    for loaded in &request.recipes {
        let target = request.out.join(&loaded.recipe.name);
        let made = workshop.compress(&model, loaded, calibration.as_ref(), &target)?;
        if made.compression.stages.iter().any(|s| s.calibration_rows > 0) {
            calibrated = Some(loaded.recipe.calibration);
        }
        candidates.push(Made {
            name: loaded.recipe.name.clone(),
            recipe: serde_json::to_value(&loaded.recipe).ok(),
            dir: made.dir,
            compression: Some(made.compression),
        });
    }
    let mut models = candidates
        .iter()
        .map(|c| Ok(Model::open(Arc::new(Checkpoint::open(&c.dir)?), codecs)?))
        .collect::<Result<Vec<Model>, RunError>>()?;
    models.extend(opened);
    candidates.extend(others.into_iter().zip(&request.others).map(|(name, dir)| Made {
        name,
        recipe: None,
        dir: dir.clone(),
        compression: None,
    }));

    let mut subjects = vec![Subject { name: "baseline", model: &model }];
    let names = candidates.iter().map(|c| c.name.as_str());
    subjects.extend(names.zip(&models).map(|(name, model)| Subject { name, model }));
    observer.begin("measuring quality", windows.count() as u64);
    let measured = quality::measure(&subjects, &data.data, windows, |done| observer.advance(done as u64))?;
    observer.end();
    let (mut qualities, window_scores): (Vec<Quality>, Vec<_>) =
        measured.into_iter().map(|measured| (measured.quality, measured.windows)).unzip();
    let mut samples = Samples::new(&window_scores);
    for ((subject, quality), samples) in subjects.iter().zip(&mut qualities).zip(samples.each()) {
        quality.tasks = measure::tasks(&tasks, *subject, samples, observer.as_ref())?;
    }
    let harder = request.robustness.texts(&data, &tokenizer, windows, max_positions, request.max_tokens)?;
    for note in &harder.notes {
        warnings.push(note.clone());
    }
    let found = robustness::measure(&subjects, &harder, observer.as_ref())?;
    for ((quality, samples), (found, windows)) in qualities.iter_mut().zip(samples.each()).zip(found) {
        quality.robustness = found;
        samples.robustness(windows);
    }
    let dirs: Vec<&Path> =
        std::iter::once(request.model.as_path()).chain(candidates.iter().map(|c| c.dir.as_path())).collect();
    for (quality, dir) in qualities.iter_mut().zip(&dirs) {
        quality.business = business::measure(&request.business, dir)?;
    }

    let measured = measure::resources(&request.measure, &subjects, &dirs, observer.as_ref())?;
    let mut machine = Machine::here();
    machine.noise = measured.noise;

    let baseline_bytes = model.checkpoint().file_bytes();
    let mut entries = Vec::with_capacity(subjects.len());
    let all = qualities.into_iter().zip(measured.speeds).zip(measured.memories);
    for (index, (subject, ((quality, speed), memory))) in subjects.iter().zip(all).enumerate() {
        let made = index.checked_sub(1).map(|i| &candidates[i]);
        let cost =
            request.prices.as_ref().zip(speed.as_ref()).and_then(|(prices, speed)| {
                prices.cost(speed.decode_tokens_per_s, speed.joules_per_token).ok()
            });
        entries.push(Entry {
            name: subject.name.to_owned(),
            recipe: made.and_then(|c| c.recipe.clone()),
            checkpoint: dirs[index].display().to_string(),
            size: Size::of(subject.model, baseline_bytes, measured.protocol.prompt_tokens)?,
            quality,
            speed,
            memory,
            compression: made.and_then(|c| c.compression.clone()),
            figures: None,
            cost,
        });
    }
    let items: Vec<Items<'_>> = samples.items();
    for index in 1..entries.len() {
        let figures = Figures::of((&entries[0], items[0]), (&entries[index], items[index]), request.weights);
        entries[index].figures = Some(figures);
    }
    samples.write(&request.out, entries.iter().map(|entry| entry.name.as_str()))?;
    let baseline = entries.remove(0);
    let calibration = calibrated.zip(calibration.as_ref()).and_then(|(spec, text)| {
        crate::calibration::Calibration::of(text, spec, max_positions).ok().map(|c| c.source().clone())
    });
    Ok(Report {
        schema: report::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix: now(),
        machine,
        protocol: Protocol {
            data: data.source(),
            calibration,
            speed: request.measure.speed.is_some().then_some(measured.protocol),
            compute_dtype: COMPUTE_DTYPE.to_owned(),
        },
        requirements: request.requirements.iter().map(|r| r.judge(&baseline, &entries)).collect(),
        baseline,
        candidates: entries,
        elsewhere: Vec::new(),
        warnings,
    })
}

/// Seconds since 1970 UTC.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A candidate on its way into the report.
struct Made {
    name: String,
    recipe: Option<serde_json::Value>,
    dir: PathBuf,
    compression: Option<Compression>,
}

/// What a checkpoint that was made elsewhere is called.
fn name_of(dir: &Path) -> String {
    dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Reads and checks every task.
fn open_tasks(paths: &[PathBuf], tokenizer: &Tokenizer, model: &Model) -> Result<Vec<Task>, RunError> {
    let mut names = BTreeSet::new();
    let mut tasks = Vec::with_capacity(paths.len());
    for path in paths {
        let task = Task::open(path, tokenizer, model).map_err(EvalError::from)?;
        if !names.insert(task.name().to_owned()) {
            return Err(RunError::DuplicateTask { name: task.name().to_owned() });
        }
        tasks.push(task);
    }
    Ok(tasks)
}
