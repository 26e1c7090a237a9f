//! The directory that a writer produces: refused where it would hurt, locked, and renamed into place.

use super::error::CheckpointError;
use super::manifest::Manifest;
use super::root::Root;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells apart the temporary directories of one process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A target under construction. Dropping it removes the temporary directory and frees the lock.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    parent: PathBuf,
    temp: PathBuf,
    /// Dropped after the temporary directory is gone.
    _lock: Lock,
    overwrite: bool,
}

impl Target {
    /// Checks the target against the inputs, locks it, removes what killed runs left and makes a temporary directory.
    pub(super) fn create(target: &Path, inputs: &[&Path], overwrite: bool) -> Result<Self, CheckpointError> {
        let path = resolve(target)?;
        let (Some(parent), Some(name)) = (path.parent().map(Path::to_owned), path.file_name()) else {
            return Err(CheckpointError::TargetName { target: target.to_owned() });
        };
        for input in inputs {
            refuse_input(&path, input)?;
        }
        fs::create_dir_all(&parent).map_err(CheckpointError::io("create", &parent))?;
        let lock = Lock::take(&path, &parent, name)?;
        check_existing(&path, overwrite)?;
        // Every writer of this target holds the lock, so that whatever is left belongs to a run that is dead.
        let prefix = hidden(name, ".tenuis-tmp-");
        remove_stale(&parent, &prefix)?;
        let mut temp = prefix;
        temp.push(format!("{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
        let temp = parent.join(temp);
        fs::create_dir(&temp).map_err(CheckpointError::io("create", &temp))?;
        Ok(Self { path, parent, temp, _lock: lock, overwrite })
    }

    /// The final path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that is being filled.
    pub(super) fn temp(&self) -> &Path {
        &self.temp
    }

    /// Renames the filled directory to its final path, swapping it with one that may be overwritten.
    pub(super) fn commit(self) -> Result<PathBuf, CheckpointError> {
        sync_directory(&self.temp)?;
        let replaced = check_existing(&self.path, self.overwrite)?;
        let failed = CheckpointError::io("rename into place", &self.path);
        if replaced {
            swap(&self.temp, &self.path).map_err(failed)?;
        } else {
            place(&self.temp, &self.path).map_err(failed)?;
        }
        sync_directory(&self.parent)?;
        // Dropping removes what the temporary path holds now: nothing, or the directory that was replaced.
        Ok(self.path.clone())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Best effort: what cannot be removed now is removed by the next run.
        drop(fs::remove_dir_all(&self.temp));
    }
}

/// `.NAME` with a suffix.
fn hidden(name: &std::ffi::OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(suffix);
    hidden
}

/// The absolute path of a target that need not exist: links in its existing part are followed.
fn resolve(target: &Path) -> Result<PathBuf, CheckpointError> {
    let bad_name = || CheckpointError::TargetName { target: target.to_owned() };
    if !matches!(target.components().next_back(), Some(Component::Normal(_))) {
        return Err(bad_name());
    }
    let absolute = std::path::absolute(target).map_err(CheckpointError::io("resolve", target))?;
    if absolute.is_symlink() {
        let relation = "is a symbolic link, perhaps to";
        return Err(CheckpointError::TargetIsInput {
            target: target.to_owned(),
            relation,
            input: fs::read_link(&absolute).unwrap_or_default(),
        });
    }
    let existing = absolute.ancestors().find(|p| p.exists()).ok_or_else(bad_name)?;
    let rest = absolute.strip_prefix(existing).map_err(|_| bad_name())?;
    if rest.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Err(bad_name());
    }
    let real = existing.canonicalize().map_err(CheckpointError::io("resolve", existing))?;
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// Fails where writing `target` would touch `input`: equal to it, inside it, around it, or linked to a file of it.
fn refuse_input(target: &Path, input: &Path) -> Result<(), CheckpointError> {
    let refuse = |relation| {
        Err(CheckpointError::TargetIsInput { target: target.to_owned(), relation, input: input.to_owned() })
    };
    let real = input.canonicalize().map_err(CheckpointError::io("open", input))?;
    if target == real || (identity(target).is_some() && identity(target) == identity(&real)) {
        return refuse("is the same as");
    }
    if holds(&real, target) {
        return refuse("lies inside");
    }
    if holds(target, &real) {
        return refuse("contains");
    }
    let list = || CheckpointError::io("list", input);
    let mut entries = vec![real.clone()];
    if real.is_dir() {
        for entry in fs::read_dir(&real).map_err(list())? {
            entries.push(entry.map_err(list())?.path());
        }
    }
    let mut files = Vec::new();
    for entry in entries {
        // A dangling link leads nowhere that could be overwritten.
        if let Ok(file) = entry.canonicalize() {
            if holds(target, &file) {
                return refuse("contains files that are linked from");
            }
            files.extend(identity(&file));
        }
    }
    if target.is_dir() {
        for entry in fs::read_dir(target).map_err(CheckpointError::io("list", target))? {
            let path = entry.map_err(CheckpointError::io("list", target))?.path();
            if identity(&path).is_some_and(|id| files.contains(&id)) {
                return refuse("contains links to files of");
            }
        }
    }
    Ok(())
}

/// Whether `outer` is an ancestor of `inner`, by path or, through bind mounts, by identity.
fn holds(outer: &Path, inner: &Path) -> bool {
    let outer_id = identity(outer);
    inner.ancestors().skip(1).any(|a| a == outer || (outer_id.is_some() && identity(a) == outer_id))
}

/// Device and inode of what a path leads to.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// Without inodes, paths alone tell files apart.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Whether the target exists and may be replaced; fails where it exists and may not.
fn check_existing(target: &Path, overwrite: bool) -> Result<bool, CheckpointError> {
    if fs::symlink_metadata(target).is_err() {
        return Ok(false);
    }
    if !overwrite {
        return Err(CheckpointError::TargetExists { target: target.to_owned() });
    }
    let foreign =
        |what: &str| CheckpointError::TargetForeign { target: target.to_owned(), what: what.to_owned() };
    if !target.is_dir() {
        return Err(foreign("no checkpoint"));
    }
    let root = Root::open(target)?;
    let manifest = match Manifest::read(&root) {
        None => return Err(foreign("no manifest of Tenuis")),
        Some(Err(problem)) => return Err(foreign(&format!("a broken manifest ({problem})"))),
        Some(Ok(manifest)) => manifest,
    };
    for entry in fs::read_dir(target).map_err(CheckpointError::io("list", target))? {
        let name = entry.map_err(CheckpointError::io("list", target))?.file_name();
        if !name.to_str().is_some_and(|n| manifest.lists(n)) {
            return Err(foreign(&format!("{}, which Tenuis did not write", name.display())));
        }
    }
    Ok(true)
}

/// Removes temporary directories `prefix + PID-SERIAL`.
fn remove_stale(parent: &Path, prefix: &OsString) -> Result<(), CheckpointError> {
    let prefix = prefix.as_encoded_bytes();
    for entry in fs::read_dir(parent).map_err(CheckpointError::io("list", parent))? {
        let entry = entry.map_err(CheckpointError::io("list", parent))?;
        let name = entry.file_name();
        let Some(rest) = name.as_encoded_bytes().strip_prefix(prefix) else { continue };
        let ours = rest.iter().all(|b| b.is_ascii_digit() || *b == b'-') && rest.contains(&b'-');
        if ours && entry.file_type().is_ok_and(|t| t.is_dir()) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(CheckpointError::io("remove the stale", &path))?;
        }
    }
    Ok(())
}

/// Makes the entries of a directory durable.
fn sync_directory(path: &Path) -> Result<(), CheckpointError> {
    if cfg!(unix) {
        let synced = File::open(path).and_then(|d| d.sync_all());
        synced.map_err(CheckpointError::io("sync", path))?;
    }
    Ok(())
}

/// Renames onto a path that must not exist.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rename_with(from, to, rustix::fs::RenameFlags::NOREPLACE) {
        Err(e) if is_unsupported(&e) => {}
        done => return done,
    }
    if to.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// Exchanges two directories, in one step where the file system can.
