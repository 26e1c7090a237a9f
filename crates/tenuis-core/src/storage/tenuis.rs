//! The method `tenuis`: a descriptor for every weight that is not dense.

use super::{StorageError, TENUIS};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The only version there is so far.
const VERSION: u64 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "quant_method")]
    _quant_method: String,
    version: u64,
    weights: BTreeMap<String, Value>,
}

pub(super) fn write(weights: &BTreeMap<&str, &Value>) -> Value {
    json!({ "quant_method": TENUIS, "version": VERSION, "weights": weights })
}

pub(super) fn read(declared: &Value, file: &Path) -> Result<BTreeMap<String, Value>, StorageError> {
    let wrong = |problem: String| StorageError::Config { file: file.to_owned(), problem };
    let config = Config::deserialize(declared).map_err(|e| wrong(e.to_string()))?;
    if config.version != VERSION {
        let found = config.version;
        return Err(wrong(format!("version {found} is not {VERSION}; read it with a newer Tenuis")));
    }
    let weights = config.weights;
    match weights.iter().find(|(_, d)| d.get("kind").is_none_or(|kind| !kind.is_string())) {
        Some((module, _)) => Err(wrong(format!("the descriptor of {module:?} has no \"kind\""))),
        None => Ok(weights),
    }
}
