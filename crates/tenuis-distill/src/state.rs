//! Saving a run so that it goes on as if nothing had been.

use crate::error::TrainError;
use crate::trainer::ValidRecord;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file that holds a run's state.
const FILE: &str = "train-state.safetensors";
/// The entry of its metadata.
const ENTRY: &str = "tenuis.train";

/// A number that comes back from JSON to the last bit, and whatever it is: text rounds, and has no NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exact(pub(crate) f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.to_bits())
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|bits| Self(f64::from_bits(bits)))
    }
}

/// A [`ValidRecord`] as it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Validation {
    pub(crate) step: usize,
    loss: Exact,
    nll: Exact,
    divergence: Exact,
    best: bool,
}

impl From<ValidRecord> for Validation {
    fn from(record: ValidRecord) -> Self {
        Self {
            step: record.step,
            loss: Exact(record.valid_loss),
            nll: Exact(record.valid_nll),
            divergence: Exact(record.valid_divergence),
            best: record.best,
        }
    }
}

impl From<Validation> for ValidRecord {
    fn from(saved: Validation) -> Self {
        Self {
            step: saved.step,
            valid_loss: saved.loss.0,
            valid_nll: saved.nll.0,
            valid_divergence: saved.divergence.0,
            best: saved.best,
        }
    }
}

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
    /// The best validation, how many came after it, and the last.
    pub(crate) best: Option<Validation>,
    pub(crate) since_best: usize,
    pub(crate) last_valid: Option<Validation>,
    /// Training losses by step.
    pub(crate) losses: Vec<(usize, Exact)>,
    /// Seconds spent.
    pub(crate) seconds: Exact,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        for value in [0.1 + 0.2, f64::MIN_POSITIVE / 3.0, f64::INFINITY, -0.0, 1.0 / 3.0] {
            let text = serde_json::to_string(&Exact(value)).unwrap();
            let back: Exact = serde_json::from_str(&text).unwrap();
            assert_eq!(back.0.to_bits(), value.to_bits());
        }
        let text = serde_json::to_string(&Exact(f64::NAN)).unwrap();
        assert!(serde_json::from_str::<Exact>(&text).unwrap().0.is_nan());
    }
}
