//! How far raters agree.

use crate::error::{MetricError, check_pairs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a difference of ratings means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Ratings are names: they are equal or not.
    Nominal,
    /// Ratings are ranks: a difference is how many ratings lie between.
    #[default]
    Ordinal,
    /// Ratings are numbers: a difference is a difference.
    Interval,
}

/// Krippendorff's alpha, `1 − Dₒ / Dₑ`: disagreement within units beside that to expect of the same ratings dealt at random.
///
/// With `oᵥᵥ'` the coincidences of ratings `v`, `v'` within units (each pair weighs `1 / (m − 1)` for the `m` ratings of its
/// unit), `nᵥ = Σ oᵥᵥ'`, `n = Σ nᵥ` and squared differences `δ²`:
///
/// ```text
/// α = 1 − (n − 1) Σ oᵥᵥ' δ²(v, v') / Σ nᵥ nᵥ' δ²(v, v')
/// ordinal: δ(v, v') = Σ n from v to v' − (nᵥ + nᵥ') / 2        interval: δ = v − v'
/// ```
///
/// (Krippendorff 2011, "Computing Krippendorff's alpha-reliability".) Any number of raters; ratings may be missing. Higher is
/// better, at most 1; 0 is chance.
///
/// # Shapes
/// `units`: one element per unit, with the ratings that it got, in any order.
///
/// ```
/// use tenuis_metrics::{Level, krippendorff_alpha};
/// let alpha = krippendorff_alpha(&[vec![1.0, 1.0], vec![2.0, 3.0], vec![5.0, 5.0], vec![4.0]], Level::Interval)?;
/// assert!(alpha > 0.9);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`] where no unit has two ratings, [`MetricError::Undefined`] where all ratings are equal,
/// [`MetricError::NotFinite`].
pub fn krippendorff_alpha(units: &[Vec<f64>], level: Level) -> Result<f64, MetricError> {
    let metric = "krippendorff_alpha";
    for (item, unit) in units.iter().enumerate() {
        if let Some(&value) = unit.iter().find(|value| !value.is_finite()) {
            return Err(MetricError::NotFinite { metric, what: "a rating", item, value });
        }
    }
    let pairable = || units.iter().filter(|unit| unit.len() > 1);
    let mut values: Vec<f64> = pairable().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let index = |value: f64| values.partition_point(|&v| v < value);
    let mut counts = vec![0.0; values.len()];
    pairable().flatten().for_each(|&value| counts[index(value)] += 1.0);
    match values.len() {
        0 => return Err(MetricError::Empty { metric }),
        1 => return Err(MetricError::Undefined { metric, reason: "all ratings are equal" }),
        _ => {}
    }
    let square = |a: usize, b: usize| {
        let (a, b) = (a.min(b), a.max(b));
        match level {
            Level::Nominal => f64::from(u8::from(a != b)),
            Level::Ordinal => {
                (counts[a..=b].iter().sum::<f64>() - f64::midpoint(counts[a], counts[b])).powi(2)
            }
            Level::Interval => (values[a] - values[b]).powi(2),
        }
    };
    let mut observed = 0.0;
    for unit in pairable() {
        let places: Vec<usize> = unit.iter().map(|&value| index(value)).collect();
        let all: f64 = places.iter().map(|&a| places.iter().map(|&b| square(a, b)).sum::<f64>()).sum();
        observed += all / (unit.len() - 1) as f64;
    }
    let mut expected = 0.0;
    for a in 0..values.len() {
        for b in 0..values.len() {
            expected += counts[a] * counts[b] * square(a, b);
        }
    }
    let n: f64 = counts.iter().sum();
    Ok(1.0 - (n - 1.0) * observed / expected)
}

/// How much a disagreement of two raters weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KappaWeights {
    /// All the same.
    Equal,
    /// By the distance of the categories.
    Linear,
    /// By its square.
    #[default]
    Quadratic,
}

/// Cohen's kappa of two raters with weights, `1 − Σ w o / Σ w e`: weighted disagreement beside that to expect of independent
/// raters with the same habits. Higher is better, at most 1; 0 is chance. (Cohen 1968.)
///
/// Categories are whole numbers; the distance of two is their difference, whether or not those between occur.
///
/// ```
/// use tenuis_metrics::{KappaWeights, weighted_kappa};
/// assert_eq!(weighted_kappa(&[1, 2, 3], &[1, 2, 3], KappaWeights::Quadratic)?, 1.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`], [`MetricError::Length`], and [`MetricError::Undefined`] where both always give the same one.
pub fn weighted_kappa(a: &[i64], b: &[i64], weights: KappaWeights) -> Result<f64, MetricError> {
    let metric = "weighted_kappa";
    check_pairs(metric, "ratings of the second rater", a.len(), b.len())?;
    let weight = |a: i64, b: i64| {
        let distance = a.abs_diff(b) as f64;
        match weights {
            KappaWeights::Equal => f64::from(u8::from(a != b)),
            KappaWeights::Linear => distance,
            KappaWeights::Quadratic => distance * distance,
        }
    };
    let tally = |ratings: &[i64]| {
        let mut tally: BTreeMap<i64, f64> = BTreeMap::new();
        for &rating in ratings {
            *tally.entry(rating).or_default() += 1.0;
        }
        tally
    };
    let observed: f64 = a.iter().zip(b).map(|(&a, &b)| weight(a, b)).sum();
    let mut expected = 0.0;
    for (&x, n) in &tally(a) {
        for (&y, m) in &tally(b) {
            expected += n * m / a.len() as f64 * weight(x, y);
        }
    }
    if expected == 0.0 {
        let reason = "both raters always give the same rating";
        return Err(MetricError::Undefined { metric, reason });
    }
    Ok(1.0 - observed / expected)
}
