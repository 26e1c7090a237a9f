//! A second directory for a checkpoint that is there already, without a second copy of its bytes.

use super::error::CheckpointError;
use super::files::pretty;
use super::manifest::MANIFEST_NAME;
use super::reader::Checkpoint;
use super::target::Target;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Puts a checkpoint that Tenuis wrote at another path as well, with a provenance of its own, and returns that path.
///
/// Its files are linked (hard links) where the file system can, and copied where it cannot; the manifest is a new file.
/// Like any output the directory appears whole or not at all, takes the place of another that Tenuis wrote, and of nothing
/// else.
///
/// ```
/// use serde_json::json;
/// use tenuis_core::{Checkpoint, CheckpointWriter, DType, Tensor, WriterOptions, link_checkpoint};
/// let dir = tempfile::tempdir()?;
/// let mut writer = CheckpointWriter::create(&dir.path().join("a"), &[], WriterOptions::default())?;
/// writer.put("w", &Tensor::from_vec(DType::F32, vec![2], vec![1.0f32, 2.0])?)?;
/// writer.finish(&json!({ "model_type": "llama" }), json!({ "made": "first" }))?;
/// let first = Checkpoint::open(&dir.path().join("a"))?;
/// let second = Checkpoint::open(&link_checkpoint(&first, &dir.path().join("b"), json!({ "made": "again" }))?)?;
/// second.verify()?;
/// assert_eq!((second.hash(), &second.manifest().unwrap().provenance["made"]), (first.hash(), &json!("again")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CheckpointError::TargetForeign`] where `from` or the target was not written by Tenuis, [`CheckpointError::Io`],
/// [`CheckpointError::Locked`] where another run is writing the target.
pub fn link_checkpoint(
    from: &Checkpoint,
    target: &Path,
    provenance: Value,
) -> Result<PathBuf, CheckpointError> {
    let Some(manifest) = from.manifest() else {
        let what = "no manifest of Tenuis".to_owned();
        return Err(CheckpointError::TargetForeign { target: from.dir().to_owned(), what });
    };
    // The input is not among those that must not be touched: files that the target shares with it are replaced as a whole.
    let target = Target::create(target, &[], true)?;
    let mut manifest = manifest.clone();
    for name in manifest.shards.keys().chain(manifest.files.keys()) {
        let (source, place) = (from.resolve_file(name)?, target.temp().join(name));
        if fs::hard_link(&source, &place).is_err() {
            fs::copy(&source, &place).map_err(CheckpointError::io("copy to", &place))?;
            File::open(&place).and_then(|f| f.sync_all()).map_err(CheckpointError::io("sync", &place))?;
        }
    }
    manifest.provenance = provenance;
    let path = target.temp().join(MANIFEST_NAME);
    let write = || {
        let mut file = File::create_new(&path)?;
        file.write_all(&pretty(&manifest))?;
        file.sync_all()
    };
    write().map_err(CheckpointError::io("write", &path))?;
    target.commit()
}
