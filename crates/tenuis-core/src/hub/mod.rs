//! Models of the Hugging Face hub, found in the cache on this machine; nothing is downloaded.
//!
//! The cache is the one that `huggingface_hub` keeps:
//!
//! ```text
//! $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub
//! └── models--org--name
//!     ├── refs/main                 the commit that the branch stood at
//!     ├── snapshots/COMMIT/         the files of a commit, links into
//!     └── blobs/
//! ```
//!
//! A snapshot is a checkpoint directory: [`Checkpoint::open`](crate::Checkpoint::open) follows its links into `blobs` and no other.

mod error;
mod name;

pub use error::HubError;
pub use name::HubName;

use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The branch that a name without a revision means.
const DEFAULT_BRANCH: &str = "main";
/// The fewest digits of a commit that stand for it.
const SHORTEST_COMMIT: usize = 7;
/// What a checkpoint cannot do without.
const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Whether a text is `org/name` or `org/name@revision` and no path that is there.
///
/// ```
/// use tenuis_core::hub::looks_like_hub_name;
/// assert!(looks_like_hub_name("meta-llama/Llama-3.2-1B"));
/// assert!(looks_like_hub_name("meta-llama/Llama-3.2-1B@4e20de362430cd3b72f300e6b0f18e50e7166e08"));
/// assert!(!looks_like_hub_name("llama") && !looks_like_hub_name("./models/llama") && !looks_like_hub_name("a/b/c"));
/// ```
pub fn looks_like_hub_name(text: &str) -> bool {
    text.parse::<HubName>().is_ok() && !Path::new(text).exists()
}

/// Turns what a user names into a path: a path that is there stays as it is, a name of the hub becomes its snapshot in the
/// cache, and anything else stays as it is too, so that whoever opens it says what is missing.
///
/// # Errors
/// [`HubError`] where the name is one of the hub and the cache does not hold it.
pub fn locate(text: &str, cache: &HubCache) -> Result<PathBuf, HubError> {
    match text.parse::<HubName>() {
        Ok(name) if !Path::new(text).exists() => cache.snapshot(&name).map(|snapshot| snapshot.dir),
        _ => Ok(PathBuf::from(text)),
    }
}

/// A cache of downloads.
///
/// ```no_run
/// use tenuis_core::Checkpoint;
/// use tenuis_core::hub::HubCache;
/// let snapshot = HubCache::from_env().snapshot(&"Qwen/Qwen2.5-0.5B".parse()?)?;
/// let checkpoint = Checkpoint::open(&snapshot.dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCache {
    /// Where it is; nowhere without a home.
    dir: Option<PathBuf>,
}

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The directory that holds `config.json`.
    pub dir: PathBuf,
    /// The model, `org/name`.
    pub repository: String,
    /// The commit: what the files are, whatever the branch has become.
    pub commit: String,
}

impl HubCache {
    /// Takes the cache that this process's environment points to.
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    /// Takes the cache that an environment points to; variables that are empty count as absent.
    ///
    /// ```
    /// use tenuis_core::hub::HubCache;
    /// let cache = |set: &[(&str, &str)]| {
    ///     HubCache::from_variables(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    /// };
    /// assert_eq!(cache(&[("HOME", "/u")]), HubCache::at("/u/.cache/huggingface/hub"));
    /// assert_eq!(cache(&[("HOME", "/u"), ("HF_HOME", "~/hf")]), HubCache::at("/u/hf/hub"));
    /// ```
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME").or_else(|| set("USERPROFILE"));
        // Shells leave a tilde in quotes alone, and Python's library expands it.
        let expanded = |path: PathBuf| match (path.strip_prefix("~"), &home) {
            (Ok(below), Some(home)) => home.join(below),
            _ => path,
        };
        let dir = set("HF_HUB_CACHE")
            // The older name, which the library still reads.
            .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface").join("hub")))
            .map(expanded)
            .or_else(|| home.as_ref().map(|home| home.join(".cache").join("huggingface").join("hub")));
        Self { dir }
    }

    /// Takes a cache by its directory, the one that holds `models--org--name`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()) }
    }

    /// Its directory, where there is one to look in.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The models that it holds, as `org/name`, sorted.
    pub fn models(&self) -> Vec<String> {
        let entries = self.dir.as_deref().map(names).unwrap_or_default();
        // No part of a name holds two dashes in a row.
        let models = entries.iter().filter_map(|entry| entry.strip_prefix("models--")?.split_once("--"));
        models.map(|(org, name)| format!("{org}/{name}")).collect()
    }

    /// Finds a model's snapshot and checks that the download was finished.
    ///
    /// A revision is a branch or tag that was downloaded, or a commit of which at least seven digits are given. Without one
    /// it is `main` or, where that was never downloaded, the only snapshot there is.
    ///
    /// # Errors
    /// [`HubError`] with what is there and what to run.
    pub fn snapshot(&self, name: &HubName) -> Result<Snapshot, HubError> {
        let Some(cache) = &self.dir else { return Err(HubError::NoHome { name: name.to_string() }) };
        let model = cache.join(name.directory());
        if !model.is_dir() {
            return Err(HubError::NoModel {
                name: name.to_string(),
                cache: cache.clone(),
                found: alike(self.models(), name.repository()),
                command: name.command(),
            });
        }
        let commit = commit(&model, name)?;
        let dir = model.join("snapshots").join(&commit);
        check(&dir, name)?;
        Ok(Snapshot { dir, repository: name.repository().to_owned(), commit })
    }
}

