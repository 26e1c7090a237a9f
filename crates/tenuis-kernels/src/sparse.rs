//! Sparse matrices, multiplied in their compressed form.

mod entries;
mod expand;

use crate::block::Block;
use crate::dense::{Bf16, Element, F16, F32};
use crate::dispatch::Isa;
use crate::grouped_int::{Zeros, unpack};
use crate::{LinearOp, block, check_lengths, scratch, tile};
use entries::{Codes, Entries, Floats};
use expand::{Dots, Expand, Row};
use std::ops::Range;
use tenuis_core::{DType, GroupedIntSpec, Layout, Representation, Sparse, SparseValues};

/// Rows of `x` up to which products on the compressed form beat expanding tiles for a matrix product.
const FEW_ROWS: usize = 16;

/// Multiplications in one task of the kernel for few rows.
const TASK: usize = 1 << 17;

/// Codes that a vector may read beyond a row's last one.
const BEYOND: usize = 8;

/// A [`Sparse`] and what its kernels need to know beside it.
#[derive(Debug)]
pub(crate) struct SparseOp {
    weight: Sparse,
    isa: Isa,
    /// The group of every column, where groups are no runs of columns.
    index: Option<Vec<u32>>,
    /// Whether the kernels for vectors of eight columns serve: a vector lies within one group.
    vectors: bool,
}

impl SparseOp {
    pub(crate) fn new(weight: &Sparse, isa: Isa) -> Self {
        let ins = weight.shape()[1];
        let index: Option<Vec<u32>> =
            weight.group_index().map(|index| index.iter().map(|&group| group as u32).collect());
        let vectors = match weight.spec().values {
            SparseValues::Float(_) => true,
            SparseValues::Int(spec) => {
                let columns = spec.group_size.columns(ins);
                index.is_none() && (columns == ins || columns.is_multiple_of(8))
            }
        };
        Self { weight: weight.clone(), isa, index, vectors }
    }

    fn few_rows(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        let [outs, ins] = self.weight.shape();
        let cut = (TASK / (ins * rows).max(1)).next_multiple_of(4).clamp(4, 256);
        block::for_each(y, [rows, outs, ins], [rows, cut], |mut block| {
            match self.weight.spec().values {
                SparseValues::Float(DType::F16) => self.floats::<F16>(x, &mut block),
                SparseValues::Float(DType::BF16) => self.floats::<Bf16>(x, &mut block),
                SparseValues::Float(_) => self.floats::<F32>(x, &mut block),
                SparseValues::Int(spec) => self.codes(spec, x, &mut block),
            }
            block.add_bias(bias);
        });
    }

    fn floats<E: Element + Copy>(&self, x: &[f32], block: &mut Block<'_>) {
        let outs = block.outs();
        let row = |out: usize| self.float_row::<E>(outs.start + out);
        let mut out = 0;
        while out < outs.len() {
            out += match (block.rows().len(), outs.len() - out) {
                (1, 4..) => self.outputs(x, block, out, std::array::from_fn::<_, 4, _>(|r| row(out + r))),
                (_, 2..) => self.outputs(x, block, out, [row(out), row(out + 1)]),
                _ => self.outputs(x, block, out, [row(out)]),
            };
        }
    }

    fn float_row<E: Element>(&self, row: usize) -> Row<'_, Floats<'_, E>> {
        let first = self.weight.entries(row).start;
        let entries = Floats::new(&self.weight.float_bytes()[first * E::SIZE..]);
        Row { index: self.weight.index_row(row), entries, scales: &[], zeros: Zeros::Mid(0) }
    }

    fn codes(&self, spec: GroupedIntSpec, x: &[f32], block: &mut Block<'_>) {
        let outs = block.outs();
        let together = if block.rows().len() == 1 { 4 } else { 2 };
        self.with_codes(together, |codes, scales, stride| {
            let mut out = 0;
            while out < outs.len() {
                let count = if out + together <= outs.len() { together } else { 1 };
                for r in 0..count {
                    let codes = &mut codes[r * stride..(r + 1) * stride];
                    self.unpack_row(spec, outs.start + out + r, codes, scales, r);
                }
                let row =
                    |r: usize| self.code_row(spec, outs.start + out + r, &codes[r * stride..], scales, r);
                out += match count {
                    4 => self.outputs(x, block, out, std::array::from_fn::<_, 4, _>(row)),
                    2 => self.outputs(x, block, out, [row(0), row(1)]),
                    _ => self.outputs(x, block, out, [row(0)]),
                };
            }
        });
    }

    /// Lends codes and scales of so many rows, and the distance between rows of codes.
    fn with_codes(&self, rows: usize, work: impl FnOnce(&mut [u8], &mut [f32], usize)) {
        let stride = (self.weight.shape()[1] + BEYOND).next_multiple_of(size_of::<f32>());
        let groups = self.weight.groups();
        scratch::with(rows * (stride / size_of::<f32>() + groups), |scratch| {
            let (scales, codes) = scratch.split_at_mut(rows * groups);
            work(bytemuck::cast_slice_mut(codes), scales, stride);
        });
    }

