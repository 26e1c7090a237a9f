//! Writing a GGUF file into a directory of its own, whole or not at all.

use super::error::CheckpointError;
use super::files::{Files, Sealed};
use super::manifest::TensorRecord;
use super::reader::Checkpoint;
use super::writer::WriterOptions;
use crate::dtype::DType;
use crate::gguf::names::to_hugging_face;
use crate::gguf::{GgmlType, GgufWriter, Metadata};
use crate::storage::gguf_suffix;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// The file in its directory.
const FILE_NAME: &str = "model.gguf";
/// Small pieces are gathered into writes of this size.
const BUFFER: usize = 1 << 20;

/// A tensor that was announced, as the reader of the file will name it.
#[derive(Debug)]
struct Announced {
    name: Option<String>,
    record: TensorRecord,
    bytes: u64,
}

/// Streams the data of announced tensors into `model.gguf` of a new directory, which appears at its path as that of
/// [`CheckpointWriter`](super::CheckpointWriter) does: with a manifest, and whole or not at all.
#[derive(Debug)]
pub struct GgufCheckpointWriter {
    files: Files,
    path: PathBuf,
    writer: GgufWriter<BufWriter<File>>,
    announced: Vec<Announced>,
    current: usize,
    written: u64,
    hasher: blake3::Hasher,
}

impl GgufCheckpointWriter {
    /// Starts a directory at `target`, which must not touch any of `inputs`, and writes the header of the file.
    ///
    /// `tensors`: names in the file, types and shapes with the outermost dimension first.
    ///
    /// # Errors
    /// As [`CheckpointWriter::create`](super::CheckpointWriter::create).
    pub fn create<'a>(
        target: &Path,
        inputs: &[&Path],
        options: WriterOptions,
        metadata: &Metadata,
        tensors: impl IntoIterator<Item = (&'a str, GgmlType, &'a [usize])>,
    ) -> Result<Self, CheckpointError> {
        let tensors: Vec<_> = tensors.into_iter().collect();
        let announced: Vec<Announced> =
            tensors.iter().map(|(name, kind, shape)| announce(name, *kind, shape)).collect();
        let mut options = options;
        options.expected_bytes = options.expected_bytes.or(Some(announced.iter().map(|t| t.bytes).sum()));
        let files = Files::create(target, inputs, &options, 0)?;
        let path = files.temp().join(FILE_NAME);
        let start = || {
            let file = BufWriter::with_capacity(BUFFER, File::create_new(&path)?);
            GgufWriter::new(file, metadata, tensors)
        };
        let writer = start().map_err(CheckpointError::io("write", &path))?;
        let hasher = blake3::Hasher::new();
        Ok(Self { files, path, writer, announced, current: 0, written: 0, hasher })
    }

    /// Appends bytes of the current tensor, which is the next one once this one is complete.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], also for more bytes than the tensor has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.writer.write(bytes).map_err(CheckpointError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        if let Some(tensor) = self.announced.get_mut(self.current).filter(|t| t.bytes == self.written) {
            tensor.record.blake3 = self.hasher.finalize().to_hex().to_string();
            self.hasher.reset();
            (self.current, self.written) = (self.current + 1, 0);
        }
        Ok(())
    }

    /// Copies the side files of a checkpoint byte for byte.
    ///
    /// # Errors
    /// As [`CheckpointWriter::copy_side_files`](super::CheckpointWriter::copy_side_files).
    pub fn copy_side_files(&mut self, from: &Checkpoint) -> Result<(), CheckpointError> {
        self.files.copy_side_files(from)
    }

    /// Ends the file and writes the manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], also where a tensor is incomplete. Nothing is left behind then.
    pub fn seal(self, provenance: Value) -> Result<Sealed, CheckpointError> {
        let Self { files, path, writer, announced, .. } = self;
        let finish = || -> io::Result<u64> {
            let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        };
        let length = finish().map_err(CheckpointError::io("write", &path))?;
        let data: u64 = announced.iter().filter(|t| t.name.is_some()).map(|t| t.bytes).sum();
        let tensors = announced.into_iter().filter_map(|t| Some((t.name?, t.record))).collect();
        let shards = BTreeMap::from([(FILE_NAME.to_owned(), length)]);
        files.seal(shards, tensors, provenance, data, length - data)
    }
}

fn announce(name: &str, kind: GgmlType, shape: &[usize]) -> Announced {
    let row = shape.last().and_then(|columns| kind.row_bytes(*columns)).unwrap_or_default();
    let rows: usize = shape.iter().rev().skip(1).product();
    let there = to_hugging_face(name);
    let (name, dtype, shape) = match gguf_suffix(kind) {
        None => (there, float(kind), shape.to_vec()),
        Some(suffix) => {
            let module = there.and_then(|name| name.strip_suffix(".weight").map(str::to_owned));
            (module.map(|module| format!("{module}.{suffix}")), DType::U8, vec![rows, row])
        }
    };
    let record = TensorRecord {
        dtype: dtype.safetensors_name().to_owned(),
        shape,
        blake3: String::new(),
        file: FILE_NAME.to_owned(),
    };
    Announced { name, record, bytes: (rows * row) as u64 }
}

const fn float(kind: GgmlType) -> DType {
    match kind {
        GgmlType::F32 => DType::F32,
        GgmlType::BF16 => DType::BF16,
        _ => DType::F16,
    }
}