/// The commit that a name means.
fn commit(model: &Path, name: &HubName) -> Result<String, HubError> {
    let commits = names(&model.join("snapshots"));
    let refs = model.join("refs");
    let revision = name.revision().unwrap_or(DEFAULT_BRANCH);
    let branch = read_ref(&refs.join(revision), name)?;
    let fitting: Vec<String> = match name.revision() {
        // A branch means its commit and no other, should that have been removed.
        _ if branch.is_some() => branch.into_iter().filter(|commit| commits.contains(commit)).collect(),
        None => commits.clone(),
        Some(prefix) => {
            let is_commit =
                prefix.len() >= SHORTEST_COMMIT && prefix.bytes().all(|digit| digit.is_ascii_hexdigit());
            let prefix = prefix.to_ascii_lowercase();
            commits.iter().filter(|commit| is_commit && commit.starts_with(&prefix)).cloned().collect()
        }
    };
    match &fitting[..] {
        [commit] => Ok(commit.clone()),
        [] => {
            let mut found = Vec::new();
            branches(&refs, "", &mut found);
            found.extend(commits);
            Err(HubError::NoRevision {
                repository: name.repository().to_owned(),
                revision: revision.to_owned(),
                dir: model.to_owned(),
                found,
                command: name.command(),
            })
        }
        _ => Err(HubError::Ambiguous {
            repository: name.repository().to_owned(),
            asked: name.to_string(),
            dir: model.to_owned(),
            found: fitting,
        }),
    }
}

/// The commit that a branch or tag stands for, if it was downloaded.
fn read_ref(file: &Path, name: &HubName) -> Result<Option<String>, HubError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(HubError::Io { path: file.to_owned(), source }),
    };
    let commit = text.trim();
    if commit.is_empty() || !commit.bytes().all(|c| c.is_ascii_alphanumeric()) {
        let problem = format!("holds {commit:?}, which is no commit");
        return Err(HubError::File { file: file.to_owned(), problem, command: name.command() });
    }
    Ok(Some(commit.to_owned()))
}

/// Checks that every file is there that a checkpoint cannot do without.
fn check(snapshot: &Path, name: &HubName) -> Result<(), HubError> {
    let is_there = |file: &str| snapshot.join(file).exists();
    let entries = names(snapshot);
    // A link to nothing is a download that was interrupted, or a blob that was removed.
    let mut missing: BTreeSet<String> = entries.iter().filter(|entry| !is_there(entry)).cloned().collect();
    let has = |ending: &str| {
        entries
            .iter()
            .any(|entry| Path::new(entry).extension().is_some_and(|found| found.eq_ignore_ascii_case(ending)))
    };
    if is_there(SINGLE) || !is_there(INDEX) {
        // Pickles are refused by whoever opens them, with the way to convert; a GGUF file has its own configuration.
        if !["safetensors", "gguf", "bin", "pt", "pth"].into_iter().any(has) {
            missing.insert(SINGLE.to_owned());
        }
    } else {
        missing.extend(shards(snapshot, name)?.into_iter().filter(|shard| !is_there(shard)));
    }
    if !is_there(CONFIG) && !has("gguf") {
        missing.insert(CONFIG.to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(HubError::Incomplete {
        snapshot: snapshot.to_owned(),
        missing: missing.into_iter().collect(),
        command: name.command(),
    })
}

/// The files that an index names.
fn shards(snapshot: &Path, name: &HubName) -> Result<BTreeSet<String>, HubError> {
    let file = snapshot.join(INDEX);
    let bytes = fs::read(&file).map_err(|source| HubError::Io { path: file.clone(), source })?;
    let index: Result<Value, _> = serde_json::from_slice(&bytes);
    let shards = index.ok().and_then(|index| {
        let map = index.get("weight_map")?.as_object()?.clone();
        map.values().map(|shard| shard.as_str().map(str::to_owned)).collect()
    });
    shards.ok_or_else(|| HubError::File {
        problem: "is no index of shards, or is damaged".to_owned(),
        command: name.command(),
        file,
    })
}

/// Branches and tags below a directory.
fn branches(dir: &Path, before: &str, found: &mut Vec<String>) {
    for name in names(dir) {
        let path = dir.join(&name);
        let whole = format!("{before}{name}");
        if path.is_dir() {
            branches(&path, &format!("{whole}/"), found);
        } else {
            found.push(whole);
        }
    }
}

/// The names in a directory, sorted; none where it is not there.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The models with the name or organisation that was asked for first, then the others.
fn alike(mut models: Vec<String>, repository: &str) -> Vec<String> {
    let parts = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.split_once('/').map(|(org, name)| (org.to_owned(), name.to_owned())).unwrap_or_default()
    };
    let (org, name) = parts(repository);
    models.sort_by_key(|model| {
        let (other_org, other) = parts(model);
        if other == name {
            0
        } else if other.contains(&name) || name.contains(&other) {
            1
        } else {
            2 + u8::from(other_org != org)
        }
    });
    models
}
