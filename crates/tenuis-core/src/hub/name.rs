//! Names of models on the Hugging Face hub.

use super::error::HubError;
use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

/// The longest name of a repository.
const LONGEST: usize = 96;

/// A model of the hub, and which revision of it: `org/name` or `org/name@revision`.
///
/// ```
/// use tenuis_core::hub::HubName;
/// let name: HubName = "Qwen/Qwen2.5-0.5B@refs/pr/3".parse()?;
/// assert_eq!((name.repository(), name.revision()), ("Qwen/Qwen2.5-0.5B", Some("refs/pr/3")));
/// assert!("../weights".parse::<HubName>().is_err());
/// # Ok::<(), tenuis_core::hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubName {
    repository: String,
    revision: Option<String>,
}

impl HubName {
    /// `org/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit, where one was named.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The directory's name in a cache: `models--org--name`.
    pub(super) fn directory(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }

    /// The command that downloads it.
    pub(super) fn command(&self) -> String {
        let revision = self.revision.as_ref().map(|revision| format!(" --revision {revision}"));
        format!("hf download {}{}", self.repository, revision.unwrap_or_default())
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

impl FromStr for HubName {
    type Err = HubError;

    /// Takes a name apart, by the hub's own rules.
    fn from_str(text: &str) -> Result<Self, HubError> {
        let wrong = |problem: &'static str| HubError::Name { text: text.to_owned(), problem };
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let Some((org, name)) = repository.split_once('/') else {
            return Err(wrong("has no slash between organisation and name"));
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        for part in [org, name] {
            if part.is_empty() || part.len() > LONGEST || !part.chars().all(allowed) {
                return Err(wrong(
                    "has a part that is empty, longer than 96 characters or holds others than letters, digits, \"-\", \"_\" and \".\"",
                ));
            }
            if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
                return Err(wrong("has a part that begins or ends with \"-\" or \".\""));
            }
        }
        if repository.contains("--") || repository.contains("..") || repository.strip_suffix(".git").is_some()
        {
            return Err(wrong("holds \"--\" or \"..\", or ends with \".git\""));
        }
        // A revision becomes a path below `refs`, which it must not leave.
        let within =
            |revision: &str| Path::new(revision).components().all(|c| matches!(c, Component::Normal(_)));
        if revision.is_some_and(|r| r.is_empty() || r.contains(['\\', ':', '\0']) || !within(r)) {
            return Err(wrong("has a revision that is empty or no branch, tag or commit"));
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.map(str::to_owned) })
    }
}
