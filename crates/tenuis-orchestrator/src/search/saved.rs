//! A search on the disk, after every trial.

use crate::error::RunError;
use crate::whole_file::write_json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tenuis_plan::search::Search;

/// The file of a search in the directory that a run writes to.
const SEARCH_FILE: &str = "search.json";

/// What is known of a trial beside its result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The recipe's name.
    pub(super) name: String,
    /// What was measured, by the names of the report.
    pub(super) figures: BTreeMap<String, f64>,
    /// By the scenario: what it is worth, whether it meets every hard constraint, and which it does not.
    pub(super) score: Option<f64>,
    pub(super) feasible: bool,
    pub(super) violations: Vec<String>,
    pub(super) seconds: f64,
}

/// A search and what it has found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Everything that decides what a search does and finds.
    pub(super) identity: Value,
    pub(super) search: Search,
    pub(super) notes: BTreeMap<String, Note>,
    /// What all runs have spent on it.
    pub(super) seconds: f64,
}

impl Saved {
    fn path(out: &Path) -> PathBuf {
        out.join(SEARCH_FILE)
    }

    /// The search that an earlier run has left, if it is the same one.
    pub(super) fn open(out: &Path, identity: &Value) -> Option<Self> {
        let saved: Self = serde_json::from_slice(&fs::read(Self::path(out)).ok()?).ok()?;
        (saved.identity == *identity).then_some(saved)
    }

    pub(super) fn save(&self, out: &Path) -> Result<(), RunError> {
        write_json(&Self::path(out), self)
    }
}
