//! RMSNorm and LayerNorm over the last dimension.

use super::{Lent, for_rows, read, rows_per_task, tensor, write};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use tenuis_linalg::float;
use tenuis_spec::{NormKind, NormSpec};

/// Norms every piece of `dim` values of `x` and gives a result of type `out`.
///
/// With mean `μ` (0 for RMS), `r = 1/√(mean((x−μ)²) + eps)` and `n = (x−μ)·r`: `y = n·w + b`, so for a gradient `g` and
/// `h = g·w`: `∂x = r·(h − mean(h) − n·mean(h·n))` (the first mean for LayerNorm alone), `∂w = Σ g·n`, `∂b = Σ g`.
///
/// # Shapes
/// `x`: `[rows, k·dim]`, `weight`, `bias`: `[dim]` f32.
pub(crate) fn norm(
    x: &Tensor,
    spec: &NormSpec,
    weight: &Tensor,
    bias: Option<&Tensor>,
    out: DType,
) -> Result<Tensor> {
    let op = Norm {
        kind: spec.kind,
        eps: spec.eps as f32,
        offset: f32::from(u8::from(spec.plus_one)),
        out,
        tracked: [x.track_op(), weight.track_op(), bias.is_some_and(Tensor::track_op)],
    };
    let x = if x.is_contiguous() { x.clone() } else { x.contiguous()? };
    match bias {
        Some(bias) => x.apply_op3(weight, bias, op),
        None => x.apply_op2(weight, op),
    }
}

#[derive(Clone, Copy)]
struct Norm {
    kind: NormKind,
    eps: f32,
    /// Added to the weight (Gemma stores `w − 1`).
    offset: f32,
    out: DType,
    /// Whether x, weight and bias want a gradient.
    tracked: [bool; 3],
}

impl Norm {
    #[inline(always)]
    fn statistics(self, x: &[f32]) -> (f32, f32) {
        let n = x.len() as f32;
        let mean = if self.kind == NormKind::Layer { float::sum(x, |v| v) / n } else { 0.0 };
        let square = float::sum(x, |v| (v - mean) * (v - mean)) / n;
        (mean, 1.0 / (square + self.eps).sqrt())
    }

