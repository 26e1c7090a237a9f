//! `y = x Wᵀ`, with the gradients that are asked for and no others.

use super::matrix::{Matrix, Threads, multiply};
use super::{Lent, read, round_to, tensor, write};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use tenuis_core::Layout as Stored;

/// A product with a weight. In mixed precision the f32 master weight is rounded to the activations' type on the way.
///
/// candle's `matmul` computes the gradient of both factors whether anybody wants it or not; this one asks.
///
/// # Shapes
/// `x`: `[rows, in]`, `weight`: `[out, in]` or `[in, out]` as stored, result: `[rows, out]`.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, stored: Stored) -> Result<Tensor> {
    let op = Linear { stored, x_grad: x.track_op(), weight_grad: weight.track_op() };
    let x = if x.is_contiguous() { x.clone() } else { x.contiguous()? };
    x.apply_op2(weight, op)
}

struct Linear {
    stored: Stored,
    x_grad: bool,
    weight_grad: bool,
}

impl Linear {
    /// `[out, in]`.
    fn shape(&self, weight: &Layout) -> Result<[usize; 2]> {
        let (a, b) = weight.shape().dims2()?;
        Ok(match self.stored {
            Stored::OutIn => [a, b],
            Stored::InOut => [b, a],
        })
    }

    /// The weight as `[out, in]`.
    fn matrix<'a>(&self, values: &'a [f32], [out, input]: [usize; 2]) -> Matrix<'a> {
        match self.stored {
            Stored::OutIn => Matrix::new(values, [out, input]),
            Stored::InOut => Matrix::new(values, [input, out]).transposed(),
        }
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "tenuis-train-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let shape @ [out, input] = self.shape(weight_layout)?;
        let (rows, width) = x_layout.shape().dims2()?;
        if width != input {
            candle_core::bail!("a Linear [{out}, {input}] was given rows of {width}");
        }
        let dtype = x.dtype();
        let x = read(x, x_layout, self.name())?;
        let weight = round_to(read(weight, weight_layout, self.name())?, dtype)?;
        let mut y = vec![0.0; rows * out];
        let factor = self.matrix(&weight, shape).transposed();
        multiply(Matrix::new(&x, [rows, input]), factor, 1.0, false, &mut y, Threads::All);
        Ok((write(y, dtype)?, Shape::from((rows, out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, input) = x.dims2()?;
        let shape @ [out, _] = self.shape(weight.layout())?;
        let grad = Lent::new(grad)?;
        let grad = grad.lock();
        let grad = grad.values()?;
        let grad = Matrix::new(&grad, [rows, out]);
        let x_grad = if self.x_grad {
            let lent = Lent::new(weight)?;
            let locked = lent.lock();
            let values = round_to(locked.values()?, x.dtype())?;
            let mut dx = vec![0.0; rows * input];
            multiply(grad, self.matrix(&values, shape), 1.0, false, &mut dx, Threads::All);
            Some(tensor(dx, x.shape(), x.dtype())?)
        } else {
            None
        };
        let weight_grad = if self.weight_grad {
            let lent = Lent::new(x)?;
            let locked = lent.lock();
            let values = locked.values()?;
            let x = Matrix::new(&values, [rows, input]);
            let mut dw = vec![0.0; out * input];
            match self.stored {
                Stored::OutIn => multiply(grad.transposed(), x, 1.0, false, &mut dw, Threads::All),
                Stored::InOut => multiply(x.transposed(), grad, 1.0, false, &mut dw, Threads::All),
            }
            Some(tensor(dw, weight.shape(), DType::F32)?)
        } else {
            None
        };
        Ok((x_grad, weight_grad))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradients, input};

    #[test]
    fn gradients_agree_with_differences() {
        for stored in [Stored::OutIn, Stored::InOut] {
            let weight = if stored == Stored::OutIn { [5, 7] } else { [7, 5] };
            gradients(&[input(&[3, 7], 0), input(&weight, 1)], |v| linear(&v[0], &v[1], stored));
        }
    }

    #[test]
    fn a_frozen_weight_gets_no_gradient() {
        let x = candle_core::Var::from_tensor(&input(&[3, 7], 0)).unwrap();
        let weight = input(&[5, 7], 1);
        let y = linear(x.as_tensor(), &weight, Stored::OutIn).unwrap();
        let store = y.sum_all().unwrap().backward().unwrap();
        assert!(store.get(&x).is_some() && store.get(&weight).is_none());
    }
}
