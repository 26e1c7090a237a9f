//! Exact parameters and bytes of a checkpoint.

use crate::error::EvalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_core::{Checkpoint, Ratio};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// What a checkpoint weighs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Weights of the model's matrices and vectors, whatever form they are stored in; scales and zero points of a
    /// quantised weight are not parameters, and a tied head counts once.
    pub params: u64,
    /// `params` without the weights of Linears that are exactly zero, counted from what they decode to.
    pub nonzero_params: u64,
    /// Bytes of the weight files on disk: tensors and headers.
    pub bytes: u64,
    /// Bytes of the tensors alone.
    pub tensor_bytes: u64,
    /// The baseline's `bytes` ÷ these `bytes`: larger is smaller.
    pub compression_ratio: f64,
    /// These `bytes` ÷ the baseline's `bytes`: the inverse of the ratio.
    pub fraction: f64,
}

impl Size {
    /// Measures a model's checkpoint beside the weight files' bytes of the baseline.
    ///
    /// # Errors
    /// [`EvalError::Model`] and [`EvalError::Weight`] where a weight cannot be read.
    pub fn of(model: &Model, baseline_bytes: u64) -> Result<Self, EvalError> {
        let checkpoint: &Checkpoint = model.checkpoint();
        let ratio = Ratio::of(baseline_bytes, checkpoint.file_bytes());
        Ok(Self {
            params: parameters(model.spec()),
            nonzero_params: nonzero_parameters(model)?,
            bytes: checkpoint.file_bytes(),
            tensor_bytes: checkpoint.tensor_bytes(),
            compression_ratio: ratio.get(),
            fraction: ratio.fraction(),
        })
    }
}

/// The parameters of a network: the elements of every tensor that its spec calls for, however they are stored.
pub fn parameters(spec: &DecoderSpec) -> u64 {
    spec.tensors().iter().map(|t| t.shape.iter().map(|&d| d as u64).product::<u64>()).sum()
}

/// The parameters of a network but for the weights of Linears that are exactly zero.
///
/// # Errors
/// As [`Size::of`].
pub fn nonzero_parameters(model: &Model) -> Result<u64, EvalError> {
    let spec = model.spec();
    let head = (!spec.tied).then(|| spec.lm_head.clone());
    let mut nonzero = parameters(spec);
    for linear in spec.linears().chain(head) {
        let weight = model.matrix(&linear.name, linear.shape, linear.layout)?;
        let kept = weight
            .nonzero_parameters()
            .map_err(|source| EvalError::Weight { module: linear.name.clone(), source })?;
        nonzero -= weight.parameters() - kept;
    }
    Ok(nonzero)
}
