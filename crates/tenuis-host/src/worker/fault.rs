//! How a worker fails.

use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// What happened to a plugin's process; each message goes on after "its process".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerFault {
    /// It could not be started.
    #[error("could not be started from {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It could not load the library.
    #[error("reports: {problem}")]
    Refused {
        /// Why not.
        problem: String,
    },
    /// There is not enough shared memory for the tensors.
    #[error("cannot be lent shared memory: {source}")]
    Memory {
        /// What the system says.
        source: io::Error,
    },
    /// A signal ended it: an access violation, an abort, the out-of-memory killer.
    #[error("was ended by {signal}{}", last_words(said))]
    Signal {
        /// The signal's name.
        signal: String,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// It ended itself.
    #[error("exited with code {code} before it was done{}", last_words(said))]
    Exited {
        /// The exit code.
        code: i32,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// It called no function of the host for too long, and was killed.
    #[error(
        "gave no sign of life for {limit:?} and was killed; a technique polls `cancelled` at least every 100 ms{}",
        last_words(said)
    )]
    Silent {
        /// How long.
        limit: Duration,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// It did not stop when it was cancelled, and was killed.
    #[error("did not stop within {grace:?} of being cancelled and was killed")]
    NotCancelled {
        /// The time that it had.
        grace: Duration,
    },
    /// It sent something that makes no sense, and was killed.
    #[error("broke the protocol and was killed: {problem}")]
    Broken {
        /// What it sent.
        problem: String,
    },
    /// This system has no workers.
    #[error("would need a Unix system; run the plugin without isolation")]
    System,
}

fn last_words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said:?})") }
}

/// Why a worker cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Standard input cannot be taken.
    #[error("standard input: {0}")]
    Stdin(io::Error),
    /// Standard input is not the socket of a host.
    #[error("standard input is not a host's socket; this command is started by Tenuis and not by hand")]
    NoHost,
    /// The host's messages are not those of this version.
    #[error("the host speaks another protocol; host and worker must be the same version of Tenuis")]
    Protocol,
    /// The control page cannot be mapped.
    #[error("shared memory: {0}")]
    Memory(io::Error),
    /// This system has no workers.
    #[error("plugins in processes of their own need a Unix system")]
    System,
}
