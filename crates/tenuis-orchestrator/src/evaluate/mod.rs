//! The main job: compress a model by every recipe, measure all beside the original, report.

mod business;
mod inputs;
mod measure;
mod robustness;
mod samples;
mod written;

pub use business::BusinessMetric;
pub use measure::measure_only;
pub use robustness::RobustnessRequest;
pub use written::write_report;

use crate::error::RunError;
use crate::gate::Gatekeeper;
use crate::lock::OutputLock;
use crate::log::RunLog;
use crate::observer::Observer;
use crate::resources::{MeasureRequest, resources};
use crate::search::{self, SearchRequest, Searcher};
use crate::store::StageStore;
use crate::workshop::{CompressOptions, Workshop};
use inputs::Inputs;
use samples::Samples;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::quality::{self, COMPUTE_DTYPE, Quality, Subject};
use tenuis_eval::report::{self, Compression, Entry, Figures, Items, Machine, Protocol, Report, Requirement};
use tenuis_eval::size::Size;
use tenuis_eval::{Prices, Weights};
use tenuis_host::PluginRegistry;
use tenuis_model::Model;
use tenuis_plan::ledger::Status;
use tenuis_preflight::{Evaluation, Plan, Probe};
use tenuis_recipe::{CalibrationSpec, LoadedRecipe};

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
    /// The text that gates and searches choose by; by default the first half of `data`, of which then only the second is
    /// reported on.
    pub select: Option<PathBuf>,
    /// What to search for, beside the recipes.
    pub search: Option<SearchRequest>,
    /// The most bytes that outputs of stages may take when the run is over.
    pub cache_limit: u64,
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

/// The directory of stages' outputs within that of a report.
pub const STAGES: &str = ".stages";

impl EvalRequest {
    /// Whether something is chosen by what is measured, so that it has to be judged by something else.
    fn chooses(&self) -> bool {
        let gated = |loaded: &LoadedRecipe| {
            let recipe = &loaded.recipe;
            !recipe.gates.is_empty() || recipe.stages.iter().any(|stage| !stage.gates.is_empty())
        };
        self.search.is_some() || self.recipes.iter().any(gated)
    }

    /// How speed is measured: with the lengths of the scenario that is searched for, as far as the model has positions for
    /// them and nothing else was asked for.
    fn lengths(&self, model: &Model) -> MeasureRequest {
        let mut measure = self.measure.clone();
        if let (Some(search), Some(speed)) = (&self.search, &mut measure.speed) {
            let (prompt, output) = (search.scenario.prompt_tokens, search.scenario.output_tokens);
            let fits = prompt + output <= model.spec().max_positions;
            speed.lengths = speed.lengths.or(fits.then_some((prompt, output)));
        }
        measure
    }

    /// What the ledger says of the run.
    fn details(&self) -> BTreeMap<String, String> {
        let recipes: Vec<&str> = self.recipes.iter().map(|loaded| loaded.recipe.name.as_str()).collect();
        let mut details = BTreeMap::from([
            ("command".to_owned(), "eval".to_owned()),
            ("model".to_owned(), self.model.display().to_string()),
            ("data".to_owned(), self.data.display().to_string()),
            ("recipes".to_owned(), recipes.join(", ")),
        ]);
        if let Some(search) = &self.search {
            details.insert("scenario".to_owned(), search.scenario.name.clone());
            details.insert("searched".to_owned(), search.template.recipe.name.clone());
        }
        details
    }
}

/// Compresses, measures and reports.
///
/// All recipes, plugins, texts, tasks and the model are checked before any work begins. What happens is written to the
/// ledger beside the report, and another run on the same directory is refused meanwhile.
///
/// # Errors
/// [`RunError`]; candidates that were finished before the failure remain and are reused by the next run.
pub fn evaluate(
    request: &EvalRequest,
    plugins: &PluginRegistry,
    codecs: &CodecRegistry,
    observer: &Arc<dyn Observer>,
) -> Result<Report, RunError> {
    let _lock = OutputLock::take(&request.out)?;
    let mut log = RunLog::default();
    let report = run(request, plugins, codecs, observer, &mut log);
    match &report {
        Ok(report) => log.end(Status::Finished, summary(report))?,
        Err(error) => {
            let status = if error.is_cancelled() { Status::Interrupted } else { Status::Failed };
            log.end(status, BTreeMap::from([("error".to_owned(), error.to_string())]))?;
        }
    }
    report
}

