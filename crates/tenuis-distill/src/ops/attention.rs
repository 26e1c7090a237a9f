//! Causal attention with grouped heads and rotary positions, in one operation.

use super::matrix::{Matrix, Threads, multiply};
use super::{Lent, read, tensor, write};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::sync::Arc;
use tenuis_linalg::float;
use tenuis_spec::{AttentionSpec, RopeSpec};

/// Queries that are scored at a time. The keys behind the last of them are left out, so that short tiles waste less of
/// the square, and long ones make better products.
const TILE: usize = 64;

/// What a layer's attention is and how long its sequences are.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) spec: AttentionSpec,
    pub(crate) batch: usize,
    pub(crate) seq: usize,
    angles: Option<Angles>,
}

/// Cosine and sine of every pair at every position, `[seq, rotary_dim / 2]` each.
#[derive(Debug)]
struct Angles {
    pairs: usize,
    interleaved: bool,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// The angle is the f32 product of position and frequency, as at inference.
    fn new(rope: &RopeSpec, seq: usize) -> Self {
        let frequencies = rope.frequencies_for(seq);
        let turns = || (0..seq).flat_map(|t| frequencies.inverse.iter().map(move |f| t as f32 * f));
        let factor = frequencies.attention_factor;
        Self {
            pairs: rope.rotary_dim / 2,
            interleaved: rope.interleaved,
            cos: turns().map(|a| a.cos() * factor).collect(),
            sin: turns().map(|a| a.sin() * factor).collect(),
        }
    }

    /// Turns the vector of a position, or turns it back: the transpose, which is the gradient's way.
    fn turn(&self, position: usize, x: &mut [f32], back: bool) {
        let at = position * self.pairs..(position + 1) * self.pairs;
        let sign = if back { -1.0 } else { 1.0 };
        for (i, (&c, &s)) in self.cos[at.clone()].iter().zip(&self.sin[at]).enumerate() {
            let (a, b) = if self.interleaved { (2 * i, 2 * i + 1) } else { (i, i + self.pairs) };
            let (u, v, s) = (x[a], x[b], sign * s);
            (x[a], x[b]) = (u * c - v * s, v * c + u * s);
        }
    }
}

impl Plan {
    pub(crate) fn new(spec: &AttentionSpec, batch: usize, seq: usize) -> Arc<Self> {
        let angles = spec.rope.as_ref().map(|rope| Angles::new(rope, seq));
        Arc::new(Self { spec: spec.clone(), batch, seq, angles })
    }

