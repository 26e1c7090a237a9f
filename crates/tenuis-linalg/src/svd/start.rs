//! The first directions of a block Krylov space: a sparse random matrix, and the product with it.
//!
//! A dense one takes as long to multiply with as any other block, an eighth of all products where there are four blocks. Of
//! sparse signs a few in each row serve as well (Martinsson and Tropp 2020, arXiv 2002.01387, section 9.2).

use crate::float::vectorised;
use crate::real::Real;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Columns that a row of the start is not zero in. Two registers of AVX2, one of AVX-512.
const SEGMENT: usize = 16;
/// Rows of the product that are made together, so that the start is read once for all of them.
const ROWS: usize = 4;
/// Rows of the product that one task makes.
const TASK_ROWS: usize = 32;

/// `Ω`, `[rows, width]`: each row has signs in one segment of columns, which is drawn, and zeros elsewhere.
pub(super) struct Start<T> {
    width: usize,
    /// Where the segment of each row begins.
    begins: Vec<usize>,
    /// `[rows, SEGMENT]`.
    signs: Vec<[T; SEGMENT]>,
}

impl<T: Real> Start<T> {
    /// Draws `[rows, width]`; nothing where that is too narrow to be sparse. The product's bits do not depend on the CPU, as
    /// nothing is fused in it.
    pub(super) fn draw(rows: usize, width: usize, seed: u64) -> Option<Self> {
        if width < 2 * SEGMENT {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let segments = width.div_ceil(SEGMENT);
        let draw = |_| {
            let at = random.random_range(0..segments) * SEGMENT;
            let bits: u16 = random.random();
            let sign = |bit: usize| if bits >> bit & 1 == 1 { T::ONE } else { -T::ONE };
            (at.min(width - SEGMENT), std::array::from_fn(sign))
        };
        let (begins, signs) = (0..rows).map(draw).unzip();
        Some(Self { width, begins, signs })
    }

    /// `A·Ω`, `[rows, width]`, for `a` `[rows, columns]`, both row-major.
    pub(super) fn product(&self, a: &[T], columns: usize) -> Vec<T> {
        let rows = a.len() / columns;
        let mut out = vec![T::ZERO; rows * self.width];
        let tasks = out.par_chunks_mut(TASK_ROWS * self.width).zip(a.par_chunks(TASK_ROWS * columns));
        tasks.for_each(|(out, a)| {
            vectorised(
                #[inline(always)]
                || self.rows(out, a, columns),
            );
        });
        out
    }

    #[expect(
        clippy::inline_always,
        reason = "only inlined code is compiled for the instructions of `vectorised`"
    )]
    #[inline(always)]
    fn rows(&self, out: &mut [T], a: &[T], columns: usize) {
        for (out, a) in out.chunks_mut(ROWS * self.width).zip(a.chunks(ROWS * columns)) {
            if a.len() == ROWS * columns {
                let (first, rest) = a.split_at(columns);
                let (second, rest) = rest.split_at(columns);
                let (third, fourth) = rest.split_at(columns);
                let values = first.iter().zip(second).zip(third).zip(fourth);
                for ((((&a, &b), &c), &d), (&at, signs)) in values.zip(self.begins.iter().zip(&self.signs)) {
                    for (row, value) in [a, b, c, d].into_iter().enumerate() {
                        add(&mut out[row * self.width + at..], value, signs);
                    }
                }
            } else {
                for (out, a) in out.chunks_exact_mut(self.width).zip(a.chunks_exact(columns)) {
                    for (&value, (&at, signs)) in a.iter().zip(self.begins.iter().zip(&self.signs)) {
                        add(&mut out[at..], value, signs);
                    }
                }
            }
        }
    }
}

/// `sums += value · signs`, for a segment of `sums`.
#[expect(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instructions of `vectorised`"
)]
#[inline(always)]
fn add<T: Real>(sums: &mut [T], value: T, signs: &[T; SEGMENT]) {
    let Some(sums) = sums.first_chunk_mut::<SEGMENT>() else { return };
    let mut local = *sums;
    for lane in 0..SEGMENT {
        local[lane] += value * signs[lane];
    }
    *sums = local;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product is that with the matrix which the start stands for, at sizes that no tile divides.
    #[test]
    fn product_equals_the_definition() {
        for (rows, columns, width) in [(1, 1, 32), (37, 50, 40), (33, 20, 47), (64, 130, 112)] {
            let start = Start::<f64>::draw(columns, width, 5).unwrap();
            let a: Vec<f64> = (0..rows * columns).map(|at| ((at * 37 % 101) as f64) - 50.0).collect();
            let product = start.product(&a, columns);
            for (at, value) in product.iter().enumerate() {
                let (row, column) = (at / width, at % width);
                let entry = |k: usize| match column.checked_sub(start.begins[k]) {
                    Some(lane) if lane < SEGMENT => start.signs[k][lane],
                    _ => 0.0,
                };
                let expected: f64 = (0..columns).map(|k| a[row * columns + k] * entry(k)).sum();
                assert_eq!(*value, expected, "{rows}×{columns}·{width} at {row},{column}");
            }
        }
    }

    /// Every column of the start is reached, and signs are as often positive as negative.
    #[test]
    fn signs_are_spread() {
        let (rows, width) = (4000, 100);
        let start = Start::<f32>::draw(rows, width, 1).unwrap();
        let mut reached = vec![0; width];
        let mut sum = 0.0;
        for (&begin, signs) in start.begins.iter().zip(&start.signs) {
            reached[begin..begin + SEGMENT].iter_mut().for_each(|count| *count += 1);
            sum += signs.iter().sum::<f32>();
        }
        assert!(reached.iter().all(|&count| count > rows * SEGMENT / width / 2), "{reached:?}");
        // Of 64,000 signs, five standard deviations.
        assert!(sum.abs() < 5.0 * ((rows * SEGMENT) as f32).sqrt(), "{sum}");
        assert!(Start::<f32>::draw(rows, SEGMENT, 1).is_none());
    }
}
