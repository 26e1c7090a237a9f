//! Dense matrices of f32, f16 and bf16, in either layout.

mod element;
mod gemv;

use crate::block::Block;
use crate::dispatch::Isa;
use crate::{LinearOp, block, check_lengths, gemm, tile};
pub(crate) use element::{Bf16, Element, F16, F32};
use gemv::{Axpy, Dots};
use std::marker::PhantomData;
use std::ops::Range;
use tenuis_core::{DType, Dense, Layout, Tensor};

/// Rows of `x` up to which the dot-product kernel beats packing the weight for a matrix product.
const FEW_ROWS: usize = 32;

/// The same for the transposed layout, whose kernel adds to memory and not to registers.
const FEW_ROWS_TRANSPOSED: usize = 8;

/// Stored rows of the transposed layout that are added at once: so many streams hide the memory's latency.
const AXPYS: usize = 8;

/// Multiplications in one task of the kernels for few rows.
const TASK: usize = 1 << 17;

/// A dense weight whose elements widen in registers.
#[derive(Clone, Debug)]
pub(crate) struct DenseOp {
    tensor: Tensor,
    layout: Layout,
    shape: [usize; 2],
    dtype: DType,
    isa: Isa,
}

impl DenseOp {
    /// Takes a weight of f32, f16 or bf16; other types have no kernel.
    pub(crate) fn new(weight: &Dense, isa: Isa) -> Option<Self> {
        let dtype = weight.dtype();
        let shape = tenuis_core::Representation::shape(weight);
        let op = Self { tensor: weight.tensor().clone(), layout: weight.layout(), shape, dtype, isa };
        matches!(dtype, DType::F32 | DType::F16 | DType::BF16).then_some(op)
    }

    fn few_rows<E: Element>(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        let [outs, ins] = self.shape;
        let cut = match self.layout {
            // Neighbouring tasks read neighbouring bytes.
            Layout::OutIn => (TASK / (ins * rows).max(1)).next_multiple_of(4).clamp(4, 256),
            // Long enough pieces of a row for the CPU to read ahead.
            Layout::InOut => 256,
        };
        block::for_each(y, [rows, outs, ins], [rows, cut], |mut block| {
            match self.layout {
                Layout::OutIn => self.dots::<E>(x, &mut block),
                Layout::InOut => self.axpys::<E>(x, &mut block),
            }
            block.add_bias(bias);
        });
    }

    fn dots<E: Element>(&self, x: &[f32], block: &mut Block<'_>) {
        let rows = block.rows().len();
        let mut row = 0;
        while row < rows {
            row += match rows - row {
                1 => self.dots_of_rows::<E, 4, 1>(x, block, row),
                2 => self.dots_of_rows::<E, 4, 2>(x, block, row),
                3 => self.dots_of_rows::<E, 2, 3>(x, block, row),
                _ => self.dots_of_rows::<E, 2, 4>(x, block, row),
            };
        }
    }

    /// Fills `M` rows of the block from `row` on; returns `M`.
    fn dots_of_rows<E: Element, const R: usize, const M: usize>(
        &self,
        x: &[f32],
        block: &mut Block<'_>,
        row: usize,
    ) -> usize {
        let ins = self.shape[1];
        let mut of_x: [&[f32]; M] = [&[]; M];
        for (m, values) in of_x.iter_mut().enumerate() {
            let start = (block.rows().start + row + m) * ins;
            *values = &x[start..start + ins];
        }
        let (first, outs) = (block.outs().start, block.outs().len());
        let mut out = 0;
        while out + R <= outs {
            self.dots_at::<E, R, M>(of_x, first + out, |r, m, value| block.row_mut(row + m)[out + r] = value);
            out += R;
        }
        while out < outs {
            self.dots_at::<E, 1, M>(of_x, first + out, |r, m, value| block.row_mut(row + m)[out + r] = value);
            out += 1;
        }
        M
    }

