//! The manifest beside a library, read before the library is touched.

use crate::error::LoadError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tenuis_abi::TN_ABI_MAJOR;

/// What a manifest's file name ends with: `NAME.plugin.json` describes the library `NAME`.
pub const MANIFEST_SUFFIX: &str = ".plugin.json";

/// The only schema that this program reads.
const SCHEMA: &str = "tenuis.plugin/1";

/// What a plugin says about itself.
///
/// ```json
/// {
///   "schema": "tenuis.plugin/1",
///   "abi": 1,
///   "name": "tenuis-quant",
///   "version": "0.1.0",
///   "description": "Quantization",
///   "techniques": ["cast", "rtn", "gptq"],
///   "produces": { "rtn": ["grouped_int"] }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// `tenuis.plugin/1`.
    pub schema: String,
    /// The major version of the plugin ABI.
    pub abi: u32,
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// One line on what it does.
    #[serde(default)]
    pub description: String,
    /// The techniques that the library provides.
    pub techniques: Vec<String>,
    /// The kinds of representation that a technique may make of a weight, by technique. With it, a recipe
    /// is checked as a whole before any work; without, what comes after the technique is checked when it is there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub produces: BTreeMap<String, Produces>,
    /// Where it wants its code to run; without it the program decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<AskedIsolation>,
}

/// Where a plugin asks for its code to run. That it may run in the program's own process is not the plugin's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AskedIsolation {
    /// In a process of its own, even where the plugin belongs to the installation.
    Process,
}

/// The kinds of representation that a technique may make, what it makes as a rule first.
///
/// ```
/// use tenuis_host::Produces;
/// let of_any: Produces = serde_json::from_str(r#"["grouped_int"]"#)?;
/// assert_eq!(of_any.of("dense"), ["grouped_int"]);
/// let by_kind: Produces = serde_json::from_str(r#"{ "sparse": ["sparse"], "*": ["grouped_int"] }"#)?;
/// assert_eq!((by_kind.of("sparse"), by_kind.of("dense")), (&["sparse".to_owned()][..], of_any.of("dense")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Produces {
    /// Whatever it is given.
    Always(Vec<String>),
    /// By the kind that it is given; `*` stands for all that are not named.
    ByKind(BTreeMap<String, Vec<String>>),
}

impl Produces {
    /// What may become of a weight of this kind; empty where the manifest does not say.
    pub fn of(&self, kind: &str) -> &[String] {
        match self {
            Self::Always(kinds) => kinds,
            Self::ByKind(kinds) => kinds.get(kind).or_else(|| kinds.get("*")).map_or(&[], Vec::as_slice),
        }
    }

    /// All that may become of any weight.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let lists: Vec<&Vec<String>> = match self {
            Self::Always(kinds) => vec![kinds],
            Self::ByKind(kinds) => kinds.values().collect(),
        };
        lists.into_iter().flatten().map(String::as_str)
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`LoadError::Read`], [`LoadError::AbiMajor`] or [`LoadError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let wrong = |problem: String| LoadError::Manifest { path: path.to_owned(), problem };
        let value: Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        // The major version comes first: another one may mean other fields.
        let found = value.get("abi").and_then(Value::as_u64).ok_or_else(|| {
            wrong("\"abi\" (the major version of the plugin ABI, a number) is missing".to_owned())
        })?;
        if found != u64::from(TN_ABI_MAJOR) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(LoadError::AbiMajor { path: path.to_owned(), found, expected: TN_ABI_MAJOR });
        }
        let manifest = Self::deserialize(&value).map_err(|e| wrong(e.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(wrong(format!("\"schema\" is {:?}, expected {SCHEMA:?}", manifest.schema)));
        }
        if manifest.techniques.is_empty() {
            return Err(wrong("\"techniques\" is empty".to_owned()));
        }
        if let Some(stranger) = manifest.produces.keys().find(|id| !manifest.techniques.contains(id)) {
            return Err(wrong(format!("\"produces\" names {stranger:?}, which is none of its techniques")));
        }
        Ok(manifest)
    }
}
