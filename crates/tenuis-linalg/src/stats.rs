//! What is collected about the input that a group of Linears shares.

use crate::finite::first_non_finite;
use crate::gram::Gram;
use rayon::prelude::*;
use thiserror::Error;

/// What can be wrong with a batch.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatsError {
    /// The batch is no whole number of rows.
    #[error("a batch of {values} values is no whole number of rows of {features} features")]
    BatchLength {
        /// Values in the batch.
        values: usize,
        /// Features of a row.
        features: usize,
    },
}

/// Which statistics to collect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsNeeds {
    /// The Gram matrix `XᵀX`: `4·features²` bytes and `rows·features²` FLOPs.
    pub hessian: bool,
    /// Per channel `Σ|x|`, `Σx²`, `max|x|` and `Σx`.
    pub moments: bool,
}

impl StatsNeeds {
    /// What either asks for.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { hessian: self.hessian || other.hessian, moments: self.moments || other.moments }
    }
}

/// Per channel moments of an input. Sums are kept in f64: an f32 sum of a million tokens has lost three digits.
#[derive(Clone, Debug)]
pub struct Moments {
    sum_abs: Vec<f64>,
    sum_squares: Vec<f64>,
    max_abs: Vec<f32>,
    sum: Vec<f64>,
}

impl Moments {
    fn zeros(features: usize) -> Self {
        Self {
            sum_abs: vec![0.0; features],
            sum_squares: vec![0.0; features],
            max_abs: vec![0.0; features],
            sum: vec![0.0; features],
        }
    }

    /// `Σ|x|` per channel.
    pub fn sum_abs(&self) -> &[f64] {
        &self.sum_abs
    }

    /// `Σx²` per channel.
    pub fn sum_squares(&self) -> &[f64] {
        &self.sum_squares
    }

    /// `max|x|` per channel.
    pub fn max_abs(&self) -> &[f32] {
        &self.max_abs
    }

    /// `Σx` per channel: the mean times the rows.
    pub fn sum(&self) -> &[f64] {
        &self.sum
    }

    fn row(&mut self, x: &[f32]) {
        let sums = self.sum_abs.iter_mut().zip(&mut self.sum_squares).zip(&mut self.max_abs);
        for ((((abs, squares), max), sum), &x) in sums.zip(&mut self.sum).zip(x) {
            let magnitude = x.abs();
            let wide = f64::from(magnitude);
            *sum += f64::from(x);
            *abs += wide;
            *squares += wide * wide;
            *max = max.max(magnitude);
        }
    }

    fn merge(&mut self, other: &Self) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        add(&mut self.sum_abs, &other.sum_abs);
        add(&mut self.sum_squares, &other.sum_squares);
        add(&mut self.sum, &other.sum);
        self.max_abs.iter_mut().zip(&other.max_abs).for_each(|(t, f)| *t = t.max(*f));
    }

    /// A sum of finite f32 cannot leave f64, so this tells whether every value was finite.
    fn finite(&self) -> bool {
        self.sum_abs.iter().all(|s| s.is_finite())
    }
}

/// Running statistics of the input of the Linears that share it.
///
/// A batch that holds a NaN or an infinity is dropped whole and counted, so that one overflowing sequence cannot
/// spoil a calibration; the caller decides how many such batches are too many.
///
/// ```
/// use tenuis_linalg::{LayerStats, StatsNeeds};
/// let mut stats = LayerStats::new(1, StatsNeeds { hessian: true, moments: false });
/// stats.update(&[2.0])?;
/// stats.update(&[f32::NAN])?;
/// assert_eq!((stats.rows(), stats.batches(), stats.dropped_batches()), (1, 2, 1));
/// # Ok::<(), tenuis_linalg::StatsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerStats {
    features: usize,
    rows: u64,
    batches: u64,
    dropped_batches: u64,
    gram: Option<Gram>,
    moments: Option<Moments>,
}

/// Rows that one task reduces; fixed, so that sums are the same on any number of threads.
const ROWS_PER_TASK: usize = 256;

impl LayerStats {
    /// Begins with no rows.
    pub fn new(features: usize, needs: StatsNeeds) -> Self {
        Self {
            features,
            rows: 0,
            batches: 0,
            dropped_batches: 0,
            gram: needs.hessian.then(|| Gram::zeros(features)),
            moments: needs.moments.then(|| Moments::zeros(features)),
        }
    }