    fn dots_at<E: Element, const R: usize, const M: usize>(
        &self,
        x: [&[f32]; M],
        out: usize,
        mut put: impl FnMut(usize, usize, f32),
    ) {
        let stride = self.shape[1] * E::SIZE;
        let mut weight: [&[u8]; R] = [&[]; R];
        for (r, bytes) in weight.iter_mut().enumerate() {
            *bytes = &self.tensor.data()[(out + r) * stride..(out + r + 1) * stride];
        }
        let sums = self.isa.run(Dots::<E, R, M> { weight, x, element: PhantomData });
        for (r, sums) in sums.iter().enumerate() {
            for (m, &sum) in sums.iter().enumerate() {
                put(r, m, sum);
            }
        }
    }

    fn axpys<E: Element>(&self, x: &[f32], block: &mut Block<'_>) {
        let ins = self.shape[1];
        let rows = block.rows();
        for row in 0..rows.len() {
            block.row_mut(row).fill(0.0);
        }
        let mut column = 0;
        while column < ins {
            for row in 0..rows.len() {
                let x = &x[(rows.start + row) * ins..][..ins];
                if column + AXPYS <= ins {
                    self.axpy::<E, AXPYS>(x, block, row, column);
                } else {
                    for column in column..ins {
                        self.axpy::<E, 1>(x, block, row, column);
                    }
                }
            }
            column += AXPYS;
        }
    }

    fn axpy<E: Element, const N: usize>(&self, x: &[f32], block: &mut Block<'_>, row: usize, column: usize) {
        let outs = block.outs();
        let mut factors = [0.0; N];
        let mut weight: [&[u8]; N] = [&[]; N];
        for n in 0..N {
            factors[n] = x[column + n];
            weight[n] = self.stored(column + n, outs.clone(), E::SIZE);
        }
        self.isa.run(Axpy::<E, N> { y: block.row_mut(row), x: factors, weight, element: PhantomData });
    }

    /// The bytes of a part of a stored row of the transposed layout.
    fn stored(&self, row: usize, columns: Range<usize>, size: usize) -> &[u8] {
        let start = row * self.shape[0];
        &self.tensor.data()[(start + columns.start) * size..(start + columns.end) * size]
    }

    /// Widens `columns` of the stored matrix `[ins, outs]` into a tile `[ins, columns]`.
    fn read_transposed(&self, columns: &Range<usize>, tile: &mut [f32]) {
        for (row, values) in tile.chunks_exact_mut(columns.len()).enumerate() {
            read(&self.tensor, row * self.shape[0] + columns.start, values);
        }
    }
}

/// Widens values of a tensor that is known to be floating-point.
fn read(tensor: &Tensor, start: usize, values: &mut [f32]) {
    if tensor.read_f32(start, values).is_err() {
        values.fill(f32::NAN);
    }
}

impl LinearOp for DenseOp {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        check_lengths(self.shape, x, rows, bias, y);
        let [outs, ins] = self.shape;
        let few = match self.layout {
            Layout::OutIn => FEW_ROWS,
            Layout::InOut => FEW_ROWS_TRANSPOSED,
        };
        if rows <= few {
            return match self.dtype {
                DType::F16 => self.few_rows::<F16>(x, rows, bias, y),
                DType::BF16 => self.few_rows::<Bf16>(x, rows, bias, y),
                _ => self.few_rows::<F32>(x, rows, bias, y),
            };
        }
        if let (DType::F32, Ok(weight)) = (self.dtype, bytemuck::try_cast_slice(self.tensor.data())) {
            gemm::whole(y, [rows, outs, ins], x, weight, self.layout);
            if let Some(bias) = bias {
                for y in y.chunks_exact_mut(outs.max(1)) {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
            }
            return;
        }
        tile::forward(self.shape, self.layout, x, rows, bias, y, |part, tile| match self.layout {
            Layout::OutIn => read(&self.tensor, part.start * ins, tile),
            Layout::InOut => self.read_transposed(&part, tile),
        });
    }

    fn resident_bytes(&self) -> u64 {
        self.tensor.data().len() as u64
    }
}
