//! One stage: a technique applied to every target of a checkpoint, block by block, into a new checkpoint.
//!
//! Only one block is in memory at a time, beside the hidden states of the calibration batches and the statistics of
//! that block's inputs. The compressed block is run again to feed the next, so that every block is calibrated on what
//! it will see.

mod config;
mod fold;
mod forms;
mod group;
pub(crate) mod model_scope;
mod rest;
mod stream;

use crate::calibration::Calibration;
use crate::compress::Workshop;
use crate::error::RunError;
use crate::recipe::{LoadedRecipe, ResolvedTargets};
use crate::round_trip::Witness;
use config::Outcome;
pub(crate) use config::has_folded;
use fold::{Changed, Vectors};
pub(crate) use forms::Forms;
use group::{GroupRun, GroupTask};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use stream::Stream;
use tenuis_core::{Checkpoint, CheckpointWriter, WriterOptions};
use tenuis_eval::report::StageRecord;
use tenuis_host::{Capabilities, HostEvents, Technique};
use tenuis_linalg::StatsNeeds;
use tenuis_model::{Block, Model};
use tenuis_spec::{InputGroup, LayerSpec};

/// What a stage works on.
pub(crate) struct StageJob<'a> {
    pub(crate) loaded: &'a LoadedRecipe,
    /// The stage's position in the recipe.
    pub(crate) index: usize,
    pub(crate) technique: &'a Technique,
    /// The output of the stage before, or the model as it was given.
    pub(crate) input: &'a Arc<Checkpoint>,
    /// The model as it was given.
    pub(crate) source: &'a Arc<Checkpoint>,
    /// What "the original weight" means: the model as it was given or, behind a stage that made another network of it,
    /// what that stage made.
    pub(crate) reference: &'a Arc<Checkpoint>,
    pub(crate) calibration: Option<&'a Calibration>,
    pub(crate) target: &'a Path,
}

/// Whether a technique needs the model to be run on calibration text.
pub(crate) fn needs_data(capabilities: Capabilities) -> bool {
    capabilities.needs_hessian()
        || capabilities.needs_moments()
        || capabilities.needs_inputs()
        || capabilities.needs_out_loss()
}

/// Checks a stage's targets against the model: that each pattern matches something, that blocks exist, that the head
/// is not an alias. Whether the technique takes the weights in the form they have is asked by [`Forms`].
pub(crate) fn check_targets(
    model: &Model,
    loaded: &LoadedRecipe,
    index: usize,
    technique: &Technique,
) -> Result<ResolvedTargets, RunError> {
    let spec = model.spec();
    let stage = &loaded.recipe.stages[index];
    let targets = stage.targets.resolve(&loaded.origin, index, spec.layers.len())?;
    let mut names: Vec<String> = spec.linears().map(|l| l.name).collect();
    if technique.capabilities().any_tensor() {
        names.extend(model.checkpoint().names().map(str::to_owned));
    }
    if let Some(pattern) = targets.unmatched(&names) {
        let examples = names.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(", ");
        let pointer = format!("/stages/{index}/targets/include/{pattern}");
        let problem =
            format!("{:?} matches no weight; names look like {examples}", stage.targets.include[pattern]);
        return Err(loaded.origin.error(&pointer, problem).into());
    }
    if targets.head && spec.tied {
        let problem = format!(
            "the head is the embedding {} itself (tied); compressing one would change the other",
            spec.embedding.name
        );
        return Err(loaded.origin.error(&format!("/stages/{index}/targets/head"), problem).into());
    }
    Ok(targets)
}

/// Passes the wish to stop on to the plugin.
struct Events(Arc<dyn crate::Observer>);

