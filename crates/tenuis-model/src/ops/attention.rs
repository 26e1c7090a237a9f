//! Causal attention over keys and values that lie anywhere, without a `[seq, seq]` matrix.

use super::matrix::{Matrix, multiply};
use super::{float, slice};
use crate::cache::Row;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::cell::Cell;
use tenuis_spec::AttentionSpec;

/// Queries that are scored together: enough for matrix products, few enough that the scores stay in a cache and
/// little is computed beyond the diagonal.
const TILE: usize = 64;

/// Multiplications below which one thread does all.
const SERIAL_BELOW: usize = 1 << 16;

/// Where the head of a sequence lies in a slice of keys or values.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) values: &'a [f32],
    /// Distances between sequences, heads and positions.
    pub(crate) strides: [usize; 3],
}

impl<'a> Heads<'a> {
    fn head(&self, sequence: usize, head: usize) -> &'a [f32] {
        &self.values[sequence * self.strides[0] + head * self.strides[1]..]
    }
}

/// Attention of `q: [batch, seq, n_q · head_dim]` over `k, v: [batch, seq, n_kv · head_dim]` of the same positions.
pub(crate) fn attend(
    spec: &AttentionSpec,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> candle_core::Result<Tensor> {
    let (k, v) = (super::contiguous(k)?, super::contiguous(v)?);
    super::contiguous(q)?.apply_op3_no_bwd(&k, &v, &Attend { spec })
}

/// Attention of `q: [rows, seq, n_q · head_dim]`, each row of which goes on with a sequence at a position of its own,
/// over the keys and values of that sequence up to there.
pub(crate) fn attend_cached(
    spec: &AttentionSpec,
    q: &Tensor,
    rows: &[Row],
    keys: Heads<'_>,
    values: Heads<'_>,
) -> candle_core::Result<Tensor> {
    super::contiguous(q)?.apply_op1_no_bwd(&AttendCached { spec, rows, keys, values })
}

struct Attend<'a> {
    spec: &'a AttentionSpec,
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "tenuis-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, seq, _) = q_layout.shape().dims3()?;
        let width = self.spec.n_kv * self.spec.head_dim;
        let strides = [seq * width, self.spec.head_dim, width];
        for layout in [k_layout, v_layout] {
            if layout.dims() != [batch, seq, width] {
                candle_core::bail!("attention: keys or values {:?}", layout.shape());
            }
        }
        let keys = Heads { values: slice(k, k_layout, self.name())?, strides };
        let values = Heads { values: slice(v, v_layout, self.name())?, strides };
        let rows: Vec<Row> = (0..batch).map(|sequence| Row { sequence, start: 0 }).collect();
        compute(self.spec, slice(q, q_layout, self.name())?, q_layout.shape(), &rows, keys, values)
    }
}

struct AttendCached<'a> {
    spec: &'a AttentionSpec,
    rows: &'a [Row],
    keys: Heads<'a>,
    values: Heads<'a>,
}

impl CustomOp1 for AttendCached<'_> {
    fn name(&self) -> &'static str {
        "tenuis-attention-cached"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let q = slice(storage, layout, self.name())?;
        compute(self.spec, q, layout.shape(), self.rows, self.keys, self.values)
    }
}

