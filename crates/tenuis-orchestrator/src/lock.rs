//! One run at a time in an output directory.

use crate::error::RunError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The file that is locked; it stays, so that a lock on it means the same to everyone.
const LOCK_FILE: &str = ".tenuis-run-lock";

/// Keeps other runs out of a directory until it is dropped or the process ends, however that happens.
#[derive(Debug)]
pub struct OutputLock {
    _file: File,
}

impl OutputLock {
    /// Takes the directory for this run, making it where it does not exist.
    ///
    /// # Errors
    /// [`RunError::Busy`] where another run has it, [`RunError::File`] where it cannot be written.
    pub fn take(dir: &Path) -> Result<Self, RunError> {
        let path = dir.join(LOCK_FILE);
        let file = |source| RunError::File { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(file)?;
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(file)?;
        match opened.try_lock() {
            Ok(()) => Ok(Self { _file: opened }),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(file(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_is_refused_until_the_first_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let first = OutputLock::take(&out).unwrap();
        let message = OutputLock::take(&out).unwrap_err().to_string();
        assert!(message.contains("another run"), "{message}");
        drop(first);
        OutputLock::take(&out).unwrap();
    }
}