/// What a run came to, in the ledger.
fn summary(report: &Report) -> BTreeMap<String, String> {
    let names: Vec<&str> = report.candidates.iter().map(|entry| entry.name.as_str()).collect();
    let mut summary = BTreeMap::from([("candidates".to_owned(), names.join(", "))]);
    if let Some(best) = report.search.as_ref().and_then(|search| search.best.as_ref()) {
        summary.insert("answer".to_owned(), best.name.clone());
    }
    summary
}

/// What every recipe of a request will take, by its name, and what this machine can do: nothing is compressed or measured but
/// the machine itself, for two seconds.
///
/// # Errors
/// As [`evaluate`], which checks the same before its work begins.
pub fn dry_run(
    request: &EvalRequest,
    plugins: &PluginRegistry,
    codecs: &CodecRegistry,
    observer: &Arc<dyn Observer>,
) -> Result<(Probe, Vec<(String, Plan)>), RunError> {
    let inputs = Inputs::open(request, codecs, observer.as_ref())?;
    let workshop = Workshop::new(plugins, codecs, Arc::clone(observer), request.compress.clone());
    observer.begin("probing this machine", 0);
    let probe = Probe::run(&request.out)?;
    observer.end();
    let evaluation = Evaluation {
        tokens: inputs.windows.tokens() as u64,
        seq_len: inputs.windows.seq_len() as u64,
        models: 2,
    };
    let plan = |loaded: &LoadedRecipe| {
        let plan = workshop.plan(
            &inputs.model,
            loaded,
            inputs.calibration.as_ref(),
            Some(evaluation),
            Some(&probe),
        )?;
        Ok((loaded.recipe.name.clone(), plan))
    };
    let plans: Vec<(String, Plan)> = request.recipes.iter().map(plan).collect::<Result<_, RunError>>()?;
    Ok((probe, plans))
}

/// The run itself; its ledger begins when everything was checked.
fn run(
    request: &EvalRequest,
    plugins: &PluginRegistry,
    codecs: &CodecRegistry,
    observer: &Arc<dyn Observer>,
    log: &mut RunLog,
) -> Result<Report, RunError> {
    let inputs = Inputs::open(request, codecs, observer.as_ref())?;
    let measure = request.lengths(&inputs.model);
    let mut options = request.compress.clone();
    let store = options.store.get_or_insert_with(|| StageStore::at(request.out.join(STAGES))).clone();
    let gates = inputs.selection.as_ref().map(|(text, windows)| {
        Gatekeeper::new(&inputs.model, text, *windows, &inputs.tasks, measure.clone())
    });
    let workshop = Workshop::new(plugins, codecs, Arc::clone(observer), options).with_gates(gates.as_ref());
    for loaded in &request.recipes {
        workshop.check(&inputs.model, loaded, inputs.calibration.as_ref())?;
        workshop.refuse_without_room(&inputs.model, loaded, inputs.calibration.as_ref(), &request.out)?;
    }
    *log = RunLog::begin(&request.out, request.details())?;
    let log = &*log;
    let workshop = workshop.with_log(log.clone());
    let searched = match (&request.search, &gates) {
        (Some(search), Some(gates)) => {
            let searcher = Searcher {
                workshop: &workshop,
                model: &inputs.model,
                calibration: inputs.calibration.as_ref(),
                gates,
                store: &store,
                out: &request.out,
            };
            Some(searcher.run(search)?)
        }
        _ => None,
    };
    let finalists = searched.as_ref().map(|searched| searched.finalists.as_slice()).unwrap_or_default();
    let (candidates, failed, calibrated) = candidates(request, finalists, &inputs, &workshop)?;
    store.collect(request.cache_limit, &BTreeSet::new())?;
    drop(workshop);
    drop(gates);
    let Inputs {
        model,
        data,
        selection: _,
        calibration,
        tasks,
        windows,
        harder,
        business: of_baseline,
        others,
        mut warnings,
    } = inputs;
    warnings.extend(failed);
    let made = candidates.len() - others.len();
    let mut models = candidates[..made]
        .iter()
        .map(|c| Ok(Model::open(Arc::new(Checkpoint::open(&c.dir)?), codecs)?))
        .collect::<Result<Vec<Model>, RunError>>()?;
    models.extend(others.into_iter().map(|(_, other)| other));

    let mut subjects = vec![Subject { name: "baseline", model: &model }];
    let names = candidates.iter().map(|c| c.name.as_str());
    subjects.extend(names.zip(&models).map(|(name, model)| Subject { name, model }));
    observer.begin("measuring quality", windows.count() as u64);
    let measured = quality::measure(&subjects, &data.data, windows, |done| observer.step(done))?;
    observer.end();
    let (mut qualities, window_scores): (Vec<Quality>, Vec<_>) =
        measured.into_iter().map(|measured| (measured.quality, measured.windows)).unzip();
    let mut samples = Samples::new(&window_scores);
    for ((subject, quality), samples) in subjects.iter().zip(&mut qualities).zip(samples.each()) {
        quality.tasks = measure::tasks(&tasks, *subject, samples, observer.as_ref())?;
    }
    let found = robustness::measure(&subjects, &harder, observer.as_ref())?;
    for ((quality, samples), (found, windows)) in qualities.iter_mut().zip(samples.each()).zip(found) {
        quality.robustness = found;
        samples.robustness(windows);
    }
    let dirs: Vec<&Path> =
        std::iter::once(request.model.as_path()).chain(candidates.iter().map(|c| c.dir.as_path())).collect();
    qualities[0].business = of_baseline;
    for (quality, dir) in qualities.iter_mut().zip(&dirs).skip(1) {
        quality.business = business::measure(&request.business, dir)?;
    }

    let measured = resources(&measure, &subjects, &dirs, observer.as_ref())?;
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
        let max_positions = model.spec().max_positions;
        crate::calibration::Calibration::of(text, spec, max_positions).ok().map(|c| c.source().clone())
    });
    let mut report = Report {
        schema: report::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix: now(),
        machine,
        protocol: Protocol {
            data: data.source(),
            calibration,
            speed: measure.speed.is_some().then_some(measured.protocol),
            compute_dtype: COMPUTE_DTYPE.to_owned(),
        },
        requirements: request.requirements.iter().map(|r| r.judge(&baseline, &entries)).collect(),
        baseline,
        candidates: entries,
        curves: Vec::new(),
        bought: Vec::new(),
        search: None,
        elsewhere: Vec::new(),
        warnings,
    };
    report.recompute();
    if let Some(searched) = &searched
        && let Some(answer) = search::conclude(searched, &mut report)?
    {
        place_answer(request, &answer)?;
    }
    for entry in std::iter::once(&report.baseline).chain(&report.candidates) {
        for (name, unit) in LOGGED {
            if let Some(value) = report::figure(entry, name) {
                log.metric(&entry.name, name, value, None, unit)?;
            }
        }
    }
    Ok(report)
}

