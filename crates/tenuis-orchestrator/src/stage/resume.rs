//! What a stage has finished, kept beside its output while it runs, so that a killed run goes on from its last block.

use super::fold::Changed;
use super::stream::Stream;
use crate::error::RunError;
use candle_core::Tensor as Activations;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tenuis_core::weight::Components;
use tenuis_core::{Checkpoint, CheckpointWriter, CodecRegistry, DType, Tensor, Weight, WriterOptions};
use tenuis_eval::report::StageRecord;
use tenuis_model::{Block, ModelError};
use tenuis_spec::LayerSpec;

/// Hidden states beyond so many bytes are not kept: computing them again by running the text through the finished blocks
/// takes less than the disk.
const KEPT_HIDDEN: u64 = 256 << 20;
/// What the names of directories with finished blocks begin with.
const BLOCKS: &str = "blocks-";
/// The same, with the hidden states behind a block.
const HIDDEN: &str = "hidden-";

/// A weight as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    shape: [usize; 2],
    descriptor: Value,
    components: Vec<String>,
}

/// What a directory of finished blocks says about them.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    from: usize,
    to: usize,
    /// Weights that a block has anew, by block and module.
    weights: BTreeMap<usize, BTreeMap<String, Kept>>,
    /// Norms and biases that took scales, so far.
    changed: Vec<String>,
    /// What every technique has done so far.
    records: Vec<StageRecord>,
    dropped: u64,
}

/// The finished blocks of a stage.
pub(super) struct Progress {
    dir: PathBuf,
    save_every: Duration,
    saved_at: Instant,
    /// Blocks that the disk has.
    segments: Vec<(About, Checkpoint)>,
    /// Blocks that it does not have yet.
    pending: Vec<(usize, Vec<(String, Weight)>)>,
}

impl Progress {
    /// Finds what an earlier run of the same stage has left in its state directory.
    pub(super) fn open(dir: PathBuf, save_every: Duration) -> Result<Self, RunError> {
        let mut segments: Vec<(About, Checkpoint)> = Vec::new();
        let file = |source| RunError::File { path: dir.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(file)? {
            let path = entry.map_err(file)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(BLOCKS)) {
                found.push(path);
            }
        }
        found.sort();
        for path in found {
            let read = || {
                let checkpoint = Checkpoint::open(&path).ok()?;
                let about: About = serde_json::from_value(checkpoint.manifest()?.provenance.clone()).ok()?;
                checkpoint.verify().ok()?;
                Some((about, checkpoint))
            };
            // One that is damaged ends what can be used.
            match read() {
                Some((about, checkpoint)) if about.from == segments.last().map_or(0, |(last, _)| last.to) => {
                    segments.push((about, checkpoint));
                }
                _ => break,
            }
        }
        Ok(Self { dir, save_every, saved_at: Instant::now(), segments, pending: Vec::new() })
    }

    /// How many blocks are finished and on the disk.
    pub(super) fn finished(&self) -> usize {
        self.segments.last().map_or(0, |(about, _)| about.to)
    }

    /// What the techniques had done when the last finished block was saved.
    pub(super) fn records(&self) -> Option<&[StageRecord]> {
        self.segments.last().map(|(about, _)| about.records.as_slice())
    }

    /// Norms and biases that took scales.
    pub(super) fn changed(&self) -> Result<Changed, RunError> {
        let Some((about, checkpoint)) = self.segments.last() else { return Ok(Changed::new()) };
        about
            .changed
            .iter()
            .enumerate()
            .map(|(index, name)| Ok((name.clone(), checkpoint.tensor(&changed_name(index))?)))
            .collect()
    }

    /// Puts what was made of a finished block into it.
    pub(super) fn restore(
        &self,
        block: &mut Block,
        index: usize,
        changed: &Changed,
        codecs: &CodecRegistry,
    ) -> Result<(), RunError> {
        let holds = |(about, _): &&(About, Checkpoint)| (about.from..about.to).contains(&index);
        let Some((about, checkpoint)) = self.segments.iter().find(holds) else { return Ok(()) };
        for (module, kept) in about.weights.get(&index).into_iter().flatten() {
            let mut components = Components::new();
            for suffix in &kept.components {
                components.insert(suffix.clone(), checkpoint.tensor(&format!("{module}.{suffix}"))?);
            }
            let weight = codecs
                .decode(kept.shape, &kept.descriptor, components)
                .map_err(|source| RunError::Weight { tensor: module.clone(), source })?;
            block.set_weight(module, weight)?;
        }
        restore_vectors(block, changed)
    }

    /// The hidden states behind the last finished block, where they were kept.
    pub(super) fn hidden(&self) -> Option<Vec<Activations>> {
        let checkpoint = Checkpoint::open(&self.dir.join(format!("{HIDDEN}{:05}", self.finished()))).ok()?;
        checkpoint.verify().ok()?;
        let count = checkpoint.manifest()?.provenance.get("batches")?.as_u64()?;
        let read = |batch: u64| {
            let tensor = checkpoint.tensor(&hidden_name(batch as usize)).ok()?;
            let values = tensor.to_f32().ok()?.into_owned();
            Activations::from_vec(values, tensor.shape(), &candle_core::Device::Cpu).ok()
        };
        (0..count).map(read).collect()
    }

