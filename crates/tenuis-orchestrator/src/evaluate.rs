//! The main job: compress a model by every recipe, measure all beside the original, report.

use crate::compress::{CompressOptions, Workshop};
use crate::error::RunError;
use crate::observer::Observer;
use crate::recipe::LoadedRecipe;
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::memory::Probe;
use tenuis_eval::quality::{self, Subject};
use tenuis_eval::report::{self, Compression, Entry, Machine, Protocol, Report, Requirement};
use tenuis_eval::size::Size;
use tenuis_eval::speed::{self, SpeedProtocol};
use tenuis_eval::tasks::{Task, TaskScore};
use tenuis_eval::{EvalError, Windows, memory::Memory};
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
    /// The text that techniques are calibrated on.
    pub calibration: Option<PathBuf>,
    /// Where the candidates' checkpoints go, one directory each.
    pub out: PathBuf,
    /// Tokens per window; by default 2048 or the model's positions, whichever is less.
    pub seq_len: Option<usize>,
    /// Evaluate at most so many tokens, in evenly spaced windows.
    pub max_tokens: Option<usize>,
    /// Counted rounds of the speed measurement; none where absent.
    pub speed_repeats: Option<usize>,
    /// How to start the process that measures memory; not measured where absent.
    pub memory: Option<MemoryProbe>,
    /// Options of the compression.
    pub compress: CompressOptions,
}

/// How to start a child process for a model directory.
#[derive(Clone, Debug)]
pub struct MemoryProbe {
    /// The program and the arguments of an empty process.
    pub probe: Probe,
    /// Arguments before the model's directory and the numbers of prompt and decoding tokens.
    pub prefix: Vec<OsString>,
}

impl MemoryProbe {
    fn measure(&self, dir: &Path, protocol: SpeedProtocol) -> Result<Memory, RunError> {
        let mut arguments = self.prefix.clone();
        arguments.extend([dir.into(), protocol.prompt_tokens.to_string().into()]);
        arguments.push(protocol.decode_tokens.to_string().into());
        Ok(self.probe.measure(&arguments)?)
    }
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
    let windows =
        Windows::of(data.data.tokens.len(), seq_len, request.max_tokens).map_err(EvalError::from)?;
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
    let mut qualities =
        quality::measure(&subjects, &data.data, windows, |done| observer.advance(done as u64))?;
    observer.end();
    let scores = measure_tasks(&tasks, &subjects, observer.as_ref())?;
    for (quality, scores) in qualities.iter_mut().zip(scores) {
        quality.tasks = scores;
    }

    let protocol =
        SpeedProtocol::for_positions(max_positions).with_repeats(request.speed_repeats.unwrap_or(1));
    let speeds = match request.speed_repeats {
        Some(_) => {
            let rounds = (protocol.warmup + protocol.repeats) * subjects.len();
            observer.begin("measuring speed", rounds as u64);
            let speeds = speed::measure(&subjects, protocol, |n| observer.advance(n as u64))?;
            observer.end();
            speeds.into_iter().map(Some).collect()
        }
        None => vec![None; subjects.len()],
    };
    let dirs = std::iter::once(&request.model).chain(candidates.iter().map(|c| &c.dir));
    let memories = measure_memory(request, dirs, protocol, subjects.len(), observer.as_ref())?;

    let baseline_bytes = model.checkpoint().file_bytes();
    let mut entries = Vec::with_capacity(subjects.len());
    let measured = qualities.into_iter().zip(speeds).zip(memories);
    for (index, (subject, ((quality, speed), memory))) in subjects.iter().zip(measured).enumerate() {
        let made = index.checked_sub(1).map(|i| &candidates[i]);
        entries.push(Entry {
            name: subject.name.to_owned(),
            recipe: made.and_then(|c| c.recipe.clone()),
            checkpoint: made.map_or(&request.model, |c| &c.dir).display().to_string(),
            size: Size::of(subject.model, baseline_bytes)?,
            quality,
            speed,
            memory,
            compression: made.and_then(|c| c.compression.clone()),
        });
    }
    let baseline = entries.remove(0);
    let calibration = calibrated.zip(calibration.as_ref()).and_then(|(spec, text)| {
        crate::calibration::Calibration::of(text, spec, max_positions).ok().map(|c| c.source().clone())
    });
    Ok(Report {
        schema: report::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        machine: Machine::here(),
        protocol: Protocol {
            data: data.source(),
            calibration,
            speed: request.speed_repeats.map(|_| protocol),
            compute_dtype: "f32".to_owned(),
        },
        requirements: request.requirements.iter().map(|r| r.judge(&baseline, &entries)).collect(),
        baseline,
        candidates: entries,
        warnings,
    })
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

/// Puts every task to every model; the scores of each model by the tasks' names.
fn measure_tasks(
    tasks: &[Task],
    subjects: &[Subject<'_>],
    observer: &dyn Observer,
) -> Result<Vec<BTreeMap<String, TaskScore>>, RunError> {
    let mut scores = vec![BTreeMap::new(); subjects.len()];
    let items: usize = tasks.iter().map(Task::items).sum();
    if items == 0 {
        return Ok(scores);
    }
    observer.begin("measuring tasks", (items * subjects.len()) as u64);
    for (subject, scores) in subjects.iter().zip(&mut scores) {
        for task in tasks {
            let (score, _) = task.measure(*subject, &|done| observer.advance(done as u64))?;
            scores.insert(task.name().to_owned(), score);
        }
    }
    observer.end();
    Ok(scores)
}

/// Measures each directory in a process of its own, or nothing where that was not asked for.
fn measure_memory<'a>(
    request: &EvalRequest,
    dirs: impl Iterator<Item = &'a PathBuf>,
    protocol: SpeedProtocol,
    count: usize,
    observer: &dyn Observer,
) -> Result<Vec<Option<Memory>>, RunError> {
    let Some(probe) = &request.memory else { return Ok(vec![None; count]) };
    observer.begin("measuring memory", count as u64);
    let mut memories = Vec::with_capacity(count);
    for dir in dirs {
        memories.push(Some(probe.measure(dir, protocol)?));
        observer.advance(1);
    }
    observer.end();
    Ok(memories)
}

/// Writes `report.json`, `report.md` and `report.html` into a directory, each whole or not at all.
///
/// # Errors
/// [`RunError::File`], [`RunError::Page`].
pub fn write_report(report: &Report, out: &Path) -> Result<(), RunError> {
    let file = |name: &str| {
        let path = out.join(name);
        move |source: std::io::Error| RunError::File { path, source }
    };
    let value = serde_json::to_value(report).map_err(|e| file("report.json")(e.into()))?;
    let json = serde_json::to_string_pretty(&value).map_err(|e| file("report.json")(e.into()))?;
    let html = tenuis_report::render(&value).map_err(RunError::Page)?;
    for (name, text) in
        [("report.json", json + "\n"), ("report.md", report.to_markdown()), ("report.html", html)]
    {
        let path = out.join(name);
        let temporary = out.join(format!(".{name}.tmp"));
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|source| RunError::File { path, source })?;
    }
    Ok(())
}
