//! The slot that holds a weight in any form.

use crate::error::ModelError;
use crate::ops::{self, Rows};
use crate::profile::{Work, operation};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::sync::Arc;
use tenuis_core::Weight;
use tenuis_kernels::{LinearOp, linear_op};
use tenuis_spec::LinearSpec;

/// A Linear: `y = W x + b` on whatever form the weight has, tile by tile, never from a dense copy of it.
#[derive(Clone, Debug)]
pub struct Linear {
    spec: LinearSpec,
    weight: Weight,
    bias: Option<Arc<[f32]>>,
    op: Arc<dyn LinearOp>,
}

impl Linear {
    /// Puts a weight into a slot.
    ///
    /// # Errors
    /// [`ModelError::Slot`] where the shapes differ, [`ModelError::Weight`] where no kernel takes the weight.
    pub fn new(spec: LinearSpec, weight: Weight, bias: Option<Arc<[f32]>>) -> Result<Self, ModelError> {
        let op = kernel(&spec, &weight)?;
        Ok(Self { spec, weight, bias, op })
    }

    /// What the slot is.
    pub const fn spec(&self) -> &LinearSpec {
        &self.spec
    }

    /// The weight.
    pub const fn weight(&self) -> &Weight {
        &self.weight
    }

    /// The bias, `[out_features]`.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Puts another weight of the same shape into the slot.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn set_weight(&mut self, weight: Weight) -> Result<(), ModelError> {
        self.op = kernel(&self.spec, &weight)?;
        self.weight = weight;
        Ok(())
    }

    pub(crate) fn set_bias(&mut self, bias: Vec<f32>) {
        self.bias = Some(bias.into());
    }

    /// Multiplies.
    ///
    /// # Shapes
    /// `x`: `[.., in_features]` f32, result: `[.., out_features]`.
    ///
    /// # Errors
    /// [`ModelError::Candle`] where `x` has another width or type.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(ops::contiguous(x)?.apply_op1_no_bwd(&Multiply(self))?)
    }

    /// As [`Linear::forward`], as a plain vector.
    pub(crate) fn forward_values(&self, x: &Tensor) -> Result<Vec<f32>, ModelError> {
        let in_features = self.spec.shape[1];
        if x.dims().last() != Some(&in_features) {
            let message = format!("{}: input {:?} is not {in_features} wide", self.spec.name, x.shape());
            return Err(candle_core::Error::Msg(message).into());
        }
        Ok(ops::with_values(x, |x| self.multiply(x))?)
    }

    fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let [out_features, in_features] = self.spec.shape;
        let rows = x.len() / in_features;
        let mut y = vec![0.0; rows * out_features];
        operation(
            || {
                let bytes = self.resident_bytes() + 4 * (x.len() + rows * out_features) as u64;
                let flops = 2 * rows as u64 * self.weight.parameters();
                (short(&self.spec.name), self.weight.kind(), Work { bytes, flops })
            },
            || self.op.forward(x, rows, self.bias(), &mut y),
        );
        y
    }

    /// The bytes that weight and bias hold, in RAM or in a mapped file.
    pub fn resident_bytes(&self) -> u64 {
        self.op.resident_bytes() + 4 * self.bias.as_ref().map_or(0, |b| b.len() as u64)
    }
}

/// The last part of a module's name that is no number.
fn short(module: &str) -> &str {
    module.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or(module)
}

fn kernel(spec: &LinearSpec, weight: &Weight) -> Result<Arc<dyn LinearOp>, ModelError> {
    if weight.shape() != spec.shape {
        let (module, expected, found) = (spec.name.clone(), spec.shape, weight.shape());
        return Err(ModelError::Slot { module, expected, found });
    }
    linear_op(weight).map_err(|source| ModelError::Weight { module: spec.name.clone(), source })
}

struct Multiply<'a>(&'a Linear);

impl CustomOp1 for Multiply<'_> {
    fn name(&self) -> &'static str {
        "tenuis-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let [out_features, in_features] = self.0.spec.shape;
        let x = Rows::new(storage, layout, in_features, self.name())?;
        Ok((CpuStorage::F32(self.0.multiply(x.values)), x.shape_with(out_features)))
    }
}
