//! How sure a value is: resampling of items, and the spread of seeds.

use crate::distribution::{normal_below, normal_quantile, student_quantile};
use crate::error::{MetricError, check_finite};
use crate::random::Draw;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an interval is read from resamples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum BootstrapMethod {
    /// Their quantiles (Efron 1979).
    #[default]
    Percentile,
    /// Their quantiles, corrected for bias and skewness (Efron 1987).
    Bca,
}

/// How often and how items are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BootstrapConfig {
    /// Resamples.
    pub resamples: usize,
    /// The share of intervals that are to hold the true value.
    pub confidence: f64,
    /// Decides the draws.
    pub seed: u64,
    /// How the interval is read.
    pub method: BootstrapMethod,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { resamples: 2000, confidence: 0.95, seed: 0, method: BootstrapMethod::default() }
    }
}

/// A value of some items that can be asked for any others: what resampling needs of a metric.
///
/// ```
/// use tenuis_metrics::Statistic;
/// let mean = Statistic::mean(vec![1.0, 2.0, 6.0]);
/// assert_eq!(mean.value(&[0, 2, 2]), Some(13.0 / 3.0));
/// ```
pub struct Statistic<'a> {
    items: usize,
    value: Box<Value<'a>>,
}

/// The value of some items, by their indices.
type Value<'a> = dyn Fn(&[usize]) -> Option<f64> + 'a;

impl<'a> Statistic<'a> {
    /// Takes a function of indices of items, of which some may occur often and some not at all. It may be undefined for some
    /// draws.
    pub fn new(items: usize, value: impl Fn(&[usize]) -> Option<f64> + 'a) -> Self {
        Self { items, value: Box::new(value) }
    }

    /// The mean of a value per item.
    pub fn mean(values: Vec<f64>) -> Self {
        Self::new(values.len(), move |items| {
            (!items.is_empty()).then(|| items.iter().map(|&i| values[i]).sum::<f64>() / items.len() as f64)
        })
    }

    /// The number of items.
    pub const fn items(&self) -> usize {
        self.items
    }

    /// The value for some items.
    pub fn value(&self, items: &[usize]) -> Option<f64> {
        (self.value)(items).filter(|value| value.is_finite())
    }
}

impl fmt::Debug for Statistic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statistic").field("items", &self.items).finish_non_exhaustive()
    }
}

/// A value and an interval around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interval {
    /// The value of all items.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The standard deviation of the resamples.
    pub standard_error: f64,
    /// The share of such intervals that are to hold the true value.
    pub confidence: f64,
    /// How it was read.
    pub method: BootstrapMethod,
    /// Resamples that had a value.
    pub resamples: usize,
    /// Resamples that had none, such as those without an item of some class.
    pub undefined: usize,
    /// What decided the draws.
    pub seed: u64,
    /// The share of resamples above 0, ties half: for a difference, how sure its sign is.
    pub above_zero: f64,
}

/// Draws as many items as there are, with repetition, again and again, and reads an interval from the values.
///
/// ```
/// use tenuis_metrics::{BootstrapConfig, Statistic, bootstrap};
/// let interval = bootstrap(&Statistic::mean(vec![0.0, 1.0, 1.0, 1.0]), &BootstrapConfig::default())?;
/// assert_eq!(interval.value, 0.75);
/// assert!(interval.low < 0.75 && interval.high == 1.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// [`MetricError::Empty`] without items, [`MetricError::Config`] for options out of range, [`MetricError::Undefined`] where the
/// items have no value, or more than half of the resamples have none.
pub fn bootstrap(statistic: &Statistic<'_>, config: &BootstrapConfig) -> Result<Interval, MetricError> {
    let metric = "bootstrap";
    let items = statistic.items();
    if items == 0 {
        return Err(MetricError::Empty { metric });
    }
    check_confidence(config.confidence)?;
    if config.resamples < 2 {
        let value = config.resamples.to_string();
        return Err(MetricError::Config { option: "resamples", value, allowed: "at least 2" });
    }
    let all: Vec<usize> = (0..items).collect();
    let reason = "the items have no value";
    let value = statistic.value(&all).ok_or(MetricError::Undefined { metric, reason })?;
    let mut draw = Draw::new(config.seed);
    let mut chosen = vec![0; items];
    let mut values: Vec<f64> = (0..config.resamples)
        .filter_map(|_| {
            chosen.fill_with(|| draw.below(items));
            statistic.value(&chosen)
        })
        .collect();
    if values.len() * 2 < config.resamples {
        let reason = "most resamples have no value; there are too few items, or too few of a class";
        return Err(MetricError::Undefined { metric, reason });
    }
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - config.confidence) / 2.0;
    let (low, high) = match config.method {
        BootstrapMethod::Percentile => (tail, 1.0 - tail),
        BootstrapMethod::Bca => corrected(statistic, value, &values, tail),
    };
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Ok(Interval {
        value,
        low: quantile(&values, low),
        high: quantile(&values, high),
        standard_error: variance.sqrt(),
        confidence: config.confidence,
        method: config.method,
        resamples: values.len(),
        undefined: config.resamples - values.len(),
        seed: config.seed,
        above_zero: 1.0 - share_below(&values, 0.0),
    })
}

