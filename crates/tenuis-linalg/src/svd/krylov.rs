//! The orthonormal basis of a block Krylov space, with the matrix projected onto it.

use super::orthonormal::{complete, orthonormalize, orthonormalize_independent};
use crate::huge::prefer_huge_pages;
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use crate::real::Real;
use crate::transpose::transpose;
use faer::linalg::matmul::matmul;
use faer::{Accum, Par};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::f64::consts::TAU;

/// Rows of a random matrix that one task draws, each with a stream of its own.
const DRAWN_ROWS: usize = 64;
/// Columns that one task transposes: whole cache lines are read and written.
const FLIPPED_COLUMNS: usize = 64;
/// Rows of a panel that one task copies.
const COPIED_ROWS: usize = 256;

/// A block is orthogonal to earlier ones after one pass if rounding cannot have grown by more than this when they were taken
/// out and what was left was made orthonormal: from 6·10⁻⁸ to 4·10⁻⁶ in f32.
const GROWN: f64 = 64.0;

/// How often earlier blocks are taken out before reflections do it.
const PASSES: usize = 4;

/// The stream of random numbers from which the directions of the last block come; far from those of the first.
const FRESH: u64 = 1 << 32;

/// How large a space is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Directions in a block.
    pub(super) width: usize,
    /// Blocks after the first.
    pub(super) steps: usize,
    /// Random directions that join the last block.
    pub(super) fresh: usize,
}

/// `Q` with orthonormal columns, and `Z = AᵀQ`.
pub(super) struct Projection<T> {
    /// Columns of both.
    pub(super) width: usize,
    /// Columns, the last ones, that came from fresh random directions.
    pub(super) fresh: usize,
    /// `[rows, width]`, row-major: `Q`.
    pub(super) basis: Vec<T>,
    /// `[columns, width]`, row-major: `Z`.
    pub(super) image: Vec<T>,
}

/// Builds an orthonormal basis of `AΩ, (AAᵀ)AΩ, …, (AAᵀ)ˢAΩ, AΩ′`, block by block as Golub and Kahan (1965) do with single
/// vectors, and `AᵀQ` with it.
///
/// Every block is made orthogonal to all earlier ones, and `Z` is a product with what came of that, so that `QᵀA = Zᵀ`
/// holds to rounding whatever the spectrum. A space that would outgrow the matrix ends where it fills it.
///
/// Products with `Aᵀ` read a transposed copy of `A`: a product with so narrow a panel takes about as long as packing a
/// matrix that is read across its rows, which every one of them would do anew.
///
/// # Shapes
/// `a`: `[rows, columns]`, row-major. `begun`: `[rows, width]`, the product `AΩ` where that was computed; a dense `Ω` is drawn
/// where it was not.
pub(super) fn project<T: Real>(
    a: &[T],
    [rows, columns]: [usize; 2],
    space: Space,
    seed: u64,
    mut begun: Option<Vec<T>>,
) -> Projection<T> {
    let flipped = transposed(a, [rows, columns]);
    let most = rows.min(columns);
    let krylov = space.width.saturating_mul(space.steps + 1).min(most);
    let fresh = space.fresh.min(most - krylov);
    let total = krylov + fresh;
    let (mut basis, mut image) = (vec![T::ZERO; rows * total], vec![T::ZERO; columns * total]);
    let first = || gaussian::<T>(columns, space.width, seed, 0);
    let mut ahead = if begun.is_some() { Vec::new() } else { first() };
    let mut done = 0;
    while done < total {
        let mut width = space.width.min(krylov - done);
        let mut given = ahead.len() / columns;
        if done > 0 && done + width == krylov && fresh > 0 {
            ahead = beside(&ahead, given, width, &gaussian(columns, fresh, seed, FRESH), fresh);
            width += fresh;
            given = width;
        }
        // A last block may be narrower than what was computed for it.
        let mut block = match begun.take() {
            Some(block) => block,
            None => times(a, [rows, columns], &ahead, given, width),
        };
        append(&mut basis, [rows, total], done, &mut block, width);
        let mut back = times(&flipped, [columns, rows], &block, width, width);
        place(&mut image, total, done, &back, width);
        done += width;
        if done < total {
            orthonormalize(&mut back, width, 1);
            ahead = back;
        }
    }
    Projection { width: total, fresh, basis, image }
}

/// Makes `block` orthonormal and orthogonal to the first `done` columns of `basis`, and puts it beside them.
fn append<T: Real>(basis: &mut [T], [rows, total]: [usize; 2], done: usize, block: &mut [T], width: usize) {
    // Once is enough where little is taken out. Where nearly all is, what is left is rounding, which lies in the earlier
    // directions, too: then until nothing is taken out any more (Giraud, Langou and Rozložník 2005: twice as a rule).
    for pass in 0..PASSES {
        let before = lengths(block, width);
        if done > 0 {
            subtract_projection(basis, [rows, total], done, block, width);
        }
        // What is orthonormal and loses little has the root of its width.
        let most = if pass == 0 { GROWN } else { 2.0 * (width as f64).sqrt() };
        let r = orthonormalize_independent(block, width, if done == 0 { 2 } else { 1 });
        if r.as_ref().is_some_and(|r| done == 0 || growth(r, &before) < most) {
            break;
        }
        if r.is_none() || pass + 1 == PASSES {
            complete(basis, [rows, total], done, block, width);
            break;
        }
    }
    place(basis, total, done, block, width);
}

