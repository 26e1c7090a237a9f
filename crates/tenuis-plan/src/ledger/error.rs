//! Why a ledger cannot be written or read.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Says why a ledger cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file is out of reach.
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What could not be done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A line is no entry, and no tear explains that.
    #[error("{}:{line}:{column}: {source}; a ledger is only appended to, so restore the line or remove it", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1.
        column: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A number has no form in JSON.
    #[error(
        "{figure} of run {run} is {value}; only finite numbers are recorded, so record what was not measured as missing"
    )]
    NotFinite {
        /// The run.
        run: String,
        /// The figure or requirement.
        figure: String,
        /// What it is.
        value: f64,
    },
    /// An entry has no form in JSON.
    #[error("the entry cannot be written as JSON: {source}")]
    Encode {
        /// Why.
        source: serde_json::Error,
    },
    /// The table cannot be written.
    #[error("the CSV cannot be written: {source}")]
    Csv {
        /// Why.
        source: csv::Error,
    },
}