/// An interval of the difference candidate − baseline, where both answered the same items: every draw takes the same items of
/// both (Efron and Tibshirani 1993; for translations Koehn 2004, W04-3250).
///
/// ```
/// use tenuis_metrics::{BootstrapConfig, Statistic, paired_bootstrap};
/// let baseline = Statistic::mean(vec![0.1, 0.5, 0.9]);
/// let candidate = Statistic::mean(vec![0.2, 0.6, 1.0]);
/// let difference = paired_bootstrap(&baseline, &candidate, &BootstrapConfig::default())?;
/// assert!((difference.low - 0.1).abs() < 1e-12 && difference.above_zero == 1.0);
/// # Ok::<(), tenuis_metrics::MetricError>(())
/// ```
///
/// # Errors
/// As [`bootstrap`], and [`MetricError::Length`] where they have different numbers of items.
pub fn paired_bootstrap(
    baseline: &Statistic<'_>,
    candidate: &Statistic<'_>,
    config: &BootstrapConfig,
) -> Result<Interval, MetricError> {
    let (expected, found) = (baseline.items(), candidate.items());
    if expected != found {
        let what = "items of the candidate, which must be those of the baseline,";
        return Err(MetricError::Length { metric: "paired bootstrap", what, expected, found });
    }
    let difference = Statistic::new(found, |items| Some(candidate.value(items)? - baseline.value(items)?));
    bootstrap(&difference, config)
}

/// Mean and standard deviation of repeated measurements, such as those of several seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation with `count − 1` as divisor; null for one value.
    pub sd: Option<f64>,
    /// The lower end of Student's interval of the mean; null for one value.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// How many values there are.
    pub count: usize,
}

impl Spread {
    /// Summarises values; `mean ± t · sd / √count` is the interval (Student 1908).
    ///
    /// ```
    /// use tenuis_metrics::Spread;
    /// let seeds = Spread::of(&[1.0, 2.0, 3.0], 0.95)?;
    /// assert_eq!((seeds.mean, seeds.sd), (2.0, Some(1.0)));
    /// assert_eq!(seeds.to_string(), "2.0000 ± 1.0000 (n = 3)");
    /// # Ok::<(), tenuis_metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    /// [`MetricError::Empty`], [`MetricError::NotFinite`], [`MetricError::Config`].
    pub fn of(values: &[f64], confidence: f64) -> Result<Self, MetricError> {
        let metric = "spread";
        check_confidence(confidence)?;
        check_finite(metric, "the value", values)?;
        if values.is_empty() {
            return Err(MetricError::Empty { metric });
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let sd = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        let half =
            sd.map(|sd| student_quantile(f64::midpoint(1.0, confidence), count - 1.0) * sd / count.sqrt());
        let (low, high) = (half.map(|half| mean - half), half.map(|half| mean + half));
        Ok(Self { mean, sd, low, high, count: values.len() })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.mean)?;
        if let Some(sd) = self.sd {
            write!(f, " ± {sd:.4}")?;
        }
        write!(f, " (n = {})", self.count)
    }
}

/// Which quantiles to read instead of the plain ones: shifted by the bias of the median and by how fast the spread changes,
/// which the values without one item each tell.
fn corrected(statistic: &Statistic<'_>, value: f64, sorted: &[f64], tail: f64) -> (f64, f64) {
    let items = statistic.items();
    // At the ends the quantile is infinite: then no more is known than that of one resample.
    let least = 1.0 / (2.0 * sorted.len() as f64);
    let bias = normal_quantile(share_below(sorted, value).clamp(least, 1.0 - least));
    let without: Vec<f64> = (0..items)
        .filter_map(|left_out| {
            let rest: Vec<usize> = (0..items).filter(|&item| item != left_out).collect();
            statistic.value(&rest)
        })
        .collect();
    let mean = without.iter().sum::<f64>() / without.len().max(1) as f64;
    let power = |k: i32| without.iter().map(|v| (mean - v).powi(k)).sum::<f64>();
    let scale = power(2).powf(1.5);
    let skew = if scale > 0.0 { power(3) / (6.0 * scale) } else { 0.0 };
    let shifted = |p: f64| {
        let z = bias + normal_quantile(p);
        normal_below(bias + z / (1.0 - skew * z))
    };
    (shifted(tail), shifted(1.0 - tail))
}

/// The share of sorted values below `at`, where equal ones count half.
fn share_below(sorted: &[f64], at: f64) -> f64 {
    let below = sorted.partition_point(|&v| v < at);
    let not_above = sorted.partition_point(|&v| v <= at);
    (below + not_above) as f64 / (2.0 * sorted.len() as f64)
}

/// The quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

pub(crate) fn check_confidence(confidence: f64) -> Result<(), MetricError> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    let value = confidence.to_string();
    Err(MetricError::Config { option: "confidence", value, allowed: "between 0 and 1" })
}
