//! Blocked Cholesky factorisation and triangular inverse, in place.
//!
//! Both keep the matrix column-major and gather the block column at hand, transposed, into one small buffer whose
//! rows are split among threads. Tiles depend on the size alone, so the bits do not depend on the threads; faer's own
//! parallel routines promise neither that nor to work in place.

use crate::matmul::{MatMut, MatRef, multiply_add};
use crate::real::Real;
use crate::transpose::transpose;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltError, LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::triangular_inverse::invert_lower_triangular;
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
pub(super) fn cholesky<T: Real>(a: &mut [T], n: usize) -> Result<(), usize> {
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

/// Replaces a lower triangular matrix by its inverse. What lies above the diagonal must be zero, and stays so.
pub(super) fn invert<T: Real>(a: &mut [T], n: usize) {
    let mut panel = vec![T::ZERO; n * BLOCK.min(n)];
    let mut product = vec![T::ZERO; n * BLOCK.min(n)];
    let mut corner = vec![T::ZERO; BLOCK.min(n).pow(2)];
    let mut inverse = vec![T::ZERO; BLOCK.min(n).pow(2)];
    // [A 0; B D]⁻¹ = [A⁻¹ 0; −D⁻¹·B·A⁻¹ D⁻¹]: from the last block column to the first, D⁻¹ is there already.
    for j in (0..n).step_by(BLOCK).rev() {
        let width = BLOCK.min(n - j);
        let below = j + width;
        let height = n - below;
        let (left, inverted) = a.split_at_mut(below * n);
        let columns = &mut left[j * n..];

        let (corner, inverse) = (&mut corner[..width * width], &mut inverse[..width * width]);
        for (to, from) in corner.chunks_exact_mut(width).zip(columns.chunks_exact(n)) {
            to.copy_from_slice(&from[j..below]);
        }
        inverse.fill(T::ZERO);
        invert_lower_triangular(
            faer::MatMut::from_column_major_slice_mut(inverse, width, width),
            faer::MatRef::from_column_major_slice(corner, width, width),
            Par::Seq,
        );
        for (from, to) in inverse.chunks_exact(width).zip(columns.chunks_exact_mut(n)) {
            to[j..below].copy_from_slice(from);
        }
        if height == 0 {
            continue;
        }

        let (panel, product) = (&mut panel[..height * width], &mut product[..height * width]);
        gather(panel, columns, n, below, width);
        let inverse = MatRef::new(inverse, [width, width], [1, width]);
        product.par_chunks_mut(ROWS * width).zip(panel.par_chunks(ROWS * width)).for_each(|(to, from)| {
            let shape = [to.len() / width, width];
            to.fill(T::ZERO);
            multiply_add(
                MatMut::new(to, shape, [width, 1]),
                -T::ONE,
                MatRef::new(from, shape, [width, 1]),
                inverse,
            );
        });
        let product = MatRef::new(product, [height, width], [width, 1]);
        panel.par_chunks_mut(ROWS * width).enumerate().for_each(|(task, rows)| {
            let count = rows.len() / width;
            let first = task * ROWS;
            let depth = first + count;
            rows.fill(T::ZERO);
            let triangle = MatRef::new(&inverted[below + first..], [count, depth], [1, n]);
            multiply_add(
                MatMut::new(rows, [count, width], [width, 1]),
                T::ONE,
                triangle,
                product.first_rows(depth),
            );
        });
        scatter(panel, columns, n, below, width);
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
