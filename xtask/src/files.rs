//! Copies that a reader sees whole or not at all.

use crate::error::Error;
use cargo_metadata::camino::Utf8Path;
use std::fs;
use std::process;

/// Copies `from` to `to` through a temporary file beside it, so that a process that has `to` open or mapped keeps the
/// old bytes and nobody sees half of the new ones. Returns `false` where `to` already has the same bytes and mode.
///
/// # Errors
/// [`Error::File`] with the step that failed; the temporary file is removed.
pub(crate) fn replace(from: &Utf8Path, to: &Utf8Path) -> Result<bool, Error> {
    if same(from, to) {
        return Ok(false);
    }
    let name = to.file_name().unwrap_or("file");
    let staged = to.with_file_name(format!(".{name}.{}", process::id()));
    let done = fs::copy(from, &staged)
        .map_err(Error::file("copying", from))
        .and_then(|_| {
            fs::File::open(&staged)
                .and_then(|f| f.sync_all())
                .map_err(Error::file("syncing", staged.as_path()))
        })
        .and_then(|()| fs::rename(&staged, to).map_err(Error::file("replacing", to)));
    if done.is_err() {
        // The copy failed; a leftover would only add to it, and its own removal may fail for the same reason.
        let _ = fs::remove_file(&staged);
    }
    done.map(|()| true)
}

/// Creates a directory and its parents.
///
/// # Errors
/// [`Error::File`] naming the directory.
pub(crate) fn create_dir(dir: &Utf8Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::file("creating", dir))
}

fn same(a: &Utf8Path, b: &Utf8Path) -> bool {
    let (Ok(ma), Ok(mb)) = (fs::metadata(a), fs::metadata(b)) else { return false };
    ma.len() == mb.len()
        && ma.permissions() == mb.permissions()
        && matches!((fs::read(a), fs::read(b)), (Ok(x), Ok(y)) if x == y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cargo_metadata::camino::Utf8PathBuf;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    #[test]
    fn replacing_copies_once_and_then_only_on_change() {
        let (_guard, dir) = scratch();
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::write(&from, "one").unwrap();
        assert!(replace(&from, &to).unwrap());
        assert!(!replace(&from, &to).unwrap(), "equal files are left alone");
        fs::write(&from, "two").unwrap();
        assert!(replace(&from, &to).unwrap());
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "no temporary file stays behind");
    }

    #[test]
    fn failing_leaves_the_target_and_no_temporary_file() {
        let (_guard, dir) = scratch();
        let to = dir.join("to");
        fs::write(&to, "old").unwrap();
        let error = replace(&dir.join("absent"), &to).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }
}
