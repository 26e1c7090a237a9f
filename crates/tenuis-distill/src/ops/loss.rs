//! The head and the losses in one operation, so that the logits never stand in memory whole.

use super::divergence::{Distil, TeacherRows, log_sum};
use super::matrix::{Matrix, Threads, multiply};
use super::{Lent, read, tensor};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use tenuis_linalg::float;

/// Logits that are held at a time: 16 MiB of them.
const CHUNK_LOGITS: usize = 4 << 20;

/// Rows whose logits are held at a time.
pub(crate) fn rows_per_chunk(rows: usize, vocab: usize) -> usize {
    (CHUNK_LOGITS / vocab.max(1)).clamp(16, rows.max(16))
}

/// What is measured on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    /// Sum of `−log p[target]` over the positions that have a target.
    pub(crate) nll: f64,
    /// Sum of the divergence from the teacher, without the factor T².
    pub(crate) divergence: f64,
    /// Positions that have a target.
    pub(crate) positions: usize,
}

/// A position without a target.
pub(crate) const NO_TARGET: u32 = u32::MAX;

/// `mean over positions of ce · (−log softmax(z)[target]) + Σ T² · weight · D(teacher, student)` with
/// `z = cap(scale · h Wᵀ)`.
pub(crate) struct HeadLoss {
    pub(crate) targets: Arc<[u32]>,
    pub(crate) ce: f32,
    pub(crate) distil: Option<Distil>,
    pub(crate) logit_scale: f32,
    pub(crate) softcap: Option<f32>,
    pub(crate) hidden_grad: bool,
    pub(crate) weight_grad: bool,
    /// The gradients, computed in the forward pass while the logits are at hand.
    gradients: Mutex<Option<(Vec<f32>, Vec<f32>)>>,
    parts: Arc<Mutex<Parts>>,
}

impl HeadLoss {
    pub(crate) fn new(targets: Arc<[u32]>, ce: f32, distil: Option<Distil>) -> Self {
        Self {
            targets,
            ce,
            distil,
            logit_scale: 1.0,
            softcap: None,
            hidden_grad: false,
            weight_grad: false,
            gradients: Mutex::new(None),
            parts: Arc::default(),
        }
    }

    /// Applies it.
    ///
    /// # Shapes
    /// `hidden`: `[rows, d_model]` after the final norm; `weight`: `[vocab, d_model]`; result: a scalar.
    pub(crate) fn apply(mut self, hidden: &Tensor, weight: &Tensor) -> Result<(Tensor, Parts)> {
        self.hidden_grad = hidden.track_op();
        self.weight_grad = weight.track_op();
        let parts = Arc::clone(&self.parts);
        let loss = hidden.contiguous()?.apply_op2(&weight.contiguous()?, self)?;
        let parts = *parts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((loss, parts))
    }

    fn run(&self, hidden: &[f32], weight: &[f32], [rows, width]: [usize; 2]) -> Result<f32> {
        let vocab = weight.len() / width;
        let positions = self.targets.iter().filter(|&&t| t != NO_TARGET).count();
        if self.targets.len() != rows {
            candle_core::bail!("{} targets for {rows} positions", self.targets.len());
        }
        if let Some(bad) = self.targets.iter().find(|&&t| t != NO_TARGET && t as usize >= vocab) {
            candle_core::bail!("target {bad} of a vocabulary of {vocab}");
        }
        let mut d_hidden = vec![0.0; if self.hidden_grad { hidden.len() } else { 0 }];
        let mut d_weight = vec![0.0; if self.weight_grad { weight.len() } else { 0 }];
        let mut total = Parts { positions, ..Parts::default() };
        let share = 1.0 / positions.max(1) as f32;
        let matrix = Matrix::new(weight, [vocab, width]);
        let chunk = rows_per_chunk(rows, vocab);
        let mut logits = Vec::new();
        for first in (0..rows).step_by(chunk) {
            let range = first..(first + chunk).min(rows);
            let h = Matrix::new(&hidden[first * width..range.end * width], [range.len(), width]);
            logits.resize(range.len() * vocab, 0.0);
            multiply(h, matrix.transposed(), self.logit_scale, false, &mut logits, Threads::All);
            let teacher = self.distil.as_ref().map(|d| (d.teacher)(range.clone())).transpose()?;
            let targets = &self.targets[range.clone()];
            let sums: Vec<[f64; 2]> = logits
                .par_chunks_exact_mut(vocab)
                .enumerate()
                .map(|(row, z)| self.row(z, targets[row], share, teacher.as_ref().map(|t| (t, row))))
                .collect();
            for [nll, divergence] in sums {
                total.nll += nll;
                total.divergence += divergence;
            }
            let dz = Matrix::new(&logits, [range.len(), vocab]);
            if self.hidden_grad {
                let out = &mut d_hidden[first * width..range.end * width];
                multiply(dz, matrix, self.logit_scale, false, out, Threads::All);
            }
            if self.weight_grad {
                multiply(dz.transposed(), h, self.logit_scale, true, &mut d_weight, Threads::All);
            }
        }
        *self.gradients.lock().unwrap_or_else(PoisonError::into_inner) = Some((d_hidden, d_weight));
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = total;
        let distil =
            self.distil.as_ref().map_or(0.0, |d| f64::from(d.weight * d.temperature * d.temperature));
        Ok(((f64::from(self.ce) * total.nll + distil * total.divergence) / positions.max(1) as f64) as f32)
    }

