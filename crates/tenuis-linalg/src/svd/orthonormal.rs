//! Orthonormal bases of the columns of tall matrices.

use crate::factor::blocked::cholesky;
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use crate::real::Real;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::traits::math_utils::eps;
use faer::{Conj, Par, Spec};
use rayon::prelude::*;

/// Rows that one task handles.
const ROWS: usize = 256;

/// Columns of which less than this share is left without the columns before them are taken for dependent on these: the
/// direction of the rest is what rounding to f64 left over.
const DEPENDENT: f64 = 1e-7;

/// By how much that square may exceed what the share shows that is left of a column.
const MARGIN: f64 = 1e4;

/// Replaces the columns of `panel` `[rows, width]`, row-major, `rows ≥ width`, by an orthonormal basis `Q` of what they
/// span; returns `R`, upper triangular, row-major, with `panel = Q·R`.
///
/// As [`orthonormalize_independent`], and Householder's reflections for columns that depend on each other.
pub(super) fn orthonormalize<T: Real>(panel: &mut [T], width: usize, passes: usize) -> Vec<f64> {
    if let Some(r) = orthonormalize_independent(panel, width, passes) {
        return r;
    }
    let mut wide: Vec<f64> = panel.par_iter().map(|v| v.as_f64()).collect();
    let r = householder(&mut wide, width);
    panel.par_iter_mut().zip(&wide).for_each(|(value, wide)| *value = T::of_f64(*wide));
    r
}

/// [`orthonormalize`] for independent columns; `None`, with the panel unchanged, where they depend on each other.
///
/// Cholesky QR: `R` is the factor of the columns' Gram matrix, computed in f64, so one pass serves columns whose
/// condition is at most some 10⁷, and a second one, where f32 is not content with the first, makes them orthonormal to rounding (Yamamoto et al. 2015, "Roundoff
/// error analysis of the CholeskyQR2 algorithm"). It is all matrix products, unlike Householder's reflections.
pub(super) fn orthonormalize_independent<T: Real>(
    panel: &mut [T],
    width: usize,
    passes: usize,
) -> Option<Vec<f64>> {
    let mut wide: Vec<f64> = panel.par_iter().map(|v| v.as_f64()).collect();
    let mut total: Option<Vec<f64>> = None;
    for _ in 0..passes {
        let (r, left) = cholesky_pass(&mut wide, width)?;
        // A pass is as far from orthonormal as the square of the columns' condition, which is at least the inverse of `left`.
        let done = f64::EPSILON < left * left * eps::<T>().as_f64() / MARGIN;
        total = Some(match total {
            None => r,
            Some(before) => product(&r, &before, width),
        });
        if done {
            break;
        }
    }
    panel.par_iter_mut().zip(&wide).for_each(|(value, wide)| *value = T::of_f64(*wide));
    total
}

/// Replaces `block` `[rows, width]` by an orthonormal basis, orthogonal to the first `done` columns of `basis`
/// `[rows, total]`, that spans with them what it spanned with them, and arbitrary directions where that is less.
pub(super) fn complete<T: Real>(
    basis: &[T],
    [rows, total]: [usize; 2],
    done: usize,
    block: &mut [T],
    width: usize,
) {
    let both = done + width;
    let mut wide = Vec::with_capacity(rows * both);
    for (earlier, row) in basis.chunks_exact(total).zip(block.chunks_exact(width)) {
        wide.extend(earlier[..done].iter().chain(row).map(|v| v.as_f64()));
    }
    householder(&mut wide, both);
    for (row, wide) in block.chunks_exact_mut(width).zip(wide.chunks_exact(both)) {
        for (value, wide) in row.iter_mut().zip(&wide[done..]) {
            *value = T::of_f64(*wide);
        }
    }
}

/// `A·B` of squares, row-major.
fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    let [a, b] = [a, b].map(|m| MatRef::new(m, [n, n], [n, 1]));
    multiply_add_parallel(MatMut::new(&mut out, [n, n], [n, 1]), 1.0, a, b);
    out
}

