//! One stage: a technique applied to every target of a checkpoint, block by block, into a new checkpoint.
//!
//! Only one block is in memory at a time, beside the hidden states of the calibration batches and the statistics of
//! that block's inputs. The compressed block is run again to feed the next, so that every block is calibrated on what
//! it will see.

mod config;
mod fold;
mod forms;
mod group;
mod layer_gate;
pub(crate) mod model_scope;
pub(crate) mod output_error;
mod rest;
mod resume;
mod stream;
pub(crate) mod trial;
mod walk;

use crate::calibration::Calibration;
use crate::error::RunError;
use crate::observer::Observer;
use crate::round_trip::Witness;
use crate::workshop::Workshop;
pub(crate) use config::has_folded;
use config::{Kept, Outcome};
use fold::{Changed, Vectors};
pub(crate) use forms::Forms;
use group::{GroupRun, GroupTask};
pub(crate) use layer_gate::check as check_layer_gates;
use resume::Progress;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use stream::Stream;
use tenuis_core::{Checkpoint, CheckpointWriter, Weight, WriterOptions};
use tenuis_eval::report::StageRecord;
use tenuis_host::{Capabilities, HostEvents, PluginError, Technique};
use tenuis_linalg::StatsNeeds;
use tenuis_model::{Block, Model};
use tenuis_recipe::{LoadedRecipe, ResolvedTargets};
use tenuis_spec::{InputGroup, LayerSpec, LinearSpec};
pub(crate) use walk::walk;

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
    /// Where it keeps what it needs to go on after it was killed.
    pub(crate) state: &'a Path,
    /// Where the curves of a technique that trains are written.
    pub(crate) curves: &'a Path,
    /// More careful techniques for groups that do not meet the stage's layer gates.
    pub(crate) rungs: &'a [LayerRung],
}

