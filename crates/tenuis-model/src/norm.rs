//! The slot that holds a norm.
#![expect(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instructions of `vectorised`"
)]

use crate::error::ModelError;
use crate::ops::{self, float};
use crate::profile::{Work, operation};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::sync::Arc;
use tenuis_spec::{NormKind, NormSpec};

/// A norm over the last dimension; see [`NormKind`] for the formulas.
#[derive(Clone, Debug)]
pub struct Norm {
    spec: NormSpec,
    /// The factor that is applied: the stored one, or that plus one.
    scale: Arc<[f32]>,
    bias: Option<Arc<[f32]>>,
}

impl Norm {
    /// Joins a norm and its stored parameters, `[dim]` each.
    pub fn new(spec: NormSpec, weight: Vec<f32>, bias: Option<Vec<f32>>) -> Self {
        let offset = if spec.plus_one { 1.0 } else { 0.0 };
        let scale = weight.into_iter().map(|w| w + offset).collect();
        Self { spec, scale, bias: bias.map(Into::into) }
    }

    /// What the norm is.
    pub const fn spec(&self) -> &NormSpec {
        &self.spec
    }

    /// Norms every vector of the last dimension.
    ///
    /// # Shapes
    /// `x`: `[.., dim]` f32, or `[.., n · dim]` of which each piece of `dim` is normed by itself.
    ///
    /// # Errors
    /// [`ModelError::Candle`] where `x` has another width or type.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        operation(
            || ("norm", "", Work { bytes: 8 * x.elem_count() as u64 + self.resident_bytes(), flops: 0 }),
            || Ok(ops::contiguous(x)?.apply_op1_no_bwd(&Normalise(self))?),
        )
    }

    /// The bytes of the parameters.
    pub fn resident_bytes(&self) -> u64 {
        4 * (self.scale.len() + self.bias.as_ref().map_or(0, |b| b.len())) as u64
    }
}

struct Normalise<'a>(&'a Norm);

impl CustomOp1 for Normalise<'_> {
    fn name(&self) -> &'static str {
        "tenuis-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Norm { spec, scale, bias } = self.0;
        let values = ops::slice(storage, layout, self.name())?;
        let dim = spec.dim;
        if !values.len().is_multiple_of(dim) || !layout.dims().last().is_some_and(|d| d.is_multiple_of(dim)) {
            candle_core::bail!("{}: {:?} is not made of vectors of {dim}", spec.name, layout.shape());
        }
        let mut out = vec![0.0; values.len()];
        ops::for_rows(&mut out, dim, |first, out| {
            let values = &values[first * dim..first * dim + out.len()];
            float::vectorised(
                #[inline(always)]
                || {
                    for (x, y) in values.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
                        match spec.kind {
                            NormKind::Rms => rms(x, scale, spec.eps, y),
                            NormKind::Layer => layer(x, scale, bias.as_deref(), spec.eps, y),
                        }
                    }
                },
            );
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

#[inline(always)]
fn rms(x: &[f32], scale: &[f32], eps: f64, y: &mut [f32]) {
    let mean = float::sum(x, |v| v * v) / x.len() as f32;
    let factor = (f64::from(mean) + eps).sqrt().recip() as f32;
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(scale) {
        *y = w * (x * factor);
    }
}

#[inline(always)]
fn layer(x: &[f32], scale: &[f32], bias: Option<&[f32]>, eps: f64, y: &mut [f32]) {
    let mean = float::sum(x, |v| v) / x.len() as f32;
    let variance = float::sum(x, |v| (v - mean) * (v - mean)) / x.len() as f32;
    let factor = (f64::from(variance) + eps).sqrt().recip() as f32;
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(scale) {
        *y = w * ((x - mean) * factor);
    }
    if let Some(bias) = bias {
        for (y, b) in y.iter_mut().zip(bias) {
            *y += b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn norm(kind: NormKind, plus_one: bool) -> Norm {
        let spec =
            NormSpec { name: "n".into(), kind, dim: 2, eps: 0.0, plus_one, bias: kind == NormKind::Layer };
        let bias = spec.bias.then(|| vec![10.0, 20.0]);
        Norm::new(spec, vec![1.0, 2.0], bias)
    }

    #[test]
    fn formulas() {
        let x = Tensor::new(&[[3.0f32, 4.0], [0.0, 2.0]], &Device::Cpu).unwrap();
        let values = |n: Norm| n.forward(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let rms = 12.5f32.sqrt();
        let close = |a: Vec<f32>, b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(values(norm(NormKind::Rms, false)), [3.0 / rms, 8.0 / rms, 0.0, 2.0 * 2f32.sqrt()]));
        assert!(close(values(norm(NormKind::Rms, true)), [6.0 / rms, 12.0 / rms, 0.0, 3.0 * 2f32.sqrt()]));
        assert!(close(values(norm(NormKind::Layer, false)), [9.0, 22.0, 9.0, 22.0]));
    }

    #[test]
    fn another_width_is_an_error() {
        let x = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(norm(NormKind::Rms, false).forward(&x).is_err());
    }
}
