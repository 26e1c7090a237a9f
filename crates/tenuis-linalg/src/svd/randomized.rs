//! The randomised decomposition: a block Krylov space and the small problem in it.

use super::krylov::{Projection, Space, project};
use super::orthonormal::orthonormalize;
use super::start::Start;
use super::{Svd, SvdError, check_finite, svd};
use crate::eigen::symmetric_eigen;
use crate::finite::first_non_finite;
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use crate::real::Real;
use faer::traits::math_utils::eps;
use rayon::prelude::*;

/// Blocks are as wide as a whole number of the products' register tiles.
const TILE: usize = 16;

/// Rows of a strip of the Gram matrix; half of its first square is computed in vain.
const STRIP: usize = 64;

/// Power iterations where the first guess has all directions asked for.
const FULL_WIDTH_STEPS: usize = 2;

/// How far above the last singular value found, as a ratio of squares, the mean of what was left out must lie to show
/// that some were missed: a little above is what noise gives, whose singular values at the cut are hardly longer than
/// the next ones and cost as little.
const MISSED: f64 = 2.0;

/// Up to this ratio of the first and the last singular value right singular vectors are computed in the type of the matrix: it is
/// by how much their rounding errors grow.
const CLOSE: f64 = 32.0;

/// Lengths below this many roundings of the largest singular value are rounding errors.
const ROUNDINGS: f64 = 256.0;

/// The options of [`svd_randomized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RandomizedSvd {
    /// Singular values asked for.
    pub rank: usize,
    /// Random directions followed beside them.
    pub oversampling: usize,
    /// Multiplications by `AAᵀ`: the more, the fewer directions each of them needs.
    pub power_iterations: usize,
    /// Decides the first guess.
    pub seed: u64,
}

