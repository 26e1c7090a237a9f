//! What can go wrong in a command of `cargo xtask`.

use cargo_metadata::camino::Utf8PathBuf;
use std::io;

/// A failed command; the message is one line that says what to do where that is not plain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// `cargo metadata` failed.
    #[error("reading the workspace: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    /// A program could not be started.
    #[error("starting {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// cargo ran and failed; it has said why on stderr already.
    #[error("`cargo {command}` failed")]
    Cargo {
        /// The cargo command.
        command: &'static str,
        /// Its exit code.
        code: u8,
    },
    /// A program of ours ran and failed; it has said why.
    #[error("`{program}` failed: {status}")]
    Program {
        /// The program and its command.
        program: &'static str,
        /// How it ended.
        status: String,
    },
    /// cargo succeeded without an artifact that has to exist.
    #[error("cargo built no {artifact}: {mend}")]
    MissingArtifact {
        /// The artifact.
        artifact: String,
        /// What to change.
        mend: &'static str,
    },
    /// A file operation failed.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried, in the -ing form.
        action: &'static str,
        /// On which file.
        path: Utf8PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A new crate would take the place of something.
    #[error("{path} exists already: choose another name or --path")]
    Exists {
        /// The directory.
        path: Utf8PathBuf,
    },
    /// A directory could not be searched.
    #[error("listing the files of the workspace: {0}")]
    Walk(#[from] ignore::Error),
    /// `tidy` found problems; they have been printed.
    #[error("{0} to mend")]
    Untidy(String),
}

impl Error {
    /// The exit code of the process: cargo's own where cargo failed, otherwise 1.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Cargo { code, .. } => *code,
            _ => 1,
        }
    }

    /// Attaches an action and a path to an I/O error.
    pub(crate) fn file(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
