//! The main job: compress a model by every recipe, measure all beside the original, report.

mod business;
mod inputs;
mod measure;
mod robustness;
mod samples;
mod written;

pub use business::BusinessMetric;
pub(crate) use measure::resources;
pub use measure::{MeasureRequest, MemoryProbe, SpeedRequest, measure_only};
pub use robustness::RobustnessRequest;
pub use written::write_report;

use crate::compress::{CompressOptions, Workshop};
use crate::error::RunError;
use crate::observer::Observer;
use inputs::Inputs;
use samples::Samples;
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
    let inputs = Inputs::open(request, codecs, observer.as_ref())?;
    let workshop = Workshop::new(plugins, codecs, Arc::clone(observer), request.compress.clone());
    for loaded in &request.recipes {
        workshop.check(&inputs.model, loaded, inputs.calibration.as_ref())?;
    }
    let (candidates, calibrated) = candidates(request, &inputs, &workshop)?;
    let Inputs { model, data, calibration, tasks, windows, harder, business: of_baseline, others, warnings } =
        inputs;
    let mut models = candidates[..request.recipes.len()]
        .iter()
        .map(|c| Ok(Model::open(Arc::new(Checkpoint::open(&c.dir)?), codecs)?))
        .collect::<Result<Vec<Model>, RunError>>()?;
    models.extend(others.into_iter().map(|(_, other)| other));

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
            speed: request.measure.speed.is_some().then_some(measured.protocol),
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
    Ok(report)
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

/// Makes a candidate by every recipe, then names those that are there already; and how techniques were calibrated, where any was.
fn candidates(
    request: &EvalRequest,
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<(Vec<Made>, Option<CalibrationSpec>), RunError> {
    let mut candidates = Vec::with_capacity(request.recipes.len() + inputs.others.len());
    let mut calibrated = None;
    for loaded in &request.recipes {
        let target = request.out.join(&loaded.recipe.name);
        let made = workshop.compress(&inputs.model, loaded, inputs.calibration.as_ref(), &target)?;
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
    Ok((candidates, calibrated))
}
