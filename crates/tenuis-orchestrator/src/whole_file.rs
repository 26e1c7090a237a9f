//! Files that appear whole or not at all.

use crate::error::RunError;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes a file beside its path, makes it durable and renames it into place; the directory is made where there is none.
///
/// # Errors
/// [`RunError::File`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| RunError::File { path: path.to_owned(), source })
}

/// As [`write`], with the value as JSON.
///
/// # Errors
/// [`RunError::File`], also for a value that has no form in JSON.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), RunError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| RunError::File { path: path.to_owned(), source: source.into() })?;
    write(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/file.json");
        for value in [1, 2] {
            write_json(&path, &value).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
        let error = write(Path::new("/dev/null/file"), b"").unwrap_err().to_string();
        assert!(error.contains("/dev/null/file"), "{error}");
    }
}