    /// The first position that a query sees.
    fn sees_from(&self, position: usize) -> usize {
        self.spec.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Copies a head out of rows of `heads` heads, turned to its positions.
    fn gather(&self, x: &[f32], [heads, batch, head]: [usize; 3], rotate: bool) -> Vec<f32> {
        let dim = self.spec.head_dim;
        let mut out = vec![0.0; self.seq * dim];
        for (t, out) in out.chunks_exact_mut(dim).enumerate() {
            out.copy_from_slice(&x[((batch * self.seq + t) * heads + head) * dim..][..dim]);
            if let (true, Some(angles)) = (rotate, &self.angles) {
                angles.turn(t, out, false);
            }
        }
        out
    }

    /// Puts heads, `[batch, heads, seq, dim]`, back into rows, `[batch · seq, heads · dim]`, turned back if asked.
    fn scatter(&self, by_head: &[f32], heads: usize, rotate_back: bool) -> Vec<f32> {
        let dim = self.spec.head_dim;
        let mut out = vec![0.0; by_head.len()];
        super::for_rows(&mut out, heads * dim, |first, out| {
            for (row, out) in out.chunks_exact_mut(heads * dim).enumerate() {
                let (batch, t) = ((first + row) / self.seq, (first + row) % self.seq);
                for (head, out) in out.chunks_exact_mut(dim).enumerate() {
                    out.copy_from_slice(&by_head[((batch * heads + head) * self.seq + t) * dim..][..dim]);
                    if let (true, Some(angles)) = (rotate_back, &self.angles) {
                        angles.turn(t, out, true);
                    }
                }
            }
        });
        out
    }

    /// The tiles of a sequence: the queries, and the keys that any of them sees.
    fn tiles(&self) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> {
        (0..self.seq).step_by(TILE).map(|first| {
            let end = (first + TILE).min(self.seq);
            (first..end, self.sees_from(first)..end)
        })
    }

    /// The probabilities of a tile, `[queries, keys]`, and, where scores are capped, the capped scores.
    fn probabilities(
        &self,
        q: &[f32],
        k: &[f32],
        queries: &std::ops::Range<usize>,
        keys: &std::ops::Range<usize>,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let dim = self.spec.head_dim;
        let mut p = vec![0.0; queries.len() * keys.len()];
        let q = Matrix::new(&q[queries.start * dim..queries.end * dim], [queries.len(), dim]);
        let k = Matrix::new(&k[keys.start * dim..keys.end * dim], [keys.len(), dim]);
        multiply(q, k.transposed(), self.spec.scale as f32, false, &mut p, Threads::One);
        let capped = self.spec.softcap.map(|cap| {
            let cap = cap as f32;
            for score in &mut p {
                *score = cap * (*score / cap).tanh();
            }
            p.clone()
        });
        float::vectorised(
            #[inline(always)]
            || {
                for (position, p) in queries.clone().zip(p.chunks_exact_mut(keys.len())) {
                    let seen = self.sees_from(position) - keys.start..position + 1 - keys.start;
                    p[..seen.start].fill(0.0);
                    p[seen.end..].fill(0.0);
                    softmax(&mut p[seen]);
                }
            },
        );
        (p, capped)
    }
}

#[inline(always)]
fn softmax(scores: &mut [f32]) {
    let largest = float::max(scores);
    for score in scores.iter_mut() {
        *score = float::exp(*score - largest);
    }
    let factor = 1.0 / float::sum(scores, |v| v);
    for score in scores.iter_mut() {
        *score *= factor;
    }
}

/// `softmax(scale · q kᵀ) v` per head, each query seeing the positions up to its own (or the window before it).
///
/// The probabilities are not kept: the backward pass computes them again (Dao et al. 2022, FlashAttention, 2205.14135),
/// so that memory grows with the length and not with its square.
///
/// # Shapes
/// `q`: `[batch · seq, n_q · head_dim]`, `k`, `v`: `[batch · seq, n_kv · head_dim]`, before rotation; result as `q`.
pub(crate) fn attend(plan: &Arc<Plan>, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let op = Attend { plan: Arc::clone(plan), tracked: [q.track_op(), k.track_op(), v.track_op()] };
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

struct Attend {
    plan: Arc<Plan>,
    /// Whether queries, keys and values want a gradient.
    tracked: [bool; 3],
}

impl Attend {
    fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let plan = &*self.plan;
        let AttentionSpec { n_q, n_kv, head_dim: dim, .. } = plan.spec;
        let share = n_q / n_kv;
        let mut by_head = vec![0.0; q.len()];
        by_head.par_chunks_mut(share * plan.seq * dim).enumerate().for_each(|(task, out)| {
            let (batch, kv_head) = (task / n_kv, task % n_kv);
            let k = plan.gather(k, [n_kv, batch, kv_head], true);
            let v = plan.gather(v, [n_kv, batch, kv_head], false);
            for (head, out) in out.chunks_exact_mut(plan.seq * dim).enumerate() {
                let q = plan.gather(q, [n_q, batch, kv_head * share + head], true);
                for (queries, keys) in plan.tiles() {
                    let (p, _) = plan.probabilities(&q, &k, &queries, &keys);
                    let p = Matrix::new(&p, [queries.len(), keys.len()]);
                    let v = Matrix::new(&v[keys.start * dim..keys.end * dim], [keys.len(), dim]);
                    let out = &mut out[queries.start * dim..queries.end * dim];
                    multiply(p, v, 1.0, false, out, Threads::One);
                }
            }
        });
        plan.scatter(&by_head, n_q, false)
    }

    /// With `o = p v`, `p = softmax(s)`, `s = scale · q kᵀ`: `∂v = pᵀ g`, `∂p = g vᵀ`, `∂s = p ∘ (∂p − Σ p ∂p)`,
    /// `∂q = scale · ∂s k`, `∂k = scale · ∂sᵀ q`; keys and values are summed over the queries' heads that share them.
    fn backward(&self, [q, k, v, grad]: [&[f32]; 4]) -> [Vec<f32>; 3] {
        let plan = &*self.plan;
        let AttentionSpec { n_q, n_kv, head_dim: dim, .. } = plan.spec;
        let (share, one) = (n_q / n_kv, plan.seq * dim);
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        dq.par_chunks_mut(share * one)
            .zip(dk.par_chunks_mut(one))
            .zip(dv.par_chunks_mut(one))
            .enumerate()
            .for_each(|(task, ((dq, dk), dv))| {
                let (batch, kv_head) = (task / n_kv, task % n_kv);
                let k = plan.gather(k, [n_kv, batch, kv_head], true);
                let v = plan.gather(v, [n_kv, batch, kv_head], false);
                for (head, dq) in dq.chunks_exact_mut(one).enumerate() {
                    let at = [n_q, batch, kv_head * share + head];
                    let (q, grad) = (plan.gather(q, at, true), plan.gather(grad, at, false));
                    for tile in plan.tiles() {
                        self.backward_tile(tile, [&q, &k, &v, &grad], [&mut *dq, &mut *dk, &mut *dv]);
                    }
                }
            });
        [plan.scatter(&dq, n_q, true), plan.scatter(&dk, n_kv, true), plan.scatter(&dv, n_kv, false)]
    }

    fn backward_tile(
        &self,
        (queries, keys): (std::ops::Range<usize>, std::ops::Range<usize>),
        [q, k, v, grad]: [&[f32]; 4],
        [dq, dk, dv]: [&mut [f32]; 3],
    ) {
        let (plan, dim) = (&*self.plan, self.plan.spec.head_dim);
        let (rows, columns) = (queries.len(), keys.len());
        let (p, capped) = plan.probabilities(q, k, &queries, &keys);
        let (at_q, at_k) = (queries.start * dim..queries.end * dim, keys.start * dim..keys.end * dim);
        let grad = Matrix::new(&grad[at_q.clone()], [rows, dim]);
        let square = Matrix::new(&p, [rows, columns]);
        multiply(square.transposed(), grad, 1.0, true, &mut dv[at_k.clone()], Threads::One);
        let mut ds = vec![0.0; p.len()];
        let v = Matrix::new(&v[at_k.clone()], [columns, dim]);
        multiply(grad, v.transposed(), 1.0, false, &mut ds, Threads::One);
        float::vectorised(
            #[inline(always)]
            || {
                for (ds, p) in ds.chunks_exact_mut(columns).zip(p.chunks_exact(columns)) {
                    let mean = float::dot(ds, p);
                    for (ds, p) in ds.iter_mut().zip(p) {
                        *ds = p * (*ds - mean);
                    }
                }
            },
        );
        if let (Some(capped), Some(cap)) = (capped, plan.spec.softcap) {
            let cap = cap as f32;
            for (ds, score) in ds.iter_mut().zip(capped) {
                *ds *= 1.0 - (score / cap) * (score / cap);
            }
        }
        let scale = plan.spec.scale as f32;
        let ds = Matrix::new(&ds, [rows, columns]);
        let k = Matrix::new(&k[at_k.clone()], [columns, dim]);
        multiply(ds, k, scale, false, &mut dq[at_q.clone()], Threads::One);
        multiply(
            ds.transposed(),
            Matrix::new(&q[at_q], [rows, dim]),
            scale,
            true,
            &mut dk[at_k],
            Threads::One,
        );
    }
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "tenuis-train-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let AttentionSpec { n_q, n_kv, head_dim, .. } = self.plan.spec;
        let rows = self.plan.batch * self.plan.seq;
        for (layout, heads) in [(q_layout, n_q), (k_layout, n_kv), (v_layout, n_kv)] {
            if layout.dims() != [rows, heads * head_dim] {
                let expected = [rows, heads * head_dim];
                candle_core::bail!("attention was given {:?} instead of {expected:?}", layout.shape());
            }
        }
        let dtype = q.dtype();
        let (q, k) = (read(q, q_layout, self.name())?, read(k, k_layout, self.name())?);
        let out = self.forward(&q, &k, &read(v, v_layout, self.name())?);
        Ok((write(out, dtype)?, q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let lent = [Lent::new(q)?, Lent::new(k)?, Lent::new(v)?, Lent::new(grad)?];
        let locks = [lent[0].lock(), lent[1].lock(), lent[2].lock(), lent[3].lock()];
        let values = [locks[0].values()?, locks[1].values()?, locks[2].values()?, locks[3].values()?];
        let [dq, dk, dv] = self.backward([&values[0], &values[1], &values[2], &values[3]]);
        let [q_grad, k_grad, v_grad] = self.tracked;
        Ok((
            q_grad.then(|| tensor(dq, q.shape(), q.dtype())).transpose()?,
            k_grad.then(|| tensor(dk, k.shape(), k.dtype())).transpose()?,
            v_grad.then(|| tensor(dv, v.shape(), v.dtype())).transpose()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradients, input};
    use tenuis_core::Layout as Stored;
    use tenuis_spec::{LinearSpec, QkvSpec, Role, RopeScaling};

    fn spec(window: Option<usize>, softcap: Option<f64>, rope: Option<RopeSpec>) -> AttentionSpec {
        let linear = |role| LinearSpec {
            name: String::new(),
            role,
            shape: [1, 1],
            layout: Stored::OutIn,
            bias: false,
        };
        let qkv = QkvSpec::Separate { q: linear(Role::Q), k: linear(Role::K), v: linear(Role::V) };
        AttentionSpec {
            n_q: 4,
            n_kv: 2,
            head_dim: 6,
            scale: 0.4,
            softcap,
            window,
            rope,
            qk_norm: None,
            qkv,
            o: linear(Role::O),
        }
    }

    fn rope(interleaved: bool, rotary_dim: usize) -> RopeSpec {
        RopeSpec { theta: 100.0, rotary_dim, interleaved, scaling: RopeScaling::Default }
    }

    #[test]
    fn gradients_agree_with_differences() {
        for (window, softcap, rope) in [
            (None, None, None),
            (None, None, Some(rope(false, 6))),
            (Some(3), None, Some(rope(true, 4))),
            (None, Some(1.5), Some(rope(false, 4))),
        ] {
            let plan = Plan::new(&spec(window, softcap, rope), 2, 5);
            gradients(&[input(&[10, 24], 0), input(&[10, 12], 1), input(&[10, 12], 2)], |v| {
                attend(&plan, &v[0], &v[1], &v[2])
            });
        }
    }

    /// A sequence of several tiles, of which a window cuts the first away, has the gradient of one that fits a tile.
    #[test]
    fn gradients_agree_across_tiles() {
        let seq = TILE + 3;
        let plan = Plan::new(&spec(Some(5), None, None), 1, seq);
        let inputs = [input(&[seq, 24], 0), input(&[seq, 12], 1), input(&[seq, 12], 2)];
        let last = |v: &[Tensor]| attend(&plan, &v[0], &v[1], &v[2])?.narrow(0, seq - 4, 4);
        let vars: Vec<_> = inputs.iter().map(|t| candle_core::Var::from_tensor(t).unwrap()).collect();
        let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let store = last(&tracked).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        // The same last rows as a sequence of their own; positions do not matter without rotation.
        let tail = 4 + 4;
        let short = Plan::new(&spec(Some(5), None, None), 1, tail);
        let cut: Vec<_> = inputs
            .iter()
            .map(|t| candle_core::Var::from_tensor(&t.narrow(0, seq - tail, tail).unwrap()).unwrap())
            .collect();
        let y = attend(&short, cut[0].as_tensor(), cut[1].as_tensor(), cut[2].as_tensor()).unwrap();
        let expected = y.narrow(0, 4, 4).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for (whole, part) in vars.iter().zip(&cut) {
            let whole = store.get(whole).unwrap().narrow(0, seq - tail, tail).unwrap();
            let difference = (whole - expected.get(part).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
            // Sums of a few terms in another order.
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-5);
        }
    }
}
