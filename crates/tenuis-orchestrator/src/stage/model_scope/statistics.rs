//! What a model technique wants to know about the model's activations, measured in one pass over the calibration text.
//!
//! The pass holds one block, the hidden states and the statistics of that block; what is measured is written to a
//! checkpoint in the stage's state directory and mapped from there. Gram matrices of a whole model would not fit into
//! memory, and a run that was killed finds them again.

use super::super::StageJob;
use super::super::config::rank_warning;
use super::super::stream::Stream;
use crate::error::RunError;
use crate::workshop::Workshop;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CheckpointError, CheckpointWriter, DType, Tensor, TensorError, WriterOptions};
use tenuis_host::{NoEvents, Scope, Statistics, Technique};
use tenuis_linalg::{LayerStats, StatsNeeds};
use tenuis_model::Model;
use tenuis_recipe::LoadedRecipe;
use tenuis_spec::{InputGroup, Role};

/// What was measured.
#[derive(Default)]
pub(super) struct Measured {
    /// By the keys of the ABI.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Calibration rows behind them.
    pub(super) rows: u64,
    /// Batches that were dropped because an activation was not finite.
    pub(super) dropped: u64,
    /// What the reader of a report should know.
    pub(super) warnings: Vec<String>,
}

/// Asks a stage's technique what it wants to know, with the recipe's options.
///
/// # Errors
/// [`RunError::Recipe`] with the plugin's reason where it does not want these options.
pub(crate) fn wanted(
    loaded: &LoadedRecipe,
    index: usize,
    technique: &Technique,
) -> Result<Statistics, RunError> {
    if technique.scope() == Scope::Group {
        return Ok(Statistics::default());
    }
    let options = Value::Object(loaded.recipe.stages[index].options.clone());
    let ask = || technique.start_model(&options, 1, Arc::new(NoEvents))?.statistics();
    ask().map_err(|e| loaded.origin.error(&format!("/stages/{index}/options"), e.to_string()).into())
}

/// Measures what is wanted, or finds what an earlier run of the same stage measured.
pub(super) fn measure(
    workshop: &Workshop<'_>,
    job: &StageJob<'_>,
    model: &Model,
    wanted: Statistics,
    state_dir: &Path,
) -> Result<Measured, RunError> {
    let (true, Some(calibration)) = (wanted.any(), job.calibration) else { return Ok(Measured::default()) };
    let dir = state_dir.join("statistics");
    if let Some(found) = read(&dir) {
        return Ok(found);
    }
    let mut stream = Stream::start(model, calibration)?;
    let mut writer = CheckpointWriter::create(
        &dir,
        &[job.input.dir(), job.source.dir()],
        WriterOptions::default().overwrite(true),
    )?;
    let n_blocks = model.spec().layers.len();
    let label = format!("{}: statistics", job.loaded.recipe.name);
    workshop.observer.begin(&label, n_blocks as u64);
    let (mut similarity, mut warnings) = (Vec::with_capacity(n_blocks), Vec::new());
    for index in 0..n_blocks {
        if workshop.observer.cancelled() {
            return Err(RunError::Cancelled);
        }
        let block = model.load_block(index)?;
        let groups = block.spec().groups();
        let needs: Vec<StatsNeeds> = groups.iter().map(|group| needs_of(wanted, group)).collect();
        let (stats, cosine) = stream.observe(&block, index, &groups, &needs)?;
        similarity.push(cosine as f32);
        for (group, stats) in groups.iter().zip(stats) {
            let Some(first) = group.linears.first() else { continue };
            warnings.extend(rank_warning(&first.name, &stats));
            put(&mut writer, &first.name, &stats, stream.rows()).map_err(
                |(tensor, source)| match source {
                    PutError::Tensor(source) => RunError::Tensor { tensor, source },
                    PutError::Write(source) => source.into(),
                },
            )?;
        }
        model.release_block(index);
        workshop.observer.advance(1);
    }
    workshop.observer.end();
    let whole = |key: &str, tensor: Result<Tensor, TensorError>| {
        tensor.map_err(|source| RunError::Tensor { tensor: key.to_owned(), source })
    };
    if wanted.block_similarity() {
        let key = "block_similarity";
        writer.put(key, &whole(key, Tensor::from_f32(DType::F32, vec![n_blocks], &similarity))?)?;
    }
    let rows = Tensor::from_vec(DType::I64, vec![1], vec![stream.rows() as i64]);
    writer.put("rows", &whole("rows", rows)?)?;
    let about = json!({ "rows": stream.rows(), "dropped": stream.dropped(), "warnings": warnings });
    writer.finish(&json!({}), about)?;
    let tensors = tensors(&Checkpoint::open(&dir)?)?;
    Ok(Measured { tensors, rows: stream.rows(), dropped: stream.dropped(), warnings })
}

fn needs_of(wanted: Statistics, group: &InputGroup) -> StatsNeeds {
    let hessian = match group.linears.last().map(|linear| linear.role) {
        Some(Role::O) => wanted.gram_attention(),
        Some(Role::Down | Role::Fc2) => wanted.gram_feed_forward(),
        _ => false,
    };
    let hessian = hessian || wanted.gram_inputs();
    StatsNeeds { hessian, moments: wanted.moments() }
}

enum PutError {
    Tensor(TensorError),
    Write(CheckpointError),
}

fn put(
    writer: &mut CheckpointWriter,
    module: &str,
    stats: &LayerStats,
    all_rows: u64,
) -> Result<(), (String, PutError)> {
    let n = stats.features();
    if stats.rows() != all_rows {
        let key = format!("rows/{module}");
        let rows = Tensor::from_vec(DType::I64, vec![1], vec![stats.rows() as i64]);
        let rows = rows.map_err(|e| (key.clone(), PutError::Tensor(e)))?;
        writer.put(&key, &rows).map_err(|e| (key, PutError::Write(e)))?;
    }
    let mut put = |key: String, shape: Vec<usize>, values: &[f32]| {
        let tensor = Tensor::from_f32(DType::F32, shape, values);
        let tensor = tensor.map_err(|e| (key.clone(), PutError::Tensor(e)))?;
        writer.put(&key, &tensor).map_err(|e| (key, PutError::Write(e)))
    };
    if let Some(moments) = stats.moments() {
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let (abs, squares) = (narrow(moments.sum_abs()), narrow(moments.sum_squares()));
        let rows = [&abs[..], &squares, moments.max_abs(), &narrow(moments.sum())].concat();
        put(format!("moments/{module}"), vec![4, n], &rows)?;
    }
    if let Some(gram) = stats.gram() {
        put(format!("gram/{module}"), vec![n, n], gram.view().values())?;
    }
    Ok(())
}

/// What a finished pass left; anything else does not count.
fn read(dir: &Path) -> Option<Measured> {
    let checkpoint = Checkpoint::open(dir).ok()?;
    let about = checkpoint.manifest()?.provenance.clone();
    checkpoint.verify().ok()?;
    Some(Measured {
        tensors: tensors(&checkpoint).ok()?,
        rows: about.get("rows")?.as_u64()?,
        dropped: about.get("dropped")?.as_u64()?,
        warnings: serde_json::from_value(about.get("warnings")?.clone()).ok()?,
    })
}

fn tensors(checkpoint: &Checkpoint) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    checkpoint.names().map(|name| Ok((name.to_owned(), checkpoint.tensor(name)?))).collect()
}
