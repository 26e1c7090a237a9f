//! Dividing the input before another operation.

use crate::dispatch::Isa;
use crate::{LinearOp, check_lengths, linear_op_for, scratch};
use std::sync::Arc;
use tenuis_core::{InputScaled, WeightError};

/// `y = inner · (x / scale) + b`.
#[derive(Debug)]
pub(crate) struct InputScaledOp {
    inner: Arc<dyn LinearOp>,
    scale: Vec<f32>,
}

impl InputScaledOp {
    pub(crate) fn new(weight: &InputScaled, isa: Isa) -> Result<Self, WeightError> {
        Ok(Self { inner: linear_op_for(weight.inner(), isa)?, scale: weight.scale().to_vec() })
    }
}

impl LinearOp for InputScaledOp {
    fn shape(&self) -> [usize; 2] {
        self.inner.shape()
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        check_lengths(self.shape(), x, rows, bias, y);
        let ins = self.scale.len().max(1);
        scratch::with(x.len(), |divided| {
            for (x, divided) in x.chunks_exact(ins).zip(divided.chunks_exact_mut(ins)) {
                for ((value, x), scale) in divided.iter_mut().zip(x).zip(&self.scale) {
                    *value = x / scale;
                }
            }
            self.inner.forward(divided, rows, bias, y);
        });
    }

    fn resident_bytes(&self) -> u64 {
        self.inner.resident_bytes() + size_of_val(self.scale.as_slice()) as u64
    }
}
