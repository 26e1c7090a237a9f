//! The triangular factor of a Hessian, from which GPTQ and SparseGPT read everything.

pub(crate) mod blocked;

use crate::gram::GramView;
use crate::real::Real;
use faer::Par;
use faer::linalg::triangular_inverse::invert_upper_triangular;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::reborrow::ReborrowMut;
use rayon::prelude::*;
use std::ops::Range;
use thiserror::Error;

/// Why no factor could be computed.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum FactorError {
    /// The order is no permutation of the columns.
    #[error("the column order is no permutation of 0..{features}")]
    Order {
        /// Number of columns.
        features: usize,
    },
    /// An element is a NaN or an infinity.
    #[error("the Hessian is not finite at row {row}, column {column}")]
    NonFinite {
        /// Where.
        row: usize,
        /// Where.
        column: usize,
    },
    /// No input channel was ever active.
    #[error("the Hessian is zero: no input channel was ever active")]
    Zero,
    /// Rounding errors or a broken Hessian outweigh the damping.
    #[error(
        "the Hessian with {damp_percent} of its mean diagonal added is not positive definite (pivot {pivot})"
    )]
    NotPositiveDefinite {
        /// The damping that failed, as a share of the mean diagonal.
        damp_percent: f64,
        /// The first pivot that was not positive, counted in the column order asked for.
        pivot: usize,
    },
}

/// The upper triangular `R` with `H + λI = RRᵀ`, in a chosen order of the columns.
///
/// Its inverse `U = R⁻¹` is the factor in which the GPTQ paper works, `(H + λI)⁻¹ = UᵀU` (Frantar et al. 2022, arXiv
/// 2210.17323, section 3.3): row `i` of `U` divided by its diagonal says how an error made in column `i` is best spread
/// over the later columns. The diagonal blocks of `U` are the inverses of those of `R`, and the rest of `U` is not
/// needed, so it is never computed.
#[derive(Clone, Debug)]
pub struct HessianFactor<T> {
    features: usize,
    /// Column-major; zero below the diagonal.
    data: Vec<T>,
    damp: f64,
    mean_diagonal: f64,
}

impl<T: Real> HessianFactor<T> {
    /// Number of columns.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// The square, column-major: `R[i, j]` is at `j·features + i`, and is zero where `i > j`.
    pub fn column_major(&self) -> &[T] {
        &self.data
    }

    /// What was added to the diagonal, in units of the Hessian.
    pub const fn damp(&self) -> f64 {
        self.damp
    }

    /// The mean diagonal of the live columns.
    pub const fn mean_diagonal(&self) -> f64 {
        self.mean_diagonal
    }

    /// A diagonal block of `U = R⁻¹`, row-major; zero below the diagonal.
    ///
    /// # Panics
    /// If the range reaches beyond the columns.
    pub fn inverse_block(&self, range: Range<usize>) -> Vec<T> {
        let width = range.len();
        let corner = faer::MatRef::from_column_major_slice(&self.data, self.features, self.features)
            .submatrix(range.start, range.start, width, width);
        let mut inverse = vec![T::ZERO; width * width];
        let target = faer::MatMut::from_row_major_slice_mut(&mut inverse, width, width);
        invert_upper_triangular(target, corner, Par::Seq);
        inverse
    }

    /// Solves `X · (H + λI) = B` in the place of `B`, whose columns are in the factor's order.
    ///
    /// Some rows are solved at a time, so that the bits do not depend on the number of threads.
    ///
    /// # Shapes
    /// `b`: `[rows, features]`, row-major.
    ///
    /// ```
    /// use tenuis_linalg::{Gram, factor_hessian};
    /// let gram = Gram::from_upper(2, vec![5.0, 2.0, 0.0, 4.0])?;
    /// let mut x = [9.0, 10.0];
    /// factor_hessian::<f64>(gram.view(), None, 0.0)?.solve_rows(&mut x);
    /// assert_eq!(x, [1.0, 2.0]); // [1 2] · [5 2; 2 4]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If `b` is no whole number of rows.
    pub fn solve_rows(&self, b: &mut [T]) {
        let n = self.features;
        assert!(n > 0 && b.len().is_multiple_of(n), "{} values are no rows of {n}", b.len());
        let factor = faer::MatRef::from_column_major_slice(&self.data, n, n);
        b.par_chunks_mut(SOLVED_ROWS * n).for_each(|rows| {
            // R (Rᵀ Xᵀ) = Bᵀ; rows of B are columns of Bᵀ.
            let count = rows.len() / n;
            let mut columns = faer::MatMut::from_column_major_slice_mut(rows, n, count);
            solve_upper_triangular_in_place(factor, columns.rb_mut(), Par::Seq);
            solve_lower_triangular_in_place(factor.transpose(), columns, Par::Seq);
        });
    }
}

