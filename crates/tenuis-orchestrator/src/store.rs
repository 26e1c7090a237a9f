//! Outputs of stages by what went into them, so that no run does what another has done.

use crate::error::RunError;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tenuis_core::Checkpoint;
use tenuis_eval::report::StageRecord;

/// The hexadecimal digits of a key that name its directory: 128 bits of blake3.
const DIGITS: usize = 32;
/// What the name of the directory with an unfinished stage's state ends with.
const STATE: &str = ".state";
/// The directory of what gates have measured.
const GATES: &str = "gates";

/// The outputs of finished stages and the states of unfinished ones, each in a directory named after its key: the hash of the
/// input checkpoint, the technique and its library, the options, the calibration and everything else that decides the output.
///
/// A checkpoint that is published shares its files with the store (hard links), so that the store costs no room for what is
/// published and may be thrown away at any time; what is thrown away is made again when it is asked for.
#[derive(Clone, Debug)]
pub struct StageStore {
    root: PathBuf,
}

/// Something in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// Its directory.
    pub dir: PathBuf,
    /// Bytes that are freed when it is removed: files that are published as well are not counted.
    pub bytes: u64,
    /// When it was last made or reused.
    pub used: SystemTime,
    /// Whether it is the state of a stage that was not finished.
    pub unfinished: bool,
}

/// What a collection removed and left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Directories removed.
    pub removed: usize,
    /// Bytes freed.
    pub freed: u64,
    /// Bytes left.
    pub left: u64,
}

impl StageStore {
    /// A store at a directory, which is made when the first stage is run.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the output of a stage lies.
    pub(crate) fn dir(&self, key: &str) -> PathBuf {
        self.root.join(name(key))
    }

    /// Where a stage keeps what it needs to go on after it was killed.
    pub(crate) fn state_dir(&self, key: &str) -> Result<PathBuf, RunError> {
        let dir = self.root.join(format!("{}{STATE}", name(key)));
        fs::create_dir_all(&dir).map_err(|source| RunError::File { path: dir.clone(), source })?;
        // A plugin has its own idea of the working directory.
        dir.canonicalize().map_err(|source| RunError::File { path: dir.clone(), source })
    }

    /// Where what a gate has measured is kept.
    pub(crate) fn gate_file(&self, key: &str) -> PathBuf {
        self.root.join(GATES).join(format!("{}.json", name(key)))
    }

    /// The checkpoint of a finished stage and the records of its `count` techniques; nothing where there is none or it is damaged.
    pub(crate) fn finished(&self, key: &str, count: usize) -> Option<(Checkpoint, Vec<StageRecord>)> {
        let found = finished(&self.dir(key), key, count)?;
        // Which entry was used last decides what a collection removes first; nothing else depends on it.
        let _ = fs::File::options()
            .append(true)
            .open(self.dir(key).join(tenuis_core::checkpoint::MANIFEST_NAME))
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(found)
    }

    /// Everything in the store, what was used longest ago first.
    ///
    /// # Errors
    /// [`RunError::File`] where the directory cannot be read. One that does not exist is empty.
    pub fn entries(&self) -> Result<Vec<StoreEntry>, RunError> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        let file = |source| RunError::File { path: self.root.clone(), source };
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(file)? {
            let dir = entry.map_err(file)?.path();
            let found = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let key = found.strip_suffix(STATE).unwrap_or(&found);
            if key.len() != DIGITS || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
                continue;
            }
            let manifest = dir.join(tenuis_core::checkpoint::MANIFEST_NAME);
            let times = fs::metadata(&manifest).or_else(|_| fs::metadata(&dir)).and_then(|m| m.modified());
            let used = times.unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push(StoreEntry { bytes: bytes_of(&dir), used, unfinished: found.ends_with(STATE), dir });
        }
        entries.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.dir.cmp(&b.dir)));
        Ok(entries)
    }

    /// Removes what was used longest ago until what is left takes at most `limit` bytes; entries of the keys in `keep` stay.
    ///
    /// # Errors
    /// [`RunError::File`] where something cannot be removed.
    pub fn collect(&self, limit: u64, keep: &BTreeSet<String>) -> Result<Collected, RunError> {
        let entries = self.entries()?;
        let kept: BTreeSet<PathBuf> = keep.iter().map(|key| self.dir(key)).collect();
        let mut collected =
            Collected { left: entries.iter().map(|entry| entry.bytes).sum(), ..Collected::default() };
        for entry in entries {
            if collected.left <= limit {
                break;
            }
            if kept.contains(&entry.dir) {
                continue;
            }
            fs::remove_dir_all(&entry.dir)
                .map_err(|source| RunError::File { path: entry.dir.clone(), source })?;
            collected.removed += 1;
            collected.freed += entry.bytes;
            collected.left -= entry.bytes;
        }
        Ok(collected)
    }
}

