//! One safetensors file under construction.

use super::error::CheckpointError;
use super::{HeaderError, MAX_HEADER_BYTES};
use crate::tensor::Tensor;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// Small tensors are gathered into writes of this size.
const BUFFER: usize = 1 << 20;

/// Tensors that are streamed to a spill file, because the header before them is only known at the end.
#[derive(Debug)]
pub(super) struct ShardWriter {
    spill: PathBuf,
    payload: BufWriter<File>,
    header: Map<String, Value>,
    bytes: u64,
}

/// A finished safetensors file.
#[derive(Debug)]
pub(super) struct FinishedShard {
    pub(super) path: PathBuf,
    pub(super) header_bytes: u64,
    pub(super) tensor_bytes: u64,
}

impl ShardWriter {
    /// Starts a shard whose spill file is `spill`.
    pub(super) fn create(spill: PathBuf) -> Result<Self, CheckpointError> {
        let file = File::options().read(true).write(true).create_new(true).open(&spill);
        let payload = BufWriter::with_capacity(BUFFER, file.map_err(CheckpointError::io("create", &spill))?);
        let header = Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
        Ok(Self { spill, payload, header, bytes: 0 })
    }

    /// The bytes of data so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a tensor.
    pub(super) fn put(&mut self, name: &str, tensor: &Tensor) -> Result<(), CheckpointError> {
        let data = tensor.data();
        self.payload.write_all(data).map_err(CheckpointError::io("write", &self.spill))?;
        let end = self.bytes + data.len() as u64;
        let entry = json!({
            "dtype": tensor.dtype().safetensors_name(),
            "shape": tensor.shape(),
            "data_offsets": [self.bytes, end],
        });
        self.header.insert(name.to_owned(), entry);
        self.bytes = end;
        Ok(())
    }

    /// Joins header and data in `path`, makes the file durable and removes the spill file.
    pub(super) fn finish(self, path: &Path) -> Result<FinishedShard, CheckpointError> {
        let mut header = Value::Object(self.header).to_string().into_bytes();
        // As safetensors does, so that data that need it stay aligned to eight bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        let claimed = header.len() as u64;
        if claimed > MAX_HEADER_BYTES {
            return Err(CheckpointError::Header {
                file: path.to_owned(),
                source: Box::new(HeaderError::TooLong { claimed }),
            });
        }
        let join = || -> io::Result<()> {
            let mut payload = self.payload.into_inner().map_err(io::IntoInnerError::into_error)?;
            payload.rewind()?;
            let mut file = File::create_new(path)?;
            file.write_all(&claimed.to_le_bytes())?;
            file.write_all(&header)?;
            // On Linux the kernel copies, or shares the blocks where the file system can.
            let copied = io::copy(&mut payload, &mut file)?;
            if copied != self.bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Gone before the sync, so that what is still in memory of it need not reach the disk.
            drop(payload);
            fs::remove_file(&self.spill)?;
            file.sync_all()
        };
        join().map_err(CheckpointError::io("write", path))?;
        Ok(FinishedShard { path: path.to_owned(), header_bytes: 8 + claimed, tensor_bytes: self.bytes })
    }
}
