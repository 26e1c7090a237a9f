//! Eight-bit weights times activations that are rounded to eight bits per token: an integer product.
//!
//! For a token `x` with `t = max|x| / 127`: `q = round(x / t)`, `y[o] = (Σᵢ w[o, i]·q[i]) · (t · scale[o]) + bias[o]`.
//! The sum is exact, so that every instruction set gives the same bits. With one token the product is bound by reading
//! the weight, one byte a value; with many by the rate of 8-bit multiplications.

mod dot;

use crate::dispatch::Isa;
use crate::{LinearOp, block, check_lengths, scratch};
use dot::{Dot, IntIsa};
use rayon::prelude::*;
use tenuis_core::{Int8Dynamic, Representation, WeightError};

/// The largest code of an activation. −128 is left out: its magnitude has no positive code.
const LARGEST: f32 = 127.0;
/// Columns whose products are summed in 32 bits: 2¹⁶ · 127 · 128 < 2³¹.
const CHUNK: usize = 1 << 16;
/// Bytes that kernels read at once: rows of codes are filled up with zeros to a multiple.
pub(super) const STEP: usize = 64;
/// Tokens and outputs of a block, which one task computes.
const BLOCK: [usize; 2] = [64, 64];

/// An [`Int8Dynamic`] weight with its scales as f32.
#[derive(Debug)]
pub(crate) struct Int8Op {
    weight: Int8Dynamic,
    scales: Vec<f32>,
    isa: IntIsa,
}

impl Int8Op {
    pub(crate) fn new(weight: &Int8Dynamic, isa: Isa) -> Result<Self, WeightError> {
        Self::with(weight, IntIsa::best(isa))
    }

    pub(crate) fn with(weight: &Int8Dynamic, isa: IntIsa) -> Result<Self, WeightError> {
        Ok(Self { scales: weight.scales()?, weight: weight.clone(), isa })
    }
}

/// Rounded tokens: for each its codes, filled up with zeros, the sums of the codes of every chunk, and its scale.
struct Tokens<'a> {
    codes: &'a [i8],
    stride: usize,
    sums: &'a [i32],
    scales: &'a [f32],
}

impl Tokens<'_> {
    fn codes(&self, row: usize) -> &[i8] {
        &self.codes[row * self.stride..(row + 1) * self.stride]
    }
}

/// Rounds a token; returns its scale, which is not finite where a value is not.
fn round_token(x: &[f32], codes: &mut [i8]) -> f32 {
    let largest = x.iter().fold(0.0f32, |most, &x| if x.abs() > most || x.is_nan() { x.abs() } else { most });
    codes.fill(0);
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    let inverse = LARGEST / largest;
    if inverse.is_finite() {
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (x * inverse).round_ties_even().clamp(-LARGEST, LARGEST) as i8;
        }
    } else {
        // Subnormal: dividing is slower but does not overflow.
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (x / largest * LARGEST).round_ties_even() as i8;
        }
    }
    largest / LARGEST
}

impl LinearOp for Int8Op {
    fn shape(&self) -> [usize; 2] {
        self.weight.shape()
    }

    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        check_lengths(self.shape(), x, rows, bias, y);
        let [outs, ins] = self.shape();
        let (stride, chunks) = (ins.next_multiple_of(STEP), ins.div_ceil(CHUNK).max(1));
        // Codes, four to an f32, then sums, then scales.
        let lengths = [rows * stride / 4, rows * chunks, rows];
        scratch::with(lengths.iter().sum(), |buffer| {
            let (codes, rest) = buffer.split_at_mut(lengths[0]);
            let (sums, scales) = rest.split_at_mut(lengths[1]);
            let codes: &mut [i8] = bytemuck::cast_slice_mut(codes);
            let sums: &mut [i32] = bytemuck::cast_slice_mut(sums);
            // Without columns there is nothing to round.
            scales.fill(0.0);
            sums.fill(0);
            codes
                .par_chunks_mut(stride.max(1))
                .zip(x.par_chunks(ins.max(1)))
                .zip(sums.par_chunks_mut(chunks).zip(&mut *scales))
                .with_min_len(4)
                .for_each(|((codes, x), (sums, scale))| {
                    *scale = round_token(x, codes);
                    for (sum, part) in sums.iter_mut().zip(codes.chunks(CHUNK)) {
                        *sum = part.iter().map(|&code| i32::from(code)).sum();
                    }
                });
            let tokens = Tokens { codes, stride, sums, scales };
            block::for_each(y, [rows, outs, ins], BLOCK, |mut block| self.block(&mut block, &tokens, bias));
        });
    }

    fn resident_bytes(&self) -> u64 {
        self.weight.stored_bytes() + size_of_val(self.scales.as_slice()) as u64
    }
}

impl Int8Op {
    /// Fills a block, four outputs by four tokens at a time: each code is then read once for four products.
    fn block(&self, block: &mut block::Block<'_>, tokens: &Tokens<'_>, bias: Option<&[f32]>) {
        let (rows, outs) = (block.rows(), block.outs());
        let mut out = 0;
        while out < outs.len() {
            let together = if outs.len() - out >= 4 { 4 } else { 1 };
            let mut row = 0;
            while row < rows.len() {
                row += match (together, rows.len() - row) {
                    (4, 4..) => self.tile::<4, 4>(block, tokens, bias, out, row),
                    (4, _) => self.tile::<4, 1>(block, tokens, bias, out, row),
                    (_, 4..) => self.tile::<1, 4>(block, tokens, bias, out, row),
                    _ => self.tile::<1, 1>(block, tokens, bias, out, row),
                };
            }
            out += together;
        }
    }

    /// Fills `R` outputs of `M` tokens; returns `M`.
    fn tile<const R: usize, const M: usize>(
        &self,
        block: &mut block::Block<'_>,
        tokens: &Tokens<'_>,
        bias: Option<&[f32]>,
        out: usize,
        row: usize,
    ) -> usize {
        let [_, ins] = self.weight.shape();
        let (first_row, first_out) = (block.rows().start + row, block.outs().start + out);
        let weights: [&[i8]; R] = std::array::from_fn(|r| self.weight.codes_row(first_out + r));
        let inputs: [&[i8]; M] = std::array::from_fn(|m| tokens.codes(first_row + m));
        let chunks = ins.div_ceil(CHUNK).max(1);
        let mut totals = [[0i64; M]; R];
        for chunk in 0..chunks {
            let range = chunk * CHUNK..ins.min((chunk + 1) * CHUNK);
            let padded = range.start..range.start + range.len().next_multiple_of(STEP);
            let dot = Dot {
                weights: weights.map(|w| &w[range.clone()]),
                inputs: inputs.map(|x| &x[padded.clone()]),
                sums: std::array::from_fn(|m| tokens.sums[(first_row + m) * chunks + chunk]),
            };
            for (totals, products) in totals.iter_mut().zip(self.isa.run(&dot)) {
                totals.iter_mut().zip(products).for_each(|(total, product)| *total += i64::from(product));
            }
        }
        for (r, totals) in totals.iter().enumerate() {
            let (scale, bias) = (self.scales[first_out + r], bias.map_or(0.0, |b| b[first_out + r]));
            for (m, &total) in totals.iter().enumerate() {
                block.row_mut(row + m)[out + r] =
                    total as f32 * (tokens.scales[first_row + m] * scale) + bias;
            }
        }
        M
    }
}

#[cfg(test)]
mod tests;
