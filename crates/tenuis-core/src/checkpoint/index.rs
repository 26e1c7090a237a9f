//! The index of a sharded checkpoint.

use super::error::CheckpointError;
use super::root::{Root, is_plain_name};
use super::unique::UniqueMap;
use super::{INDEX_NAME, MAX_HEADER_BYTES};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;

/// Reads a whole JSON file of bounded size.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(root: &Root, name: &str) -> Result<T, CheckpointError> {
    let file = root.path(name);
    let path = root.resolve(name)?;
    let length = fs::metadata(&path).map_err(CheckpointError::io("read", &file))?.len();
    if length > MAX_HEADER_BYTES {
        let problem =
            format!("{length} bytes are more than the {MAX_HEADER_BYTES} allowed; replace the file");
        return Err(CheckpointError::Json { file, problem });
    }
    let bytes = fs::read(&path).map_err(CheckpointError::io("read", &file))?;
    serde_json::from_slice(&bytes).map_err(|e| CheckpointError::Json {
        file,
        problem: format!("malformed JSON: {e}; download or write the file again"),
    })
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// Reads `weight_map`: the shard of every tensor.
pub(super) fn read_index(root: &Root) -> Result<BTreeMap<String, String>, CheckpointError> {
    let index: Index = read_json(root, INDEX_NAME)?;
    let weight_map = index.weight_map.0;
    match weight_map.values().find(|name| !is_plain_name(name)) {
        Some(name) => Err(CheckpointError::ShardName { file: root.path(INDEX_NAME), name: name.clone() }),
        None => Ok(weight_map),
    }
}