/// One pass of Cholesky QR, and the least share of a column that lies outside of those before it; `None`, with the panel unchanged, where columns depend on each other.
fn cholesky_pass(panel: &mut [f64], width: usize) -> Option<(Vec<f64>, f64)> {
    let rows = panel.len() / width;
    let mut gram = vec![0.0; width * width];
    let view = MatRef::new(panel, [rows, width], [width, 1]);
    multiply_add_parallel(MatMut::new(&mut gram, [width, width], [width, 1]), 1.0, view.transposed(), view);
    let lengths: Vec<f64> = (0..width).map(|i| gram[i * width + i].sqrt()).collect();
    cholesky(&mut gram, width).ok()?;
    // Column-major and lower triangular: `L`, with `R = Lᵀ`. Read by rows, it is `R`.
    let left = (0..width).map(|i| gram[i * width + i] / lengths[i]).fold(f64::INFINITY, f64::min);
    if left.partial_cmp(&DEPENDENT) != Some(std::cmp::Ordering::Greater) {
        return None;
    }
    let lower = faer::MatRef::from_column_major_slice(&gram, width, width);
    // Q·R = P for every row: Rᵀ·Qᵀ = Pᵀ.
    panel.par_chunks_mut(ROWS * width).for_each(|part| {
        let count = part.len() / width;
        let part = faer::MatMut::from_column_major_slice_mut(part, width, count);
        solve_lower_triangular_in_place(lower, part, Par::Seq);
    });
    Some((gram, left))
}

/// Householder QR, on one thread so that the bits are the same on any number of them; rarely needed.
fn householder(panel: &mut [f64], width: usize) -> Vec<f64> {
    let rows = panel.len() / width;
    let mut factored = vec![0.0; panel.len()];
    crate::transpose::transpose::<8, 16, _, _>(panel, width, &mut factored, rows, [rows, width], |v| v);
    let block = recommended_block_size::<f64>(rows, width);
    let mut coefficients = vec![0.0; block * width];
    let scratch = StackReq::any_of(&[
        qr_in_place_scratch::<f64>(rows, width, block, Par::Seq, Spec::default()),
        apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(rows, block, width),
    ]);
    let mut memory = MemBuffer::new(scratch);
    qr_in_place(
        faer::MatMut::from_column_major_slice_mut(&mut factored, rows, width),
        faer::MatMut::from_column_major_slice_mut(&mut coefficients, block, width),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    );
    let mut r = vec![0.0; width * width];
    for i in 0..width {
        for j in i..width {
            r[i * width + j] = factored[j * rows + i];
        }
    }
    let mut q = vec![0.0; rows * width];
    for i in 0..width {
        q[i * rows + i] = 1.0;
    }
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        faer::MatRef::from_column_major_slice(&factored, rows, width),
        faer::MatRef::from_column_major_slice(&coefficients, block, width),
        Conj::No,
        faer::MatMut::from_column_major_slice_mut(&mut q, rows, width),
        Par::Seq,
        MemStack::new(&mut memory),
    );
    crate::transpose::transpose::<8, 16, _, _>(&q, rows, panel, width, [width, rows], |v| v);
    r
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 0.73).sin() + (i as f64 * i as f64 * 0.031).cos()).collect()
    }

    /// `P = Q·R` with orthonormal `Q`, also where columns repeat or are zero.
    #[test]
    fn factors_any_panel() {
        for (rows, width) in [(1, 1), (5, 5), (40, 7), (700, 33), (500, 272)] {
            for dependent in [false, true] {
                let mut panel = wave(rows * width);
                if dependent && width > 2 {
                    for row in panel.chunks_mut(width) {
                        row[1] = 2.0 * row[0];
                        row[width - 1] = 0.0;
                    }
                }
                let before = panel.clone();
                let r = orthonormalize(&mut panel, width, 2);
                for i in 0..rows {
                    for j in 0..width {
                        let back: f64 = (0..=j).map(|k| panel[i * width + k] * r[k * width + j]).sum();
                        assert!((back - before[i * width + j]).abs() < 1e-12, "{rows}×{width} at {i},{j}");
                    }
                }
                let below = (0..width).flat_map(|i| (0..i).map(move |j| i * width + j));
                assert!(below.into_iter().all(|at| r[at] == 0.0), "{rows}×{width}: R is upper triangular");
                for j in 0..width {
                    for k in 0..=j {
                        let dot: f64 = panel.chunks(width).map(|row| row[j] * row[k]).sum();
                        assert!((dot - f64::from(u8::from(j == k))).abs() < 1e-12, "{rows}×{width}: {j}·{k}");
                    }
                }
            }
        }
    }
}
