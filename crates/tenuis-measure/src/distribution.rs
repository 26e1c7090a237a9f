//! Order statistics and moments of repeated measurements.

use serde::{Deserialize, Serialize};

/// Mean, spread and quantiles of a set of samples, in the samples' own unit.
///
/// A quantile `q` of `n` sorted samples is sample `⌈q·n⌉` (nearest rank; Hyndman and Fan 1996, definition 1), so it is always a
/// value that was measured. With few samples the upper ones coincide: the 99th percentile of fewer than 100 is the largest.
///
/// ```
/// use tenuis_measure::Distribution;
/// let d = Distribution::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
/// assert_eq!((d.min, d.mean, d.median, d.p90, d.max, d.samples), (1.0, 2.5, 2.0, 4.0, 4.0, 4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Distribution {
    /// The smallest sample.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// `√(Σ(x − mean)² / (n − 1))`, how far samples lie from the mean; 0 where there is one sample only.
    pub standard_deviation: f64,
    /// The 50th percentile.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest sample.
    pub max: f64,
    /// The number of samples.
    pub samples: usize,
}

impl Distribution {
    /// Sorts the samples and summarises them; `None` where there are none, or one of them is not finite, or their sum of squares
    /// is not.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        if samples.iter().any(|x| !x.is_finite()) {
            return None;
        }
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        let count = samples.len() as f64;
        // Two passes: the difference of large sums would lose what little jitter there is. Rounding may leave the range by a bit.
        let mean = (samples.iter().sum::<f64>() / count).clamp(min, max);
        let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
        let standard_deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        (mean.is_finite() && standard_deviation.is_finite()).then(|| Self {
            min,
            mean,
            standard_deviation,
            median: nearest_rank(&samples, 0.5),
            p90: nearest_rank(&samples, 0.9),
            p99: nearest_rank(&samples, 0.99),
            max,
            samples: samples.len(),
        })
    }

    /// Divides the standard deviation by the mean; `None` where the mean is not above 0.
    ///
    /// ```
    /// use tenuis_measure::Distribution;
    /// let d = Distribution::of(vec![9.0, 11.0]).unwrap();
    /// assert!((d.coefficient_of_variation().unwrap() - 0.1414).abs() < 1e-4);
    /// ```
    pub fn coefficient_of_variation(&self) -> Option<f64> {
        (self.mean > 0.0).then(|| self.standard_deviation / self.mean).filter(|ratio| ratio.is_finite())
    }

    /// Divides the largest sample by the smallest; `None` where the smallest is not above 0.
    pub fn worst_to_best(&self) -> Option<f64> {
        (self.min > 0.0).then(|| self.max / self.min).filter(|ratio| ratio.is_finite())
    }
}

/// Reads the nearest-rank quantile of samples in ascending order: sample `⌈q·n⌉`, `None` where there are none.
///
/// ```
/// assert_eq!(tenuis_measure::nearest_rank_of(&[1, 2, 3, 4], 0.75), Some(3));
/// assert_eq!(tenuis_measure::nearest_rank_of::<u8>(&[], 0.5), None);
/// ```
pub fn nearest_rank_of<T: Copy>(sorted: &[T], quantile: f64) -> Option<T> {
    (!sorted.is_empty()).then(|| nearest_rank(sorted, quantile))
}

/// The same of samples of which there is at least one.
pub(crate) fn nearest_rank<T: Copy>(sorted: &[T], quantile: f64) -> T {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_summarised_is_none() {
        assert_eq!(Distribution::of(vec![]), None);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Distribution::of(vec![1.0, bad]), None, "{bad}");
        }
        assert_eq!(Distribution::of(vec![f64::MAX, -f64::MAX]), None, "its deviation overflows");
    }

    #[test]
    fn moments_are_those_of_the_textbook() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, sum of squares 32.
        let d = Distribution::of(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(d.mean, 5.0);
        assert_eq!(d.standard_deviation, (32.0_f64 / 7.0).sqrt());
        assert_eq!(d.worst_to_best(), Some(4.5));
        let hundred = Distribution::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((hundred.median, hundred.p90, hundred.p99, hundred.max), (50.0, 90.0, 99.0, 100.0));
    }

    #[test]
    fn ratios_are_refused_rather_than_infinite() {
        let zero = Distribution::of(vec![0.0, 0.0]).unwrap();
        assert_eq!((zero.coefficient_of_variation(), zero.worst_to_best()), (None, None));
    }

    proptest! {
        #[test]
        fn quantiles_are_ordered_samples(samples in prop::collection::vec(-1e6..1e6_f64, 1..200)) {
            let d = Distribution::of(samples.clone()).unwrap();
            prop_assert!(d.min <= d.median && d.median <= d.p90 && d.p90 <= d.p99 && d.p99 <= d.max);
            prop_assert!(d.min <= d.mean && d.mean <= d.max && d.standard_deviation >= 0.0);
            for value in [d.min, d.median, d.p90, d.p99, d.max] {
                prop_assert!(samples.contains(&value));
            }
        }
    }
}