impl RandomizedSvd {
    /// So many singular values with 16 directions more and three power iterations.
    pub const fn new(rank: usize) -> Self {
        Self { rank, oversampling: 16, power_iterations: 3, seed: 0 }
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

/// Approximates the first `rank` singular values and vectors `k` in a block Krylov space with a random start (Musco and
/// Musco 2015, arXiv 1504.05477; Halko, Martinsson and Tropp 2011, arXiv 0909.4061).
///
/// With `p` power iterations, `o` further directions and an `Ω` of `b` columns with sixteen random signs in each row,
/// `Q = orth[AΩ, (AAᵀ)AΩ, …, (AAᵀ)ᵖAΩ, AΩ′]` and `A ≈ Q·(QᵀA)`, of which the exact decomposition is cut to rank `k`. Subspace
/// iteration keeps the last block alone and needs `b ≥ k`; with all of them a narrow one does (Meyer, Musco and Musco
/// 2023, arXiv 2305.02535): `b = 5k/(4p)`, rounded up to a multiple of 16 and at most `k + o`. The products with `Aᵀ`
/// that lead to the next block are the columns of `(QᵀA)ᵀ`, so that is never computed by itself.
///
/// A block narrower than `k` cannot tell apart more than `b·(p + 1)` singular values that lie together. `Ω′`, of `o` columns
/// and at least eight, shows whether any were missed: `‖Aᵀq‖²` of its directions `q` is the mean of `σ²`, weighted by
/// `σ²`, over what the other columns of `Q` lack. Where it is more than twice `σₖ²`, the space is built again from
/// `b = k + o` with at most two steps.
///
/// The bound is the `2p + 1` products of `2·rows·columns·b` FLOPs. Those are computed in `T`, bases and the small problem
/// in f64. Beside `a` there is a transposed copy of it. The bits depend on the seed, not on the number of threads.
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
    assert_eq!(a.len(), shape[0] * shape[1], "a matrix of {} rows and {} columns", shape[0], shape[1]);
    let most = shape[0].min(shape[1]);
    let rank = options.rank;
    if rank == 0 || rank > most {
        return Err(SvdError::Rank { rank, most });
    }
    let full = rank.saturating_add(options.oversampling).min(most);
    let space = narrow(options, full);
    let projection = project(a, shape, space, options.seed, begin(a, shape, space, options.seed)?);
    let found = leading(&projection, shape, rank)?;
    if space.width < full && misses(&projection, &found) {
        let space = Space { width: full, steps: options.power_iterations.min(FULL_WIDTH_STEPS), fresh: 0 };
        let begun = begin(a, shape, space, options.seed)?;
        return leading(&project(a, shape, space, options.seed, begun), shape, rank);
    }
    Ok(found)
}

/// The first block of a space, where it is wide enough for a sparse start; refuses what is not finite.
fn begin<T: Real>(a: &[T], shape: [usize; 2], space: Space, seed: u64) -> Result<Option<Vec<T>>, SvdError> {
    let start = Start::draw(shape[1], space.width, seed);
    let begun = start.map(|start| start.product(a, shape[1]));
    // Every element of `a` is in some sum: where all sums are finite, so is `a`, which need not be read once more.
    if begun.as_ref().is_none_or(|sums| first_non_finite(sums).is_some()) {
        check_finite(a, shape)?;
    }
    Ok(begun)
}

/// The space that [`svd_randomized`] tries first.
fn narrow(options: RandomizedSvd, full: usize) -> Space {
    let steps = options.power_iterations;
    let width = match steps {
        0 => full,
        _ => {
            options.rank.saturating_mul(5).div_ceil(steps.saturating_mul(4)).next_multiple_of(TILE).min(full)
        }
    };
    // A first guess of all directions is the most that can be tried, so nothing has to be shown.
    let fresh = if width < full { options.oversampling.max(8) } else { 0 };
    Space { width, steps, fresh }
}

/// Whether directions that were not looked for are longer than those that were found.
fn misses<T: Real>(projection: &Projection<T>, found: &Svd<T>) -> bool {
    let Projection { width, fresh, image, .. } = projection;
    if *fresh == 0 {
        return false;
    }
    let squares =
        image.chunks_exact(*width).flat_map(|row| &row[width - fresh..]).map(|v| v.as_f64().powi(2));
    let mean = squares.sum::<f64>() / *fresh as f64;
    let [longest, last] = [0, found.rank() - 1].map(|k| found.values[k].as_f64());
    mean > MISSED * last.powi(2) && mean.sqrt() > ROUNDINGS * eps::<T>().as_f64() * longest
}

/// The first singular values and vectors of `Q·Zᵀ`.
fn leading<T: Real>(
    projection: &Projection<T>,
    [rows, columns]: [usize; 2],
    rank: usize,
) -> Result<Svd<T>, SvdError> {
    let Projection { width, basis, image, .. } = projection;
    let width = *width;
    let mut wide: Vec<f64> = image.par_iter().map(|v| v.as_f64()).collect();
    if let Some((weights, values)) = by_gram(&wide, width, rank, eps::<T>().as_f64())? {
        // Z = X S Wᵀ: X = Z·W·S⁻¹.
        let inverted = weights.chunks_exact(width).zip(&values);
        let scaled: Vec<f64> = inverted.flat_map(|(row, value)| row.iter().map(move |w| w / value)).collect();
        // Short columns are small differences of long ones.
        let right = if values[0] <= CLOSE * values[rank - 1] {
            combine::<T>(&narrowed(&scaled), image, [rank, width, columns])
        } else {
            narrowed(&combine(&scaled, &wide, [rank, width, columns]))
        };
        return Ok(Svd {
            left: combine::<T>(&narrowed(&weights), basis, [rank, width, rows]),
            values: narrowed(&values),
            right,
        });
    }
    // Z = P·R, and with R = X S Wᵀ: Q·Zᵀ = Q·W·S·(P·X)ᵀ.
    let r = orthonormalize(&mut wide, width, 2);
    let small = svd(&r, [width, width])?;
    let panel: Vec<T> = narrowed(&wide);
    Ok(Svd {
        left: combine::<T>(&narrowed(&small.right[..rank * width]), basis, [rank, width, rows]),
        values: narrowed(&small.values[..rank]),
        right: combine::<T>(&narrowed(&small.left[..rank * width]), &panel, [rank, width, columns]),
    })
}

/// Singular vectors, one after the other, and their values.
type Leading = (Vec<f64>, Vec<f64>);

/// The first right singular vectors `[rank, width]` and singular values of `Z` from `ZᵀZ`; `None` where squaring loses the last of
/// them to rounding errors of the first.
fn by_gram(z: &[f64], width: usize, rank: usize, precision: f64) -> Result<Option<Leading>, SvdError> {
    // Right singular vectors are orthonormal to `f64::EPSILON·σ₁²/σₖ²`.
    let least = 16.0 * f64::EPSILON / precision;
    if least >= 1.0 {
        return Ok(None);
    }
    let eigen = symmetric_eigen(&gram(z, width), width).map_err(|_| SvdError::NoConvergence)?;
    let of = |k: usize| eigen.values[width - 1 - k];
    if of(rank - 1).partial_cmp(&(least * of(0))) != Some(std::cmp::Ordering::Greater) {
        return Ok(None);
    }
    let weights =
        (0..rank).flat_map(|k| &eigen.vectors[(width - 1 - k) * width..][..width]).copied().collect();
    Ok(Some((weights, (0..rank).map(|k| of(k).sqrt()).collect())))
}

/// The upper triangle of `ZᵀZ`, by strips; what lies below it is undefined.
fn gram(z: &[f64], width: usize) -> Vec<f64> {
    let rows = z.len() / width;
    let mut out = vec![0.0; width * width];
    for first in (0..width).step_by(STRIP) {
        let height = STRIP.min(width - first);
        let rest = MatRef::new(&z[first..], [rows, width - first], [width, 1]);
        let strip = MatRef::new(&z[first..], [rows, height], [width, 1]).transposed();
        let target = MatMut::new(&mut out[first * width + first..], [height, width - first], [width, 1]);
        multiply_add_parallel(target, 1.0, strip, rest);
    }
    out
}

fn narrowed<T: Real>(values: &[f64]) -> Vec<T> {
    values.par_iter().map(|&v| T::of_f64(v)).collect()
}

/// `weights · panelᵀ`, `[rank, width]` times `[width, rows]`: singular vectors one after the other.
fn combine<T: Real>(weights: &[T], panel: &[T], [rank, width, rows]: [usize; 3]) -> Vec<T> {
    let mut out = vec![T::ZERO; rank * rows];
    let weights = MatRef::new(weights, [rank, width], [width, 1]);
    let panel = MatRef::new(panel, [rows, width], [width, 1]).transposed();
    multiply_add_parallel(MatMut::new(&mut out, [rank, rows], [rows, 1]), T::ONE, weights, panel);
    out
}
