//! Checkpoints: directories in Hugging Face layout, read strictly and written whole or not at all.
//!
//! A [`Checkpoint`] is opened from `config.json` and either `model.safetensors` or `model.safetensors.index.json` with
//! its shards. The files are mapped and every header is checked before anything is handed out. A [`CheckpointWriter`]
//! streams tensors into a temporary directory beside its target and renames it into place at the end, so that a
//! reader sees the old directory or the new one, and nothing in between.
//!
//! # Which files are followed
//! Every file is an entry of the directory itself: a name with a separator, `..` or a drive is refused. An entry that
//! is a symbolic link is followed where its target lies inside the directory or, in the Hugging Face cache layout
//! `REPO/snapshots/REVISION/FILE -> ../../blobs/HASH`, inside `REPO/blobs`; any other link is refused. Names of
//! tensors are never used as paths.

mod error;
mod files;
mod gguf;
mod gguf_writer;
mod header;
mod index;
mod link;
mod manifest;
mod reader;
mod root;
mod shard;
mod shard_writer;
mod side_files;
mod target;
mod unique;
mod writer;

pub use error::CheckpointError;
pub use files::{Sealed, free_bytes};
pub use gguf_writer::GgufCheckpointWriter;
pub use header::{Header, HeaderEntry, HeaderError, MAX_HEADER_BYTES, MAX_RANK, parse_header};
pub use link::link_checkpoint;
pub use manifest::{FileRecord, MANIFEST_NAME, Manifest, TensorRecord};
pub use reader::{Checkpoint, TensorInfo};
pub use writer::{CheckpointWriter, WriterOptions, Written};

/// The configuration's file name.
const CONFIG_NAME: &str = "config.json";
/// The file name of an unsharded checkpoint.
const SINGLE_NAME: &str = "model.safetensors";
/// The file name of a sharded checkpoint's index.
const INDEX_NAME: &str = "model.safetensors.index.json";
/// The tokenizer's file name.
const TOKENIZER_NAME: &str = "tokenizer.json";
