//! Writing a checkpoint, whole or not at all.

use super::error::CheckpointError;
use super::files::{Files, Sealed, pretty};
use super::manifest::TensorRecord;
use super::reader::Checkpoint;
use super::shard_writer::{FinishedShard, ShardWriter};
use super::{CONFIG_NAME, INDEX_NAME, SINGLE_NAME};
use crate::tensor::Tensor;
use crate::weight::Representation;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How a checkpoint is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterOptions {
    /// The most bytes of data in one file; a larger tensor gets a file of its own. Default: 5 GB, as Hugging Face's.
    pub max_shard_bytes: u64,
    /// Whether an existing target may be replaced, provided that Tenuis wrote it and nothing was added to it.
    pub overwrite: bool,
    /// The bytes of data that will be put, where they are known: checked against the free space at the start.
    pub expected_bytes: Option<u64>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { max_shard_bytes: 5_000_000_000, overwrite: false, expected_bytes: None }
    }
}

impl WriterOptions {
    /// Sets [`WriterOptions::max_shard_bytes`].
    #[must_use]
    pub const fn max_shard_bytes(mut self, bytes: u64) -> Self {
        self.max_shard_bytes = bytes;
        self
    }

    /// Sets [`WriterOptions::overwrite`].
    #[must_use]
    pub const fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets [`WriterOptions::expected_bytes`].
    #[must_use]
    pub const fn expected_bytes(mut self, bytes: u64) -> Self {
        self.expected_bytes = Some(bytes);
        self
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The checkpoint's directory.
    pub dir: PathBuf,
    /// The bytes of all tensors' data.
    pub tensor_bytes: u64,
    /// The bytes of the weight files' headers.
    pub header_bytes: u64,
    /// The bytes of the weight files: data and headers.
    pub file_bytes: u64,
}

/// Streams tensors into a new checkpoint, which appears at its path when [`CheckpointWriter::finish`] returns.
///
/// Until then everything lies in a hidden directory beside the target, which is removed when the writer is dropped,
/// or by the next run where the process was killed. A lock file beside the target keeps a second writer away.
///
/// ```
/// use serde_json::json;
/// use tenuis_core::{Checkpoint, CheckpointWriter, DType, Tensor, WriterOptions};
/// let dir = tempfile::tempdir()?;
/// let target = dir.path().join("model");
/// let mut writer = CheckpointWriter::create(&target, &[], WriterOptions::default())?;
/// writer.put("a.weight", &Tensor::from_vec(DType::F32, vec![2], vec![1.0f32, 2.0])?)?;
/// assert!(!target.exists());
/// let written = writer.finish(&json!({ "model_type": "llama" }), json!({ "by": "an example" }))?;
/// assert_eq!(written.tensor_bytes, 8);
/// let checkpoint = Checkpoint::open(&target)?;
/// assert_eq!(checkpoint.tensor("a.weight")?.to_f32()?[..], [1.0, 2.0]);
/// checkpoint.verify()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CheckpointWriter {
    files: Files,
    options: WriterOptions,
    open: Option<ShardWriter>,
    finished: Vec<FinishedShard>,
    /// By name: the shard's number and the record, whose file name is only known at the end.
    tensors: BTreeMap<String, (usize, TensorRecord)>,
}

impl CheckpointWriter {
    /// Starts a checkpoint at `target`, which must not touch any of `inputs`.
    ///
    /// # Errors
    /// [`CheckpointError::TargetExists`] or [`CheckpointError::TargetForeign`] where something is there already,
    /// [`CheckpointError::TargetIsInput`] where the target is, contains, lies in or is linked to an input,
    /// [`CheckpointError::Locked`] where another run writes it, [`CheckpointError::NoSpace`] where the expected bytes
    /// do not fit, [`CheckpointError::Io`].
    pub fn create(target: &Path, inputs: &[&Path], options: WriterOptions) -> Result<Self, CheckpointError> {
        let files = Files::create(target, inputs, &options, options.max_shard_bytes)?;
        Ok(Self { files, options, open: None, finished: Vec::new(), tensors: BTreeMap::new() })
    }

