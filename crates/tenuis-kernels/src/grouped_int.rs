//! Grouped affine integers, multiplied in their packed form.

mod decode;
mod fused;
mod sorted;
mod unpack;

use crate::block::Block;
use crate::dispatch::{Isa, LANES};
use crate::{LinearOp, block, check_lengths, scratch, tile};
use decode::Runs;
pub(crate) use decode::Zeros;
use fused::{Arranged, BLOCK_BYTES, Fused, Grouping};
use sorted::sorted;
use std::ops::Range;
use tenuis_core::{Bits, GroupedInt, Layout, Representation, WeightError};
pub(crate) use unpack::unpack;

/// Rows of `x` up to which products on packed codes beat decoding tiles for a matrix product.
const FEW_ROWS: usize = 32;

/// Multiplications in one task of the kernel for few rows.
const TASK: usize = 1 << 17;

/// A [`GroupedInt`] and what its kernels need to know beside it.
#[derive(Debug)]
pub(crate) struct GroupedIntOp {
    weight: GroupedInt,
    isa: Isa,
    /// The input at every column of `weight`, where columns were sorted by group.
    order: Option<Vec<u32>>,
    /// The group of every column, where groups are not runs of columns in any order.
    index: Option<Vec<u32>>,
    /// How the kernel on packed codes sees the groups; `None` where only decoding serves.
    grouping: Option<Grouping>,
}

impl GroupedIntOp {
    /// Takes any grouped integer weight. One whose groups are not runs of columns is repacked where that makes them so.
    ///
    /// # Errors
    /// [`WeightError`]; cannot happen for a weight that was built.
    pub(crate) fn new(weight: &GroupedInt, isa: Isa) -> Result<Self, WeightError> {
        let [_, ins] = weight.shape();
        let columns = weight.spec().group_size.columns(ins).max(1);
        let (mut weight, mut order) = (weight.clone(), None);
        let mut index: Option<Vec<u32>> = weight
            .group_index()
            .map(|index| index.iter().map(|&group| group as u32).collect())
            // Static groups: the index says what the position says.
            .filter(|index: &Vec<u32>| {
                index.iter().enumerate().any(|(i, &group)| i / columns != group as usize)
            });
        if let Some((runs, by_group)) =
            index.as_ref().map(|index| sorted(&weight, index)).transpose()?.flatten()
        {
            (weight, order, index) = (runs, Some(by_group), None);
        }
        let per = per_word(weight.spec().bits);
        let grouping = if index.is_some() { None } else { Grouping::new(ins, weight.groups(), per) };
        Ok(Self { weight, isa, order, index, grouping })
    }

    /// As [`LinearOp::forward`], with the columns of `x` in the order of the weight's.
    fn multiply(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        if let (1..=FEW_ROWS, Some(grouping)) = (rows, &self.grouping) {
            return match per_word(self.bits()) {
                16 => self.few_rows::<16>(grouping, x, rows, bias, y),
                8 => self.few_rows::<8>(grouping, x, rows, bias, y),
                _ => self.few_rows::<4>(grouping, x, rows, bias, y),
            };
        }
        tile::forward(self.shape(), Layout::OutIn, x, rows, bias, y, |rows, tile| self.decode(rows, tile));
    }

    fn bits(&self) -> Bits {
        self.weight.spec().bits
    }

