//! A scalar whose gradient towards a tensor is given.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// A zero whose `backward` starts at `x` with the gradient `grad`: how a block that was run again takes up the
/// gradient that came back to it.
pub(crate) fn seed(x: &Tensor, grad: Tensor) -> Result<Tensor> {
    x.apply_op1(Seed(grad))
}

struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "tenuis-seed"
    }

    fn cpu_fwd(&self, _x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, _grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
