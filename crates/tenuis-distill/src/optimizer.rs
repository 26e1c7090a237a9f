//! AdamW without temporaries.
#![expect(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instructions of `vectorised`"
)]

use crate::error::TrainError;
use crate::ops::Lent;
use crate::options::TrainOptions;
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use tenuis_linalg::float;

/// Values of one task; fixed, so that norms are the same on any number of threads.
const RUN: usize = 1 << 15;

/// AdamW (Loshchilov and Hutter 2017, 1711.05101): with bias-corrected means `m̂`, `v̂` of gradient and squared gradient,
/// `w ← w − lr · (m̂ / (√v̂ + eps) + decay · w)`. One pass reads gradient, moments and weight and writes the last three:
/// 28 bytes a value, so the bound is memory.
#[derive(Debug, Default)]
pub(crate) struct AdamW {
    /// Updates made; not every step makes one.
    pub(crate) updates: usize,
    /// Per parameter.
    pub(crate) moments: Vec<Moments>,
}

/// The running means of a parameter's gradient and of its square.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f32>,
    pub(crate) square: Vec<f32>,
}

impl AdamW {
    pub(crate) fn new<'a>(params: impl Iterator<Item = &'a Var>) -> Self {
        let zeros =
            |var: &Var| Moments { mean: vec![0.0; var.elem_count()], square: vec![0.0; var.elem_count()] };
        Self { updates: 0, moments: params.map(zeros).collect() }
    }

    /// Updates every parameter; gradients are multiplied by `factor` on the way.
    pub(crate) fn step(
        &mut self,
        params: &[&Var],
        grads: &[Tensor],
        rate: f64,
        factor: f32,
        options: &TrainOptions,
    ) -> std::result::Result<(), TrainError> {
        self.updates += 1;
        let power = self.updates as i32;
        for ((var, grad), moments) in params.iter().zip(grads).zip(&mut self.moments) {
            let lent = Lent::new(grad)?;
            let locked = lent.lock();
            let grad = locked.values()?;
            let update = Update {
                moments: Mutex::new(moments),
                grad: &grad,
                factor,
                rate: rate as f32,
                beta1: options.beta1 as f32,
                beta2: options.beta2 as f32,
                correct1: (1.0 / (1.0 - options.beta1.powi(power))) as f32,
                correct2: (1.0 / (1.0 - options.beta2.powi(power))) as f32,
                epsilon: options.epsilon as f32,
                decay: if var.rank() > 1 { options.weight_decay as f32 } else { 0.0 },
            };
            var.as_tensor().inplace_op1(&update)?;
        }
        Ok(())
    }
}

struct Update<'a> {
    moments: Mutex<&'a mut Moments>,
    grad: &'a [f32],
    factor: f32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    correct1: f32,
    correct2: f32,
    epsilon: f32,
    decay: f32,
}

impl Update<'_> {
    #[inline(always)]
    fn run(&self, weight: &mut [f32], grad: &[f32], mean: &mut [f32], square: &mut [f32]) {
        for (((w, &g), m), v) in weight.iter_mut().zip(grad).zip(mean).zip(square) {
            let g = g * self.factor;
            *m = self.beta1 * *m + (1.0 - self.beta1) * g;
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            let direction = *m * self.correct1 / ((*v * self.correct2).sqrt() + self.epsilon);
            *w -= self.rate * (direction + self.decay * *w);
        }
    }
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "tenuis-adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("a parameter is a row-major f32 tensor");
        };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Moments { mean, square } = &mut **moments;
        values[start..end]
            .par_chunks_mut(RUN)
            .zip(self.grad.par_chunks(RUN))
            .zip(mean.par_chunks_mut(RUN).zip(square.par_chunks_mut(RUN)))
            .for_each(|((weight, grad), (mean, square))| {
                float::vectorised(
                    #[inline(always)]
                    || self.run(weight, grad, mean, square),
                );
            });
        Ok(())
    }
}

/// The root of the sum of all squares; not finite where any gradient is not.
pub(crate) fn global_norm(grads: &[Tensor]) -> std::result::Result<f64, TrainError> {
    let mut total = 0.0;
    for grad in grads {
        let lent = Lent::new(grad)?;
        let locked = lent.lock();
        let parts: Vec<f64> = locked
            .values()?
            .par_chunks(RUN)
            .map(|run| {
                let sum = float::vectorised(
                    #[inline(always)]
                    || float::sum(run, |v| v * v),
                );
                // Squares of large but finite values may overflow in f32.
                if sum.is_finite() { f64::from(sum) } else { run.iter().map(|&v| f64::from(v).powi(2)).sum() }
            })
            .collect();
        total += parts.iter().sum::<f64>();
    }
    Ok(total.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// The published update, written out in f64.
    #[test]
    fn follows_the_formula() {
        let options = TrainOptions { weight_decay: 0.1, ..TrainOptions::default() };
        let start = [0.5f64, -1.0, 2.0, 0.25];
        let values: Vec<f32> = start.iter().map(|&v| v as f32).collect();
        let var = Var::from_vec(values, (2, 2), &Device::Cpu).unwrap();
        let mut adam = AdamW::new([&var].into_iter());
        let (mut w, mut m, mut v) = (start, [0.0f64; 4], [0.0f64; 4]);
        for step in 1..=5 {
            let grad: Vec<f64> = (0..4).map(|i| f64::from(i + step).sin()).collect();
            let tensor = Tensor::from_vec(
                grad.iter().map(|&g| 2.0 * g as f32).collect::<Vec<_>>(),
                (2, 2),
                &Device::Cpu,
            );
            adam.step(&[&var], &[tensor.unwrap()], 0.01, 0.5, &options).unwrap();
            for i in 0..4 {
                m[i] = options.beta1 * m[i] + (1.0 - options.beta1) * grad[i];
                v[i] = options.beta2 * v[i] + (1.0 - options.beta2) * grad[i] * grad[i];
                let (m, v) =
                    (m[i] / (1.0 - options.beta1.powi(step)), v[i] / (1.0 - options.beta2.powi(step)));
                w[i] -= 0.01 * (m / (v.sqrt() + options.epsilon) + 0.1 * w[i]);
            }
        }
        for (found, expected) in crate::ops::to_vec(var.as_tensor()).unwrap().iter().zip(w) {
            // A few roundings of f32 per step.
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }

    #[test]
    fn the_norm_sees_what_is_not_finite() {
        let grads = |v: Vec<f32>| vec![Tensor::new(v, &Device::Cpu).unwrap()];
        assert_eq!(global_norm(&grads(vec![3.0, 4.0])).unwrap(), 5.0);
        assert!((global_norm(&grads(vec![1e30])).unwrap() / 1e30 - 1.0).abs() < 1e-6);
        assert!(!global_norm(&grads(vec![1.0, f32::NAN])).unwrap().is_finite());
        assert!(!global_norm(&grads(vec![f32::INFINITY])).unwrap().is_finite());
    }
}
