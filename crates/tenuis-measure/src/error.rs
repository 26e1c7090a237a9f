//! What can go wrong while something is measured.

use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why there is no figure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// An option has a value that makes no sense.
    #[error("{option} is {value}, but must be {allowed}")]
    Config {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// There are no samples.
    #[error("{what}: there is nothing to summarise; measure at least once")]
    Empty {
        /// What was to be summarised.
        what: &'static str,
    },
    /// A sample is a NaN, an infinity or out of order.
    #[error("{what}: sample {sample} is {problem}; it must be {allowed}")]
    Sample {
        /// What was to be summarised.
        what: &'static str,
        /// Its index, from 0.
        sample: usize,
        /// What it is.
        problem: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A file cannot be used.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried, as "reading".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A process cannot be started or waited for.
    #[error("{action} {}: {source}; check the path and its permissions", program.display())]
    Process {
        /// What was tried, as "starting".
        action: &'static str,
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A process ended without success.
    #[error("{} ended with {status}; it said: {}", program.display(), said(message))]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its standard error.
        message: String,
    },
    /// A process ended and never printed its marker.
    #[error(
        "{} ended without a line that begins with {marker:?}; let it print one as soon as it is ready, and flush it",
        program.display()
    )]
    NoMarker {
        /// The program.
        program: PathBuf,
        /// What was waited for.
        marker: String,
    },
    /// A process took too long and was ended.
    #[error("{} was ended after {limit:?}; raise `timeout_seconds` if it needs longer", program.display())]
    Timeout {
        /// The program.
        program: PathBuf,
        /// The time it had.
        limit: Duration,
    },
}

/// What a program said, or that it said nothing.
fn said(message: &str) -> &str {
    if message.trim().is_empty() { "nothing" } else { message.trim() }
}

impl MeasureError {
    /// Turns what the system said about a file into an error that names it.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// Checks that an option is a finite number above 0.
pub(crate) fn check_positive(option: &'static str, value: f64) -> Result<(), MeasureError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(MeasureError::Config { option, value: value.to_string(), allowed: "a finite number above 0" })
}

/// Checks that an option is a finite number and not below 0.
pub(crate) fn check_not_negative(option: &'static str, value: f64) -> Result<(), MeasureError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(MeasureError::Config { option, value: value.to_string(), allowed: "a finite number, 0 or above" })
}

/// Checks that an option is not 0.
pub(crate) fn check_count(option: &'static str, value: usize) -> Result<(), MeasureError> {
    if value > 0 {
        return Ok(());
    }
    Err(MeasureError::Config { option, value: value.to_string(), allowed: "at least 1" })
}