fn compute(
    spec: &AttentionSpec,
    q: &[f32],
    shape: &Shape,
    rows: &[Row],
    keys: Heads<'_>,
    values: Heads<'_>,
) -> candle_core::Result<(CpuStorage, Shape)> {
    let (batch, seq, width) = shape.dims3()?;
    let (heads, dim) = (spec.n_q, spec.head_dim);
    if width != heads * dim || rows.len() != batch {
        candle_core::bail!("attention: queries {shape:?} of {heads} heads of {dim}, {} rows", rows.len());
    }
    // Head by head, so that every task writes a piece of its own.
    let mut by_head = vec![0.0; q.len()];
    let furthest = rows.iter().map(|row| row.start + seq).max().unwrap_or_default();
    let work = batch * heads * seq * furthest * dim;
    let run = |index: usize, tile: usize, out: &mut [f32]| {
        let (batch, head) = (index / heads, index % heads);
        let kv_head = head / (heads / spec.n_kv);
        let Row { sequence, start } = rows[batch];
        let task = Tile {
            spec,
            q: &q[(batch * seq + tile * TILE) * width + head * dim..],
            first: start + tile * TILE,
            keys: (keys.head(sequence, kv_head), keys.strides[2]),
            values: (values.head(sequence, kv_head), values.strides[2]),
        };
        SCORES.with(|kept| {
            let mut scores = kept.take();
            task.run(&mut scores, out);
            kept.set(scores);
        });
    };
    let pieces = by_head.chunks_mut((seq * dim).max(1)).enumerate();
    let tiles = pieces.flat_map(|(index, out)| {
        out.chunks_mut(TILE * dim).enumerate().map(move |(tile, out)| (index, tile, out))
    });
    if work < SERIAL_BELOW {
        tiles.for_each(|(index, tile, out)| run(index, tile, out));
    } else {
        let tiles: Vec<_> = tiles.collect();
        tiles.into_par_iter().for_each(|(index, tile, out)| run(index, tile, out));
    }
    if seq == 1 {
        return Ok((CpuStorage::F32(by_head), shape.clone()));
    }
    let mut out = vec![0.0; q.len()];
    super::for_rows(&mut out, width, |first, out| {
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let (batch, position) = ((first + row) / seq, (first + row) % seq);
            for (head, out) in out.chunks_exact_mut(dim).enumerate() {
                let from = ((batch * heads + head) * seq + position) * dim;
                out.copy_from_slice(&by_head[from..from + dim]);
            }
        }
    });
    Ok((CpuStorage::F32(out), shape.clone()))
}

