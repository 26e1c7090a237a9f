//! Saving a run so that it goes on as if nothing had been.

use crate::error::TrainError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file that holds a run's state.
const FILE: &str = "train-state.safetensors";
/// The entry of its metadata.
const ENTRY: &str = "tenuis.train";

/// What is known besides the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Options, objective, data and parameters, hashed: another run must not go on from here.
    pub(crate) run: String,
    /// Steps done.
    pub(crate) step: usize,
    /// Updates made: steps that were not skipped.
    pub(crate) updates: usize,
    /// Steps skipped in all, and in a row.
    pub(crate) skipped: usize,
    pub(crate) skipped_in_a_row: usize,
    /// The loss scale and the good steps since it changed.
    pub(crate) loss_scale: f32,
    pub(crate) good_steps: usize,
    /// The best validation loss and how many came after it.
    pub(crate) best: Option<f64>,
    pub(crate) since_best: usize,
    /// Training losses by step.
    pub(crate) losses: Vec<(usize, f64)>,
    /// Seconds spent.
    pub(crate) seconds: f64,
}

/// A run's state: progress and named tensors (weights, moments, the best weights).
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) progress: Progress,
    pub(crate) tensors: Vec<(String, Vec<f32>)>,
}

impl State {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// Writes the state beside the old one and renames it over that.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), TrainError> {
        let (path, temp) = (Self::path(dir), dir.join(format!("{FILE}.tmp")));
        fs::create_dir_all(dir).map_err(TrainError::io("create", dir))?;
        let broken = |problem: String| TrainError::State { file: path.clone(), problem };
        let views = self.tensors.iter().map(|(name, values)| {
            let bytes = bytes_of(values);
            TensorView::new(Dtype::F32, vec![values.len()], bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| broken(e.to_string()))?;
        let progress = serde_json::to_string(&self.progress).map_err(|e| broken(e.to_string()))?;
        let metadata = HashMap::from([(ENTRY.to_owned(), progress)]);
        safetensors::serialize_to_file(views, Some(metadata), &temp).map_err(|e| broken(e.to_string()))?;
        File::open(&temp).and_then(|f| f.sync_all()).map_err(TrainError::io("write", &temp))?;
        fs::rename(&temp, &path).map_err(TrainError::io("write", &path))
    }

    /// Reads a state of the run `run`, if there is one.
    pub(crate) fn load(dir: &Path, run: &str) -> Result<Option<Self>, TrainError> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(TrainError::io("read", &path)(e)),
        };
        let broken = |problem: String| TrainError::State { file: path.clone(), problem };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
        let entry = metadata.metadata().as_ref().and_then(|m| m.get(ENTRY));
        let entry = entry.ok_or_else(|| broken(format!("has no entry {ENTRY}")))?;
        let progress: Progress = serde_json::from_str(entry).map_err(|e| broken(e.to_string()))?;
        if progress.run != run {
            return Err(TrainError::OtherRun { file: path, what: "setting, data or model" });
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
        let values = |view: &TensorView<'_>| {
            view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>()
        };
        let tensors = file.iter().map(|(name, view)| (name.to_owned(), values(&view))).collect();
        Ok(Some(Self { progress, tensors }))
    }

    /// Takes a tensor of a length out.
    pub(crate) fn take(&mut self, dir: &Path, name: &str, len: usize) -> Result<Vec<f32>, TrainError> {
        let found = self.tensors.iter_mut().find(|(n, values)| n == name && values.len() == len);
        found.map(|(_, values)| std::mem::take(values)).ok_or_else(|| TrainError::State {
            file: Self::path(dir),
            problem: format!("has no tensor {name} of {len} values"),
        })
    }
}

fn bytes_of(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}
