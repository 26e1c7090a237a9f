//! Cutting an output matrix into disjoint blocks and spreading them over the thread pool.
#![expect(unsafe_code, reason = "blocks of a row-major matrix are disjoint, but not contiguous")]

use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Multiplications below which waking other threads costs more than it saves (some 10 µs of work).
const SERIAL_BELOW: usize = 1 << 17;

/// A rectangle of an output `[rows, outs]` that one task may write.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    rows: Range<usize>,
    outs: Range<usize>,
    start: *mut f32,
    stride: usize,
    output: PhantomData<&'a mut [f32]>,
}

impl Block<'_> {
    /// The rows of the output, which are those of `x`.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The columns of the output, which are the rows of the weight.
    pub(crate) fn outs(&self) -> Range<usize> {
        self.outs.clone()
    }

    /// The part of row `row` (counted from the block's first) that belongs to the block.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows.len());
        // SAFETY: `start` is the block's first element in a matrix with rows `stride` apart; the row is in the block
        // (asserted) and the block was made within the matrix. No other block overlaps it, and `&mut self` keeps
        // this block from lending it twice.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.outs.len()) }
    }

    /// The first element, for kernels that write whole blocks; rows are [`Block::stride`] elements apart.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.start
    }

    /// The distance between rows in elements.
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }

    /// Adds the bias of the block's columns to each of its rows.
    pub(crate) fn add_bias(&mut self, bias: Option<&[f32]>) {
        let Some(bias) = bias else { return };
        let bias = &bias[self.outs()];
        for row in 0..self.rows.len() {
            for (y, b) in self.row_mut(row).iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
}

struct Start(*mut f32);
// SAFETY: every task derives from the pointer only its own block, and blocks do not overlap.
unsafe impl Sync for Start {}

/// Calls `task` for every block of at most `rows_per × outs_per` values of `y: [rows, outs]`, on all threads where
/// the work, `rows · outs · ins` multiplications, is worth it.
///
/// The cut depends on the arguments alone, never on the number of threads.
pub(crate) fn for_each(
    y: &mut [f32],
    [rows, outs, ins]: [usize; 3],
    [rows_per, outs_per]: [usize; 2],
    task: impl Fn(Block<'_>) + Sync,
) {
    assert_eq!(y.len(), rows * outs);
    if y.is_empty() {
        return;
    }
    let (row_blocks, out_blocks) = (rows.div_ceil(rows_per), outs.div_ceil(outs_per));
    let start = Start(y.as_mut_ptr());
    let run = |index: usize| {
        let start = &start;
        // Neighbouring tasks share rows of the weight, which are dearer to fetch than those of x.
        let (out, row) = (index / row_blocks * outs_per, index % row_blocks * rows_per);
        let rows = row..rows.min(row + rows_per);
        let columns = out..outs.min(out + outs_per);
        // SAFETY: the offset is that of an element of `y`.
        let start = unsafe { start.0.add(row * outs + out) };
        task(Block { rows, outs: columns, start, stride: outs, output: PhantomData });
    };
    let blocks = row_blocks * out_blocks;
    if blocks == 1 || rows.saturating_mul(outs).saturating_mul(ins) < SERIAL_BELOW {
        (0..blocks).for_each(run);
    } else {
        (0..blocks).into_par_iter().for_each(run);
    }
}
