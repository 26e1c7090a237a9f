//! Eigenvalues and eigenvectors of symmetric matrices.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{MatMut, MatRef, Par, Spec};
use thiserror::Error;

/// Into how many parts faer cuts its work. Fixed, so that the bits do not depend on the number of threads.
const PARTS: usize = 8;

/// Why a matrix has no eigenvalues.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EigenError {
    /// An element is a NaN or an infinity.
    #[error("the matrix is not finite at row {row}, column {column}")]
    NonFinite {
        /// Where.
        row: usize,
        /// Where.
        column: usize,
    },
    /// The iteration did not end; not known to happen to finite matrices.
    #[error("the eigenvalue iteration did not converge")]
    NoConvergence,
}

/// The decomposition `A = V diag(λ) Vᵀ` of a symmetric matrix.
#[derive(Clone, Debug)]
pub struct SymmetricEigen {
    /// The eigenvalues, smallest first.
    pub values: Vec<f64>,
    /// `[n, n]`: row `k` is the eigenvector of `values[k]`, of length 1.
    pub vectors: Vec<f64>,
}

/// Decomposes a symmetric matrix in f64.
///
/// # Shapes
/// `a`: `[n, n]`, row-major, of which the upper triangle is read.
///
/// ```
/// let eigen = tenuis_linalg::symmetric_eigen(&[2.0, 1.0, f64::NAN, 2.0], 2)?;
/// assert!((eigen.values[0] - 1.0).abs() < 1e-12 && (eigen.values[1] - 3.0).abs() < 1e-12);
/// # Ok::<(), tenuis_linalg::EigenError>(())
/// ```
///
/// # Errors
/// [`EigenError`].
///
/// # Panics
/// If `a` has another length.
pub fn symmetric_eigen(a: &[f64], n: usize) -> Result<SymmetricEigen, EigenError> {
    let mut vectors = vec![0.0; n * n];
    let values = decompose(a, n, Some(&mut vectors))?;
    Ok(SymmetricEigen { values, vectors })
}

/// The eigenvalues of a symmetric matrix alone, smallest first; as [`symmetric_eigen`].
///
/// # Errors
/// [`EigenError`].
///
/// # Panics
/// If `a` has another length.
pub fn symmetric_eigenvalues(a: &[f64], n: usize) -> Result<Vec<f64>, EigenError> {
    decompose(a, n, None)
}

fn decompose(a: &[f64], n: usize, vectors: Option<&mut [f64]>) -> Result<Vec<f64>, EigenError> {
    assert_eq!(a.len(), n * n, "a matrix of {n} rows and columns");
    for row in 0..n {
        if let Some(column) = (row..n).find(|&column| !a[row * n + column].is_finite()) {
            return Err(EigenError::NonFinite { row, column });
        }
    }
    // Read by columns, the upper triangle is the lower one, which faer reads.
    let matrix = MatRef::from_column_major_slice(a, n, n);
    let mut values = vec![0.0; n];
    let par = Par::rayon(PARTS);
    let which = if vectors.is_some() { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(n, which, par, Spec::default()));
    self_adjoint_evd(
        matrix,
        DiagMut::from_slice_mut(&mut values),
        vectors.map(|v| MatMut::from_column_major_slice_mut(v, n, n)),
        par,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| EigenError::NoConvergence)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symmetric(n: usize) -> Vec<f64> {
        let wave = |i: usize, j: usize| ((i * 7 + j * 3) as f64 * 0.37).sin() + ((i * j) as f64 * 0.11).cos();
        (0..n * n).map(|at| wave(at / n, at % n) + wave(at % n, at / n)).collect()
    }

    /// The definition: `A v = λ v`, the vectors orthonormal, the values sorted.
    #[test]
    fn satisfies_the_definition() {
        for n in [1, 2, 7, 40, 150] {
            let a = symmetric(n);
            let eigen = symmetric_eigen(&a, n).unwrap();
            assert!(eigen.values.is_sorted());
            let size: f64 = a.iter().map(|v| v * v).sum::<f64>().sqrt();
            for (k, v) in eigen.vectors.chunks(n).enumerate() {
                for i in 0..n {
                    let product: f64 = (0..n).map(|j| a[i * n + j] * v[j]).sum();
                    assert!((product - eigen.values[k] * v[i]).abs() < 1e-12 * size * n as f64);
                }
                for w in eigen.vectors.chunks(n).skip(k + 1) {
                    assert!(v.iter().zip(w).map(|(a, b)| a * b).sum::<f64>().abs() < 1e-11);
                }
            }
            let values = symmetric_eigenvalues(&a, n).unwrap();
            assert!(values.iter().zip(&eigen.values).all(|(a, b)| (a - b).abs() < 1e-11 * size));
        }
    }

    /// The lower triangle is nobody's business.
    #[test]
    fn reads_the_upper_triangle_alone() {
        let n = 9;
        let a = symmetric(n);
        let mut half = a.clone();
        for i in 0..n {
            half[i * n..i * n + i].fill(f64::NAN);
        }
        assert_eq!(symmetric_eigenvalues(&half, n).unwrap(), symmetric_eigenvalues(&a, n).unwrap());
        half[2 * n + 5] = f64::INFINITY;
        assert_eq!(symmetric_eigen(&half, n).unwrap_err(), EigenError::NonFinite { row: 2, column: 5 });
    }

    #[test]
    fn same_bits_on_any_number_of_threads() {
        let a = symmetric(200);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| symmetric_eigen(&a, 200).unwrap())
        };
        let (one, three) = (run(1), run(3));
        assert!(one.values == three.values && one.vectors == three.vectors);
    }
}
