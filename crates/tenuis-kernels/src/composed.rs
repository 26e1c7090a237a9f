//! Products and sums of weights, computed part by part: the matrix that they stand for is never formed.

use crate::{LinearOp, check_lengths, scratch, tile};
use rayon::prelude::*;
use std::sync::Arc;

/// Values that one task of an addition handles.
const ADDED: usize = 1 << 14;

/// Rows of `x` that go through at once where each needs `width` values in between: enough for a matrix product to run
/// at full speed, and no more than a tile holds where that is enough.
fn rows_at_once(width: usize) -> usize {
    (scratch::TILE_VALUES / width.max(1)).max(tile::ROWS_PER)
}

/// `y = (x Aᵀ) Bᵀ + bias`, with `rank` values in between for each row.
#[derive(Debug)]
pub(crate) struct LowRankOp {
    b: Arc<dyn LinearOp>,
    a: Arc<dyn LinearOp>,
}

impl LowRankOp {
    /// Joins the operations of `B` `[out, rank]` and `A` `[rank, in]`.
    pub(crate) fn new(b: Arc<dyn LinearOp>, a: Arc<dyn LinearOp>) -> Self {
        assert_eq!(b.shape()[1], a.shape()[0], "the rank of the factors");
        Self { b, a }
    }
}

impl LinearOp for LowRankOp {
    fn shape(&self) -> [usize; 2] {
        [self.b.shape()[0], self.a.shape()[1]]
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        let [outs, ins] = self.shape();
        check_lengths([outs, ins], x, rows, bias, y);
        let rank = self.a.shape()[0];
        let at_once = rows_at_once(rank);
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            scratch::with(count * rank, |between| {
                self.a.forward(&x[first * ins..(first + count) * ins], count, None, between);
                self.b.forward(between, count, bias, &mut y[first * outs..(first + count) * outs]);
            });
        }
    }

    fn resident_bytes(&self) -> u64 {
        self.b.resident_bytes() + self.a.resident_bytes()
    }
}

/// `y = Σₖ x Wₖᵀ + bias`.
#[derive(Debug)]
pub(crate) struct SumOp {
    terms: Vec<Arc<dyn LinearOp>>,
}

impl SumOp {
    /// Joins the operations of at least one term.
    pub(crate) fn new(terms: Vec<Arc<dyn LinearOp>>) -> Self {
        assert!(terms.windows(2).all(|pair| pair[0].shape() == pair[1].shape()) && !terms.is_empty());
        Self { terms }
    }
}

impl LinearOp for SumOp {
    fn shape(&self) -> [usize; 2] {
        self.terms[0].shape()
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        let [outs, ins] = self.shape();
        check_lengths([outs, ins], x, rows, bias, y);
        self.terms[0].forward(x, rows, bias, y);
        let at_once = rows_at_once(outs);
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            let (x, y) =
                (&x[first * ins..(first + count) * ins], &mut y[first * outs..(first + count) * outs]);
            scratch::with(count * outs, |term_y| {
                for term in &self.terms[1..] {
                    term.forward(x, count, None, term_y);
                    add(y, term_y);
                }
            });
        }
    }

    fn resident_bytes(&self) -> u64 {
        self.terms.iter().map(|term| term.resident_bytes()).sum()
    }
}

fn add(y: &mut [f32], more: &[f32]) {
    let add = |y: &mut [f32], more: &[f32]| y.iter_mut().zip(more).for_each(|(y, more)| *y += more);
    if y.len() <= ADDED {
        return add(y, more);
    }
    y.par_chunks_mut(ADDED).zip(more.par_chunks(ADDED)).for_each(|(y, more)| add(y, more));
}

#[cfg(test)]
mod tests;
