//! What the parity tests share: fixtures, expected tensors and the comparison.
#![expect(dead_code, reason = "every test file uses a part of it")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::Model;

/// Largest difference to the reference, as a share of the reference tensor's largest magnitude. Both sides compute in
/// f32; sums in another order differ by some 1e-6 of it.
pub(crate) const TOLERANCE: f64 = 1e-4;

/// A folder below `tests/data`.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// The folder of real models and texts, where the environment names one.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("TENUIS_SHARED").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: TENUIS_SHARED names no folder of real models");
    }
    folder
}

pub(crate) fn open(dir: &Path) -> Model {
    let checkpoint = Checkpoint::open(dir).expect("the fixture is a checkpoint");
    Model::open(Arc::new(checkpoint), &CodecRegistry::builtin()).expect("the fixture is a model")
}

/// Tensors that the reference implementation wrote, as f64.
pub(crate) struct Expected(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Expected {
    pub(crate) fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).expect("the expected tensors are there");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        let numbers = |view: &safetensors::tensor::TensorView<'_>| -> Vec<f64> {
            let data = view.data();
            match view.dtype() {
                safetensors::Dtype::F32 => {
                    data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
                }
                safetensors::Dtype::F64 => {
                    data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
                }
                safetensors::Dtype::I64 => {
                    data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect()
                }
                other => panic!("unexpected type {other:?}"),
            }
        };
        Self(tensors.iter().map(|(name, v)| (name.to_owned(), (v.shape().to_vec(), numbers(&v)))).collect())
    }

    pub(crate) fn values(&self, name: &str) -> &[f64] {
        &self.0[name].1
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Token ids, and batch and sequence length.
    pub(crate) fn tokens(&self) -> (Vec<u32>, usize, usize) {
        let (shape, values) = &self.0["input_ids"];
        (values.iter().map(|&v| v as u32).collect(), shape[0], shape[1])
    }

    /// The rows of positions `range` of a tensor `[batch, seq, width]`.
    pub(crate) fn positions(&self, name: &str, range: std::ops::Range<usize>) -> Vec<f64> {
        let (shape, values) = &self.0[name];
        let (seq, width) = (shape[1], shape[2]);
        values.chunks(seq * width).flat_map(|s| s[range.start * width..range.end * width].to_vec()).collect()
    }
}

pub(crate) fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("an f32 tensor")
}

/// The largest difference as a share of the largest expected magnitude.
pub(crate) fn distance(expected: &[f64], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len(), "number of values");
    let largest = expected.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    let differences = expected.iter().zip(found).map(|(e, &f)| (e - f64::from(f)).abs());
    // `max` would pass over a NaN.
    differences.fold(0.0, |a, d| if d > a || d.is_nan() { d } else { a }) / largest
}

pub(crate) fn assert_close(what: &str, expected: &[f64], found: &[f32], tolerance: f64) {
    let distance = distance(expected, found);
    assert!(distance <= tolerance, "{what}: off by {distance:.2e} of the largest magnitude");
}