    /// Adds a batch `x` `[rows, features]`, row-major, or drops and counts it where a value is not finite.
    ///
    /// # Errors
    /// [`StatsError::BatchLength`] where `x` is no whole number of rows.
    pub fn update(&mut self, x: &[f32]) -> Result<(), StatsError> {
        let n = self.features;
        let whole = if n == 0 { x.is_empty() } else { x.len().is_multiple_of(n) };
        if !whole {
            return Err(StatsError::BatchLength { values: x.len(), features: n });
        }
        self.batches += 1;
        let finite = if let Some(moments) = &mut self.moments {
            let batch = batch_moments(x, n);
            let finite = batch.finite();
            if finite {
                moments.merge(&batch);
            }
            finite
        } else {
            first_non_finite(x).is_none()
        };
        if !finite {
            self.dropped_batches += 1;
            return Ok(());
        }
        if let Some(gram) = &mut self.gram {
            gram.accumulate(x);
        }
        self.rows += (x.len() / n.max(1)) as u64;
        Ok(())
    }

    /// Features of a row.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Rows that were accumulated.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Batches that were offered, dropped ones included.
    pub const fn batches(&self) -> u64 {
        self.batches
    }

    /// Batches that were dropped because a value was not finite.
    pub const fn dropped_batches(&self) -> u64 {
        self.dropped_batches
    }

    /// `XᵀX`, if it was asked for.
    pub const fn gram(&self) -> Option<&Gram> {
        self.gram.as_ref()
    }

    /// The moments, if they were asked for.
    pub const fn moments(&self) -> Option<&Moments> {
        self.moments.as_ref()
    }

    /// Takes both out, to drop the one that is no longer needed.
    pub fn into_parts(self) -> (Option<Gram>, Option<Moments>) {
        (self.gram, self.moments)
    }
}

fn batch_moments(x: &[f32], features: usize) -> Moments {
    let parts: Vec<Moments> = x
        .par_chunks((ROWS_PER_TASK * features).max(1))
        .map(|chunk| {
            let mut part = Moments::zeros(features);
            chunk.chunks_exact(features).for_each(|row| part.row(row));
            part
        })
        .collect();
    let mut total = Moments::zeros(features);
    for part in &parts {
        total.merge(part);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: StatsNeeds = StatsNeeds { hessian: true, moments: true };

    #[test]
    fn moments_equal_the_definition() {
        let x: Vec<f32> = (0..700 * 3).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        let mut stats = LayerStats::new(3, ALL);
        for batch in x.chunks(3 * 300) {
            stats.update(batch).unwrap();
        }
        let moments = stats.moments().unwrap();
        for channel in 0..3 {
            let values = || x.iter().skip(channel).step_by(3).map(|&v| f64::from(v));
            assert_eq!(moments.sum_abs()[channel], values().map(f64::abs).sum::<f64>());
            assert_eq!(moments.sum()[channel], values().sum::<f64>());
            assert_eq!(moments.sum_squares()[channel], values().map(|v| v * v).sum::<f64>());
            assert_eq!(f64::from(moments.max_abs()[channel]), values().map(f64::abs).fold(0.0, f64::max));
        }
        assert_eq!((stats.rows(), stats.batches()), (700, 3));
    }

    /// A spoilt batch leaves every statistic as it was, whichever are collected.
    #[test]
    fn non_finite_batches_are_dropped_whole() {
        for needs in [ALL, StatsNeeds { hessian: true, moments: false }, StatsNeeds::default()] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut stats = LayerStats::new(4, needs);
                stats.update(&[1.0; 8]).unwrap();
                let mut batch = vec![1.0; 4 * 300];
                batch[997] = bad;
                stats.update(&batch).unwrap();
                assert_eq!((stats.rows(), stats.dropped_batches()), (2, 1));
                if let Some(gram) = stats.gram() {
                    assert_eq!(gram.view().upper_row(0), [2.0; 4]);
                }
                if let Some(moments) = stats.moments() {
                    assert_eq!(moments.sum_abs(), [2.0; 4]);
                }
            }
        }
    }

    #[test]
    fn a_torn_batch_is_refused() {
        let mut stats = LayerStats::new(4, ALL);
        assert_eq!(stats.update(&[0.0; 6]), Err(StatsError::BatchLength { values: 6, features: 4 }));
        assert_eq!(stats.batches(), 0);
    }
}