/// The figures that go into the ledger, with their units.
const LOGGED: [(&str, &str); 7] = [
    ("bytes", "B"),
    ("perplexity", ""),
    ("kl_mean", "nat"),
    ("params", ""),
    ("decode_tokens_per_s", "1/s"),
    ("latency_p50_ms", "ms"),
    ("peak_memory", "B"),
];

/// Puts the answer of a search where the best candidate so far was.
fn place_answer(request: &EvalRequest, answer: &str) -> Result<(), RunError> {
    let checkpoint = Checkpoint::open(&request.out.join(answer))?;
    let provenance = checkpoint.manifest().map(|manifest| manifest.provenance.clone()).unwrap_or_default();
    tenuis_core::link_checkpoint(&checkpoint, &request.out.join(search::BEST), provenance)?;
    Ok(())
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

/// What was made, what of it failed, and how techniques were calibrated, where any was.
type Candidates = (Vec<Made>, Vec<String>, Option<CalibrationSpec>);

/// Makes a candidate by every recipe and every finalist of a search, then names those that are there already.
fn candidates(
    request: &EvalRequest,
    finalists: &[LoadedRecipe],
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<Candidates, RunError> {
    let mut candidates = Vec::with_capacity(request.recipes.len() + finalists.len() + inputs.others.len());
    let (mut calibrated, mut failed) = (None, Vec::new());
    for loaded in request.recipes.iter().chain(finalists) {
        let target = request.out.join(&loaded.recipe.name);
        let made = match workshop.compress(&inputs.model, loaded, inputs.calibration.as_ref(), &target) {
            Ok(made) => made,
            // Gates that left nothing are an answer, too, and not one about the other recipes.
            Err(error @ RunError::NothingPassed { .. }) => {
                failed.push(error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
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
    let others = inputs.others.iter().zip(&request.others);
    candidates.extend(others.map(|((name, _), dir)| Made {
        name: name.clone(),
        recipe: None,
        dir: dir.clone(),
        compression: None,
    }));
    Ok((candidates, failed, calibrated))
}
