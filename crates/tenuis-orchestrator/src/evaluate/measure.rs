//! Tasks of models side by side, and measurements without any text.

use super::samples::ModelSamples;
use crate::error::RunError;
use crate::observer::Observer;
use crate::resources::{MeasureRequest, resources};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::quality::Subject;
use tenuis_eval::report::{MEASUREMENT_SCHEMA, Machine, MeasuredModel, Measurement};
use tenuis_eval::tasks::{Task, TaskScore};
use tenuis_model::Model;

/// Puts every task to a model; the scores by the tasks' names.
pub(super) fn tasks(
    tasks: &[Task],
    subject: Subject<'_>,
    samples: &mut ModelSamples<'_>,
    observer: &dyn Observer,
) -> Result<BTreeMap<String, TaskScore>, RunError> {
    let mut scores = BTreeMap::new();
    let items: usize = tasks.iter().map(Task::items).sum();
    if items == 0 {
        return Ok(scores);
    }
    observer.begin(&format!("measuring tasks: {}", subject.name), items as u64);
    for task in tasks {
        if observer.cancelled() {
            return Err(RunError::Cancelled);
        }
        let (score, items) = task.measure(subject, &|done| observer.advance(done as u64))?;
        samples.add(task.name(), &items, task.statistic(&items)?);
        scores.insert(task.name().to_owned(), score);
    }
    observer.end();
    Ok(scores)
}

/// Measures speed and memory alone, as is done on the device that models are for.
///
/// # Errors
/// [`RunError`] where a model cannot be opened or measured.
pub fn measure_only(
    target: &str,
    models: &[PathBuf],
    request: &MeasureRequest,
    codecs: &CodecRegistry,
    observer: &Arc<dyn Observer>,
) -> Result<Measurement, RunError> {
    let opened = models
        .iter()
        .map(|dir| Ok(Model::open(Arc::new(Checkpoint::open(dir)?), codecs)?))
        .collect::<Result<Vec<Model>, RunError>>()?;
    let names: Vec<String> = models.iter().map(|dir| super::inputs::name_of(dir)).collect();
    let subjects: Vec<Subject<'_>> =
        names.iter().zip(&opened).map(|(name, model)| Subject { name, model }).collect();
    let dirs: Vec<&Path> = models.iter().map(PathBuf::as_path).collect();
    let request =
        MeasureRequest { speed: Some(request.speed.clone().unwrap_or_default()), ..request.clone() };
    let measured = resources(&request, &subjects, &dirs, observer.as_ref())?;
    let mut machine = Machine::here();
    machine.noise = measured.noise;
    let found = subjects.iter().zip(&dirs).zip(measured.speeds.into_iter().zip(measured.memories));
    let models = found.filter_map(|((subject, dir), (speed, memory))| {
        let checkpoint = subject.model.checkpoint();
        Some(MeasuredModel {
            name: subject.name.to_owned(),
            checkpoint: dir.display().to_string(),
            fingerprint: checkpoint.hash().to_hex().to_string(),
            bytes: checkpoint.file_bytes(),
            speed: speed?,
            memory,
        })
    });
    Ok(Measurement {
        schema: MEASUREMENT_SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix: super::now(),
        target: target.to_owned(),
        machine,
        protocol: measured.protocol,
        models: models.collect(),
    })
}