impl HostEvents for Events {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Runs a stage; the checkpoint appears at `job.target` when everything is written.
pub(crate) fn run(
    workshop: &Workshop<'_>,
    job: &StageJob<'_>,
    provenance: impl FnOnce(&StageRecord) -> Value,
) -> Result<StageRecord, RunError> {
    let model = Model::open(Arc::clone(job.input), workshop.codecs)?;
    let original = (!Arc::ptr_eq(job.input, job.reference))
        .then(|| Model::open(Arc::clone(job.reference), workshop.codecs))
        .transpose()?;
    let targets = check_targets(&model, job.loaded, job.index, job.technique)?;
    Forms::stored(&model, workshop.codecs)?.pass(job.loaded, job.index, job.technique, Some(&targets))?;
    let stage = &job.loaded.recipe.stages[job.index];
    let capabilities = job.technique.capabilities();
    let options = Value::Object(stage.options.clone());
    let events = Arc::new(Events(Arc::clone(&workshop.observer)));
    let technique = job.technique.start(&options, workshop.options.threads as u32, events)?;

    let writer_options = WriterOptions::default()
        .max_shard_bytes(workshop.options.max_shard_bytes)
        .overwrite(true)
        .expected_bytes(job.input.tensor_bytes());
    let inputs = [job.input.location(), job.source.location()];
    let mut writer = CheckpointWriter::create(job.target, &inputs, writer_options)?;

    let n_blocks = model.spec().layers.len();
    let mut outcome = Outcome::new(job.technique);
    let mut stream = match job.calibration.filter(|_| needs_data(capabilities)) {
        Some(calibration) => Some(Stream::start(&model, calibration)?),
        None => None,
    };
    let mut run = GroupRun {
        workshop,
        job,
        technique,
        capabilities,
        outcome: &mut outcome,
        n_blocks,
        changed: Changed::new(),
    };
    let label = format!("{}: {}", job.loaded.recipe.name, job.technique.id());
    let mut witness = Witness::start(&model)?;
    workshop.observer.begin(&label, n_blocks as u64 + 1);
    for index in 0..n_blocks {
        if workshop.observer.cancelled() {
            return Err(RunError::Cancelled);
        }
        let mut block = model.load_block(index)?;
        let source = original.as_ref().map(|m| m.load_block(index)).transpose()?;
        compress_block(
            &mut run,
            &mut block,
            index,
            source.as_ref(),
            &targets,
            stage.true_sequential,
            &mut stream,
        )?;
        for linear in block.spec().linears() {
            if let Some(weight) = block.weight(&linear.name) {
                writer.put_weight(&linear.name, weight.as_ref())?;
                run.outcome.keep(&linear.name, weight);
            }
        }
        witness.advance(&block)?;
        model.release_block(index);
        if let Some(original) = &original {
            original.release_block(index);
        }
        workshop.observer.advance(1);
    }
    rest::write(&mut run, &model, original.as_ref(), &targets, stream.as_ref(), &mut writer)?;
    workshop.observer.advance(1);
    workshop.observer.end();

    let config = outcome.config(job.input.config(), model.spec())?;
    writer.copy_side_files(job.input)?;
    let record = outcome.into_record();
    let provenance = provenance(&record);
    let sealed = writer.seal(&config, provenance)?;
    witness.check(sealed.dir(), workshop.codecs, capabilities.any_tensor())?;
    sealed.commit()?;
    for warning in &record.warnings {
        workshop.observer.warn(&format!("{label}: {warning}"));
    }
    Ok(record)
}

/// Gives the targeted groups of a block to the technique, in true-sequential order, and moves the calibration on.
fn compress_block(
    run: &mut GroupRun<'_, '_>,
    block: &mut Block,
    index: usize,
    original: Option<&Block>,
    targets: &ResolvedTargets,
    true_sequential: bool,
    stream: &mut Option<Stream>,
) -> Result<(), RunError> {
    let groups = block.spec().groups();
    let chosen: Vec<(usize, Vec<_>)> = groups
        .iter()
        .enumerate()
        .map(|(g, group)| {
            (g, group.linears.iter().filter(|l| targets.in_block(index, &l.name)).cloned().collect())
        })
        .filter(|(_, linears): &(usize, Vec<_>)| !linears.is_empty())
        .collect();
    let needs =
        StatsNeeds { hessian: run.capabilities.needs_hessian(), moments: run.capabilities.needs_moments() };
    let rounds: Vec<&[(usize, Vec<_>)]> = match (stream.is_some(), true_sequential) {
        (true, true) => rounds(block.spec(), &groups, &chosen),
        _ => vec![&chosen[..]],
    };
    for round in rounds {
        let wanted: Vec<usize> = round.iter().map(|(g, _)| *g).collect();
        let mut statistics = match stream {
            Some(stream) => stream.collect(block, index, &groups, &wanted, needs)?,
            None => Vec::new(),
        };
        for (position, (group, linears)) in round.iter().enumerate() {
            // Each set of statistics is dropped as soon as its group is done: a Hessian may be half a gigabyte.
            let stats = statistics.get_mut(position).and_then(Option::take);
            let task = GroupTask { block_index: index, group: *group, linears, stats };
            let Some(made) = run.group(block, original, &task, stream.as_ref())? else { continue };
            let mut vectors = Vectors { checkpoint: run.job.input, changed: &mut run.changed };
            let placed = fold::place(block, &groups[*group], made, &mut vectors)?;
            run.outcome.note_scales(&linears[0].name, placed);
        }
    }
    if let Some(stream) = stream {
        stream.advance(block)?;
    }
    Ok(())
}

/// Bytes of statistics that are gathered at a time for inputs that do not depend on each other: those of many experts.
const STATISTICS_AT_ONCE: usize = 1 << 30;

/// The chosen groups, cut where one depends on the weights of those before it and where statistics would get too large.
fn rounds<'c, T>(
    layer: &LayerSpec,
    groups: &[InputGroup],
    chosen: &'c [(usize, T)],
) -> Vec<&'c [(usize, T)]> {
    let of = layer.rounds();
    let round = |group: usize| of.iter().position(|round| round.contains(&group));
    let together = |a: &(usize, T), b: &(usize, T)| round(a.0) == round(b.0);
    let mut cut = Vec::new();
    for same in chosen.chunk_by(together) {
        let hessian = same.first().map_or(1, |(group, _)| 4 * groups[*group].in_features().pow(2));
        cut.extend(same.chunks((STATISTICS_AT_ONCE / hessian.max(1)).max(1)));
    }
    cut
}
