//! Pinning libraries by their hash.

use crate::error::LoadError;
use crate::registry::candidates_in;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;
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

    /// The lock that pins every plugin of a directory as it is now, for [`write`](Self::write). Only reads the files: no
    /// code of a library runs. Libraries without a manifest are no plugins and are left out.
    ///
    /// # Errors
    /// [`LoadError::Path`] and [`LoadError::Read`].
    pub fn pinning(directory: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Path { path: directory.to_owned(), source };
        let mut lock = Self { path: directory.join(LOCK_FILE), hashes: BTreeMap::new() };
        for (library, manifest) in candidates_in(directory).map_err(failed)? {
            if !library.exists() || !manifest.exists() {
                continue;
            }
            let bytes = std::fs::read(&library)
                .map_err(|source| LoadError::Read { path: library.clone(), source })?;
            lock.pin(file_name(&library), blake3::hash(&bytes).to_hex().to_string());
        }
        Ok(lock)
    }

    /// Writes the lock file, whole or not at all.
    ///
    /// # Errors
    /// [`LoadError::Read`] names the file that could not be written.
    pub fn write(&self) -> Result<(), LoadError> {
        let failed = |source| LoadError::Read { path: self.path.clone(), source };
        let directory = self.path.parent().unwrap_or(&self.path);
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(self.to_string().as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        // A temporary file is its maker's alone; a lock is for whoever runs the program.
        #[cfg(unix)]
        file.as_file().set_permissions(PermissionsExt::from_mode(0o644)).map_err(failed)?;
        file.persist(&self.path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    /// Where the lock is read from and written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file names that it pins.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
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
        let name = file_name(library);
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

fn file_name(library: &Path) -> String {
    library.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
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
