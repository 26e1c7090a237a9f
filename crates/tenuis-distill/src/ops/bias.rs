//! `y = x + b` on every row.

use super::{Lent, for_rows, read, rows_per_task, tensor, write};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Adds an f32 bias to every row. The gradient of the bias is a sum over all rows: candle would take it in the type of the
/// activations, where bf16 stops counting after 256 equal terms and f16 overflows.
///
/// # Shapes
/// `x` and the result: `[rows, out]`, `bias`: `[out]` f32.
pub(crate) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(bias, AddBias { x_grad: x.track_op(), bias_grad: bias.track_op() })
}

struct AddBias {
    x_grad: bool,
    bias_grad: bool,
}

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "tenuis-train-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let (_, width) = x_layout.shape().dims2()?;
        let bias = read(bias, bias_layout, self.name())?;
        if bias.len() != width {
            candle_core::bail!("a bias of {} for rows of {width}", bias.len());
        }
        let mut y = read(x, x_layout, self.name())?.into_owned();
        for_rows(&mut y, width, |_, y| {
            for y in y.chunks_exact_mut(width) {
                y.iter_mut().zip(&*bias).for_each(|(y, b)| *y += b);
            }
        });
        Ok((write(y, x.dtype())?, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let x_grad = self.x_grad.then(|| grad.clone());
        if !self.bias_grad {
            return Ok((x_grad, None));
        }
        let lent = Lent::new(grad)?;
        let locked = lent.lock();
        let values = locked.values()?;
        let width = bias.elem_count();
        // One sum per run of rows, added up in order: the same bits on any number of threads.
        let parts: Vec<Vec<f32>> = values
            .par_chunks(rows_per_task(width) * width)
            .map(|rows| {
                let mut sum = vec![0.0f32; width];
                for row in rows.chunks_exact(width) {
                    sum.iter_mut().zip(row).for_each(|(s, g)| *s += g);
                }
                sum
            })
            .collect();
        let mut sum = vec![0.0f32; width];
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(s, g)| *s += g);
        }
        Ok((x_grad, Some(tensor(sum, bias.shape(), DType::F32)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradients, input};
    use candle_core::{Device, Var};

    #[test]
    fn gradients_agree_with_differences() {
        gradients(&[input(&[5, 7], 0), input(&[7], 1)], |v| add_bias(&v[0], &v[1]));
    }

    /// A sum of 1000 ones in bf16 would stay at 256.
    #[test]
    fn sums_in_f32_whatever_the_activations_are() {
        for dtype in [DType::BF16, DType::F16] {
            let x = Tensor::zeros((1000, 3), dtype, &Device::Cpu).unwrap();
            let bias = Var::from_tensor(&input(&[3], 0)).unwrap();
            let y = add_bias(&x, bias.as_tensor()).unwrap();
            assert_eq!(y.dtype(), dtype);
            let y = crate::ops::norm::cast(&y, DType::F32).unwrap();
            let store = y.sum_all().unwrap().backward().unwrap();
            assert_eq!(crate::ops::to_vec(store.get(&bias).unwrap()).unwrap(), [1000.0; 3]);
        }
    }

    #[test]
    fn a_frozen_bias_gets_no_gradient() {
        let (x, bias) = (Var::from_tensor(&input(&[5, 7], 0)).unwrap(), input(&[7], 1));
        let y = add_bias(x.as_tensor(), &bias).unwrap();
        let store = y.sum_all().unwrap().backward().unwrap();
        assert!(store.get(&x).is_some() && store.get(&bias).is_none());
    }
}
