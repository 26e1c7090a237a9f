//! Keys and values of the positions that were already run.

use crate::error::ModelError;
use crate::ops::{attention::Heads, with_values};
use candle_core::Tensor;
use tenuis_spec::AttentionSpec;

/// Values of a layer's keys that no machine has room for; larger requests are mistakes and would abort the process.
const LARGEST: usize = 1 << 38;

/// Where a sequence that is run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which sequence of the cache it is.
    pub(crate) sequence: usize,
    /// The position of its first new token.
    pub(crate) start: usize,
}

/// The cache of one layer, `[batch, n_kv, capacity, head_dim]` twice. Pages that no position has reached yet are not
/// touched, so they cost no memory.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Vec<f32>,
    values: Vec<f32>,
    heads: usize,
    head_dim: usize,
    capacity: usize,
}

impl LayerCache {
    pub(crate) fn new(spec: &AttentionSpec, batch: usize, capacity: usize) -> Result<Self, ModelError> {
        let positions = batch.checked_mul(capacity);
        let size = positions.and_then(|n| n.checked_mul(spec.n_kv * spec.head_dim)).filter(|n| *n <= LARGEST);
        let size = size.ok_or(ModelError::Cache { batch, capacity })?;
        Ok(Self {
            keys: vec![0.0; size],
            values: vec![0.0; size],
            heads: spec.n_kv,
            head_dim: spec.head_dim,
            capacity,
        })
    }

    /// Positions of one sequence that there is room for.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Stores `k, v: [rows, seq, n_kv · head_dim]`, each row in its sequence from its position on.
    pub(crate) fn append(&mut self, rows: &[Row], k: &Tensor, v: &Tensor) -> Result<(), ModelError> {
        let (_, seq, _) = k.dims3()?;
        let wanted = rows.iter().map(|row| row.start + seq).max().unwrap_or_default();
        if wanted > self.capacity {
            return Err(ModelError::Positions { wanted, room: self.capacity });
        }
        let shape = (self.heads, self.head_dim, self.capacity);
        with_values(k, |k| scatter(k, &mut self.keys, shape, rows, seq))?;
        with_values(v, |v| scatter(v, &mut self.values, shape, rows, seq))?;
        Ok(())
    }

    /// Copies the first `positions` of one sequence to another.
    pub(crate) fn copy(&mut self, from: usize, to: usize, positions: usize) {
        let [sequence, head, position] = self.strides();
        for values in [&mut self.keys, &mut self.values] {
            for offset in (0..self.heads).map(|index| index * head) {
                let start = from * sequence + offset;
                values.copy_within(start..start + positions * position, to * sequence + offset);
            }
        }
    }

    pub(crate) fn keys(&self) -> Heads<'_> {
        Heads { values: &self.keys, strides: self.strides() }
    }

    pub(crate) fn values(&self) -> Heads<'_> {
        Heads { values: &self.values, strides: self.strides() }
    }

    fn strides(&self) -> [usize; 3] {
        let head = self.capacity * self.head_dim;
        [self.heads * head, head, self.head_dim]
    }
}

fn scatter(
    from: &[f32],
    to: &mut [f32],
    (heads, head_dim, capacity): (usize, usize, usize),
    rows: &[Row],
    seq: usize,
) {
    for (index, vectors) in from.chunks_exact(heads * head_dim).enumerate() {
        let Row { sequence, start } = rows[index / seq];
        let position = start + index % seq;
        for (head, vector) in vectors.chunks_exact(head_dim).enumerate() {
            let at = ((sequence * heads + head) * capacity + position) * head_dim;
            to[at..at + head_dim].copy_from_slice(vector);
        }
    }
}