    /// Unpacks the codes and scales of a row into the place of row `slot`.
    fn unpack_row(
        &self,
        spec: GroupedIntSpec,
        row: usize,
        codes: &mut [u8],
        scales: &mut [f32],
        slot: usize,
    ) {
        let count = self.weight.entries(row).len();
        unpack(spec.bits, self.weight.packed_row(row), &mut codes[..count]);
        codes[count..count + BEYOND].fill(0);
        let groups = self.weight.groups();
        let scales = &mut scales[slot * groups..(slot + 1) * groups];
        if self.weight.scales_row(row, scales).is_err() {
            // Scales are floating-point in every weight that could be built.
            scales.fill(f32::NAN);
        }
    }

    fn code_row<'a>(
        &'a self,
        spec: GroupedIntSpec,
        row: usize,
        codes: &'a [u8],
        scales: &'a [f32],
        slot: usize,
    ) -> Row<'a, Codes<'a>> {
        let groups = self.weight.groups();
        Row {
            index: self.weight.index_row(row),
            entries: Codes(codes),
            scales: &scales[slot * groups..(slot + 1) * groups],
            zeros: self.weight.zeros_row(row).map_or(Zeros::Mid(spec.bits.mid_code()), Zeros::Each),
        }
    }

    /// Fills `R` columns of the block from `out` on; returns `R`.
    fn outputs<S: Entries, const R: usize>(
        &self,
        x: &[f32],
        block: &mut Block<'_>,
        out: usize,
        weight: [Row<'_, S>; R],
    ) -> usize {
        let rows = block.rows().len();
        let mut row = 0;
        while row < rows {
            row += match rows - row {
                1 => self.products::<S, R, 1>(x, block, out, row, &weight),
                2 | 3 => self.products::<S, R, 2>(x, block, out, row, &weight),
                _ => self.products::<S, R, 4>(x, block, out, row, &weight),
            };
        }
        R
    }

    /// Fills `R` columns from `out` on in `M` rows from `row` on; returns `M`.
    fn products<S: Entries, const R: usize, const M: usize>(
        &self,
        x: &[f32],
        block: &mut Block<'_>,
        out: usize,
        row: usize,
        weight: &[Row<'_, S>; R],
    ) -> usize {
        let ins = self.weight.shape()[1];
        let first = block.rows().start + row;
        let sums = self.isa.run(Dots::<S, R, M> {
            weight,
            pattern: self.weight.spec().pattern,
            run: self.run(),
            x: std::array::from_fn(|m| &x[(first + m) * ins..(first + m + 1) * ins]),
        });
        for (r, sums) in sums.iter().enumerate() {
            for (m, &sum) in sums.iter().enumerate() {
                block.row_mut(row + m)[out + r] = sum;
            }
        }
        M
    }

    /// Vectors of eight columns that share a scale.
    fn run(&self) -> usize {
        let ins = self.weight.shape()[1];
        let columns = match self.weight.spec().values {
            SparseValues::Int(spec) => spec.group_size.columns(ins),
            SparseValues::Float(_) => ins,
        };
        columns.div_ceil(8).max(1)
    }

    /// Expands rows into a tile.
    fn decode(&self, rows: Range<usize>, tile: &mut [f32]) {
        let ins = self.weight.shape()[1].max(1);
        let outputs = rows.zip(tile.chunks_exact_mut(ins));
        match self.weight.spec().values {
            SparseValues::Float(DType::F16) => {
                outputs.for_each(|(row, out)| self.expand(self.float_row::<F16>(row), out));
            }
            SparseValues::Float(DType::BF16) => {
                outputs.for_each(|(row, out)| self.expand(self.float_row::<Bf16>(row), out));
            }
            SparseValues::Float(_) => {
                outputs.for_each(|(row, out)| self.expand(self.float_row::<F32>(row), out));
            }
            SparseValues::Int(spec) => self.with_codes(1, |codes, scales, _| {
                for (row, out) in outputs {
                    self.unpack_row(spec, row, codes, scales, 0);
                    if self.vectors {
                        self.expand(self.code_row(spec, row, codes, scales, 0), out);
                    } else {
                        self.scatter(spec, row, codes, scales, out);
                    }
                }
            }),
        }
    }

    fn expand<S: Entries>(&self, row: Row<'_, S>, out: &mut [f32]) {
        self.isa.run(Expand { row, pattern: self.weight.spec().pattern, run: self.run(), out });
    }

    /// Expands a row whose groups are no runs of whole vectors.
    fn scatter(&self, spec: GroupedIntSpec, row: usize, codes: &[u8], scales: &[f32], out: &mut [f32]) {
        let zeros = self.weight.zeros_row(row).map_or(Zeros::Mid(spec.bits.mid_code()), Zeros::Each);
        let columns = spec.group_size.columns(out.len()).max(1);
        out.fill(0.0);
        self.weight.for_each_kept(row, |column, entry| {
            let group = self.index.as_ref().map_or(column / columns, |index| index[column] as usize);
            out[column] = scales[group] * (f32::from(codes[entry]) - f32::from(zeros.of(group)));
        });
    }
}

impl LinearOp for SparseOp {
    fn shape(&self) -> [usize; 2] {
        self.weight.shape()
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        check_lengths(self.shape(), x, rows, bias, y);
        if rows <= FEW_ROWS && self.vectors {
            return self.few_rows(x, rows, bias, y);
        }
        tile::forward(self.shape(), Layout::OutIn, x, rows, bias, y, |rows, tile| self.decode(rows, tile));
    }

    fn resident_bytes(&self) -> u64 {
        let index = self.index.as_ref().map_or(0, |index| size_of_val(index.as_slice()));
        self.weight.stored_bytes() + self.weight.lookup_bytes() + index as u64
    }
}
