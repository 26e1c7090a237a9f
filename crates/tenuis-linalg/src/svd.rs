//! Singular value decompositions: exact, and randomised for the first few singular vectors of a large matrix.

mod krylov;
mod orthonormal;
mod randomized;
mod start;
#[cfg(test)]
mod tests;

pub use randomized::{RandomizedSvd, svd_randomized};

use crate::finite::first_non_finite;
use crate::real::Real;
use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd as lapack;
use faer::{MatMut, MatRef, Par, Spec};
use thiserror::Error;

/// Into how many parts faer cuts its work. Fixed, so that the bits do not depend on the number of threads.
const PARTS: usize = 8;

/// Why a matrix could not be decomposed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SvdError {
    /// An element is a NaN or an infinity.
    #[error("the matrix is not finite at row {row}, column {column}")]
    NonFinite {
        /// Where.
        row: usize,
        /// Where.
        column: usize,
    },
    /// The rank asked for is not between one and the smaller side.
    #[error("rank {rank} is not between 1 and {most}, the smaller side of the matrix")]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The largest possible.
        most: usize,
    },
    /// The iteration did not end; not known to happen to finite matrices.
    #[error("the singular value iteration did not converge")]
    NoConvergence,
}

/// The leading part of `A = U diag(σ) Vᵀ`.
#[derive(Clone, Debug)]
pub struct Svd<T> {
    /// `[rank, rows]`: row `k` is the left singular vector `uₖ`, of length 1.
    pub left: Vec<T>,
    /// The singular values, largest first.
    pub values: Vec<T>,
    /// `[rank, columns]`: row `k` is the right singular vector `vₖ`, of length 1.
    pub right: Vec<T>,
}

impl<T> Svd<T> {
    /// The number of singular values.
    pub const fn rank(&self) -> usize {
        self.values.len()
    }
}

/// Decomposes a matrix in full: all `min(rows, columns)` singular values and vectors.
///
/// # Shapes
/// `a`: `shape`, row-major.
///
/// ```
/// let svd = tenuis_linalg::svd(&[3.0, 0.0, 0.0, 0.0, -4.0, 0.0], [2, 3])?;
/// assert_eq!(svd.values, [4.0, 3.0]);
/// # Ok::<(), tenuis_linalg::SvdError>(())
/// ```
///
/// # Errors
/// [`SvdError::NonFinite`] and [`SvdError::NoConvergence`].
///
/// # Panics
/// If `a` has another length.
pub fn svd<T: Real>(a: &[T], shape: [usize; 2]) -> Result<Svd<T>, SvdError> {
    check_finite(a, shape)?;
    let [rows, columns] = shape;
    let rank = rows.min(columns);
    let mut svd = Svd {
        left: vec![T::ZERO; rank * rows],
        values: vec![T::ZERO; rank],
        right: vec![T::ZERO; rank * columns],
    };
    let left = MatMut::from_column_major_slice_mut(&mut svd.left, rows, rank);
    let right = MatMut::from_column_major_slice_mut(&mut svd.right, columns, rank);
    decompose(a, shape, &mut svd.values, Some((left, right)))?;
    Ok(svd)
}

/// All singular values of a matrix, largest first, without vectors.
///
/// # Shapes
/// `a`: `shape`, row-major.
///
/// # Errors
/// As [`svd`].
///
/// # Panics
/// If `a` has another length.
pub fn singular_values<T: Real>(a: &[T], shape: [usize; 2]) -> Result<Vec<T>, SvdError> {
    check_finite(a, shape)?;
    let mut values = vec![T::ZERO; shape[0].min(shape[1])];
    decompose(a, shape, &mut values, None)?;
    Ok(values)
}

fn decompose<T: Real>(
    a: &[T],
    [rows, columns]: [usize; 2],
    values: &mut [T],
    vectors: Option<(MatMut<'_, T>, MatMut<'_, T>)>,
) -> Result<(), SvdError> {
    if values.is_empty() {
        return Ok(());
    }
    let which =
        if vectors.is_some() { lapack::ComputeSvdVectors::Thin } else { lapack::ComputeSvdVectors::No };
    let par = Par::rayon(PARTS);
    let scratch = lapack::svd_scratch::<T>(rows, columns, which, which, par, Spec::default());
    let mut memory = MemBuffer::new(scratch);
    let (left, right) = vectors.unzip();
    lapack::svd(
        MatRef::from_row_major_slice(a, rows, columns),
        DiagMut::from_slice_mut(values),
        left,
        right,
        par,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| SvdError::NoConvergence)
}

fn check_finite<T: Real>(a: &[T], [rows, columns]: [usize; 2]) -> Result<(), SvdError> {
    assert_eq!(a.len(), rows * columns, "a matrix of {rows} rows and {columns} columns");
    match first_non_finite(a) {
        None => Ok(()),
        Some(at) => Err(SvdError::NonFinite { row: at / columns, column: at % columns }),
    }
}
