//! How well numbers follow others: errors and correlations.

use crate::error::{MetricError, check_finite, check_pairs};

/// Mean squared error, mean absolute error, their root, and the share of variance that is explained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regression {
    /// `(1/n) Σ (pᵢ − yᵢ)²`. Lower is better, from 0.
    pub mse: f64,
    /// `(1/n) Σ |pᵢ − yᵢ|`. Lower is better, from 0.
    pub mae: f64,
    /// `1 − Σ (pᵢ − yᵢ)² / Σ (yᵢ − ȳ)²`; `None` where all labels are equal. Higher is better, at most 1.
    pub r2: Option<f64>,
}

/// Compares predicted numbers with true ones.
///
/// ```
/// let errors = tenuis_metrics::regression(&[1.0, 2.0, 3.0], &[1.0, 2.0, 5.0])?;
/// assert_eq!((errors.mse, errors.mae, errors.r2), (4.0 / 3.0, 2.0 / 3.0, Some(-1.0)));
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NotFinite`].
pub fn regression(labels: &[f64], predictions: &[f64]) -> Result<Regression, MetricError> {
    check("regression", labels, predictions)?;
    let count = labels.len() as f64;
    let errors = || labels.iter().zip(predictions).map(|(y, p)| p - y);
    let squares: f64 = errors().map(|e| e * e).sum();
    let mean = labels.iter().sum::<f64>() / count;
    let spread: f64 = labels.iter().map(|y| (y - mean).powi(2)).sum();
    Ok(Regression {
        mse: squares / count,
        mae: errors().map(f64::abs).sum::<f64>() / count,
        r2: (spread > 0.0).then(|| 1.0 - squares / spread),
    })
}

/// Pearson's correlation, `Σ (xᵢ − x̄)(yᵢ − ȳ) / √(Σ (xᵢ − x̄)² Σ (yᵢ − ȳ)²)`. Higher is better, −1 to 1.
///
/// ```
/// assert!((tenuis_metrics::pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0])? - 1.0).abs() < 1e-12);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`], [`MetricError::Length`], [`MetricError::NotFinite`], and [`MetricError::Undefined`] where one
/// side is constant.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64, MetricError> {
    correlate("pearson", x, y)
}

/// Spearman's correlation: Pearson's of the ranks, where equal values share their mean rank. Higher is better, −1 to 1.
///
/// ```
/// assert!((tenuis_metrics::spearman(&[1.0, 2.0, 30.0], &[1.0, 20.0, 21.0])? - 1.0).abs() < 1e-12);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// As [`pearson`].
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64, MetricError> {
    check("spearman", x, y)?;
    correlate("spearman", &ranks(x), &ranks(y))
}

/// Kendall's τ-b: pairs in the same order less those in opposite order, over the root of the pairs not tied in `x` times
/// those not tied in `y`. Higher is better, −1 to 1. (Kendall 1945.) Quadratic in the number of items.
///
/// ```
/// let tau = tenuis_metrics::kendall(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0])?;
/// assert!((tau - 1.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// As [`pearson`].
pub fn kendall(x: &[f64], y: &[f64]) -> Result<f64, MetricError> {
    check("kendall", x, y)?;
    let (mut balance, mut untied_x, mut untied_y) = (0i64, 0u64, 0u64);
    for i in 0..x.len() {
        for j in 0..i {
            let sign = |v: &[f64]| i64::from(v[i] > v[j]) - i64::from(v[i] < v[j]);
            let (a, b) = (sign(x), sign(y));
            balance += a * b;
            untied_x += a.unsigned_abs();
            untied_y += b.unsigned_abs();
        }
    }
    if untied_x == 0 || untied_y == 0 {
        return Err(constant("kendall"));
    }
    Ok(balance as f64 / ((untied_x as f64).sqrt() * (untied_y as f64).sqrt()))
}

/// The rank of each value from 1; equal ones share their mean.
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (mut ranks, mut before) = (vec![0.0; values.len()], 0);
    // Zeros of either sign are equal, though sorted apart.
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = before as f64 + (group.len() + 1) as f64 / 2.0;
        for &at in group {
            ranks[at] = mean;
        }
        before += group.len();
    }
    ranks
}

fn correlate(metric: &'static str, x: &[f64], y: &[f64]) -> Result<f64, MetricError> {
    check(metric, x, y)?;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    let is_constant = |v: &[f64]| v.iter().all(|value| *value == v[0]);
    if is_constant(x) || is_constant(y) || xx == 0.0 || yy == 0.0 {
        return Err(constant(metric));
    }
    Ok((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

fn check(metric: &'static str, x: &[f64], y: &[f64]) -> Result<(), MetricError> {
    check_pairs(metric, "labels", y.len(), x.len())?;
    check_finite(metric, "the label", x)?;
    check_finite(metric, "the prediction", y)
}

const fn constant(metric: &'static str) -> MetricError {
    MetricError::Undefined { metric, reason: "all values of one side are equal" }
}
