//! Order statistics of repeated measurements.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Median and upper quantiles of a set of samples.
///
/// A quantile `q` of `n` sorted samples is sample `⌈q·n⌉` (nearest rank), so it is always a value that was measured.
///
/// ```
/// use tenuis_eval::Distribution;
/// let d = Distribution::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
/// assert_eq!((d.min, d.median, d.p90, d.samples), (1.0, 2.0, 4.0, 4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// The smallest sample.
    pub min: f64,
    /// The 50th percentile.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The number of samples.
    pub samples: usize,
}

impl Distribution {
    /// Sorts the samples and reads the quantiles; `None` without samples.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self {
            min: *samples.first()?,
            median: nearest_rank(&samples, 0.5),
            p90: nearest_rank(&samples, 0.9),
            p99: nearest_rank(&samples, 0.99),
            samples: samples.len(),
        })
    }
}

/// The nearest-rank quantile of sorted, non-empty samples.
pub(crate) fn nearest_rank<T: Copy>(sorted: &[T], quantile: f64) -> T {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