    fn forward(self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let dim = weight.len();
        let mut y = vec![0.0; x.len()];
        for_rows(&mut y, dim, |first, y| {
            let x = &x[first * dim..][..y.len()];
            float::vectorised(
                #[inline(always)]
                || {
                    for (x, y) in x.chunks_exact(dim).zip(y.chunks_exact_mut(dim)) {
                        let (mean, r) = self.statistics(x);
                        for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                            *y = (x - mean) * r * (w + self.offset);
                        }
                        if let Some(bias) = bias {
                            for (y, b) in y.iter_mut().zip(bias) {
                                *y += b;
                            }
                        }
                    }
                },
            );
        });
        y
    }

    /// The gradients of `x`, weight and bias.
    fn backward(self, x: &[f32], weight: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
        let dim = weight.len();
        let run = rows_per_task(dim) * dim;
        let mut dx = vec![0.0; x.len()];
        // One sum per run of rows, added up in order: the same bits on any number of threads.
        let parts: Vec<_> = dx
            .par_chunks_mut(run)
            .zip(x.par_chunks(run))
            .zip(grad.par_chunks(run))
            .map(|((dx, x), grad)| {
                let (mut dw, mut db) = (vec![0.0f32; dim], vec![0.0f32; dim]);
                float::vectorised(
                    #[inline(always)]
                    || self.backward_rows(x, weight, grad, dx, &mut dw, &mut db),
                );
                (dw, db)
            })
            .collect();
        let (mut dw, mut db) = (vec![0.0; dim], vec![0.0; dim]);
        for (w, b) in parts {
            dw.iter_mut().zip(w).for_each(|(sum, v)| *sum += v);
            db.iter_mut().zip(b).for_each(|(sum, v)| *sum += v);
        }
        [dx, dw, db]
    }

    #[inline(always)]
    fn backward_rows(
        self,
        x: &[f32],
        weight: &[f32],
        grad: &[f32],
        dx: &mut [f32],
        dw: &mut [f32],
        db: &mut [f32],
    ) {
        let dim = weight.len();
        let rows = x.chunks_exact(dim).zip(grad.chunks_exact(dim)).zip(dx.chunks_exact_mut(dim));
        for ((x, g), dx) in rows {
            let (mean, r) = self.statistics(x);
            for i in 0..dim {
                dx[i] = g[i] * (weight[i] + self.offset);
                let normed = (x[i] - mean) * r;
                dw[i] += g[i] * normed;
                db[i] += g[i];
            }
            let along = (float::dot(dx, x) - mean * float::sum(dx, |v| v)) * r / dim as f32;
            let level = if self.kind == NormKind::Layer { float::sum(dx, |v| v) / dim as f32 } else { 0.0 };
            for i in 0..dim {
                dx[i] = r * (dx[i] - level - (x[i] - mean) * r * along);
            }
        }
    }

    fn run(
        self,
        x: (&CpuStorage, &Layout),
        weight: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = x.1.shape().clone();
        let (x, weight) =
            (read(x.0, x.1, "tenuis-train-norm")?, read(weight.0, weight.1, "tenuis-train-norm")?);
        let bias = bias.map(|b| read(b.0, b.1, "tenuis-train-norm")).transpose()?;
        if !shape.dims().last().is_some_and(|d| d.is_multiple_of(weight.len())) {
            candle_core::bail!("{shape:?} is not made of vectors of {}", weight.len());
        }
        Ok((write(self.forward(&x, &weight, bias.as_deref()), self.out)?, shape))
    }

    fn gradients(self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (x_lent, w_lent, g_lent) = (Lent::new(x)?, Lent::new(weight)?, Lent::new(grad)?);
        let (x_lock, w_lock, g_lock) = (x_lent.lock(), w_lent.lock(), g_lent.lock());
        let [dx, dw, db] = self.backward(&x_lock.values()?, &w_lock.values()?, &g_lock.values()?);
        let [x_grad, weight_grad, bias_grad] = self.tracked;
        Ok([
            x_grad.then(|| tensor(dx, x.shape(), x.dtype())).transpose()?,
            weight_grad.then(|| tensor(dw, weight.shape(), DType::F32)).transpose()?,
            bias_grad.then(|| tensor(db, weight.shape(), DType::F32)).transpose()?,
        ])
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "tenuis-train-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.gradients(x, weight, grad)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "tenuis-train-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), (weight, weight_layout), Some((bias, bias_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.gradients(x, weight, grad)?;
        Ok((dx, dw, db))
    }
}

/// Turns a tensor into another type, with a gradient of the type that came in.
pub(crate) fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype { Ok(x.clone()) } else { x.apply_op1(Cast(dtype)) }
}

struct Cast(DType);

impl CustomOp1 for Cast {
    fn name(&self) -> &'static str {
        "tenuis-cast"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((write(read(x, layout, self.name())?.into_owned(), self.0)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(tensor(super::to_vec(grad)?, x.shape(), x.dtype())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradients, input};

    fn spec(kind: NormKind, plus_one: bool) -> NormSpec {
        NormSpec { name: "n".into(), kind, dim: 6, eps: 1e-5, plus_one, bias: kind == NormKind::Layer }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for plus_one in [false, true] {
            let spec = spec(NormKind::Rms, plus_one);
            // Rows of two pieces, as queries of two heads are.
            gradients(&[input(&[4, 12], 0), input(&[6], 1)], |v| norm(&v[0], &spec, &v[1], None, DType::F32));
        }
        let spec = spec(NormKind::Layer, false);
        gradients(&[input(&[4, 6], 0), input(&[6], 1), input(&[6], 2)], |v| {
            norm(&v[0], &spec, &v[1], Some(&v[2]), DType::F32)
        });
    }

    #[test]
    fn what_is_frozen_gets_no_gradient() {
        let x = candle_core::Var::from_tensor(&input(&[4, 6], 0)).unwrap();
        let (weight, bias) = (input(&[6], 1), input(&[6], 2));
        let y = norm(x.as_tensor(), &spec(NormKind::Layer, false), &weight, Some(&bias), DType::F32).unwrap();
        let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(store.get(&x).is_some());
        assert!(store.get(&weight).is_none() && store.get(&bias).is_none());
    }
}
