//! Gives the terminal and the exit code to the program that was built.

use crate::error::Error;
use cargo_metadata::camino::Utf8Path;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Runs `program` in place of this process: signals, standard streams and the exit code are its own.
///
/// # Errors
/// [`Error::Start`]; on success it does not return.
#[cfg(unix)]
pub(crate) fn become_program(
    program: &Utf8Path,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ExitCode, Error> {
    use std::os::unix::process::CommandExt;
    let source = Command::new(program).args(args).exec();
    Err(Error::Start { program: program.to_string(), source })
}

/// Runs `program` to its end and returns its exit code.
///
/// # Errors
/// [`Error::Start`].
#[cfg(not(unix))]
pub(crate) fn become_program(
    program: &Utf8Path,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ExitCode, Error> {
    let start = |source| Error::Start { program: program.to_string(), source };
    let status = Command::new(program).args(args).status().map_err(start)?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}
