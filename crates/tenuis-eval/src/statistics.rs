//! Order statistics of repeated measurements.

pub use tenuis_measure::Distribution;

/// The nearest-rank quantile of sorted, non-empty samples.
pub(crate) fn nearest_rank<T: Copy>(sorted: &[T], quantile: f64) -> T {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