    /// Appends a tensor.
    ///
    /// # Errors
    /// [`CheckpointError::Duplicate`] for a name that was put before, [`CheckpointError::Io`].
    pub fn put(&mut self, name: &str, tensor: &Tensor) -> Result<(), CheckpointError> {
        if self.tensors.contains_key(name) || name == "__metadata__" {
            return Err(self.duplicate(name));
        }
        let length = tensor.data().len() as u64;
        let max = self.options.max_shard_bytes;
        let full = |open: &mut ShardWriter| length > 0 && open.bytes() > 0 && open.bytes() + length > max;
        if let Some(open) = self.open.take_if(full) {
            self.close(open)?;
        }
        if self.open.is_none() {
            self.open = Some(ShardWriter::create(self.part("data", self.finished.len()))?);
        }
        if let Some(open) = &mut self.open {
            open.put(name, tensor)?;
        }
        let record = TensorRecord {
            dtype: tensor.dtype().safetensors_name().to_owned(),
            shape: tensor.shape().to_vec(),
            blake3: blake3::hash(tensor.data()).to_hex().to_string(),
            file: String::new(),
        };
        self.tensors.insert(name.to_owned(), (self.finished.len(), record));
        Ok(())
    }

    /// Appends the components of a weight as `{linear}.{suffix}`.
    ///
    /// # Errors
    /// As [`CheckpointWriter::put`].
    pub fn put_weight(&mut self, linear: &str, weight: &dyn Representation) -> Result<(), CheckpointError> {
        for component in weight.components() {
            self.put(&format!("{linear}.{}", component.suffix), &component.tensor)?;
        }
        Ok(())
    }

    /// Copies the side files of a checkpoint byte for byte. A file that was put before stays as it was put.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], or [`CheckpointError::Link`] where a file was replaced meanwhile.
    pub fn copy_side_files(&mut self, from: &Checkpoint) -> Result<(), CheckpointError> {
        self.files.copy_side_files(from)
    }

    /// Writes a side file.
    ///
    /// # Errors
    /// [`CheckpointError::FileName`] for a name that is not plain or that belongs to weights, configuration or
    /// manifest; [`CheckpointError::Duplicate`]; [`CheckpointError::Io`].
    pub fn put_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.files.put(name, bytes)
    }

    /// Writes the configuration, the index where there are several shards and the manifest, makes everything durable
    /// and renames the directory to its final path.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; [`CheckpointError::TargetExists`] where something appeared at the path meanwhile.
    /// Nothing is left behind then.
    pub fn finish(self, config: &Value, provenance: Value) -> Result<Written, CheckpointError> {
        self.seal(config, provenance)?.commit()
    }

    /// As [`CheckpointWriter::finish`], but for the renaming: what was written can be opened and looked at before.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]. Nothing is left behind then.
    pub fn seal(mut self, config: &Value, provenance: Value) -> Result<Sealed, CheckpointError> {
        let last = match self.open.take() {
            None if self.finished.is_empty() => Some(ShardWriter::create(self.part("data", 0))?),
            last => last,
        };
        if let Some(last) = last {
            self.close(last)?;
        }
        let (tensor_bytes, header_bytes) =
            self.finished.iter().fold((0, 0), |(t, h), s| (t + s.tensor_bytes, h + s.header_bytes));
        let count = self.finished.len();
        let mut shards = BTreeMap::new();
        for (number, shard) in self.finished.iter().enumerate() {
            let name = shard_name(number, count);
            let path = self.files.temp().join(&name);
            fs::rename(&shard.path, &path).map_err(CheckpointError::io("rename", &shard.path))?;
            shards.insert(name, shard.header_bytes + shard.tensor_bytes);
        }
        for (number, record) in self.tensors.values_mut() {
            record.file = shard_name(*number, count);
        }
        if count > 1 {
            let weight_map: Map<String, Value> =
                self.tensors.iter().map(|(name, (_, record))| (name.clone(), json!(record.file))).collect();
            let index = json!({ "metadata": { "total_size": tensor_bytes }, "weight_map": weight_map });
            self.files.write(INDEX_NAME, &mut &*pretty(&index))?;
        }
        self.files.write(CONFIG_NAME, &mut &*pretty(config))?;
        let tensors = std::mem::take(&mut self.tensors).into_iter().map(|(name, (_, r))| (name, r)).collect();
        self.files.seal(shards, tensors, provenance, tensor_bytes, header_bytes)
    }

    fn close(&mut self, shard: ShardWriter) -> Result<(), CheckpointError> {
        let finished = shard.finish(&self.part("shard", self.finished.len()))?;
        self.finished.push(finished);
        Ok(())
    }

    /// A name that no other file of the checkpoint can have: side files do not begin with a dot.
    fn part(&self, kind: &str, number: usize) -> PathBuf {
        self.files.temp().join(format!(".{kind}-{number}"))
    }

    fn duplicate(&self, name: &str) -> CheckpointError {
        self.files.duplicate(name)
    }
}

/// `model.safetensors`, or `model-00001-of-0000N.safetensors`.
fn shard_name(number: usize, count: usize) -> String {
    if count == 1 {
        return SINGLE_NAME.to_owned();
    }
    format!("model-{:05}-of-{count:05}.safetensors", number + 1)
}
