//! The factor that turns an error of a weight into an error of its output.

use crate::eigen::{EigenError, symmetric_eigen, symmetric_eigenvalues};
use crate::factor::blocked::cholesky;
use crate::gram::GramView;
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use rayon::prelude::*;
use thiserror::Error;

/// Why a Hessian has no square root.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhiteningError {
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
    /// The eigenvalue iteration did not end; not known to happen to finite matrices.
    #[error("the eigenvalue iteration did not converge")]
    NoConvergence,
}

impl From<EigenError> for WhiteningError {
    fn from(error: EigenError) -> Self {
        match error {
            EigenError::NonFinite { row, column } => Self::NonFinite { row, column },
            EigenError::NoConvergence => Self::NoConvergence,
        }
    }
}

/// How hard a Cholesky factorisation is tried before eigenvalues are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct WhiteningOptions {
    /// Ridges that are tried where the Hessian alone is not positive definite: the first is `−λmin + 1e-6`, as
    /// published, each further one ten times that. 0 goes to the eigenvalues at once.
    pub ridges: u32,
}

impl Default for WhiteningOptions {
    fn default() -> Self {
        Self { ridges: 3 }
    }
}

impl WhiteningOptions {
    /// Another number of ridges.
    #[must_use]
    pub const fn ridges(self, ridges: u32) -> Self {
        Self { ridges }
    }
}

/// What the published ridge lifts the least eigenvalue to.
const LEAST_EIGENVALUE: f64 = 1e-6;
/// By how much a ridge that was too small grows.
const RIDGE_GROWTH: f64 = 10.0;

/// How a factor was found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum WhiteningMethod {
    /// `S = L`, the Cholesky factor of `H + ridge·I`.
    Cholesky {
        /// What was added to the diagonal, in units of the Hessian.
        ridge: f64,
        /// Factorisations that were tried.
        attempts: u32,
    },
    /// `S = V·max(Λ, 0)^½`, from the eigenvalues.
    Eigen {
        /// Cholesky factorisations that had been tried.
        attempts: u32,
        /// Eigenvalues that were not positive and count as zero.
        clamped: usize,
    },
}

/// A square root of a Hessian, `S·Sᵀ = H = XᵀX`: for every error `E` of a weight, `‖E·S‖_F = ‖X·Eᵀ‖_F`, the error of the
/// output. What is the best approximation of `W·S` by singular values is therefore the best of the output (SVD-LLM: Wang
/// et al. 2024, arXiv 2403.07378).
///
/// Any square root serves: two of them differ by a rotation, which no singular value and no left singular vector sees.
#[derive(Clone, Debug)]
pub struct Whitening {
    features: usize,
    /// Column-major.
    factor: Vec<f64>,
    method: WhiteningMethod,
}

impl Whitening {
    /// Factors a Hessian in f64 on all threads.
    ///
    /// ```
    /// use tenuis_linalg::{Gram, Whitening, WhiteningMethod, WhiteningOptions};
    /// let gram = Gram::from_upper(2, vec![4.0, 2.0, 0.0, 5.0])?;
    /// let whitening = Whitening::new(gram.view(), WhiteningOptions::default())?;
    /// assert_eq!(whitening.method(), WhiteningMethod::Cholesky { ridge: 0.0, attempts: 1 });
    /// assert_eq!(whitening.apply(&[1.0, 1.0], 1), [3.0, 2.0]); // L = [2 0; 1 2]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WhiteningError`].
    pub fn new(hessian: GramView<'_>, options: WhiteningOptions) -> Result<Self, WhiteningError> {
        let n = hessian.features();
        let square = widened(hessian)?;
        let mut attempts = 0;
        let factor = |ridge: f64, attempts: &mut u32| {
            *attempts += 1;
            let mut data = square.clone();
            (0..n).for_each(|i| data[i * n + i] += ridge);
            // Read by columns, the upper triangle is the lower one, which is what the routine takes.
            cholesky(&mut data, n).ok().map(|()| data)
        };
        let method = |ridge: f64, attempts: u32, factor: Vec<f64>| Self {
            features: n,
            factor,
            method: WhiteningMethod::Cholesky { ridge, attempts },
        };
        if let Some(found) = factor(0.0, &mut attempts) {
            return Ok(method(0.0, attempts, found));
        }
        if options.ridges > 0 {
            let least = symmetric_eigenvalues(&square, n)?[0];
            let mut ridge = LEAST_EIGENVALUE + (-least).max(0.0);
            for _ in 0..options.ridges {
                if let Some(found) = factor(ridge, &mut attempts) {
                    return Ok(method(ridge, attempts, found));
                }
                ridge *= RIDGE_GROWTH;
            }
        }
        let eigen = symmetric_eigen(&square, n)?;
        let mut root = eigen.vectors;
        // Row k holds eigenvector k: read by columns, it is column k of V.
        root.par_chunks_mut(n).zip(&eigen.values).for_each(|(vector, &value)| {
            let scale = value.max(0.0).sqrt();
            for v in vector {
                *v *= scale;
            }
        });
        let clamped = eigen.values.iter().filter(|&&v| v <= 0.0).count();
        Ok(Self { features: n, factor: root, method: WhiteningMethod::Eigen { attempts, clamped } })
    }

