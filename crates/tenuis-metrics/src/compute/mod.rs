//! Metrics of files: one entry point for all of them.

mod classes;
mod features;
mod tags;
mod texts;

use crate::answers::{Normalization, NumericResult};
use crate::bleu::BleuConfig;
use crate::bootstrap::{BootstrapConfig, Interval, Statistic, bootstrap, paired_bootstrap};
use crate::chrf::ChrfConfig;
use crate::classification::{Average, ClassScore, MultiClass};
use crate::comparison::{change_percent, retention};
use crate::entities::EntityConfig;
use crate::error::MetricError;
use crate::metric::{Direction, MetricInfo, Range, metric};
use crate::predictions::{Fields, Predictions};
use crate::rouge::RougeConfig;
use crate::ter::TerConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// How metrics of files are computed. Each metric reads what concerns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Options {
    /// What the fields of the file are called.
    pub fields: Fields,
    /// Of `bleu` and `self_bleu`.
    pub bleu: BleuConfig,
    /// Of `chrf` and `chrf++`, which sets `word_order` to 2 where it is 0.
    pub chrf: ChrfConfig,
    /// Of `ter`.
    pub ter: TerConfig,
    /// Of the metrics of ROUGE.
    pub rouge: RougeConfig,
    /// Of `exact_match`.
    pub normalization: Normalization,
    /// Of `numeric_match`.
    pub numeric: NumericResult,
    /// Of `precision`, `recall`, `f1` and those of entities.
    pub average: Average,
    /// The class looked for. `precision`, `recall` and `f1` then concern it alone; where there are two classes, a single score
    /// is that of this one. Without it `1` and `true` are looked for among scores.
    pub positive: Option<String>,
    /// The classes in the order of a list of scores; without it the classes of all labels, sorted.
    pub classes: Vec<String>,
    /// Of `roc_auc` with a list of scores.
    pub multi_class: MultiClass,
    /// Of `top_k_accuracy`.
    pub top_k: usize,
    /// Of the metrics of entities.
    pub entities: EntityConfig,
    /// The length of n-grams of `distinct` (2 if not given) and `repetition` (4).
    pub ngram: Option<usize>,
    /// Draws for an interval; [`compute`] gives none without it, [`compare`] takes the default.
    pub bootstrap: Option<BootstrapConfig>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            bleu: BleuConfig::default(),
            chrf: ChrfConfig::default(),
            ter: TerConfig::default(),
            rouge: RougeConfig::default(),
            normalization: Normalization::default(),
            numeric: NumericResult::default(),
            average: Average::default(),
            positive: None,
            classes: Vec::new(),
            multi_class: MultiClass::default(),
            top_k: 5,
            entities: EntityConfig::default(),
            ngram: None,
            bootstrap: None,
        }
    }
}

/// A metric of a file, and how it was computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// The metric's name.
    pub metric: String,
    /// Which values are better.
    pub direction: Direction,
    /// Which values there are.
    pub range: Range,
    /// The value.
    pub value: f64,
    /// Rows of the file.
    pub items: usize,
    /// The file as it was named.
    pub file: String,
    /// What decides the value beside the file; values of different signatures cannot be compared.
    pub signature: String,
    /// Further values by name, such as precision and recall beside F1.
    pub parts: BTreeMap<String, f64>,
    /// The scores of each class or type of entity.
    pub classes: Vec<ClassScore>,
    /// The scores as a table to print.
    pub table: Option<String>,
    /// An interval, where one was asked for.
    pub interval: Option<Interval>,
}

/// A metric of two files that answer the same items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The metric of the baseline.
    pub baseline: Report,
    /// The metric of the candidate.
    pub candidate: Report,
    /// The difference candidate − baseline, both drawn together.
    pub difference: Interval,
    /// Whether the whole interval lies on one side of 0, and if so whether that is the better one.
    pub verdict: Verdict,
    /// What is left of the quality in percent; null where there is no ratio.
    pub retention: Option<f64>,
    /// The change in percent of the baseline; null where that is 0.
    pub change: Option<f64>,
}

/// What an interval of a difference says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// The candidate is better.
    Better,
    /// The candidate is worse.
    Worse,
    /// The items do not tell.
    Undecided,
}

/// A metric before its report: the value, the way to compute it for other draws of items, and what stands beside it.
struct Prepared<'a> {
    value: f64,
    /// `None` where drawing items with repetition makes no sense.
    statistic: Option<Statistic<'a>>,
    signature: String,
    parts: BTreeMap<String, f64>,
    classes: Vec<ClassScore>,
    table: Option<String>,
}

impl<'a> Prepared<'a> {
    fn new(value: f64, signature: impl Into<String>) -> Self {
        Self {
            value,
            statistic: None,
            signature: signature.into(),
            parts: BTreeMap::new(),
            classes: Vec::new(),
            table: None,
        }
    }

    /// A mean over items.
    fn mean(values: Vec<f64>, signature: impl Into<String>) -> Self {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self::new(mean, signature).drawn(Statistic::mean(values))
    }

    fn drawn(mut self, statistic: Statistic<'a>) -> Self {
        self.statistic = Some(statistic);
        self
    }

    fn with(mut self, parts: &[(&str, f64)]) -> Self {
        self.parts.extend(parts.iter().map(|&(name, value)| (name.to_owned(), value)));
        self
    }
}