    /// Batches that were dropped until then.
    pub(super) fn dropped(&self) -> u64 {
        self.segments.last().map_or(0, |(about, _)| about.dropped)
    }

    /// Remembers a block that was just finished, given the weights that it had before.
    pub(super) fn finish(&mut self, index: usize, block: &Block, before: &[(String, Weight)]) {
        let anew = before.iter().filter_map(|(module, old)| {
            let new = block.weight(module)?;
            (!std::sync::Arc::ptr_eq(old, new)).then(|| (module.clone(), new.clone()))
        });
        self.pending.push((index, anew.collect()));
    }

    /// Whether what is not on the disk yet is worth a write.
    pub(super) fn is_due(&self) -> bool {
        !self.pending.is_empty() && self.saved_at.elapsed() >= self.save_every
    }

    /// Writes the blocks that the disk does not have.
    pub(super) fn save(
        &mut self,
        records: Vec<StageRecord>,
        changed: &Changed,
        stream: &Stream,
    ) -> Result<(), RunError> {
        let Some(&(last, _)) = self.pending.last() else { return Ok(()) };
        let (from, to) = (self.finished(), last + 1);
        let path = self.dir.join(format!("{BLOCKS}{from:05}-{to:05}"));
        let mut writer = CheckpointWriter::create(&path, &[], WriterOptions::default().overwrite(true))?;
        let mut weights: BTreeMap<usize, BTreeMap<String, Kept>> = BTreeMap::new();
        for (index, anew) in self.pending.drain(..) {
            let of_block = weights.entry(index).or_default();
            for (module, weight) in anew {
                writer.put_weight(&module, weight.as_ref())?;
                let components = weight.components().into_iter().map(|c| c.suffix.into_owned()).collect();
                let (shape, descriptor) = (weight.shape(), weight.descriptor());
                of_block.insert(module, Kept { shape, descriptor, components });
            }
        }
        for (index, tensor) in changed.values().enumerate() {
            writer.put(&changed_name(index), tensor)?;
        }
        let about = About {
            from,
            to,
            weights,
            changed: changed.keys().cloned().collect(),
            records,
            dropped: stream.dropped(),
        };
        // First the hidden states: blocks without them can be gone on from, they without blocks cannot.
        self.save_hidden(to, stream)?;
        writer.finish(&json!({}), serde_json::to_value(&about).unwrap_or_default())?;
        let stale = self.dir.join(format!("{HIDDEN}{from:05}"));
        if stale.exists() {
            fs::remove_dir_all(&stale).map_err(|source| RunError::File { path: stale, source })?;
        }
        self.segments.push((about, Checkpoint::open(&path)?));
        self.saved_at = Instant::now();
        Ok(())
    }

    fn save_hidden(&self, to: usize, stream: &Stream) -> Result<(), RunError> {
        let bytes: u64 = stream.hidden().iter().map(|h| 4 * h.elem_count() as u64).sum();
        if bytes > KEPT_HIDDEN {
            return Ok(());
        }
        let path = self.dir.join(format!("{HIDDEN}{to:05}"));
        let mut writer = CheckpointWriter::create(&path, &[], WriterOptions::default().overwrite(true))?;
        for (batch, hidden) in stream.hidden().iter().enumerate() {
            let name = hidden_name(batch);
            let values = hidden.flatten_all().and_then(|h| h.to_vec1::<f32>()).map_err(ModelError::from)?;
            let tensor = Tensor::from_f32(DType::F32, hidden.dims().to_vec(), &values)
                .map_err(|source| RunError::Tensor { tensor: name.clone(), source })?;
            writer.put(&name, &tensor)?;
        }
        writer.finish(&json!({}), json!({ "batches": stream.hidden().len() }))?;
        Ok(())
    }
}

fn changed_name(index: usize) -> String {
    format!("changed.{index}")
}

fn hidden_name(batch: usize) -> String {
    format!("hidden.{batch}")
}

/// Puts the norms and biases of a block that took scales into it.
fn restore_vectors(block: &mut Block, changed: &Changed) -> Result<(), RunError> {
    let values = |name: &str| match changed.get(name).map(Tensor::to_f32) {
        None => Ok(None),
        Some(Ok(values)) => Ok(Some(values.into_owned())),
        Some(Err(source)) => Err(RunError::Tensor { tensor: name.to_owned(), source }),
    };
    let spec: LayerSpec = block.spec().clone();
    for norm in spec.norms() {
        if let Some(weight) = values(&format!("{}.weight", norm.name))? {
            block.set_norm(&norm.name, weight, values(&format!("{}.bias", norm.name))?)?;
        }
    }
    for linear in spec.linears() {
        if let Some(bias) = values(&format!("{}.bias", linear.name))? {
            block.set_bias(&linear.name, bias)?;
        }
    }
    Ok(())
}