/// A technique that is tried where the stage's own did not meet its layer gates.
pub(crate) struct LayerRung {
    pub(crate) name: String,
    pub(crate) technique: Technique,
    pub(crate) options: Value,
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
struct Events(Arc<dyn Observer>);

impl HostEvents for Events {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Runs stages side by side (see [`walk`]); the checkpoint appears at their target when everything is written. All have
/// the same input, calibration and target, and their records come back in their order.
pub(crate) fn run(
    workshop: &Workshop<'_>,
    jobs: &[StageJob<'_>],
    provenance: impl FnOnce(&[StageRecord]) -> Value,
) -> Result<Vec<StageRecord>, RunError> {
    let Some(job) = jobs.first() else { return Ok(Vec::new()) };
    let model = Model::open(Arc::clone(job.input), workshop.codecs)?;
    let original = (!Arc::ptr_eq(job.input, job.reference))
        .then(|| Model::open(Arc::clone(job.reference), workshop.codecs))
        .transpose()?;
    let n_blocks = model.spec().layers.len();
    let mut runs = Vec::with_capacity(jobs.len());
    for job in jobs {
        runs.push(start(workshop, job, &model)?);
    }

    let writer_options = WriterOptions::default()
        .max_shard_bytes(workshop.options.max_shard_bytes)
        .overwrite(true)
        .expected_bytes(job.input.tensor_bytes());
    let inputs = [job.input.location(), job.source.location()];
    let mut writer = CheckpointWriter::create(job.target, &inputs, writer_options)?;
    let looks = runs.iter().any(|run| run.is_gated() || run.any(|capabilities| needs_data(*capabilities)));
    let mut stream = match job.calibration.filter(|_| looks) {
        Some(calibration) => Some(Stream::start(&model, calibration)?),
        None => None,
    };
    let mut kept = Kept::default();
    // Blocks are kept where making them takes longer than writing them: where activations are looked at.
    let mut progress = match &stream {
        Some(_) => Some(Progress::open(job.state.to_owned(), workshop.options.save_every)?),
        None => None,
    };
    let mut changed = match &progress {
        Some(progress) => progress.changed()?,
        None => Changed::new(),
    };
    let finished = progress.as_ref().map_or(0, Progress::finished);
    if let Some(records) = progress.as_ref().and_then(Progress::records) {
        for (run, record) in runs.iter_mut().zip(records) {
            run.outcome = Outcome::resumed(record.clone());
        }
    }
    let ids: Vec<&str> = jobs.iter().map(|job| job.technique.id()).collect();
    let label = format!("{}: {}", job.loaded.recipe.name, ids.join(" + "));
    let mut witness = Witness::start(&model)?;
    workshop.observer.begin(&label, n_blocks as u64 + 1);
    for index in 0..n_blocks {
        let mut block = model.load_block(index)?;
        if let (true, Some(progress), Some(stream)) = (index < finished, &progress, &mut stream) {
            progress.restore(&mut block, index, &changed, workshop.codecs)?;
            stream.follow(&block, index + 1, progress)?;
        } else {
            if workshop.observer.cancelled() {
                return Err(stopped(job, progress.as_ref()));
            }
            let source = original.as_ref().map(|m| m.load_block(index)).transpose()?;
            let before = weights(&block);
            compress_block(&mut runs, &mut block, index, source.as_ref(), &mut changed, &mut stream)
                .map_err(
                    |error| if error.is_cancelled() { stopped(job, progress.as_ref()) } else { error },
                )?;
            if let (Some(progress), Some(stream)) = (&mut progress, &stream) {
                progress.finish(index, &block, &before);
                if progress.is_due() || workshop.observer.cancelled() {
                    let records = runs.iter().map(|run| run.outcome.record().clone()).collect();
                    progress.save(records, &changed, stream)?;
                }
            }
        }
        for linear in block.spec().linears() {
            if let Some(weight) = block.weight(&linear.name) {
                writer.put_weight(&linear.name, weight.as_ref())?;
                kept.keep(&linear.name, weight);
            }
        }
        witness.advance(&block)?;
        model.release_block(index);
        if let Some(original) = &original {
            original.release_block(index);
        }
        workshop.observer.advance(1);
    }
    let mut rest = rest::Rest { model: &model, original: original.as_ref(), changed, kept: &mut kept };
    // Of stages side by side one at most is given the head; what takes any tensor goes alone.
    let place = runs.iter().position(|run| run.targets.head).unwrap_or(0);
    rest.write(&mut runs[place], stream.as_ref(), &mut writer)?;
    workshop.observer.advance(1);
    workshop.observer.end();

    let config = kept.config(job.input.config(), model.spec())?;
    writer.copy_side_files(job.input)?;
    let any_tensor = runs.iter().any(|run| run.capabilities.any_tensor());
    let record = |run: GroupRun<'_>| {
        let mut outcome = run.outcome;
        if let Some(stream) = &stream {
            outcome.note_stream(stream);
        }
        outcome.into_record()
    };
    let records: Vec<StageRecord> = runs.into_iter().map(record).collect();
    let sealed = writer.seal(&config, provenance(&records))?;
    witness.check(sealed.dir(), workshop.codecs, any_tensor)?;
    sealed.commit()?;
    for warning in records.iter().flat_map(|record| &record.warnings) {
        workshop.observer.warn(&format!("{label}: {warning}"));
    }
    Ok(records)
}

/// What a stage ends with that was asked to stop.
fn stopped(job: &StageJob<'_>, progress: Option<&Progress>) -> RunError {
    match progress {
        Some(_) => RunError::Paused { state: job.state.to_owned() },
        None => RunError::Cancelled,
    }
}

/// The weights of a block by module.
fn weights(block: &Block) -> Vec<(String, Weight)> {
    block.linears().iter().map(|linear| (linear.spec().name.clone(), linear.weight().clone())).collect()
}

/// Checks a stage against its input and starts its technique.
fn start<'a>(
    workshop: &'a Workshop<'a>,
    job: &'a StageJob<'a>,
    model: &Model,
) -> Result<GroupRun<'a>, RunError> {
    let targets = check_targets(model, job.loaded, job.index, job.technique)?;
    Forms::stored(model, workshop.codecs)?.pass(job.loaded, job.index, job.technique, Some(&targets))?;
    let stage = &job.loaded.recipe.stages[job.index];
    let begin = |technique: &Technique, options: &Value| {
        let events = Arc::new(Events(Arc::clone(&workshop.observer)));
        technique.start(options, workshop.options.threads as u32, events)
    };
    let rung = |rung: &LayerRung| {
        let started = begin(&rung.technique, &rung.options)?;
        Ok((rung.name.clone(), started, rung.technique.capabilities()))
    };
    Ok(GroupRun {
        workshop,
        job,
        technique: begin(job.technique, &Value::Object(stage.options.clone()))?,
        capabilities: job.technique.capabilities(),
        gates: layer_gate::parse(&stage.layer_gates, &job.loaded.origin, job.index)?,
        rungs: job.rungs.iter().map(rung).collect::<Result<_, PluginError>>()?,
        targets,
        outcome: Outcome::new(job.technique),
        n_blocks: model.spec().layers.len(),
    })
}