/// Computes a metric of a file of predictions.
///
/// [`METRICS`](crate::METRICS) has the names and the fields that each needs:
///
/// | fields | what they hold |
/// |---|---|
/// | `prediction`, `reference` | texts; several references as a list. For `frechet` lists of numbers, of which a row may have one alone |
/// | `prediction`, `label` | classes, or numbers for errors and correlations |
/// | `score`, `label` | a number for the class looked for, or one for each class |
/// | `prediction`, `tags`, `tokens` | tags of a sentence, predicted and true, and its words (may be left out) |
///
/// ```
/// use tenuis_metrics::{Options, compute};
/// let path = std::env::temp_dir().join(format!("tenuis-compute-doc-{}.csv", std::process::id()));
/// std::fs::write(&path, "prediction,label\ncat,cat\ndog,cat\ndog,dog\n")?;
/// let report = compute("accuracy", &path, &Options::default())?;
/// assert_eq!((report.value, report.items), (2.0 / 3.0, 3));
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`MetricError::UnknownMetric`], [`MetricError::File`] for what is wrong with the file, and what the metric says of values.
pub fn compute(name: &str, file: &Path, options: &Options) -> Result<Report, MetricError> {
    let info = metric(name)?;
    let predictions = Predictions::read(file)?;
    let prepared = prepare(info, &predictions, options)?;
    report(info, &predictions, &prepared, options.bootstrap.as_ref())
}

/// Computes a metric of two files that answer the same items in the same order, and the interval of its difference.
///
/// # Errors
/// As [`compute`], [`MetricError::Length`] for different numbers of rows, [`MetricError::DifferentItems`] where a reference,
/// label or sentence is another, and [`MetricError::Undefined`] for a metric whose items cannot be drawn (`frechet`,
/// `distinct`, `self_bleu`).
pub fn compare(
    name: &str,
    baseline: &Path,
    candidate: &Path,
    options: &Options,
) -> Result<Comparison, MetricError> {
    let info = metric(name)?;
    let (a, b) = (Predictions::read(baseline)?, Predictions::read(candidate)?);
    check_items(info, &a, &b, &options.fields)?;
    let (first, second) = (prepare(info, &a, options)?, prepare(info, &b, options)?);
    let config = options.bootstrap.clone().unwrap_or_default();
    let difference = paired_bootstrap(drawable(info, &first)?, drawable(info, &second)?, &config)?;
    let up = info.direction == Direction::HigherIsBetter;
    let verdict = match () {
        () if difference.low > 0.0 => {
            if up {
                Verdict::Better
            } else {
                Verdict::Worse
            }
        }
        () if difference.high < 0.0 => {
            if up {
                Verdict::Worse
            } else {
                Verdict::Better
            }
        }
        () => Verdict::Undecided,
    };
    let retention = retention(info.direction, first.value, second.value).ok();
    let change = change_percent(first.value, second.value).ok();
    Ok(Comparison {
        baseline: report(info, &a, &first, options.bootstrap.as_ref())?,
        candidate: report(info, &b, &second, options.bootstrap.as_ref())?,
        difference,
        verdict,
        retention,
        change,
    })
}

fn report(
    info: &MetricInfo,
    predictions: &Predictions,
    prepared: &Prepared<'_>,
    config: Option<&BootstrapConfig>,
) -> Result<Report, MetricError> {
    let interval = config.map(|config| bootstrap(drawable(info, prepared)?, config)).transpose()?;
    Ok(Report {
        metric: info.name.to_owned(),
        direction: info.direction,
        range: info.range,
        value: prepared.value,
        items: predictions.rows().len(),
        file: predictions.path().display().to_string(),
        signature: prepared.signature.clone(),
        parts: prepared.parts.clone(),
        classes: prepared.classes.clone(),
        table: prepared.table.clone(),
        interval,
    })
}

fn drawable<'p, 'a>(info: &MetricInfo, prepared: &'p Prepared<'a>) -> Result<&'p Statistic<'a>, MetricError> {
    let reason = "its interval: drawing items with repetition changes what it measures";
    prepared.statistic.as_ref().ok_or(MetricError::Undefined { metric: info.name, reason })
}

fn prepare<'a>(
    info: &'static MetricInfo,
    predictions: &'a Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    match info.name {
        "accuracy" | "balanced_accuracy" | "precision" | "recall" | "f1" | "mcc" | "cohen_kappa" => {
            classes::predicted(info.name, predictions, options)
        }
        "roc_auc" | "average_precision" | "log_loss" | "brier" | "top_k_accuracy" => {
            classes::scored(info.name, predictions, options)
        }
        "mse" | "rmse" | "mae" | "r2" | "pearson" | "spearman" | "kendall" => {
            classes::numbers(info.name, predictions, options)
        }
        "entity_precision" | "entity_recall" | "entity_f1" | "token_accuracy" => {
            tags::prepare(info.name, predictions, options)
        }
        "frechet" => features::prepare(predictions, options),
        name => texts::prepare(name, predictions, options),
    }
}

/// Checks that two files ask for the same.
fn check_items(
    info: &'static MetricInfo,
    a: &Predictions,
    b: &Predictions,
    fields: &Fields,
) -> Result<(), MetricError> {
    let (expected, found) = (a.rows().len(), b.rows().len());
    if expected != found {
        let what = "rows of the candidate, which must answer the items of the baseline,";
        return Err(MetricError::Length { metric: info.name, what, expected, found });
    }
    for field in [&fields.reference, &fields.label, &fields.tags, &fields.tokens] {
        let differs = |(a, b): (&crate::predictions::Row, &crate::predictions::Row)| a.differs(b, field);
        if let Some(item) = a.rows().iter().zip(b.rows()).position(differs) {
            let lines = (a.rows()[item].line(), b.rows()[item].line());
            return Err(MetricError::DifferentItems { field: field.clone(), lines });
        }
    }
    Ok(())
}
