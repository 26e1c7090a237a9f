//! What can go wrong with a checkpoint.

use super::header::HeaderError;
use crate::gguf::GgufError;
use crate::tensor::TensorError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a checkpoint cannot be read or written. Every message names the file or tensor and the mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The checkpoint is not a directory.
    #[error("{} is not a directory; pass the directory that holds config.json", dir.display())]
    NotDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// A file that every checkpoint has is missing.
    #[error("{} holds no {name}; pass the directory of a Hugging Face checkpoint", dir.display())]
    NoFile {
        /// The directory.
        dir: PathBuf,
        /// What is missing.
        name: &'static str,
    },
    /// The weights are pickled, which executes code when read.
    #[error(
        "{} is a pickle, which can run code when it is read; convert it with transformers: \
         AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(NEW_DIR)", file.display()
    )]
    Pickle {
        /// A pickled file.
        file: PathBuf,
    },
    /// A JSON file is not what it should be.
    #[error("{}: {problem}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A safetensors file is not what it should be.
    #[error("{}: {source}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<HeaderError>,
    },
    /// A GGUF file is not what it should be.
    #[error("{}: {source}", file.display())]
    Gguf {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<GgufError>,
    },
    /// A directory holds several GGUF files and no checkpoint in Hugging Face layout.
    #[error("{} holds several GGUF files: {}; pass the path of one of them", dir.display(), names.join(", "))]
    SeveralGguf {
        /// The directory.
        dir: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// A file name that is not a plain name of a directory entry.
    #[error("{}: {name:?} is not a plain file name; shards must lie beside the index", file.display())]
    ShardName {
        /// The index.
        file: PathBuf,
        /// The name it holds.
        name: String,
    },
    /// A symbolic link that leaves the checkpoint.
    #[error(
        "{} links to {}, outside the checkpoint; copy the file or open the directory that holds it",
        file.display(), target.display()
    )]
    Link {
        /// The link.
        file: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A directory, device or pipe in place of a file.
    #[error("{} is not a regular file; replace it with one", file.display())]
    NotFile {
        /// The entry.
        file: PathBuf,
    },
    /// Shards or tensors that the index lists are not there.
    #[error("{}: missing {}; download what is missing", dir.display(), missing.join(", "))]
    Missing {
        /// The directory.
        dir: PathBuf,
        /// Every missing shard and tensor.
        missing: Vec<String>,
    },
    /// A tensor is stored twice.
    #[error(
        "tensor {tensor:?} is in both {} and {}; remove one of them and write the index again",
        first.display(), second.display()
    )]
    TwoShards {
        /// The tensor.
        tensor: String,
        /// A shard.
        first: PathBuf,
        /// Another shard.
        second: PathBuf,
    },
    /// The tensor that was asked for is not there.
    #[error("{} holds no tensor {tensor:?}; check that config.json belongs to these weights", dir.display())]
    NoTensor {
        /// The checkpoint.
        dir: PathBuf,
        /// The name.
        tensor: String,
    },
    /// A file changed while it was mapped.
    #[error("{} was {opened} bytes when opened and is {now} now; leave it alone and start again", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
        /// Its length when opened.
        opened: u64,
        /// Its length now.
        now: u64,
    },
    /// Type, shape and bytes of a tensor disagree.
    #[error("{}: tensor {tensor:?}: {source}", file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        source: Box<TensorError>,
    },
    /// There is no manifest, or it does not describe these files.
    #[error("{}: {problem}; write the checkpoint again or remove the manifest", dir.display())]
    Manifest {
        /// The checkpoint.
        dir: PathBuf,
        /// What is wrong with the manifest.
        problem: String,
    },
    /// Data differ from what the manifest recorded.
    #[error("{}: {what} differs from the manifest; the file is damaged, write or copy it again", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The tensor, or the whole file.
        what: String,
    },
    /// The target's last part is not a name.
    #[error("{} does not name a directory; pass a path that ends in a new directory's name", target.display())]
    TargetName {
        /// The target.
        target: PathBuf,
    },
    /// The target exists.
    #[error("{} exists; choose another output or allow it to be overwritten", target.display())]
    TargetExists {
        /// The target.
        target: PathBuf,
    },
    /// The target exists and is not a checkpoint that Tenuis wrote.
    #[error("{} holds {what}, so it will not be overwritten; remove it yourself or choose another output", target.display())]
    TargetForeign {
        /// The target.
        target: PathBuf,
        /// What speaks against it.
        what: String,
    },
    /// Writing the target would touch an input.
    #[error("output {} {relation} input {}; choose another output", target.display(), input.display())]
    TargetIsInput {
        /// The target.
        target: PathBuf,
        /// How they are related.
        relation: &'static str,
        /// The input.
        input: PathBuf,
    },
    /// Another run writes the same target.
    #[error("another run is writing {}; wait for it or choose another output", target.display())]
    Locked {
        /// The target.
        target: PathBuf,
    },
    /// The file system has too little room.
    #[error("{} needs {needed} bytes but its file system has {free} free; make room or choose another output", target.display())]
    NoSpace {
        /// The target.
        target: PathBuf,
        /// The bytes needed.
        needed: u64,
        /// The bytes free.
        free: u64,
    },
    /// A tensor or file was put twice.
    #[error("{name:?} was already written to {}; write every name once", target.display())]
    Duplicate {
        /// The target.
        target: PathBuf,
        /// The name.
        name: String,
    },
    /// A file name that the writer keeps for itself, or that is not a plain name.
    #[error("{name:?} cannot be a side file of {}; use a plain name that is no weight file", target.display())]
    FileName {
        /// The target.
        target: PathBuf,
        /// The name.
        name: String,
    },
}

impl CheckpointError {
    /// Names the action and path of an I/O error.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