    fn zeros(&self, row: usize) -> Zeros<'_> {
        self.weight.zeros_row(row).map_or(Zeros::Mid(self.bits().mid_code()), Zeros::Each)
    }

    /// Widens the scales of rows, `[rows, groups]`.
    fn scales(&self, rows: &Range<usize>, out: &mut [f32]) {
        if self.weight.scales().read_f32(rows.start * self.weight.groups(), out).is_err() {
            // Scales are floating-point in every weight that could be built.
            out.fill(f32::NAN);
        }
    }

    /// Decodes rows into a tile.
    fn decode(&self, rows: Range<usize>, tile: &mut [f32]) {
        let [_, ins] = self.weight.shape();
        let groups = self.weight.groups();
        let columns = self.weight.spec().group_size.columns(ins);
        scratch::with(rows.len() * groups + ins.div_ceil(4), |scratch| {
            let (scales, codes) = scratch.split_at_mut(rows.len() * groups);
            self.scales(&rows, scales);
            let codes = &mut bytemuck::cast_slice_mut(codes)[..ins];
            for ((row, scales), out) in
                rows.zip(scales.chunks_exact(groups.max(1))).zip(tile.chunks_exact_mut(ins.max(1)))
            {
                unpack(self.bits(), self.weight.packed_row(row), codes);
                let zeros = self.zeros(row);
                match &self.index {
                    Some(index) => decode::indexed(codes, index, scales, zeros, out),
                    None => self.isa.run(Runs { codes, columns, scales, zeros, out }),
                }
            }
        });
    }

    /// Computes on packed codes with `PER` of them in a word.
    fn few_rows<const PER: usize>(
        &self,
        grouping: &Grouping,
        x: &[f32],
        rows: usize,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let [outs, ins] = self.weight.shape();
        let blocks = fused::blocks(ins, PER);
        let (vectors, runs) = (blocks * PER, blocks.div_ceil(grouping.run()));
        let symmetric = self.weight.spec().symmetric;
        let stride = vectors + if symmetric { 0 } else { runs };
        let cut = (TASK / (ins * rows).max(1)).next_multiple_of(4).clamp(4, 256);
        let groups = self.weight.groups();
        scratch::with(rows * stride * LANES, |arranged| {
            let (arranged, _) = arranged.as_chunks_mut::<LANES>();
            for (x, out) in x.chunks_exact(ins.max(1)).zip(arranged.chunks_exact_mut(stride.max(1))) {
                let (out, sums) = out.split_at_mut(vectors);
                fused::arrange(x, PER, out);
                if !symmetric {
                    fused::sum_lanes(x, PER, grouping.run(), sums);
                }
            }
            let arranged = &*arranged;
            block::for_each(y, [rows, outs, ins], [rows, cut], |mut block| {
                scratch::with(block.outs().len() * groups, |scales| {
                    self.scales(&block.outs(), scales);
                    Task::<PER> { op: self, grouping, arranged, stride, vectors, scales }.run(&mut block);
                });
                block.add_bias(bias);
            });
        });
    }
}

/// Codes in a 32-bit word as the kernel reads them: widths that straddle words are unpacked to bytes before.
fn per_word(bits: Bits) -> usize {
    match bits.get() {
        2 => 16,
        4 => 8,
        _ => 4,
    }
}

/// One block of the output, computed on packed codes.
struct Task<'a, const PER: usize> {
    op: &'a GroupedIntOp,
    grouping: &'a Grouping,
    /// Rows of `x`, `stride` apart: first so many `vectors`, then their sums.
    arranged: &'a [[f32; LANES]],
    stride: usize,
    vectors: usize,
    scales: &'a [f32],
}