/// `A` times the first `width` columns of `[columns, given]`: `[rows, width]`, row-major.
///
/// By faer's kernels, a tenth faster than the `gemm` crate's where the panel is so narrow. They cut rows and columns into
/// tasks, never a sum, so the bits do not depend on the number of threads.
fn times<T: Real>(a: &[T], [rows, columns]: [usize; 2], panel: &[T], given: usize, width: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; rows * width];
    matmul(
        faer::MatMut::from_row_major_slice_mut(&mut out, rows, width),
        Accum::Replace,
        faer::MatRef::from_row_major_slice(a, rows, columns),
        faer::MatRef::from_row_major_slice(panel, columns, given).subcols(0, width),
        T::ONE,
        Par::rayon(0),
    );
    out
}

/// `[columns, rows]`, row-major.
fn transposed<T: Real>(a: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    let mut out = vec![T::ZERO; a.len()];
    prefer_huge_pages(&mut out);
    out.par_chunks_mut(FLIPPED_COLUMNS * rows).enumerate().for_each(|(task, out)| {
        let count = out.len() / rows;
        transpose::<16, 8, _, _>(&a[task * FLIPPED_COLUMNS..], columns, out, rows, [rows, count], |v| v);
    });
    out
}

/// `block -= Q·(Qᵀ·block)` for the first `done` columns `Q` of `basis`.
fn subtract_projection<T: Real>(
    basis: &[T],
    [rows, total]: [usize; 2],
    done: usize,
    block: &mut [T],
    width: usize,
) {
    let earlier = MatRef::new(basis, [rows, done], [total, 1]);
    let mut inside = vec![T::ZERO; done * width];
    let view = MatRef::new(block, [rows, width], [width, 1]);
    let target = MatMut::new(&mut inside, [done, width], [width, 1]);
    multiply_add_parallel(target, T::ONE, earlier.transposed(), view);
    let inside = MatRef::new(&inside, [done, width], [width, 1]);
    multiply_add_parallel(MatMut::new(block, [rows, width], [width, 1]), -T::ONE, earlier, inside);
}

/// `‖D·R⁻¹‖`, by Frobenius, for upper triangular `R` and lengths `D`: how much rounding errors of columns of these lengths may
/// grow, in the worst direction, when the columns are divided by `R`.
fn growth(r: &[f64], lengths: &[f64]) -> f64 {
    let width = lengths.len();
    let mut column = vec![0.0; width];
    let mut squares = 0.0;
    for j in 0..width {
        for i in (0..=j).rev() {
            let known: f64 = (i + 1..=j).map(|k| r[i * width + k] * column[k]).sum();
            column[i] = (f64::from(u8::from(i == j)) - known) / r[i * width + i];
            squares += (lengths[i] * column[i]).powi(2);
        }
    }
    squares.sqrt()
}

/// The lengths of the columns of `[rows, width]`.
fn lengths<T: Real>(panel: &[T], width: usize) -> Vec<f64> {
    let mut squares = vec![0.0; width];
    for row in panel.chunks_exact(width) {
        for (square, value) in squares.iter_mut().zip(row) {
            *square += value.as_f64() * value.as_f64();
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// Copies `[rows, width]` to columns `at..` of `[rows, total]`.
fn place<T: Real>(target: &mut [T], total: usize, at: usize, source: &[T], width: usize) {
    let tasks = target.par_chunks_mut(COPIED_ROWS * total).zip(source.par_chunks(COPIED_ROWS * width));
    tasks.for_each(|(target, source)| {
        for (target, source) in target.chunks_exact_mut(total).zip(source.chunks_exact(width)) {
            target[at..at + width].copy_from_slice(source);
        }
    });
}

/// The first `width` columns of `[rows, given]`, and beside them `[rows, fresh]`.
fn beside<T: Real>(panel: &[T], given: usize, width: usize, more: &[T], fresh: usize) -> Vec<T> {
    let rows = panel.chunks_exact(given).zip(more.chunks_exact(fresh));
    rows.flat_map(|(row, more)| row[..width].iter().chain(more)).copied().collect()
}

/// `[rows, width]` of independent standard normal values, from streams `first..`.
fn gaussian<T: Real>(rows: usize, width: usize, seed: u64, first: u64) -> Vec<T> {
    let mut values = vec![T::ZERO; rows * width];
    values.par_chunks_mut((DRAWN_ROWS * width).max(1)).enumerate().for_each(|(task, values)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(first + task as u64);
        for pair in values.chunks_mut(2) {
            // Box and Muller; the first uniform is never zero.
            let (radius, angle) = (1.0 - random.random::<f64>(), random.random::<f64>());
            let (sine, cosine) = (TAU * angle).sin_cos();
            let radius = (-2.0 * radius.ln()).sqrt();
            for (value, part) in pair.iter_mut().zip([cosine, sine]) {
                *value = T::of_f64(radius * part);
            }
        }
    });
    values
}
