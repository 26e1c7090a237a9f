//! Why a plan is refused.

use crate::size::Size;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// What speaks against starting. Every message has the numbers and the mend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// A stage would take more memory than there is.
    #[error(
        "stage {stage} ({technique}) needs about {} of memory at {at}, of which {} are {part}, but {} are free; {mend}",
        Size(*needed), Size(*part_bytes), Size(*available)
    )]
    Memory {
        /// The stage's number, from 1.
        stage: usize,
        /// Its technique.
        technique: String,
        /// The weight or block where it needs the most.
        at: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
        /// What takes most of them.
        part: &'static str,
        /// The bytes of that.
        part_bytes: u64,
        /// What to do about it.
        mend: String,
    },
    /// A stage would take more disk than there is.
    #[error(
        "stage {stage} ({technique}) needs about {} of disk, but the output's file system has {} free; make room or choose an \
         output on another disk",
        Size(*needed), Size(*available)
    )]
    Disk {
        /// The stage's number, from 1.
        stage: usize,
        /// Its technique.
        technique: String,
        /// Bytes needed: what it writes, what it writes and removes again, and what the stages before have left.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// The evaluation would take more memory than there is.
    #[error(
        "the evaluation needs about {} of memory, but {} are free; use a shorter window, or a machine with more memory",
        Size(*needed), Size(*available)
    )]
    Evaluation {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// The disk could not be tried.
    #[error("cannot measure how fast {} is written: {source}; choose an output that can be written", dir.display())]
    Probe {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
