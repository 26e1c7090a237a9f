//! Activations of the feed-forward part.

use super::{Lent, for_rows, read, tensor, write};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use tenuis_linalg::float;
use tenuis_spec::Activation;

/// `act(gate) ∘ up`, of equal shapes.
pub(crate) fn gated(activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.contiguous()?.apply_op2(&up.contiguous()?, Gate(activation))
}

/// `act(x)`.
pub(crate) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gate(activation))
}

/// The value and the derivative of an activation.
#[inline(always)]
fn silu(scale: f32, x: f32) -> (f32, f32) {
    let s = float::sigmoid(scale * x);
    (x * s, s * (1.0 + scale * x * (1.0 - s)))
}

/// `x·σ(2u)` with `u = √(2/π)·(x + 0.044715·x³)`, which equals the form with tanh.
#[inline(always)]
fn gelu_tanh(x: f32) -> (f32, f32) {
    const ROOT: f32 = 0.797_884_6;
    let s = float::sigmoid(2.0 * ROOT * (x + 0.044_715 * x * x * x));
    let slope = 2.0 * ROOT * (1.0 + 3.0 * 0.044_715 * x * x);
    (x * s, s + x * s * (1.0 - s) * slope)
}

#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let wide = f64::from(x);
    let cdf = 0.5 * candle_core::cpu::erf::erfc_f64(-wide * std::f64::consts::FRAC_1_SQRT_2);
    let density = (-0.5 * wide * wide).exp() / (2.0 * std::f64::consts::PI).sqrt();
    ((wide * cdf) as f32, (cdf + wide * density) as f32)
}

#[inline(always)]
fn relu(x: f32) -> (f32, f32) {
    if x > 0.0 { (x, 1.0) } else { (0.0, 0.0) }
}

#[derive(Clone, Copy)]
struct Gate(Activation);

impl Gate {
    fn forward(self, x: &[f32], up: Option<&[f32]>) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        for_rows(&mut out, 1, |first, out| {
            let range = first..first + out.len();
            let (x, up) = (&x[range.clone()], up.map(|u| &u[range]));
            // One loop per activation: the choice must not stand inside it.
            match self.0 {
                Activation::Silu => forward(
                    x,
                    up,
                    out,
                    #[inline(always)]
                    |v| silu(1.0, v),
                ),
                Activation::QuickGelu => forward(
                    x,
                    up,
                    out,
                    #[inline(always)]
                    |v| silu(1.702, v),
                ),
                Activation::GeluTanh => forward(x, up, out, gelu_tanh),
                Activation::Gelu => forward(x, up, out, gelu),
                Activation::Relu => forward(x, up, out, relu),
            }
        });
        out
    }

    /// The gradients of `x` and `up`; the latter stays empty where there is none.
    fn backward(self, x: &[f32], up: Option<&[f32]>, grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
        const RUN: usize = super::TASK_VALUES;
        let mut dx = vec![0.0; x.len()];
        let mut du = vec![0.0; up.map_or(0, <[f32]>::len)];
        let run = |first: usize, dx: &mut [f32], du: &mut [f32]| {
            let range = first..first + dx.len();
            let (x, grad, up) = (&x[range.clone()], &grad[range.clone()], up.map(|u| &u[range]));
            match self.0 {
                Activation::Silu => backward(
                    x,
                    up,
                    grad,
                    dx,
                    du,
                    #[inline(always)]
                    |v| silu(1.0, v),
                ),
                Activation::QuickGelu => backward(
                    x,
                    up,
                    grad,
                    dx,
                    du,
                    #[inline(always)]
                    |v| silu(1.702, v),
                ),
                Activation::GeluTanh => backward(x, up, grad, dx, du, gelu_tanh),
                Activation::Gelu => backward(x, up, grad, dx, du, gelu),
                Activation::Relu => backward(x, up, grad, dx, du, relu),
            }
        };
        if up.is_some() {
            let tasks = dx.par_chunks_mut(RUN).zip(du.par_chunks_mut(RUN)).enumerate();
            tasks.for_each(|(task, (dx, du))| run(task * RUN, dx, du));
        } else {
            dx.par_chunks_mut(RUN).enumerate().for_each(|(task, dx)| run(task * RUN, dx, &mut []));
        }
        (dx, du)
    }
}

#[inline(always)]
fn forward(x: &[f32], up: Option<&[f32]>, out: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    float::vectorised(
        #[inline(always)]
        || match up {
            Some(up) => {
                for ((y, &x), &u) in out.iter_mut().zip(x).zip(up) {
                    *y = f(x).0 * u;
                }
            }
            None => {
                for (y, &x) in out.iter_mut().zip(x) {
                    *y = f(x).0;
                }
            }
        },
    );
}

#[inline(always)]
fn backward(
    x: &[f32],
    up: Option<&[f32]>,
    grad: &[f32],
    dx: &mut [f32],
    du: &mut [f32],
    f: impl Fn(f32) -> (f32, f32),
) {
    float::vectorised(
        #[inline(always)]
        || match up {
            Some(up) => {
                for ((((dx, du), &x), &u), &g) in dx.iter_mut().zip(du).zip(x).zip(up).zip(grad) {
                    let (value, slope) = f(x);
                    *dx = g * u * slope;
                    *du = g * value;
                }
            }
            None => {
                for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(grad) {
                    *dx = g * f(x).1;
                }
            }
        },
    );
}

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "tenuis-train-activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let y = self.forward(&read(x, layout, "tenuis-train-activation")?, None);
        Ok((write(y, x.dtype())?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (x_lent, g_lent) = (Lent::new(x)?, Lent::new(grad)?);
        let (x_lock, g_lock) = (x_lent.lock(), g_lent.lock());
        let (dx, _) = self.backward(&x_lock.values()?, None, &g_lock.values()?);
        Ok(Some(tensor(dx, x.shape(), x.dtype())?))
    }
}

impl CustomOp2 for Gate {
    fn name(&self) -> &'static str {
        "tenuis-train-gate"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        if gate_layout.shape() != up_layout.shape() {
            candle_core::bail!("gate {:?} and up {:?} differ", gate_layout.shape(), up_layout.shape());
        }
        let dtype = gate.dtype();
        let (gate, up) =
            (read(gate, gate_layout, "tenuis-train-gate")?, read(up, up_layout, "tenuis-train-gate")?);
        Ok((write(self.forward(&gate, Some(&up)), dtype)?, gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x_lent, u_lent, g_lent) = (Lent::new(gate)?, Lent::new(up)?, Lent::new(grad)?);
        let (x_lock, u_lock, g_lock) = (x_lent.lock(), u_lent.lock(), g_lent.lock());
        let (dx, du) = self.backward(&x_lock.values()?, Some(&u_lock.values()?), &g_lock.values()?);
        Ok((Some(tensor(dx, gate.shape(), gate.dtype())?), Some(tensor(du, up.shape(), up.dtype())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradients, input};

    #[test]
    fn gradients_agree_with_differences() {
        for activation in [
            Activation::Silu,
            Activation::QuickGelu,
            Activation::GeluTanh,
            Activation::Gelu,
            Activation::Relu,
        ] {
            gradients(&[input(&[5, 6], 0), input(&[5, 6], 1)], |v| gated(activation, &v[0], &v[1]));
            gradients(&[input(&[5, 6], 0)], |v| activate(activation, &v[0]));
        }
    }
}