/// Computes `R`, upper triangular, with `H + λI = RRᵀ` and `λ = damp_percent · mean(diag H)`.
///
/// With `J` the reversal of the columns, `J(H + λI)J = LLᵀ` gives `R = JLJ`: one Cholesky factorisation (⅓n³ FLOPs)
/// instead of the two and the full inverse of the textbook route. The bound is the machine's FMA rate; memory is one
/// square of `T` beside `hessian`. The bits do not depend on the number of threads.
///
/// Columns that were never active (`H[i, i] = 0`) get the mean diagonal, so that they cannot break the factorisation;
/// their rows and columns of `R` are diagonal, so they neither give nor receive corrections.
///
/// # Shapes
/// `order`: `[features]`, column `order[k]` of the Hessian becomes column `k`; `None` keeps the order.
///
/// ```
/// use tenuis_linalg::{Gram, factor_hessian};
/// let gram = Gram::from_upper(2, vec![5.0, 2.0, 0.0, 4.0])?;
/// let factor = factor_hessian::<f64>(gram.view(), None, 0.0)?;
/// assert_eq!(factor.column_major(), [2.0, 0.0, 1.0, 2.0]); // [2 1; 0 2]
/// assert_eq!(factor.inverse_block(0..2), [0.5, -0.25, 0.0, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FactorError`] where the order, the values or the definiteness fail; the caller may try again with more damping.
pub fn factor_hessian<T: Real>(
    hessian: GramView<'_>,
    order: Option<&[u32]>,
    damp_percent: f64,
) -> Result<HessianFactor<T>, FactorError> {
    let n = hessian.features();
    check_order(order, n)?;
    let mean_diagonal = mean_live_diagonal(hessian)?;
    let damp = damp_percent * mean_diagonal;
    let mut data = reversed::<T>(hessian, order, mean_diagonal, damp)?;
    blocked::cholesky(&mut data, n)
        .map_err(|pivot| FactorError::NotPositiveDefinite { damp_percent, pivot: n - 1 - pivot })?;
    // Reversing the buffer reverses rows and columns at once: J L J, and what was lower becomes upper.
    data.reverse();
    Ok(HessianFactor { features: n, data, damp, mean_diagonal })
}

fn check_order(order: Option<&[u32]>, features: usize) -> Result<(), FactorError> {
    let Some(order) = order else { return Ok(()) };
    let mut seen = vec![false; features];
    for &column in order {
        match seen.get_mut(column as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(FactorError::Order { features }),
        }
    }
    if order.len() == features { Ok(()) } else { Err(FactorError::Order { features }) }
}

fn mean_live_diagonal(hessian: GramView<'_>) -> Result<f64, FactorError> {
    let (mut sum, mut live) = (0.0, 0u64);
    for (row, value) in hessian.diagonal().enumerate() {
        if !value.is_finite() {
            return Err(FactorError::NonFinite { row, column: row });
        }
        if value != 0.0 {
            sum += f64::from(value);
            live += 1;
        }
    }
    if live == 0 { Err(FactorError::Zero) } else { Ok(sum / live as f64) }
}

/// The lower triangle, column-major, of the damped Hessian with its columns permuted and reversed; zero above.
fn reversed<T: Real>(
    hessian: GramView<'_>,
    order: Option<&[u32]>,
    dead: f64,
    damp: f64,
) -> Result<Vec<T>, FactorError> {
    let n = hessian.features();
    let mut data = vec![T::ZERO; n * n];
    data.par_chunks_mut(COLUMNS * n).enumerate().try_for_each(|(task, columns)| {
        let first = task * COLUMNS;
        match order {
            Some(order) => permuted(columns, first, hessian, order),
            None => in_place(columns, first, hessian),
        }
        for (b, column) in (first..).zip(columns.chunks_exact_mut(n)) {
            let at = |k: usize| order.map_or(n - 1 - k, |o| o[n - 1 - k] as usize);
            let finite: T = column.iter().map(|&v| v * T::ZERO).sum();
            if !finite.finite() {
                let a = column.iter().position(|v| !v.finite()).unwrap_or(b);
                return Err(FactorError::NonFinite { row: at(a).min(at(b)), column: at(a).max(at(b)) });
            }
            let diagonal = column[b].as_f64();
            column[b] = T::of_f64(if diagonal == 0.0 { dead } else { diagonal } + damp);
        }
        Ok(())
    })?;
    Ok(data)
}

/// Rows that one task solves for.
const SOLVED_ROWS: usize = 64;

/// Columns that one task fills: as many as lines of one cache set.
const COLUMNS: usize = 8;
/// Rows that it moves at a time: one cache line of f32.
const ROWS: usize = 16;

/// Element (a, b) of the reversal is element (n−1−a, n−1−b) of the Hessian.
fn in_place<T: Real>(columns: &mut [T], first: usize, hessian: GramView<'_>) {
    let n = hessian.features();
    let width = columns.len() / n;
    // The corner that the diagonal crosses.
    for b in first..first + width {
        for a in b..first + width {
            columns[(b - first) * n + a] = T::of_f32(hessian.get(n - 1 - a, n - 1 - b));
        }
    }
    // Below it, some rows at a time, so that every column is written by the cache line.
    let mut tile = [[T::ZERO; ROWS]; COLUMNS];
    for a in (first + width..n).step_by(ROWS) {
        let height = ROWS.min(n - a);
        for k in 0..height {
            let i = n - 1 - (a + k);
            let from = &hessian.upper_row(i)[n - first - width - i..][..width];
            for (lane, &value) in tile.iter_mut().zip(from.iter().rev()) {
                lane[k] = T::of_f32(value);
            }
        }
        for (lane, column) in tile.iter().zip(columns.chunks_exact_mut(n)) {
            column[a..a + height].copy_from_slice(&lane[..height]);
        }
    }
}

fn permuted<T: Real>(columns: &mut [T], first: usize, hessian: GramView<'_>, order: &[u32]) {
    let n = hessian.features();
    for (b, column) in (first..).zip(columns.chunks_exact_mut(n)) {
        let j = order[n - 1 - b] as usize;
        for (value, &i) in column[b..].iter_mut().zip(order[..n - b].iter().rev()) {
            *value = T::of_f32(hessian.get(i as usize, j));
        }
    }
}

#[cfg(test)]
mod tests;
