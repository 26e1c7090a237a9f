//! The path for every representation: decode a tile of rows, multiply, forget it.

use crate::{LinearOp, block, check_lengths, gemm, scratch};
use rayon::prelude::*;
use std::ops::Range;
use tenuis_core::{Layout, Weight, WeightError};

/// Most rows of a weight in a tile.
const MOST_OUTS: usize = 64;

/// Rows of `x` that one task multiplies with a tile. A tile is decoded again for each such block, which costs little
/// beside that many multiplications of every value, and lets a narrow layer use all threads.
pub(crate) const ROWS_PER: usize = 256;

/// Rows of a weight that fit a tile of bounded size; at least one.
pub(crate) fn outs_per_tile(ins: usize) -> usize {
    (scratch::TILE_VALUES / ins.max(1)).clamp(1, MOST_OUTS)
}

/// Computes `y = x Wᵀ + b` with tiles that `decode` writes: `[tile's rows, ins]`, or transposed where `layout` says so.
pub(crate) fn forward(
    [outs, ins]: [usize; 2],
    layout: Layout,
    x: &[f32],
    rows: usize,
    bias: Option<&[f32]>,
    y: &mut [f32],
    decode: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    let outs_per = outs_per_tile(ins);
    block::for_each(y, [rows, outs, ins], [ROWS_PER, outs_per], |mut block| {
        scratch::with(block.outs().len() * ins, |tile| {
            decode(block.outs(), tile);
            gemm::block(&mut block, x, tile, ins, layout);
        });
        block.add_bias(bias);
    });
}

/// A weight of any kind, decoded through its representation.
#[derive(Debug)]
pub(crate) struct TiledOp {
    weight: Weight,
}

impl TiledOp {
    /// Decodes every tile once, so that [`LinearOp::forward`] has nothing left to discover.
    pub(crate) fn new(weight: Weight) -> Result<Self, WeightError> {
        let [outs, ins] = weight.shape();
        let outs_per = outs_per_tile(ins);
        (0..outs.div_ceil(outs_per)).into_par_iter().try_for_each(|tile| {
            let rows = tile * outs_per..outs.min((tile + 1) * outs_per);
            scratch::with(rows.len() * ins, |values| weight.decode_rows(rows, values))
        })?;
        Ok(Self { weight })
    }
}

impl LinearOp for TiledOp {
    fn shape(&self) -> [usize; 2] {
        self.weight.shape()
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        check_lengths(self.shape(), x, rows, bias, y);
        forward(self.shape(), Layout::OutIn, x, rows, bias, y, |rows, tile| {
            if self.weight.decode_rows(rows, tile).is_err() {
                // It could be decoded when the operation was made. No number is better than a wrong one.
                tile.fill(f32::NAN);
            }
        });
    }

    fn resident_bytes(&self) -> u64 {
        self.weight.stored_bytes()
    }
}