thread_local! {
    /// The scores of a tile; kept between calls so that no page is faulted in again.
    static SCORES: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Up to [`TILE`] consecutive queries of one head.
struct Tile<'a> {
    spec: &'a AttentionSpec,
    q: &'a [f32],
    /// The position of the first query.
    first: usize,
    keys: (&'a [f32], usize),
    values: (&'a [f32], usize),
}

impl Tile<'_> {
    fn run(&self, scores: &mut Vec<f32>, out: &mut [f32]) {
        let dim = self.spec.head_dim;
        let rows = out.len() / dim;
        // The keys that any of the queries sees.
        let from = self.sees_from(self.first);
        let keys = self.first + rows - from;
        scores.resize(rows * keys, 0.0);
        let offset = |(values, stride): (&'_ [f32], usize)| -> usize { (from * stride).min(values.len()) };
        let k = &self.keys.0[offset(self.keys)..];
        let v = &self.values.0[offset(self.values)..];
        let scale = self.spec.scale as f32;
        if rows == 1 {
            return self.run_one(k, v, scale, scores, out);
        }
        let width = self.spec.n_q * dim;
        let q = Matrix { values: self.q, shape: [rows, dim], strides: [width, 1] };
        let k = Matrix { values: k, shape: [dim, keys], strides: [1, self.keys.1] };
        multiply(q, k, scale, scores);
        float::vectorised(
            #[inline(always)]
            || {
                for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                    let position = self.first + row;
                    let seen = self.sees_from(position) - from..position + 1 - from;
                    scores[..seen.start].fill(0.0);
                    scores[seen.end..].fill(0.0);
                    self.softmax(&mut scores[seen]);
                }
            },
        );
        let p = Matrix { values: scores, shape: [rows, keys], strides: [keys, 1] };
        let v = Matrix { values: v, shape: [keys, dim], strides: [self.values.1, 1] };
        multiply(p, v, 1.0, out);
    }

    /// A single query, as in generation: two passes over keys and values at the speed of memory.
    fn run_one(&self, k: &[f32], v: &[f32], scale: f32, scores: &mut [f32], out: &mut [f32]) {
        let dim = self.spec.head_dim;
        float::vectorised(
            #[inline(always)]
            || {
                let q = &self.q[..dim];
                for (index, score) in scores.iter_mut().enumerate() {
                    *score = scale * float::dot(q, &k[index * self.keys.1..][..dim]);
                }
                self.softmax(scores);
                for (index, &p) in scores.iter().enumerate() {
                    for (out, v) in out.iter_mut().zip(&v[index * self.values.1..][..dim]) {
                        *out += p * v;
                    }
                }
            },
        );
    }

    /// The first position that a query sees.
    #[inline(always)]
    fn sees_from(&self, position: usize) -> usize {
        self.spec.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    #[inline(always)]
    fn softmax(&self, scores: &mut [f32]) {
        if let Some(cap) = self.spec.softcap {
            let cap = cap as f32;
            for score in scores.iter_mut() {
                // tanh(u) = 2σ(2u) − 1
                *score = cap * (2.0 * float::sigmoid(2.0 * *score / cap) - 1.0);
            }
        }
        let largest = float::max(scores);
        for score in scores.iter_mut() {
            *score = float::exp(*score - largest);
        }
        let factor = 1.0 / float::sum(scores, |v| v);
        for score in scores.iter_mut() {
            *score *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use tenuis_core::Layout as Stored;
    use tenuis_spec::{LinearSpec, QkvSpec, Role};

    fn spec(n_q: usize, n_kv: usize, window: Option<usize>, softcap: Option<f64>) -> AttentionSpec {
        let linear = |role| LinearSpec {
            name: String::new(),
            role,
            shape: [1, 1],
            layout: Stored::OutIn,
            bias: false,
        };
        let qkv = QkvSpec::Separate { q: linear(Role::Q), k: linear(Role::K), v: linear(Role::V) };
        AttentionSpec {
            n_q,
            n_kv,
            head_dim: 20,
            scale: 0.3,
            softcap,
            window,
            rope: None,
            qk_norm: None,
            qkv,
            o: linear(Role::O),
        }
    }

    fn tensor(batch: usize, seq: usize, width: usize, step: f32) -> Tensor {
        let values: Vec<f32> = (0..batch * seq * width).map(|i| (i as f32 * step).sin() * 2.0).collect();
        Tensor::from_vec(values, (batch, seq, width), &Device::Cpu).unwrap()
    }

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The definition, in f64, one query at a time.
    fn by_definition(spec: &AttentionSpec, [q, k, v]: [&Tensor; 3]) -> Vec<f64> {
        let (batch, seq, width) = q.dims3().unwrap();
        let (dim, kv_width) = (spec.head_dim, spec.n_kv * spec.head_dim);
        let (q, k, v) = (values(q), values(k), values(v));
        let mut out = Vec::new();
        for (row, q) in q.chunks(width).enumerate() {
            let (batch_start, position) = (row / seq * seq, row % seq);
            assert!(row < batch * seq);
            for (head, q) in q.chunks(dim).enumerate() {
                let at = |i: usize| ((batch_start + i) * kv_width) + head / (spec.n_q / spec.n_kv) * dim;
                let seen = (0..=position).filter(|i| spec.window.is_none_or(|w| position - i < w));
                let weights: Vec<(usize, f64)> = seen
                    .map(|i| {
                        let dot: f64 = (0..dim).map(|d| f64::from(q[d]) * f64::from(k[at(i) + d])).sum();
                        let score = spec.scale * dot;
                        (i, spec.softcap.map_or(score, |cap| cap * (score / cap).tanh()).exp())
                    })
                    .collect();
                let total: f64 = weights.iter().map(|w| w.1).sum();
                out.extend(
                    (0..dim).map(|d| {
                        weights.iter().map(|(i, w)| w / total * f64::from(v[at(*i) + d])).sum::<f64>()
                    }),
                );
            }
        }
        out
    }

    /// Lengths around the tile's, windows shorter and longer than it, several batches and grouped heads.
    #[test]
    fn tiles_agree_with_the_definition() {
        for (seq, window, softcap) in [
            (1, None, None),
            (TILE, None, None),
            (TILE + 1, None, Some(3.0)),
            (2 * TILE + 22, None, None),
            (2 * TILE + 22, Some(10), None),
            (2 * TILE + 22, Some(TILE + 6), Some(3.0)),
        ] {
            let spec = spec(4, 2, window, softcap);
            let q = tensor(2, seq, 80, 0.7);
            let (k, v) = (tensor(2, seq, 40, 0.31), tensor(2, seq, 40, 0.13));
            let found = values(&attend(&spec, &q, &k, &v).unwrap());
            let wanted = by_definition(&spec, [&q, &k, &v]);
            for (f, w) in found.iter().zip(wanted) {
                // Values are at most 2; f32 sums of a few hundred terms.
                assert!((f64::from(*f) - w).abs() < 1e-5, "seq {seq}, window {window:?}: {f}, not {w}");
            }
        }
    }

    #[test]
    fn another_shape_is_an_error() {
        let spec = spec(4, 2, None, None);
        let (q, k) = (tensor(1, 3, 80, 0.7), tensor(1, 3, 40, 0.3));
        assert!(attend(&spec, &q, &k, &tensor(1, 2, 40, 0.3)).is_err());
        assert!(attend(&spec, &k, &k, &k).is_err());
    }
}