impl<const PER: usize> Task<'_, PER> {
    fn run(&self, block: &mut Block<'_>) {
        if 32 / PER == self.op.bits().get() as usize {
            let outs = block.outs();
            let mut out = 0;
            while out + 4 <= outs.len() {
                self.outputs(
                    block,
                    out,
                    std::array::from_fn::<_, 4, _>(|r| self.packed(outs.start + out + r)),
                );
                out += 4;
            }
            while out < outs.len() {
                self.outputs(block, out, [self.packed(outs.start + out)]);
                out += 1;
            }
        } else {
            self.run_unpacked(block);
        }
    }

    fn packed(&self, row: usize) -> &[u8] {
        self.op.weight.packed_row(row)
    }

    /// As [`Task::run`], for codes that straddle words.
    fn run_unpacked(&self, block: &mut Block<'_>) {
        let [_, ins] = self.op.weight.shape();
        let stride = ins.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        scratch::with(4 * stride / size_of::<f32>(), |scratch| {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(scratch);
            let outs = block.outs();
            let mut out = 0;
            while out < outs.len() {
                let together = if out + 4 <= outs.len() { 4 } else { 1 };
                for (r, row) in bytes.chunks_exact_mut(stride).take(together).enumerate() {
                    unpack(self.op.bits(), self.packed(outs.start + out + r), &mut row[..ins]);
                    row[ins..].fill(0);
                }
                let row = |r: usize| &bytes[r * stride..(r + 1) * stride];
                if together == 4 {
                    self.outputs(block, out, [row(0), row(1), row(2), row(3)]);
                } else {
                    self.outputs(block, out, [row(0)]);
                }
                out += together;
            }
        });
    }

    fn x(&self, row: usize) -> Arranged<'_> {
        let row = &self.arranged[row * self.stride..(row + 1) * self.stride];
        let (vectors, sums) = row.split_at(self.vectors);
        Arranged { vectors, sums }
    }

    /// Fills `R` columns of the block from `out` on.
    fn outputs<const R: usize>(&self, block: &mut Block<'_>, out: usize, codes: [&[u8]; R]) {
        let rows = block.rows().len();
        let mut row = 0;
        while row < rows {
            row += match rows - row {
                1 => self.products::<R, 1>(block, out, row, codes),
                2 => self.pairs::<2>(block, out, row, &codes),
                3 => self.pairs::<3>(block, out, row, &codes),
                _ => self.pairs::<4>(block, out, row, &codes),
            };
        }
    }

    /// As [`Task::products`], two columns at a time: more running sums than that do not fit the registers.
    fn pairs<const M: usize>(&self, block: &mut Block<'_>, out: usize, row: usize, codes: &[&[u8]]) -> usize {
        for (pair, codes) in codes.chunks(2).enumerate() {
            match *codes {
                [first, second] => self.products::<2, M>(block, out + 2 * pair, row, [first, second]),
                [single] => self.products::<1, M>(block, out + 2 * pair, row, [single]),
                _ => 0,
            };
        }
        M
    }

    /// Fills `R` columns from `out` on in `M` rows from `row` on; returns `M`.
    fn products<const R: usize, const M: usize>(
        &self,
        block: &mut Block<'_>,
        out: usize,
        row: usize,
        codes: [&[u8]; R],
    ) -> usize {
        let groups = self.op.weight.groups();
        let first = block.outs().start;
        let sums = self.op.isa.run(Fused::<PER, R, M> {
            codes,
            scales: std::array::from_fn(|r| &self.scales[(out + r) * groups..(out + r + 1) * groups]),
            zeros: (!self.op.weight.spec().symmetric).then(|| {
                std::array::from_fn(|r| self.op.weight.zeros_row(first + out + r).unwrap_or_default())
            }),
            mid: self.op.bits().mid_code(),
            x: std::array::from_fn(|m| self.x(row + m)),
            grouping: self.grouping,
        });
        for (r, sums) in sums.iter().enumerate() {
            for (m, &sum) in sums.iter().enumerate() {
                block.row_mut(row + m)[out + r] = sum;
            }
        }
        M
    }
}

impl LinearOp for GroupedIntOp {
    fn shape(&self) -> [usize; 2] {
        self.weight.shape()
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        check_lengths(self.shape(), x, rows, bias, y);
        let Some(order) = &self.order else { return self.multiply(x, rows, bias, y) };
        let ins = order.len();
        scratch::with(rows * ins, |moved| {
            for (x, moved) in x.chunks_exact(ins.max(1)).zip(moved.chunks_exact_mut(ins.max(1))) {
                for (value, &column) in moved.iter_mut().zip(order) {
                    *value = x[column as usize];
                }
            }
            self.multiply(moved, rows, bias, y);
        });
    }

    fn resident_bytes(&self) -> u64 {
        let [outs, _] = self.shape();
        let zeros = if self.weight.spec().symmetric { 0 } else { outs * self.weight.groups() };
        let index =
            self.order.iter().chain(&self.index).map(|list| size_of_val(list.as_slice())).sum::<usize>();
        self.weight.stored_bytes() + (zeros + index) as u64
    }
}
