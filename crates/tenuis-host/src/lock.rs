//! Pinning libraries by their hash.

use crate::error::LoadError;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file in a plugin directory that pins the hashes of its libraries.
pub const LOCK_FILE: &str = "plugins.lock";

/// The blake3 hashes that a directory allows, one `<hex>  <file name>` a line, as `b3sum` prints and checks them.
///
/// Where the file is there, a library that it does not list, or lists with another hash, is not loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginLock {
    path: PathBuf,
    hashes: BTreeMap<String, String>,
}

impl PluginLock {
    /// Reads the lock file of a directory; `None` where there is none.
    ///
    /// # Errors
    /// [`LoadError::Read`] and [`LoadError::Lock`].
    pub fn of_directory(directory: &Path) -> Result<Option<Self>, LoadError> {
        let path = directory.join(LOCK_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Read { path, source }),
        };
        let mut hashes = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = line.split_once("  ").filter(|(hash, name)| {
                hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) && !name.is_empty()
            });
            let Some((hash, name)) = parsed else {
                return Err(LoadError::Lock { path, line: number + 1 });
            };
            hashes.insert(name.to_owned(), hash.to_ascii_lowercase());
        }
        Ok(Some(Self { path, hashes }))
    }

    /// Pins a library.
    pub fn pin(&mut self, file_name: impl Into<String>, hash: impl Into<String>) {
        self.hashes.insert(file_name.into(), hash.into());
    }

    /// Checks a library's hash.
    ///
    /// # Errors
    /// [`LoadError::NotLocked`] and [`LoadError::HashMismatch`].
    pub fn check(&self, library: &Path, hash: &str) -> Result<(), LoadError> {
        let name = library.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        match self.hashes.get(&name) {
            None => Err(LoadError::NotLocked {
                library: library.to_owned(),
                lock: self.path.clone(),
                hash: hash.to_owned(),
            }),
            Some(expected) if expected != hash => Err(LoadError::HashMismatch {
                library: library.to_owned(),
                lock: self.path.clone(),
                expected: expected.clone(),
                found: hash.to_owned(),
            }),
            Some(_) => Ok(()),
        }
    }
}

/// The text of the lock file.
impl fmt::Display for PluginLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, hash) in &self.hashes {
            writeln!(f, "{hash}  {name}")?;
        }
        Ok(())
    }
}
