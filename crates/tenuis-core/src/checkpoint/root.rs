//! The directory of a checkpoint and which of its entries may be followed.

use super::error::CheckpointError;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A checkpoint's directory.
#[derive(Debug)]
pub(super) struct Root {
    dir: PathBuf,
    real: PathBuf,
    /// `REPO/blobs` where the directory is `REPO/snapshots/REVISION` of a Hugging Face cache.
    blobs: Option<PathBuf>,
}

impl Root {
    pub(super) fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let real = dir.canonicalize().map_err(CheckpointError::io("open", dir))?;
        if !real.is_dir() {
            return Err(CheckpointError::NotDirectory { dir: dir.to_owned() });
        }
        let snapshots = real.parent().filter(|p| p.file_name() == Some(OsStr::new("snapshots")));
        let blobs = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs"));
        Ok(Self { dir: dir.to_owned(), real, blobs })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of an entry as messages name it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether an entry of this name exists; a dangling link does not.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.real.join(name).exists()
    }

    /// The real path of an entry that is a regular file, or a link to one that does not leave the checkpoint.
    pub(super) fn resolve(&self, name: &str) -> Result<PathBuf, CheckpointError> {
        let file = self.path(name);
        let real = self.real.join(name).canonicalize().map_err(CheckpointError::io("open", &file))?;
        let inside = real.starts_with(&self.real) || self.blobs.as_ref().is_some_and(|b| real.starts_with(b));
        if !inside {
            return Err(CheckpointError::Link { file, target: real });
        }
        if !real.is_file() {
            return Err(CheckpointError::NotFile { file });
        }
        Ok(real)
    }

    /// The names of the directory's entries, sorted; names that are not Unicode are left out.
    pub(super) fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let list = || CheckpointError::io("list", &self.dir);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.real).map_err(list())? {
            if let Ok(name) = entry.map_err(list())?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether a name can only be an entry of the directory it is joined to, on any operating system.
pub(super) fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let single =
        matches!((components.next(), components.next()), (Some(Component::Normal(n)), None) if n == name);
    single && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names() {
        for name in ["model.safetensors", "a b", "..safetensors", "ä.json"] {
            assert!(is_plain_name(name), "{name:?}");
        }
        for name in ["", ".", "..", "../x", "/x", "a/b", "a/", "./a", "a\\b", "C:x", "a\0b"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
