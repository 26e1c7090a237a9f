//! Writing a checkpoint, whole or not at all.

use super::error::CheckpointError;
use super::manifest::{FileRecord, MANIFEST_NAME, Manifest, SCHEMA, TensorRecord};
use super::reader::Checkpoint;
use super::shard_writer::{FinishedShard, ShardWriter};
use super::side_files::is_side_name;
use super::target::Target;
use super::{CONFIG_NAME, INDEX_NAME, SINGLE_NAME, TOKENIZER_NAME};
use crate::tensor::Tensor;
use crate::weight::Representation;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
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
    target: Target,
    options: WriterOptions,
    open: Option<ShardWriter>,
    finished: Vec<FinishedShard>,
    /// By name: the shard's number and the record, whose file name is only known at the end.
    tensors: BTreeMap<String, (usize, TensorRecord)>,
    files: BTreeMap<String, FileRecord>,
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
        let target = Target::create(target, inputs, options.overwrite)?;
        if let Some(needed) = options.expected_bytes {
            check_space(&target, needed, options.max_shard_bytes)?;
        }
        Ok(Self {
            target,
            options,
            open: None,
            finished: Vec::new(),
            tensors: BTreeMap::new(),
            files: BTreeMap::new(),
        })
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
        for path in from.side_files() {
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            if self.files.contains_key(name) {
                continue;
            }
            let source = from.resolve_file(name)?;
            let mut source = File::open(source).map_err(CheckpointError::io("read", path))?;
            self.write_file(name, &mut source)?;
        }
        // A GGUF file carries its tokenizer within; what cannot be translated is missed by whoever needs it.
        if !self.files.contains_key(TOKENIZER_NAME)
            && from.is_gguf()
            && let Ok(Some(tokenizer)) = from.tokenizer_json()
        {
            self.write_file(TOKENIZER_NAME, &mut &*tokenizer)?;
        }
        Ok(())
    }

    /// Writes a side file.
    ///
    /// # Errors
    /// [`CheckpointError::FileName`] for a name that is not plain or that belongs to weights, configuration or
    /// manifest; [`CheckpointError::Duplicate`]; [`CheckpointError::Io`].
    pub fn put_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        if !is_side_name(name) {
            return Err(CheckpointError::FileName {
                target: self.target.path().to_owned(),
                name: name.to_owned(),
            });
        }
        if self.files.contains_key(name) {
            return Err(self.duplicate(name));
        }
        self.write_file(name, &mut &*bytes)
    }

    /// Writes the configuration, the index where there are several shards and the manifest, makes everything durable
    /// and renames the directory to its final path.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; [`CheckpointError::TargetExists`] where something appeared at the path meanwhile.
    /// Nothing is left behind then.
    pub fn finish(mut self, config: &Value, provenance: Value) -> Result<Written, CheckpointError> {
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
            let path = self.target.temp().join(&name);
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
            self.write_file(INDEX_NAME, &mut &*pretty(&index))?;
        }
        self.write_file(CONFIG_NAME, &mut &*pretty(config))?;
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            tenuis_version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance,
            shards,
            files: std::mem::take(&mut self.files),
            tensors: std::mem::take(&mut self.tensors).into_iter().map(|(name, (_, r))| (name, r)).collect(),
        };
        self.write_file(MANIFEST_NAME, &mut &*pretty(&manifest))?;
        let dir = self.target.commit()?;
        Ok(Written { dir, tensor_bytes, header_bytes, file_bytes: tensor_bytes + header_bytes })
    }

    fn close(&mut self, shard: ShardWriter) -> Result<(), CheckpointError> {
        let finished = shard.finish(&self.part("shard", self.finished.len()))?;
        self.finished.push(finished);
        Ok(())
    }

    /// A name that no other file of the checkpoint can have: side files do not begin with a dot.
    fn part(&self, kind: &str, number: usize) -> PathBuf {
        self.target.temp().join(format!(".{kind}-{number}"))
    }

    fn write_file(&mut self, name: &str, content: &mut dyn io::Read) -> Result<(), CheckpointError> {
        let path = self.target.temp().join(name);
        let mut hasher = blake3::Hasher::new();
        let mut write = || -> io::Result<u64> {
            let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
            let bytes = io::copy(content, &mut file)?;
            file.sync_all()?;
            io::Seek::rewind(&mut file)?;
            hasher.update_reader(file)?;
            Ok(bytes)
        };
        let bytes = write().map_err(CheckpointError::io("write", &path))?;
        let blake3 = hasher.finalize().to_hex().to_string();
        self.files.insert(name.to_owned(), FileRecord { bytes, blake3 });
        Ok(())
    }

    fn duplicate(&self, name: &str) -> CheckpointError {
        CheckpointError::Duplicate { target: self.target.path().to_owned(), name: name.to_owned() }
    }
}

/// `model.safetensors`, or `model-00001-of-0000N.safetensors`.
fn shard_name(number: usize, count: usize) -> String {
    if count == 1 {
        return SINGLE_NAME.to_owned();
    }
    format!("model-{:05}-of-{count:05}.safetensors", number + 1)
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    // Only maps with string keys are passed, which cannot fail.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Fails where the data and, while a shard is joined, a second copy of it do not fit.
#[cfg(unix)]
fn check_space(target: &Target, expected: u64, max_shard_bytes: u64) -> Result<(), CheckpointError> {
    let space = rustix::fs::statvfs(target.temp()).map_err(io::Error::from);
    let space = space.map_err(CheckpointError::io("measure the free space at", target.temp()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = expected.saturating_add(expected.min(max_shard_bytes));
    if needed > free {
        return Err(CheckpointError::NoSpace { target: target.path().to_owned(), needed, free });
    }
    Ok(())
}

/// Where free space cannot be asked for, writing finds out.
#[cfg(not(unix))]
fn check_space(_target: &Target, _expected: u64, _max_shard_bytes: u64) -> Result<(), CheckpointError> {
    Ok(())
}
