//! Why a model of the hub cannot be opened from the cache.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a name leads to no checkpoint. Every message has the directory that was looked in and what to run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The text is no name of the hub.
    #[error("{text:?} {problem}; write org/name or org/name@revision")]
    Name {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Neither the environment nor the user's home says where the cache is.
    #[error("there is no home directory to look for {name} in; set HF_HUB_CACHE to the cache's directory")]
    NoHome {
        /// What was asked for.
        name: String,
    },
    /// The model is not in the cache.
    #[error(
        "there is no file or directory {name}, and the Hugging Face cache {} does not hold that model{}; download it with: {command}",
        cache.display(), listed(", only ", found)
    )]
    NoModel {
        /// What was asked for.
        name: String,
        /// The cache.
        cache: PathBuf,
        /// Models that are there, the most alike first.
        found: Vec<String>,
        /// What downloads it.
        command: String,
    },
    /// The revision is not in the cache.
    #[error(
        "{} does not hold revision {revision} of {repository}{}; download it with: {command}",
        dir.display(), listed(", only ", found)
    )]
    NoRevision {
        /// The model.
        repository: String,
        /// The revision.
        revision: String,
        /// The model's directory in the cache.
        dir: PathBuf,
        /// Revisions that are there: branches and tags, then commits.
        found: Vec<String>,
        /// What downloads it.
        command: String,
    },
    /// Several snapshots fit.
    #[error("{} holds several snapshots that {asked} may mean: {}; name one as {repository}@COMMIT", dir.display(), found.join(", "))]
    Ambiguous {
        /// The model.
        repository: String,
        /// What was asked for.
        asked: String,
        /// The model's directory in the cache.
        dir: PathBuf,
        /// Commits that fit.
        found: Vec<String>,
    },
    /// A download was not finished.
    #[error("{} is incomplete: missing {}; finish the download with: {command}", snapshot.display(), missing.join(", "))]
    Incomplete {
        /// The snapshot's directory.
        snapshot: PathBuf,
        /// Every file that is not there, or a link to nothing.
        missing: Vec<String>,
        /// What downloads it.
        command: String,
    },
    /// A file of the cache is not what it should be.
    #[error("{}: {problem}; download the model again with: {command}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What downloads it.
        command: String,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Entries of a list that a message shows.
const SHOWN: usize = 6;

fn listed(before: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{before}{shown}{rest}")
}