    /// Turns a row of logits into its gradient and gives its `[nll, divergence]`.
    fn row(
        &self,
        z: &mut [f32],
        target: u32,
        share: f32,
        teacher: Option<(&TeacherRows, usize)>,
    ) -> [f64; 2] {
        if target == NO_TARGET {
            z.fill(0.0);
            return [0.0; 2];
        }
        float::vectorised(
            #[inline(always)]
            || {
                if let Some(cap) = self.softcap {
                    for v in z.iter_mut() {
                        *v = cap * (2.0 * float::sigmoid(2.0 * *v / cap) - 1.0);
                    }
                }
                let capped = self.softcap.map(|cap| (cap, z.to_vec()));
                let mut grad = vec![0.0; if self.distil.is_some() { z.len() } else { 0 }];
                let mut divergence = 0.0;
                if let (Some(distil), Some((rows, row))) = (&self.distil, teacher) {
                    divergence = distil.gradient(z, rows, row, &mut grad);
                }
                let log_sum = log_sum(z, 1.0);
                let nll = f64::from(log_sum - z[target as usize]);
                let factor = self.ce * share;
                if factor == 0.0 {
                    z.fill(0.0);
                } else {
                    for v in z.iter_mut() {
                        *v = factor * float::exp(*v - log_sum);
                    }
                    z[target as usize] -= factor;
                }
                if let Some(distil) = &self.distil {
                    let factor = distil.weight * distil.temperature * distil.temperature * share;
                    for (v, g) in z.iter_mut().zip(&grad) {
                        *v += factor * g;
                    }
                }
                if let Some((cap, capped)) = capped {
                    for (v, c) in z.iter_mut().zip(capped) {
                        *v *= 1.0 - (c / cap) * (c / cap);
                    }
                }
                [nll, divergence]
            },
        )
    }
}

impl CustomOp2 for HeadLoss {
    fn name(&self) -> &'static str {
        "tenuis-head-loss"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = hidden_layout.shape().dims2()?;
        let hidden = read(hidden, hidden_layout, self.name())?;
        let weight = read(weight, weight_layout, self.name())?;
        let loss = self.run(&hidden, &weight, [rows, width])?;
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        weight: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let taken = self.gradients.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut d_hidden, mut d_weight)) = taken else {
            candle_core::bail!("a loss gives its gradient once");
        };
        let factor = {
            let lent = Lent::new(grad)?;
            let locked = lent.lock();
            locked.values()?.first().copied().unwrap_or(0.0)
        };
        if factor != 1.0 {
            d_hidden.par_iter_mut().chain(d_weight.par_iter_mut()).for_each(|v| *v *= factor);
        }
        let to = |values, like: &Tensor, dtype, wanted: bool| {
            wanted.then(|| tensor(values, like.shape(), dtype)).transpose()
        };
        Ok((
            to(d_hidden, hidden, hidden.dtype(), self.hidden_grad)?,
            to(d_weight, weight, DType::F32, self.weight_grad)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Divergence;
    use crate::ops::check::{gradients, input};
    use crate::ops::divergence::TeacherSource;
    use std::ops::Range;

    const VOCAB: usize = 9;

    fn distil(divergence: Divergence, temperature: f32, top_k: Option<usize>) -> Distil {
        let teacher = move |range: Range<usize>| {
            let logits = range.flat_map(|r| (0..VOCAB).map(move |i| ((r * 5 + i * 3) as f32).sin() * 2.0));
            Ok(TeacherRows::Logits(logits.collect()))
        };
        Distil { weight: 0.7, divergence, temperature, top_k, teacher: Arc::new(teacher) }
    }

    fn check(build: impl Fn() -> HeadLoss) {
        gradients(&[input(&[4, 6], 0), input(&[VOCAB, 6], 1)], |v| Ok(build().apply(&v[0], &v[1])?.0));
    }

    fn targets() -> Arc<[u32]> {
        [3, NO_TARGET, 0, 8].into()
    }

    #[test]
    fn gradients_agree_with_differences() {
        check(|| HeadLoss::new(targets(), 1.0, None));
        check(|| HeadLoss { softcap: Some(2.0), logit_scale: 0.5, ..HeadLoss::new(targets(), 1.0, None) });
        for divergence in [Divergence::ForwardKl, Divergence::ReverseKl, Divergence::JensenShannon] {
            for (ce, temperature) in [(0.0, 1.0), (0.3, 2.0)] {
                for top_k in [None, Some(1), Some(4), Some(VOCAB)] {
                    check(|| HeadLoss::new(targets(), ce, Some(distil(divergence, temperature, top_k))));
                }
            }
        }
    }

    /// A student that is its teacher has no divergence, whatever the kind.
    #[test]
    fn divergence_from_oneself_is_zero() {
        let (hidden, weight) = (input(&[4, 6], 0), input(&[VOCAB, 6], 1));
        let logits = crate::ops::to_vec(&hidden.matmul(&weight.t().unwrap()).unwrap()).unwrap();
        for divergence in [Divergence::ForwardKl, Divergence::ReverseKl, Divergence::JensenShannon] {
            let own = logits.clone();
            let teacher: TeacherSource = Arc::new(move |r: Range<usize>| {
                Ok(TeacherRows::Logits(own[r.start * VOCAB..r.end * VOCAB].to_vec()))
            });
            let distil = Distil { weight: 1.0, divergence, temperature: 1.5, top_k: None, teacher };
            let (_, parts) = HeadLoss::new(targets(), 0.0, Some(distil)).apply(&hidden, &weight).unwrap();
            // f32 logarithms of nine terms.
            assert!(parts.divergence.abs() < 1e-5, "{divergence:?}: {}", parts.divergence);
            assert_eq!(parts.positions, 3);
        }
    }
}