/// The Linears of a group that each stage is given, by the stage's place.
type Shares = Vec<(usize, Vec<LinearSpec>)>;

/// Gives the targeted groups of a block to the techniques, in true-sequential order, and moves the calibration on.
fn compress_block(
    runs: &mut [GroupRun<'_>],
    block: &mut Block,
    index: usize,
    original: Option<&Block>,
    changed: &mut Changed,
    stream: &mut Option<Stream>,
) -> Result<(), RunError> {
    let groups = block.spec().groups();
    let share = |run: &GroupRun<'_>, group: &InputGroup| -> Vec<LinearSpec> {
        group.linears.iter().filter(|l| run.targets.in_block(index, &l.name)).cloned().collect()
    };
    let shares = |group: &InputGroup| -> Shares {
        let shares = runs.iter().map(|run| share(run, group)).enumerate();
        shares.filter(|(_, linears)| !linears.is_empty()).collect()
    };
    let chosen = groups.iter().map(shares).enumerate();
    let chosen: Vec<(usize, Shares)> = chosen.filter(|(_, shares)| !shares.is_empty()).collect();
    let needs = StatsNeeds {
        hessian: runs
            .iter()
            .any(|run| run.is_gated() || run.any(|capabilities| capabilities.needs_hessian())),
        moments: runs.iter().any(|run| run.any(|capabilities| capabilities.needs_moments())),
    };
    let true_sequential = runs.iter().all(|run| run.stage().true_sequential);
    let rounds: Vec<&[(usize, Shares)]> = match (stream.is_some(), true_sequential) {
        (true, true) => rounds(block.spec(), &groups, &chosen),
        _ => vec![&chosen[..]],
    };
    for round in rounds {
        let wanted: Vec<usize> = round.iter().map(|(g, _)| *g).collect();
        let mut statistics = match stream {
            Some(stream) => stream.collect(block, index, &groups, &wanted, needs)?,
            None => Vec::new(),
        };
        for (position, (group, shares)) in round.iter().enumerate() {
            // Each set of statistics is dropped as soon as its group is done: a Hessian may be half a gigabyte.
            let mut stats = statistics.get_mut(position).and_then(Option::take);
            let mut scaled = false;
            for (place, linears) in shares {
                // The input is another one since a technique scaled it.
                if let (true, Some(stream)) = (std::mem::take(&mut scaled), stream.as_mut()) {
                    stats = stream.collect(block, index, &groups, &[*group], needs)?.pop().flatten();
                }
                let run = &mut runs[*place];
                let task = GroupTask { block_index: index, group: *group, linears, stats: stats.as_ref() };
                let Some(made) = run.group(block, original, &task, stream.as_ref())? else { continue };
                let mut vectors = Vectors { checkpoint: run.job.input, changed };
                let placed = fold::place(block, &groups[*group], made, &mut vectors)?;
                scaled = placed == fold::Placed::Folded;
                run.outcome.note_scales(&linears[0].name, placed);
            }
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
