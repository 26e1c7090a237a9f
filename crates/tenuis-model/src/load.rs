//! Reading slots from a checkpoint.

use crate::error::ModelError;
use crate::linear::Linear;
use crate::norm::Norm;
use std::sync::{Arc, Mutex, PoisonError};
use tenuis_core::{Checkpoint, CodecRegistry, Layout, StoredWeights, Weight};
use tenuis_spec::{LinearSpec, NormSpec};

/// A checkpoint and how to read its weights.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) checkpoint: Arc<Checkpoint>,
    stored: StoredWeights,
    codecs: CodecRegistry,
}

impl Store {
    pub(crate) fn new(checkpoint: Arc<Checkpoint>, codecs: &CodecRegistry) -> Result<Self, ModelError> {
        let stored = StoredWeights::from_checkpoint(&checkpoint)?;
        Ok(Self { checkpoint, stored, codecs: codecs.clone() })
    }

    /// Whether a matrix is there, dense or compressed.
    pub(crate) fn has_matrix(&self, module: &str) -> bool {
        self.stored.descriptor(module).is_some() || self.checkpoint.contains(&format!("{module}.weight"))
    }

    /// The names of the tensors that make up a matrix.
    pub(crate) fn tensor_names(&self, module: &str) -> Vec<String> {
        self.stored.tensor_names(&self.checkpoint, module)
    }

    /// The logical shape of a matrix that is stored compressed, as far as the file states it by itself; where it
    /// does not, `expected` is returned, and the codec checks the shape when the matrix is loaded.
    pub(crate) fn compressed_shape(&self, module: &str, expected: [usize; 2]) -> Option<[usize; 2]> {
        self.stored.descriptor(module)?;
        Some(self.stored.shape(&self.checkpoint, module).unwrap_or(expected))
    }

    /// Whether two matrices are stored in the same bytes.
    pub(crate) fn is_equal(&self, a: &str, b: &str) -> bool {
        let both_dense = self.stored.descriptor(a).is_none() && self.stored.descriptor(b).is_none();
        let tensor = |module: &str| self.checkpoint.tensor(&format!("{module}.weight"));
        match (tensor(a), tensor(b)) {
            (Ok(a), Ok(b)) if both_dense => {
                a.dtype() == b.dtype() && a.shape() == b.shape() && a.data()[..] == b.data()[..]
            }
            _ => false,
        }
    }

    pub(crate) fn matrix(
        &self,
        module: &str,
        shape: [usize; 2],
        layout: Layout,
    ) -> Result<Weight, ModelError> {
        Ok(self.stored.weight(&self.checkpoint, &self.codecs, module, shape, layout)?)
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let tensor = self.checkpoint.tensor(name)?;
        let values = tensor.to_f32().map(std::borrow::Cow::into_owned);
        values.map_err(|source| ModelError::Tensor { name: name.to_owned(), source })
    }

    pub(crate) fn linear(&self, spec: &LinearSpec) -> Result<Linear, ModelError> {
        let weight = self.matrix(&spec.name, spec.shape, spec.layout)?;
        let bias = spec.bias_name().map(|name| self.vector(&name)).transpose()?;
        Linear::new(spec.clone(), weight, bias.map(Into::into))
    }

    pub(crate) fn norm(&self, spec: &NormSpec) -> Result<Norm, ModelError> {
        let weight = self.vector(&format!("{}.weight", spec.name))?;
        let bias = spec.bias.then(|| self.vector(&format!("{}.bias", spec.name))).transpose()?;
        Ok(Norm::new(spec.clone(), weight, bias))
    }

    pub(crate) fn opt_norm(&self, spec: Option<&NormSpec>) -> Result<Option<Norm>, ModelError> {
        spec.map(|spec| self.norm(spec)).transpose()
    }
}

/// Something that is loaded when it is first needed and can be dropped again.
#[derive(Debug)]
pub(crate) struct Lazy<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Lazy<T> {
    pub(crate) fn get(&self, load: impl FnOnce() -> Result<T, ModelError>) -> Result<Arc<T>, ModelError> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*slot {
            return Ok(Arc::clone(loaded));
        }
        let loaded = Arc::new(load()?);
        *slot = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    pub(crate) fn loaded(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
