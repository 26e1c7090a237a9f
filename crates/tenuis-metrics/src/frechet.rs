//! The Fréchet distance of two sets of features.

use crate::error::MetricError;
use tenuis_linalg::{MatMut, MatRef, multiply_add, singular_values, symmetric_eigen};

const NAME: &str = "frechet";

/// Mean and covariance of features, gathered batch by batch: memory is that of one matrix, whatever the number of rows.
///
/// Batches are merged by their means and centred products (Chan, Golub, LeVeque 1979), which loses no digits to large means.
#[derive(Clone, Debug)]
pub struct FeatureStats {
    rows: usize,
    mean: Vec<f64>,
    /// `[features, features]`: the sum of the products of centred rows.
    scatter: Vec<f64>,
}

impl FeatureStats {
    /// Begins with no rows.
    ///
    /// # Errors
    /// [`MetricError::Config`] for rows of no features.
    pub fn new(features: usize) -> Result<Self, MetricError> {
        if features == 0 {
            return Err(MetricError::Config { option: "features", value: "0".into(), allowed: "at least 1" });
        }
        Ok(Self { rows: 0, mean: vec![0.0; features], scatter: vec![0.0; features * features] })
    }

    /// Adds a batch of rows.
    ///
    /// # Shapes
    /// `batch`: `[rows, features]`, row-major.
    ///
    /// # Errors
    /// [`MetricError::Features`], [`MetricError::NotFinite`]; then nothing was added.
    pub fn update(&mut self, batch: &[f64]) -> Result<(), MetricError> {
        let n = self.mean.len();
        if !batch.len().is_multiple_of(n) {
            return Err(MetricError::Features { metric: NAME, features: n, found: batch.len() });
        }
        if let Some(at) = batch.iter().position(|v| !v.is_finite()) {
            let (item, value) = (self.rows + at / n, batch[at]);
            return Err(MetricError::NotFinite { metric: NAME, what: "a feature", item, value });
        }
        let rows = batch.len() / n;
        if rows == 0 {
            return Ok(());
        }
        let mut mean = vec![0.0; n];
        for row in batch.chunks_exact(n) {
            mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
        }
        for sum in &mut mean {
            *sum /= rows as f64;
        }
        let centred: Vec<f64> =
            batch.chunks_exact(n).flat_map(|row| row.iter().zip(&mean).map(|(v, m)| v - m)).collect();
        let view = MatRef::new(&centred, [rows, n], [n, 1]);
        multiply_add(MatMut::new(&mut self.scatter, [n, n], [n, 1]), 1.0, view.transposed(), view);
        let (old, new) = (self.rows as f64, rows as f64);
        let shift: Vec<f64> = mean.iter().zip(&self.mean).map(|(batch, all)| batch - all).collect();
        let weight = old * new / (old + new);
        let column = MatRef::new(&shift, [n, 1], [1, 1]);
        multiply_add(MatMut::new(&mut self.scatter, [n, n], [n, 1]), weight, column, column.transposed());
        self.mean.iter_mut().zip(&shift).for_each(|(m, d)| *m += d * new / (old + new));
        self.rows += rows;
        Ok(())
    }

    /// The number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The mean of each feature.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, `[features, features]`, with `rows − 1` as divisor.
    ///
    /// # Errors
    /// [`MetricError::Rows`] for fewer than two rows.
    pub fn covariance(&self) -> Result<Vec<f64>, MetricError> {
        if self.rows < 2 {
            return Err(MetricError::Rows { metric: NAME, rows: self.rows, needed: 2 });
        }
        let divisor = (self.rows - 1) as f64;
        Ok(self.scatter.iter().map(|v| v / divisor).collect())
    }
}

/// The squared Fréchet distance of two normal distributions with the means and covariances of two sets of features.
///
/// ```text
/// d² = ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½
/// ```
///
/// (Dowson and Landau 1982; of features of a network it is known as FID, Heusel et al. 2017, 1706.08500.) Lower is better, from
/// 0. It is biased for few rows: compare numbers of equal counts only.
///
/// The last trace is the sum of the singular values of `Σ₁^½ Σ₂^½`. The roots come from the eigenvalues of the symmetric
/// covariances, of which those that are zero up to rounding are left out, so that a covariance of fewer rows than features is no
/// special case and nothing complex arises.
///
/// ```
/// use tenuis_metrics::{FeatureStats, frechet_distance};
/// let mut a = FeatureStats::new(1)?;
/// a.update(&[0.0, 2.0])?;
/// a.update(&[4.0])?;
/// let mut b = FeatureStats::new(1)?;
/// b.update(&[1.0, 3.0, 5.0])?;
/// assert!((frechet_distance(&a, &b)? - 1.0).abs() < 1e-12);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Features`] where the sets have different features, [`MetricError::Rows`], [`MetricError::Eigen`],
/// [`MetricError::Svd`].
pub fn frechet_distance(a: &FeatureStats, b: &FeatureStats) -> Result<f64, MetricError> {
    let n = a.mean.len();
    if b.mean.len() != n {
        return Err(MetricError::Features { metric: NAME, features: n, found: b.mean.len() });
    }
    let (first, second) = (a.covariance()?, b.covariance()?);
    let trace = |m: &[f64]| (0..n).map(|i| m[i * n + i]).sum::<f64>();
    let (root_a, root_b) = (factor(&first, n)?, factor(&second, n)?);
    let (rows, columns) = (root_a.len() / n, root_b.len() / n);
    let mut product = vec![0.0; rows * columns];
    multiply_add(
        MatMut::new(&mut product, [rows, columns], [columns.max(1), 1]),
        1.0,
        MatRef::new(&root_a, [rows, n], [n, 1]),
        MatRef::new(&root_b, [columns, n], [n, 1]).transposed(),
    );
    let overlap: f64 = singular_values(&product, [rows, columns])?.iter().sum();
    let shift: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2)).sum();
    // Rounding may leave a little less than nothing.
    Ok((shift + trace(&first) + trace(&second) - 2.0 * overlap).max(0.0))
}

/// Rows `√λ v` of the eigenvectors of a covariance that are not in its null space: `Σ = FᵀF`.
fn factor(covariance: &[f64], n: usize) -> Result<Vec<f64>, MetricError> {
    let eigen = symmetric_eigen(covariance, n)?;
    let largest = eigen.values.last().copied().unwrap_or(0.0);
    let zero = largest * f64::EPSILON * n as f64;
    let kept = eigen.values.iter().zip(eigen.vectors.chunks_exact(n)).filter(|(value, _)| **value > zero);
    Ok(kept.flat_map(|(value, vector)| vector.iter().map(|v| v * value.sqrt())).collect())
}