    /// Number of input features.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// How the factor was found.
    pub const fn method(&self) -> WhiteningMethod {
        self.method
    }

    /// `W·S` in f64.
    ///
    /// # Shapes
    /// `weight` and the result: `[rows, features]`, row-major.
    ///
    /// # Panics
    /// If `weight` has another length.
    pub fn apply(&self, weight: &[f32], rows: usize) -> Vec<f64> {
        let n = self.features;
        assert_eq!(weight.len(), rows * n, "a weight of {rows} rows and {n} columns");
        let wide: Vec<f64> = weight.par_iter().map(|&w| f64::from(w)).collect();
        let mut out = vec![0.0; rows * n];
        multiply_add_parallel(
            MatMut::new(&mut out, [rows, n], [n, 1]),
            1.0,
            MatRef::new(&wide, [rows, n], [n, 1]),
            MatRef::new(&self.factor, [n, n], [1, n]),
        );
        out
    }
}

/// The Hessian as a full row-major square whose upper triangle is valid, checked.
fn widened(hessian: GramView<'_>) -> Result<Vec<f64>, WhiteningError> {
    let n = hessian.features();
    let mut square = vec![0.0; n * n];
    square.par_chunks_mut(n.max(1)).enumerate().try_for_each(|(row, values)| {
        for (column, (value, &h)) in (row..).zip(values[row..].iter_mut().zip(hessian.upper_row(row))) {
            if !h.is_finite() {
                return Err(WhiteningError::NonFinite { row, column });
            }
            *value = f64::from(h);
        }
        Ok(())
    })?;
    if (0..n).all(|i| square[i * n + i] == 0.0) {
        return Err(WhiteningError::Zero);
    }
    Ok(square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gram::Gram;

    fn input(rows: usize, features: usize) -> Vec<f32> {
        (0..rows * features).map(|i| (i as f32 * 0.73).sin() + (i as f32 * i as f32 * 0.0031).cos()).collect()
    }

    fn gram(rows: usize, features: usize) -> Gram {
        let mut gram = Gram::zeros(features);
        gram.accumulate(&input(rows, features));
        gram
    }

    /// `‖w·S‖² = w·H·wᵀ` for any `w`, up to the ridge.
    fn check(gram: &Gram, options: WhiteningOptions) -> WhiteningMethod {
        let n = gram.features();
        let whitening = Whitening::new(gram.view(), options).unwrap();
        let weight = input(3, n);
        let applied = whitening.apply(&weight, 3);
        let scale: f64 = gram.view().diagonal().map(f64::from).sum();
        for (w, ws) in weight.chunks(n).zip(applied.chunks(n)) {
            let squared: f64 = ws.iter().map(|v| v * v).sum();
            let expected: f64 = (0..n * n)
                .map(|at| {
                    f64::from(w[at / n]) * f64::from(w[at % n]) * f64::from(gram.view().get(at / n, at % n))
                })
                .sum();
            let length: f64 = w.iter().map(|v| f64::from(*v).powi(2)).sum();
            assert!((squared - expected).abs() < 1e-6 * scale * length, "{squared} instead of {expected}");
        }
        whitening.method()
    }

    #[test]
    fn is_a_square_root() {
        let found = check(&gram(200, 40), WhiteningOptions::default());
        assert_eq!(found, WhiteningMethod::Cholesky { ridge: 0.0, attempts: 1 });
        assert!(matches!(
            check(&gram(200, 150), WhiteningOptions::default().ridges(0)),
            WhiteningMethod::Cholesky { ridge: 0.0, .. } | WhiteningMethod::Eigen { .. }
        ));
    }

    /// Fewer rows than features, and channels that never were active: a small ridge mends it.
    #[test]
    fn a_singular_hessian_gets_a_ridge() {
        let mut singular = gram(12, 40).into_upper();
        for i in 0..40 {
            singular[i * 40 + 7] = 0.0;
            singular[7 * 40 + i] = 0.0;
        }
        let singular = Gram::from_upper(40, singular).unwrap();
        match check(&singular, WhiteningOptions::default()) {
            WhiteningMethod::Cholesky { ridge, attempts } => {
                assert!((LEAST_EIGENVALUE..1e-2).contains(&ridge) && attempts > 1, "{ridge}, {attempts}");
            }
            other => panic!("{other:?}"),
        }
        let method = check(&singular, WhiteningOptions::default().ridges(0));
        assert!(matches!(method, WhiteningMethod::Eigen { clamped: 1.., attempts: 1 }), "{method:?}");
    }

    #[test]
    fn a_hessian_without_a_root_is_refused() {
        let new = |data: Vec<f32>| {
            let gram = Gram::from_upper(2, data).unwrap();
            Whitening::new(gram.view(), WhiteningOptions::default()).unwrap_err()
        };
        assert_eq!(new(vec![0.0; 4]), WhiteningError::Zero);
        assert_eq!(new(vec![1.0, f32::NAN, 0.0, 1.0]), WhiteningError::NonFinite { row: 0, column: 1 });
    }
}
