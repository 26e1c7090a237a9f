//! What is free.

use crate::probe::existing;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tenuis_core::checkpoint::free_bytes;
use tenuis_measure::{SystemRoot, available_memory};

/// Memory and disk that are free; absent where the system does not say, and then nothing is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Room {
    /// Bytes of memory that can be had without swapping, and within the control group's limit.
    pub ram_available: Option<u64>,
    /// Bytes that the file system of the output has free.
    pub disk_available: Option<u64>,
}

impl Room {
    /// Takes what is known from elsewhere.
    pub const fn new(ram_available: Option<u64>, disk_available: Option<u64>) -> Self {
        Self { ram_available, disk_available }
    }

    /// Asks the system; `dir` is where the output will be, or a directory above it.
    pub fn at(dir: &Path) -> Self {
        Self {
            ram_available: available_memory(&SystemRoot::default()),
            disk_available: free_bytes(&existing(dir)).ok().flatten(),
        }
    }
}
