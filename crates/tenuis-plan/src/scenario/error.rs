//! Why there is no scenario, or no answer to it.

use std::{fmt, io};
use thiserror::Error;

/// Locates a value in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// Counts lines and columns up to a byte of a text.
    pub(super) fn of(file: &str, text: &str, byte: usize) -> Self {
        let before = text.get(..byte.min(text.len())).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        Self { file: file.to_owned(), line, column: before[start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Says why there is no scenario, or no answer to it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The text is no TOML, or its keys are not those of a scenario.
    #[error("{place}: {problem}")]
    Toml {
        /// Where.
        place: Place,
        /// What the reader says.
        problem: String,
    },
    /// A value makes no sense.
    #[error("{place}: {key} {problem}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// No scenario of that name is built in.
    #[error("there is no scenario {name:?}; built in are {known}, or name a TOML file")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A figure of a candidate is no number to compare.
    #[error("{figure} of {candidate} is {value}; it must be finite, so leave out what was not measured")]
    NotFinite {
        /// The candidate.
        candidate: String,
        /// The figure.
        figure: String,
        /// What it is.
        value: f64,
    },
}
