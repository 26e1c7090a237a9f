//! The directory of a checkpoint under construction and what lies in it beside the weights.

use super::TOKENIZER_NAME;
use super::error::CheckpointError;
use super::manifest::{FileRecord, MANIFEST_NAME, Manifest, SCHEMA, TensorRecord};
use super::reader::Checkpoint;
use super::side_files::is_side_name;
use super::target::Target;
use super::writer::{WriterOptions, Written};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// A target and the files that were put there, weights aside.
#[derive(Debug)]
pub(super) struct Files {
    target: Target,
    records: BTreeMap<String, FileRecord>,
}

/// A checkpoint that is complete and durable, and not yet at its path.
///
/// It can be opened where it lies, so that it may be compared with what it was made of; dropping it leaves nothing.
#[derive(Debug)]
pub struct Sealed {
    target: Target,
    written: Written,
}

impl Sealed {
    /// Where it lies now.
    pub fn dir(&self) -> &Path {
        self.target.temp()
    }

    /// Where it will lie.
    pub fn target(&self) -> &Path {
        self.target.path()
    }

    /// Renames it to its path.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; [`CheckpointError::TargetExists`] where something appeared at the path meanwhile. Nothing is
    /// left behind then.
    pub fn commit(self) -> Result<Written, CheckpointError> {
        let dir = self.target.commit()?;
        Ok(Written { dir, ..self.written })
    }
}

impl Files {
    /// Checks the target and makes the directory; `copies` bytes of the expected ones are on disk twice for a while.
    pub(super) fn create(
        target: &Path,
        inputs: &[&Path],
        options: &WriterOptions,
        copies: u64,
    ) -> Result<Self, CheckpointError> {
        let target = Target::create(target, inputs, options.overwrite)?;
        if let Some(expected) = options.expected_bytes {
            check_space(&target, expected.saturating_add(expected.min(copies)))?;
        }
        Ok(Self { target, records: BTreeMap::new() })
    }

    /// The directory that is being filled.
    pub(super) fn temp(&self) -> &Path {
        self.target.temp()
    }

    /// Copies the side files of a checkpoint byte for byte. A file that was put before stays as it was put.
    pub(super) fn copy_side_files(&mut self, from: &Checkpoint) -> Result<(), CheckpointError> {
        for path in from.side_files() {
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            if self.records.contains_key(name) {
                continue;
            }
            let source = from.resolve_file(name)?;
            let mut source = File::open(source).map_err(CheckpointError::io("read", path))?;
            self.write(name, &mut source)?;
        }
        // A GGUF file carries its tokenizer within; what cannot be translated is missed by whoever needs it.
        if !self.records.contains_key(TOKENIZER_NAME)
            && from.is_gguf()
            && let Ok(Some(tokenizer)) = from.tokenizer_json()
        {
            self.write(TOKENIZER_NAME, &mut &*tokenizer)?;
        }
        Ok(())
    }

    /// Writes a side file.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        if !is_side_name(name) {
            let target = self.target.path().to_owned();
            return Err(CheckpointError::FileName { target, name: name.to_owned() });
        }
        if self.records.contains_key(name) {
            return Err(self.duplicate(name));
        }
        self.write(name, &mut &*bytes)
    }

    /// Writes any file.
    pub(super) fn write(&mut self, name: &str, content: &mut dyn io::Read) -> Result<(), CheckpointError> {
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
        self.records.insert(name.to_owned(), FileRecord { bytes, blake3 });
        Ok(())
    }

    pub(super) fn duplicate(&self, name: &str) -> CheckpointError {
        CheckpointError::Duplicate { target: self.target.path().to_owned(), name: name.to_owned() }
    }

    /// Writes the manifest.
    pub(super) fn seal(
        mut self,
        shards: BTreeMap<String, u64>,
        tensors: BTreeMap<String, TensorRecord>,
        provenance: Value,
        tensor_bytes: u64,
        header_bytes: u64,
    ) -> Result<Sealed, CheckpointError> {
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            tenuis_version: env!("CARGO_PKG_VERSION").to_owned(),
            provenance,
            shards,
            files: std::mem::take(&mut self.records),
            tensors,
        };
        self.write(MANIFEST_NAME, &mut &*pretty(&manifest))?;
        let file_bytes = tensor_bytes + header_bytes;
        let dir = self.target.path().to_owned();
        let written = Written { dir, tensor_bytes, header_bytes, file_bytes };
        Ok(Sealed { target: self.target, written })
    }
}

/// JSON with line breaks, as files have it.
pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    // Only maps with string keys are passed, which cannot fail.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Fails where so many bytes do not fit. Where free space cannot be asked for, writing finds out.
fn check_space(target: &Target, needed: u64) -> Result<(), CheckpointError> {
    let free = free_bytes(target.temp());
    let free = free.map_err(CheckpointError::io("measure the free space at", target.temp()))?;
    match free.filter(|&free| needed > free) {
        Some(free) => Err(CheckpointError::NoSpace { target: target.path().to_owned(), needed, free }),
        None => Ok(()),
    }
}

/// The bytes that the file system of an existing file or directory has free for this user; `None` where the operating system
/// cannot be asked.
///
/// # Errors
/// What the operating system says, such as that nothing is there.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    let space = rustix::fs::statvfs(path)?;
    Ok(Some(space.f_bavail.saturating_mul(space.f_frsize)))
}

/// The bytes that a file system has free: `None`, as this operating system is not asked.
///
/// # Errors
/// None here; elsewhere what the operating system says.
#[cfg(not(unix))]
pub fn free_bytes(_path: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}
