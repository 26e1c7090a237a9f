//! Randomised subspace iteration.

use super::orthonormal::orthonormalize;
use super::{Svd, SvdError, check_finite, svd};
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use crate::real::Real;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::f64::consts::TAU;

/// Rows of the random matrix that one task draws, each with a stream of its own.
const DRAWN_ROWS: usize = 64;

/// The options of [`svd_randomized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RandomizedSvd {
    /// Singular values asked for.
    pub rank: usize,
    /// Directions that are followed beside them: some of those that the first guess holds are lost among others.
    pub oversampling: usize,
    /// Multiplications by `AAᵀ`, each of which squares the distance between wanted and unwanted singular values.
    pub power_iterations: usize,
    /// Decides the first guess.
    pub seed: u64,
}

impl RandomizedSvd {
    /// So many singular values with 16 directions more and two power iterations.
    pub const fn new(rank: usize) -> Self {
        Self { rank, oversampling: 16, power_iterations: 2, seed: 0 }
    }

    /// Another seed.
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Another number of further directions.
    #[must_use]
    pub const fn oversampling(self, oversampling: usize) -> Self {
        Self { oversampling, ..self }
    }

    /// Another number of power iterations.
    #[must_use]
    pub const fn power_iterations(self, power_iterations: usize) -> Self {
        Self { power_iterations, ..self }
    }
}

/// Approximates the first `rank` singular values and vectors by subspace iteration with a random start (Halko,
/// Martinsson and Tropp 2011, arXiv 0909.4061, algorithms 4.4 and 5.1).
///
/// `Y = AΩ` with `Ω` Gaussian, then `Y ← A(Aᵀ orth(Y))` for every power iteration, with an orthonormal basis taken before
/// each product; what is left is the exact decomposition of the small `AᵀQ`. Bases are computed in f64, products in `T`:
/// `2 + 2·power_iterations` of them, of `2·rows·columns·(rank + oversampling)` FLOPs, which are the bound. The bits
/// depend on the seed, not on the number of threads.
///
/// # Shapes
/// `a`: `shape`, row-major.
///
/// ```
/// use tenuis_linalg::{RandomizedSvd, svd_randomized};
/// let a: Vec<f32> = (0..20 * 30).map(|i| ((i / 30) * (i % 30)) as f32).collect(); // rank one
/// let svd = svd_randomized(&a, [20, 30], RandomizedSvd::new(2))?;
/// let length: f64 = a.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
/// assert!((f64::from(svd.values[0]) / length - 1.0).abs() < 1e-6);
/// # Ok::<(), tenuis_linalg::SvdError>(())
/// ```
///
/// # Errors
/// [`SvdError::Rank`], [`SvdError::NonFinite`] and [`SvdError::NoConvergence`].
///
/// # Panics
/// If `a` has another length.
pub fn svd_randomized<T: Real>(
    a: &[T],
    shape: [usize; 2],
    options: RandomizedSvd,
) -> Result<Svd<T>, SvdError> {
    check_finite(a, shape)?;
    let [rows, columns] = shape;
    let most = rows.min(columns);
    let rank = options.rank;
    if rank == 0 || rank > most {
        return Err(SvdError::Rank { rank, most });
    }
    let width = rank.saturating_add(options.oversampling).min(most);
    let matrix = MatRef::new(a, shape, [columns, 1]);
    let mut left = times(matrix, &gaussian(columns, width, options.seed), [rows, columns, width]);
    for power in 0..=options.power_iterations {
        let last = power == options.power_iterations;
        orthonormalize(&mut left, width, if last { 2 } else { 1 });
        if !last {
            let mut right = times(matrix.transposed(), &left, [columns, rows, width]);
            orthonormalize(&mut right, width, 1);
            left = times(matrix, &right, [rows, columns, width]);
        }
    }
    // (QᵀA)ᵀ = AᵀQ = P·R, and with R = X S Zᵀ: A ≈ Q·Z·S·(P·X)ᵀ.
    let mut right = times(matrix.transposed(), &left, [columns, rows, width]);
    let r = orthonormalize(&mut right, width, 2);
    let small = svd(&r, [width, width])?;
    Ok(Svd {
        left: combine::<T>(&small.right[..rank * width], &left, [rank, width, rows]),
        values: small.values[..rank].iter().map(|&v| T::of_f64(v)).collect(),
        right: combine::<T>(&small.left[..rank * width], &right, [rank, width, columns]),
    })
}

/// `matrix · panel`, `[rows, inner]` times `[inner, width]`.
fn times<T: Real>(matrix: MatRef<'_, T>, panel: &[T], [rows, inner, width]: [usize; 3]) -> Vec<T> {
    let mut out = vec![T::ZERO; rows * width];
    let panel = MatRef::new(panel, [inner, width], [width, 1]);
    multiply_add_parallel(MatMut::new(&mut out, [rows, width], [width, 1]), T::ONE, matrix, panel);
    out
}

/// `weights · panelᵀ`, `[rank, width]` times `[width, rows]`: singular vectors one after the other.
fn combine<T: Real>(weights: &[f64], panel: &[T], [rank, width, rows]: [usize; 3]) -> Vec<T> {
    let weights: Vec<T> = weights.iter().map(|&v| T::of_f64(v)).collect();
    let mut out = vec![T::ZERO; rank * rows];
    let weights = MatRef::new(&weights, [rank, width], [width, 1]);
    let panel = MatRef::new(panel, [rows, width], [width, 1]).transposed();
    multiply_add_parallel(MatMut::new(&mut out, [rank, rows], [rows, 1]), T::ONE, weights, panel);
    out
}

/// `[rows, width]` of independent standard normal values.
fn gaussian<T: Real>(rows: usize, width: usize, seed: u64) -> Vec<T> {
    let mut values = vec![T::ZERO; rows * width];
    values.par_chunks_mut((DRAWN_ROWS * width).max(1)).enumerate().for_each(|(task, values)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(task as u64);
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
