//! Trials: their names, what they try and what came of them.

use super::{Options, SearchError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Identifies a trial: the same in every run of the same search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub struct TrialId {
    /// The bracket, 0 except in Hyperband.
    pub bracket: usize,
    /// The rung within the bracket: how often the resource has grown.
    pub rung: usize,
    /// The index of the options among those of the search.
    pub options: usize,
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.bracket, self.rung, self.options)
    }
}

impl From<TrialId> for String {
    fn from(id: TrialId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TrialId {
    type Error = SearchError;

    fn try_from(text: String) -> Result<Self, SearchError> {
        let numbers: Option<Vec<usize>> = text.split('.').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[bracket, rung, options]) => Ok(Self { bracket, rung, options }),
            _ => Err(SearchError::TrialName { text }),
        }
    }
}

/// Proposes options to be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// Its name.
    pub id: TrialId,
    /// The options by name.
    pub options: Options,
    /// The share of the data, from 0 to 1.
    pub resource: f64,
}

/// Reports what came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TrialResult {
    /// It was measured.
    Measured {
        /// What is made greatest, for example a scenario's score.
        score: f64,
        /// Figures by name, for the front.
        #[serde(default)]
        figures: BTreeMap<String, f64>,
    },
    /// It ended without a result, which ends the trial and not the search; it ranks below all that were measured.
    Failed {
        /// Why.
        reason: String,
    },
}

impl TrialResult {
    /// Creates a result with a score and no figures.
    pub fn measured(score: f64) -> Self {
        Self::Measured { score, figures: BTreeMap::new() }
    }

    /// Adds a figure to what was measured.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        if let Self::Measured { figures, .. } = &mut self {
            figures.insert(name.to_owned(), value);
        }
        self
    }

    /// Creates the result of a trial that failed.
    pub fn failed(reason: &str) -> Self {
        Self::Failed { reason: reason.to_owned() }
    }

    /// What it ranks by; nothing if it failed.
    pub(super) fn score(&self) -> Option<f64> {
        match self {
            Self::Measured { score, .. } => Some(*score),
            Self::Failed { .. } => None,
        }
    }
}
