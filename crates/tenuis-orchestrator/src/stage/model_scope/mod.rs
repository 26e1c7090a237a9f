//! A stage whose technique works on the whole checkpoint: it is given the student, a teacher, texts and a place for its
//! state, and what it hands back becomes the new checkpoint.

mod events;
mod inputs;
mod output;
mod statistics;

pub(crate) use inputs::{ModelInputs, check};
pub(crate) use statistics::wanted;

use super::StageJob;
use super::config::Outcome;
use crate::error::RunError;
use crate::workshop::Workshop;
use events::ModelEvents;
use output::NewCheckpoint;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, Layout, Weight, WriterOptions};
use tenuis_eval::Windows;
use tenuis_eval::quality::{Subject, TextData, measure};
use tenuis_eval::report::StageRecord;
use tenuis_host::{ModelCheckpoint, ModelInput, ModelOutput, TokenSource};
use tenuis_model::Model;

/// Tokens of a window that a candidate's loss is measured on, and the most windows.
const LOSS_WINDOW: (usize, usize) = (256, 64);

/// Runs the stage; the checkpoint appears at `job.target` when everything is written.
pub(crate) fn run(
    workshop: &Workshop<'_>,
    job: &StageJob<'_>,
    inputs: &ModelInputs,
    provenance: impl FnOnce(&StageRecord) -> Value,
) -> Result<StageRecord, RunError> {
    let model = Model::open(Arc::clone(job.input), workshop.codecs)?;
    let stage = &job.loaded.recipe.stages[job.index];
    let label = format!("{}: {}", job.loaded.recipe.name, job.technique.id());
    let options = Value::Object(stage.options.clone());
    let state_dir = job.state.to_owned();
    let events = ModelEvents::new(Arc::clone(&workshop.observer), &label, job.curves);
    let mut running =
        job.technique.start_model(&options, workshop.options.threads as u32, Arc::new(events))?;
    let student = Arc::new(view(&model)?);
    for weight in student.weights.values() {
        running.accepts(&weight.descriptor())?;
    }
    let teacher = Model::open(Arc::clone(&inputs.teacher), workshop.codecs)?;
    let new = NewCheckpoint { model: &model, student: &student, inputs: [job.input, job.source] };
    let loss = |output: &ModelOutput| candidate_loss(workshop, &new, output, inputs, &state_dir);
    let asked = running.statistics()?;
    let measured = statistics::measure(workshop, job, &model, asked, &state_dir)?;
    let mut input = ModelInput::new(Arc::clone(&student));
    input.statistics = measured.tensors.clone();
    input.teacher = Some(Arc::new(view(&teacher)?));
    input.train = inputs.train.as_ref().map(|tokens| tokens as &dyn TokenSource);
    input.valid = inputs.valid.as_ref().map(|tokens| tokens as &dyn TokenSource);
    input.state_dir = Some(state_dir.clone());
    input.eval_loss = inputs.valid.is_some().then_some(&loss);
    if let Some(needed) = running.estimate(&input)? {
        refuse_without_room(job, needed)?;
    }
    let output = running.run(input).map_err(|source| match source {
        tenuis_host::PluginError::Cancelled { .. } => RunError::Paused { state: state_dir.clone() },
        source => RunError::Technique {
            weight: job.loaded.recipe.name.clone(),
            technique: job.technique.id().to_owned(),
            source: Box::new(source),
        },
    })?;
    workshop.observer.end();

    let mut outcome = Outcome::new(job.technique);
    outcome.note_model(&output);
    outcome.note_calibration(measured.rows, measured.dropped, measured.warnings);
    let writer = WriterOptions::default().max_shard_bytes(workshop.options.max_shard_bytes).overwrite(true);
    let record = new.write(job.target, writer, workshop.codecs, &output, outcome, provenance)?;
    for warning in &record.warnings {
        workshop.observer.warn(&format!("{label}: {warning}"));
    }
    Ok(record)
}

/// A model as a plugin sees it; nothing is copied out of the mapped files.
fn view(model: &Model) -> Result<ModelCheckpoint, RunError> {
    let spec = model.spec();
    let layouts: BTreeMap<String, Layout> =
        spec.linears().chain([spec.lm_head.clone()]).map(|linear| (linear.name, linear.layout)).collect();
    let mut weights: BTreeMap<String, Weight> = BTreeMap::new();
    for (module, shape) in spec.tensors().into_iter().filter_map(|tensor| tensor.module) {
        let layout = layouts.get(&module).copied().unwrap_or(Layout::OutIn);
        let weight = model.matrix(&module, shape, layout)?;
        weights.insert(module, weight);
    }
    let described = serde_json::to_value(spec).unwrap_or_default();
    let mut view = ModelCheckpoint::from_checkpoint(model.checkpoint(), described, weights)?;
    view.hash = Some(model.checkpoint().hash().to_hex().to_string());
    Ok(view)
}

/// The mean negative log-likelihood of the validation tokens by a candidate, which is written and read as any checkpoint.
fn candidate_loss(
    workshop: &Workshop<'_>,
    new: &NewCheckpoint<'_>,
    output: &ModelOutput,
    inputs: &ModelInputs,
    state_dir: &Path,
) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
    let dir = state_dir.join("candidate");
    new.write_candidate(&dir, output)?;
    let loss = loss_of(&dir, workshop.codecs, inputs);
    fs::remove_dir_all(&dir)?;
    loss
}

fn loss_of(
    dir: &Path,
    codecs: &CodecRegistry,
    inputs: &ModelInputs,
) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
    let model = Model::open(Arc::new(Checkpoint::open(dir)?), codecs)?;
    let valid = inputs.valid.as_ref().ok_or("there are no validation tokens")?;
    let mut tokens = vec![0; valid.sequences() * valid.sequence_length()];
    valid.read(0, &mut tokens)?;
    let window = LOSS_WINDOW.0.min(tokens.len()).min(model.spec().max_positions);
    let windows = Windows::of(tokens.len(), window, Some(window * LOSS_WINDOW.1))?;
    let data = TextData { tokens, hash: String::new() };
    let quality = measure(&[Subject { name: "candidate", model: &model }], &data, windows, |_| {
        ControlFlow::Continue(())
    })?;
    Ok(quality.first().map_or(f64::NAN, |measured| measured.quality.perplexity.value.ln()))
}

/// Refuses a stage that would not fit into the memory that is free.
fn refuse_without_room(job: &StageJob<'_>, needed: u64) -> Result<(), RunError> {
    match tenuis_eval::memory::available() {
        Some(available) if needed > available => Err(RunError::TooLittleMemory {
            technique: job.technique.id().to_owned(),
            recipe: job.loaded.recipe.name.clone(),
            needed,
            available,
        }),
        _ => Ok(()),
    }
}
