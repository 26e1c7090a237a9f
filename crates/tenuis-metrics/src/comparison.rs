//! A candidate beside its baseline: retention, ratios, efficiency and one score of several criteria.

use crate::error::MetricError;
use crate::metric::Direction;
use serde::{Deserialize, Serialize};

/// How much of a quality is left, in percent: `100 · candidate / baseline` where higher is better, `100 · baseline / candidate`
/// where lower is. 100 is the baseline's own, more is better.
///
/// ```
/// use tenuis_metrics::{Direction, retention};
/// assert_eq!(retention(Direction::HigherIsBetter, 0.5, 0.375)?, 75.0);
/// assert_eq!(retention(Direction::LowerIsBetter, 5.0, 6.25)?, 80.0); // a perplexity
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] where a value is negative or not finite, or the divisor is 0: of such there are no ratios.
pub fn retention(direction: Direction, baseline: f64, candidate: f64) -> Result<f64, MetricError> {
    Ok(100.0 * gain("retention", direction, baseline, candidate)?)
}

/// How much better the candidate is, as a ratio above 1 for better.
fn gain(
    metric: &'static str,
    direction: Direction,
    baseline: f64,
    candidate: f64,
) -> Result<f64, MetricError> {
    match direction {
        Direction::HigherIsBetter => ratio(metric, candidate, baseline),
        Direction::LowerIsBetter => ratio(metric, baseline, candidate),
    }
}

fn ratio(metric: &'static str, above: f64, below: f64) -> Result<f64, MetricError> {
    let reason = match (above, below) {
        _ if !above.is_finite() || !below.is_finite() => "a value is not finite",
        _ if above < 0.0 || below < 0.0 => "a value is negative, and of such there are no ratios",
        _ if below == 0.0 => "it would divide by 0",
        _ => return Ok(above / below),
    };
    Err(MetricError::Undefined { metric, reason })
}

/// The change from baseline to candidate in percent of the baseline, `100 · (candidate − baseline) / |baseline|`.
///
/// ```
/// assert_eq!(tenuis_metrics::change_percent(4.0, 3.0)?, -25.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] where the baseline is 0 or a value is not finite.
pub fn change_percent(baseline: f64, candidate: f64) -> Result<f64, MetricError> {
    let reason = match () {
        () if !baseline.is_finite() || !candidate.is_finite() => "a value is not finite",
        () if baseline == 0.0 => "the baseline is 0",
        () => return Ok(100.0 * (candidate - baseline) / baseline.abs()),
    };
    Err(MetricError::Undefined { metric: "change", reason })
}

/// The compression *ratio*, original ÷ compressed: 4 is a quarter of the size. Higher is better.
///
/// ```
/// assert_eq!(tenuis_metrics::compression_ratio(400.0, 100.0)?, 4.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] as [`retention`].
pub fn compression_ratio(original: f64, compressed: f64) -> Result<f64, MetricError> {
    ratio("compression ratio", original, compressed)
}

/// The compressed *fraction*, compressed ÷ original: 0.25 is a quarter of the size. Lower is better.
///
/// ```
/// assert_eq!(tenuis_metrics::compression_fraction(400.0, 100.0)?, 0.25);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] as [`retention`].
pub fn compression_fraction(original: f64, compressed: f64) -> Result<f64, MetricError> {
    ratio("compression fraction", compressed, original)
}

/// How many times faster the candidate is, its latency under the baseline's. Higher is better.
///
/// ```
/// assert_eq!(tenuis_metrics::speed_up(30.0, 20.0)?, 1.5);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] as [`retention`].
pub fn speed_up(baseline_latency: f64, candidate_latency: f64) -> Result<f64, MetricError> {
    ratio("speed-up", baseline_latency, candidate_latency)
}

/// Retention in percent per compressed fraction: 95 % of the quality in a quarter of the size is 380. Higher is better; the
/// baseline has 100.
///
/// ```
/// assert_eq!(tenuis_metrics::efficiency(95.0, 0.25)?, 380.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Undefined`] as [`retention`].
pub fn efficiency(retention: f64, fraction: f64) -> Result<f64, MetricError> {
    ratio("efficiency", retention, fraction)
}

/// How much each criterion counts; only their proportions matter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Weights {
    /// Of quality.
    pub accuracy: f64,
    /// Of time.
    pub latency: f64,
    /// Of bytes stored.
    pub size: f64,
    /// Of bytes in memory.
    pub memory: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { accuracy: 0.4, latency: 0.3, size: 0.2, memory: 0.1 }
    }
}

/// What is measured of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Criteria {
    /// Quality, and which way it is better.
    pub accuracy: (f64, Direction),
    /// Time, lower is better.
    pub latency: f64,
    /// Bytes stored, lower is better.
    pub size: f64,
    /// Bytes in memory, lower is better.
    pub memory: f64,
}

impl Weights {
    /// One score of several criteria, beside a baseline. Higher is better, 0 to 1; the baseline itself has 0.5.
    ///
    /// Each criterion becomes a gain `g`, candidate ÷ baseline where higher is better and baseline ÷ candidate where lower is, and
    /// then `g / (1 + g)`: twice as good is ⅔, half as good ⅓, and nothing outweighs the rest by being huge. The score is the
    /// mean of these, weighted. It depends on no other candidate, so adding one changes no ranking.
    ///
    /// ```
    /// use tenuis_metrics::{Criteria, Direction::HigherIsBetter, Weights};
    /// let baseline = Criteria { accuracy: (0.8, HigherIsBetter), latency: 10.0, size: 400.0, memory: 500.0 };
    /// assert!((Weights::default().score(&baseline, &baseline)? - 0.5).abs() < 1e-12);
    /// let quantized = Criteria { latency: 5.0, size: 100.0, ..baseline };
    /// let score = Weights::default().score(&baseline, &quantized)?;
    /// assert!((score - (0.4 * 0.5 + 0.3 * 2.0 / 3.0 + 0.2 * 0.8 + 0.1 * 0.5)).abs() < 1e-12);
    /// # Ok::<(), tenuis_metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    /// [`MetricError::Config`] where a weight is negative or all are 0, [`MetricError::Undefined`] as [`retention`].
    pub fn score(&self, baseline: &Criteria, candidate: &Criteria) -> Result<f64, MetricError> {
        let weights = [self.accuracy, self.latency, self.size, self.memory];
        let total: f64 = weights.iter().sum();
        if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || !(total > 0.0 && total.is_finite()) {
            let value = format!("{weights:?}");
            let allowed = "numbers of which none is negative and one is positive";
            return Err(MetricError::Config { option: "weights", value, allowed });
        }
        let of = |c: &Criteria| [c.accuracy.0, c.latency, c.size, c.memory];
        let mut score = 0.0;
        for (at, weight) in weights.into_iter().enumerate() {
            if weight == 0.0 {
                continue;
            }
            let direction = if at == 0 { baseline.accuracy.1 } else { Direction::LowerIsBetter };
            let gain = gain("weighted score", direction, of(baseline)[at], of(candidate)[at])?;
            score += weight / total * gain / (1.0 + gain);
        }
        Ok(score)
    }
}