fn swap(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rename_with(new, old, rustix::fs::RenameFlags::EXCHANGE) {
        Err(e) if is_unsupported(&e) => {}
        done => return done,
    }
    let mut aside = new.as_os_str().to_owned();
    aside.push("-0");
    let aside = PathBuf::from(aside);
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

#[cfg(target_os = "linux")]
fn rename_with(from: &Path, to: &Path, flags: rustix::fs::RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
}

/// Whether the kernel or file system lacks the flag.
#[cfg(target_os = "linux")]
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// An exclusive lock on a target, held through a file beside it and freed by the kernel when the process dies.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    fn take(target: &Path, parent: &Path, name: &std::ffi::OsStr) -> Result<Self, CheckpointError> {
        let path = parent.join(hidden(name, ".tenuis-lock"));
        loop {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let file = opened.map_err(CheckpointError::io("create", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(CheckpointError::Locked { target: target.to_owned() });
                }
                Err(TryLockError::Error(e)) => return Err(CheckpointError::io("lock", &path)(e)),
            }
            // The run before may have removed the file between our opening and locking it: then lock the new one.
            if same_file(&file, &path) {
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for Lock {
    /// Removes the file while it is still locked, then frees it.
    fn drop(&mut self) {
        if cfg!(unix) {
            drop(fs::remove_file(&self.path));
        }
        drop(self.file.unlock());
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().ok().map(|m| (m.dev(), m.ino())) == identity(path)
}

/// Where lock files are never removed, the path leads to the open file.
#[cfg(not(unix))]
fn same_file(_file: &File, _path: &Path) -> bool {
    true
}
