//! Blocked Cholesky factorisation, in place.
//!
//! The matrix is column-major; the block column at hand is gathered, transposed, into a small buffer whose rows are
//! split among threads. Tiles depend on the size alone, so the bits do not depend on the threads; faer's own parallel
//! routine does not promise that.

use crate::matmul::{MatMut, MatRef, multiply_add};
use crate::real::Real;
use crate::transpose::transpose;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltError, LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Par, Spec};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Columns per step.
const BLOCK: usize = 128;
/// Rows of the block column that one task handles.
const ROWS: usize = 256;

/// Replaces the lower triangle of a symmetric matrix by `L` with `A = LLᵀ`, and the upper one by zeros.
///
/// Returns the index of the first pivot that is not positive.
pub(crate) fn cholesky<T: Real>(a: &mut [T], n: usize) -> Result<(), usize> {
    let mut panel = vec![T::ZERO; n * BLOCK.min(n)];
    let mut corner = vec![T::ZERO; BLOCK.min(n).pow(2)];
    for j in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - j);
        let height = n - j;
        let (left, right) = a.split_at_mut(j * n);
        let columns = &mut right[..width * n];
        let panel = &mut panel[..height * width];
        gather(panel, columns, n, j, width);
        let pivots = MatRef::new(&left[j.min(left.len())..], [width, j], [1, n]).transposed();
        panel.par_chunks_mut(ROWS * width).enumerate().for_each(|(task, rows)| {
            let count = rows.len() / width;
            let first = (j + task * ROWS).min(left.len());
            let done = MatRef::new(&left[first..], [count, j], [1, n]);
            multiply_add(MatMut::new(rows, [count, width], [width, 1]), -T::ONE, done, pivots);
        });
        // The corner is lower triangular; transposed into column-major order for faer.
        let corner = &mut corner[..width * width];
        for (row, values) in panel.chunks_exact(width).take(width).enumerate() {
            for (column, &value) in values.iter().enumerate() {
                corner[column * width + row] = value;
            }
        }
        factor_corner(corner, width).map_err(|pivot| j + pivot)?;
        let lower = faer::MatRef::from_column_major_slice(corner, width, width);
        let (top, below) = panel.split_at_mut(width * width);
        for (row, values) in top.chunks_exact_mut(width).enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                *value = if column <= row { corner[column * width + row] } else { T::ZERO };
            }
        }
        // X·Lᵀ = P for the rows below, which is L·Xᵀ = Pᵀ.
        below.par_chunks_mut(ROWS * width).for_each(|rows| {
            let count = rows.len() / width;
            let rows = faer::MatMut::from_column_major_slice_mut(rows, width, count);
            solve_lower_triangular_in_place(lower, rows, Par::Seq);
        });
        scatter(panel, columns, n, j, width);
        for column in columns.chunks_exact_mut(n) {
            column[..j].fill(T::ZERO);
        }
    }
    Ok(())
}

fn factor_corner<T: Real>(corner: &mut [T], width: usize) -> Result<(), usize> {
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<T>(width, Par::Seq, Spec::default()));
    let matrix = faer::MatMut::from_column_major_slice_mut(corner, width, width);
    let outcome = cholesky_in_place(
        matrix,
        LltRegularization::default(),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    );
    match outcome {
        Err(LltError::NonPositivePivot { index }) => Err(index),
        // A NaN passes every comparison of pivots; it must not pass this one.
        Ok(_) => match (0..width)
            .find(|&i| corner[i * width + i].partial_cmp(&T::ZERO) != Some(Ordering::Greater))
        {
            Some(index) => Err(index),
            None => Ok(()),
        },
    }
}

/// Copies rows `first..` of a block column into row-major order.
fn gather<T: Real>(panel: &mut [T], columns: &[T], n: usize, first: usize, width: usize) {
    panel.par_chunks_mut(ROWS * width).enumerate().for_each(|(task, rows)| {
        let shape = [width, rows.len() / width];
        transpose::<8, 16, _, _>(&columns[first + task * ROWS..], n, rows, width, shape, |v| v);
    });
}

/// Copies row-major rows back to rows `first..` of a block column.
fn scatter<T: Real>(panel: &[T], columns: &mut [T], n: usize, first: usize, width: usize) {
    columns.par_chunks_mut(8 * n).enumerate().for_each(|(task, columns)| {
        let shape = [panel.len() / width, columns.len() / n];
        transpose::<16, 8, _, _>(&panel[8 * task..], width, &mut columns[first..], n, shape, |v| v);
    });
}
