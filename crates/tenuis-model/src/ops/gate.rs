//! Activations of the feed-forward part.

use super::{float, for_rows, slice};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use tenuis_spec::Activation;

/// `act(gate) ∘ up`, all `[.., d_ff]`.
pub(crate) fn gated(activation: Activation, gate: &Tensor, up: &Tensor) -> candle_core::Result<Tensor> {
    super::contiguous(gate)?.apply_op2_no_bwd(&*super::contiguous(up)?, &Gated(activation))
}

/// `act(x)`.
pub(crate) fn activate(activation: Activation, x: &Tensor) -> candle_core::Result<Tensor> {
    super::contiguous(x)?.apply_op1_no_bwd(&Gated(activation))
}

struct Gated(Activation);

impl CustomOp1 for Gated {
    fn name(&self) -> &'static str {
        "tenuis-activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout, "tenuis-activation")?;
        Ok((CpuStorage::F32(apply(self.0, x, None)), layout.shape().clone()))
    }
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "tenuis-gate"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let gate = slice(gate, gate_layout, "tenuis-gate")?;
        let up = slice(up, up_layout, "tenuis-gate")?;
        if gate_layout.shape() != up_layout.shape() {
            candle_core::bail!("gate {:?} and up {:?} differ", gate_layout.shape(), up_layout.shape());
        }
        Ok((CpuStorage::F32(apply(self.0, gate, Some(up))), gate_layout.shape().clone()))
    }
}

fn apply(activation: Activation, x: &[f32], factor: Option<&[f32]>) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    for_rows(&mut out, 1, |first, out| {
        let range = first..first + out.len();
        let (x, factor) = (&x[range.clone()], factor.map(|f| &f[range]));
        // One loop per activation: the choice must not stand inside it.
        match activation {
            Activation::Silu => run(
                x,
                factor,
                out,
                #[inline(always)]
                |v| v * float::sigmoid(v),
            ),
            Activation::QuickGelu => run(
                x,
                factor,
                out,
                #[inline(always)]
                |v| v * float::sigmoid(1.702 * v),
            ),
            Activation::GeluTanh => run(x, factor, out, gelu_tanh),
            Activation::Gelu => run(x, factor, out, gelu),
            Activation::Relu => run(
                x,
                factor,
                out,
                #[inline(always)]
                |v| v.max(0.0),
            ),
        }
    });
    out
}

#[inline(always)]
fn run(x: &[f32], factor: Option<&[f32]>, out: &mut [f32], f: impl Fn(f32) -> f32) {
    float::vectorised(
        #[inline(always)]
        || match factor {
            Some(factor) => {
                for ((y, &x), &u) in out.iter_mut().zip(x).zip(factor) {
                    *y = f(x) * u;
                }
            }
            None => {
                for (y, &x) in out.iter_mut().zip(x) {
                    *y = f(x);
                }
            }
        },
    );
}

/// `(1 + tanh u)/2 = σ(2u)`, which keeps its relative accuracy for large negative `u`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6; // √(2/π)
    x * float::sigmoid(2.0 * ROOT * (x + 0.044_715 * x * x * x))
}

fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * candle_core::cpu::erf::erfc_f64(-x * std::f64::consts::FRAC_1_SQRT_2)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 rounding of a handful of steps.
    const TOLERANCE: f64 = 1e-6;

    type Formula = fn(f64) -> f64;

    #[test]
    fn activations_follow_their_formulas() {
        let xs: Vec<f32> = (-200..=200).map(|i| i as f32 * 0.05).collect();
        let formulas: [(Activation, Formula); 5] = [
            (Activation::Silu, |x| x / (1.0 + (-x).exp())),
            (Activation::QuickGelu, |x| x / (1.0 + (-1.702 * x).exp())),
            (Activation::GeluTanh, |x| {
                0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
            }),
            (Activation::Gelu, |x| {
                0.5 * x * (1.0 + candle_core::cpu::erf::erf_f64(x / std::f64::consts::SQRT_2))
            }),
            (Activation::Relu, |x| x.max(0.0)),
        ];
        for (activation, formula) in formulas {
            let plain = apply(activation, &xs, None);
            let gated = apply(activation, &xs, Some(&vec![-2.0; xs.len()]));
            for ((&x, y), g) in xs.iter().zip(plain).zip(gated) {
                let should = formula(f64::from(x));
                assert!(
                    (f64::from(y) - should).abs() < TOLERANCE * (1.0 + x.abs() as f64),
                    "{activation:?}({x})"
                );
                assert_eq!(g, -2.0 * y);
            }
        }
    }
}
