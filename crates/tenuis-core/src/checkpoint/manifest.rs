//! What Tenuis wrote: a hash of every tensor and file, and how they came about.

use super::root::Root;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The manifest's file name.
pub const MANIFEST_NAME: &str = "tenuis-manifest.json";

/// The only schema there is so far.
pub(super) const SCHEMA: &str = "tenuis.manifest/1";

/// One tensor as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRecord {
    /// The safetensors name of the element type.
    pub dtype: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The blake3 hash of the bytes, in hexadecimal.
    pub blake3: String,
    /// The shard's file name.
    pub file: String,
}

/// One other file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its length.
    pub bytes: u64,
    /// The blake3 hash of its content, in hexadecimal.
    pub blake3: String,
}

/// The content of `tenuis-manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `tenuis.manifest/1`.
    pub schema: String,
    /// The version of Tenuis that wrote it.
    pub tenuis_version: String,
    /// How the checkpoint came about, as its writer recorded it.
    pub provenance: Value,
    /// The length of every shard.
    pub shards: BTreeMap<String, u64>,
    /// Every other file but the manifest itself.
    pub files: BTreeMap<String, FileRecord>,
    /// Every tensor.
    pub tensors: BTreeMap<String, TensorRecord>,
}

impl Manifest {
    /// Whether the writer put a file of this name.
    pub(super) fn lists(&self, name: &str) -> bool {
        name == MANIFEST_NAME || self.shards.contains_key(name) || self.files.contains_key(name)
    }

    /// Reads the manifest of a directory; `None` where there is none.
    pub(super) fn read(root: &Root) -> Option<Result<Self, String>> {
        root.contains(MANIFEST_NAME).then(|| {
            let manifest: Self = super::index::read_json(root, MANIFEST_NAME).map_err(|e| e.to_string())?;
            if manifest.schema != SCHEMA {
                return Err(format!("manifest schema {:?} is not {SCHEMA:?}", manifest.schema));
            }
            Ok(manifest)
        })
    }
}