fn name(key: &str) -> &str {
    &key[..DIGITS.min(key.len())]
}

/// The records of the last `count` techniques of a checkpoint that was finished with this key; anything else there does not
/// count.
pub(crate) fn finished(dir: &Path, key: &str, count: usize) -> Option<(Checkpoint, Vec<StageRecord>)> {
    let checkpoint = Checkpoint::open(dir).ok()?;
    let provenance = checkpoint.manifest()?.provenance.clone();
    if provenance.get("key")?.as_str()? != key || checkpoint.verify().is_err() {
        return None;
    }
    let mut stages: Vec<StageRecord> = serde_json::from_value(provenance.get("stages")?.clone()).ok()?;
    let before = stages.len().checked_sub(count)?;
    let records = stages.split_off(before);
    Some((checkpoint, records))
}

/// The bytes of all files below a directory that have no other name elsewhere.
fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_of(&entry.path()),
            Ok(found) if names(&found) == 1 => found.len(),
            _ => 0,
        })
        .sum()
}

#[cfg(unix)]
fn names(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(found)
}

#[cfg(not(unix))]
fn names(_found: &fs::Metadata) -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;
    use tenuis_core::{CheckpointWriter, DType, Tensor, WriterOptions, link_checkpoint};

    fn put(store: &StageStore, key: &str, seconds: u64) {
        let mut writer = CheckpointWriter::create(&store.dir(key), &[], WriterOptions::default()).unwrap();
        writer.put("w", &Tensor::from_vec(DType::F32, vec![256], vec![1.0f32; 256]).unwrap()).unwrap();
        writer.finish(&json!({}), json!({ "key": key, "stages": [] })).unwrap();
        let manifest =
            fs::File::options().append(true).open(store.dir(key).join("tenuis-manifest.json")).unwrap();
        manifest.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_published_stays_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = StageStore::at(dir.path().join("stages"));
        let keys: Vec<String> = (0..3).map(|i| i.to_string().repeat(64)).collect();
        for (index, key) in keys.iter().enumerate() {
            put(&store, key, 100 - index as u64);
        }
        let published = dir.path().join("mine");
        let first = Checkpoint::open(&store.dir(&keys[2])).unwrap();
        link_checkpoint(&first, &published, json!({ "key": "mine" })).unwrap();
        let entries = store.entries().unwrap();
        assert!(entries.is_sorted_by_key(|entry| entry.used) && entries.len() == 3);
        // The weights of the third have another name, so that removing it frees little.
        assert!(entries[0].dir == store.dir(&keys[2]) && entries[0].bytes < 1024 && entries[2].bytes > 1024);

        let keep = BTreeSet::from([keys[1].clone()]);
        let collected = store.collect(0, &keep).unwrap();
        assert_eq!((collected.removed, store.entries().unwrap().len()), (2, 1));
        assert!(store.finished(&keys[1], 0).is_some() && store.finished(&keys[0], 0).is_none());
        Checkpoint::open(&published).unwrap().verify().unwrap();
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = StageStore::at(dir.path());
        let key = "a".repeat(64);
        put(&store, &key, 1);
        assert!(store.finished(&key, 0).is_some() && store.finished(&key, 1).is_none());
        assert!(finished(&store.dir(&key), &"b".repeat(64), 0).is_none());
        let weights = store.dir(&key).join("model.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&weights, bytes).unwrap();
        assert!(store.finished(&key, 0).is_none());
    }
}
