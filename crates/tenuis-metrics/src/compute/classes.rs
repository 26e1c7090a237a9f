//! Metrics of classes, scores and numbers.

use super::{Options, Prepared};
use crate::bootstrap::Statistic;
use crate::classification::{
    ClassScores, Confusion, average_precision, brier, log_loss, roc_auc, roc_auc_multiclass, top_k_accuracy,
};
use crate::correlation::{kendall, pearson, regression, spearman};
use crate::error::MetricError;
use crate::predictions::{FieldProblem, Predictions};
use crate::rouge::PrecisionRecall;
use std::collections::BTreeSet;

pub(super) fn predicted<'a>(
    name: &'static str,
    predictions: &'a Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let column =
        |field: &str| predictions.rows().iter().map(|row| row.class(field)).collect::<Result<Vec<_>, _>>();
    let labels = column(&options.fields.label)?;
    let found = column(&options.fields.prediction)?;
    let confusion = Confusion::of(&labels, &found)?;
    let value = of_confusion(name, &confusion, options)?;
    let signature = match (&options.positive, name) {
        (Some(class), "precision" | "recall" | "f1") => format!("class:{class}"),
        (None, "precision" | "recall" | "f1") => format!("average:{:?}", options.average).to_lowercase(),
        _ => String::new(),
    };
    let mut prepared = Prepared::new(value, signature);
    if matches!(name, "precision" | "recall" | "f1") {
        let scores = prf(&confusion, options)?;
        prepared =
            prepared.with(&[("precision", scores.precision), ("recall", scores.recall), ("f1", scores.f1)]);
    }
    prepared.classes = confusion.per_class();
    prepared.table = Some(table(&confusion));
    let classes = confusion.classes().to_vec();
    let index = |class: &String| classes.iter().position(|known| known == class).unwrap_or_default();
    let pairs: Vec<(usize, usize)> = labels.iter().zip(&found).map(|(l, p)| (index(l), index(p))).collect();
    let drawn = move |items: &[usize]| {
        let confusion = Confusion::of_indices(&classes, items.iter().map(|&item| pairs[item]));
        of_confusion(name, &confusion, options).ok()
    };
    Ok(prepared.drawn(Statistic::new(labels.len(), drawn)))
}

fn of_confusion(name: &str, confusion: &Confusion, options: &Options) -> Result<f64, MetricError> {
    Ok(match name {
        "accuracy" => confusion.accuracy(),
        "balanced_accuracy" => confusion.balanced_accuracy(),
        "mcc" => confusion.matthews(),
        "cohen_kappa" => confusion.kappa()?,
        "precision" => prf(confusion, options)?.precision,
        "recall" => prf(confusion, options)?.recall,
        _ => prf(confusion, options)?.f1,
    })
}

fn prf(confusion: &Confusion, options: &Options) -> Result<PrecisionRecall, MetricError> {
    match &options.positive {
        Some(class) => Ok(confusion.of_class(class)?.scores),
        None => Ok(confusion.average(options.average)),
    }
}

/// The confusion matrix as text: rows are labels, columns predictions.
fn table(confusion: &Confusion) -> String {
    let classes = confusion.classes();
    let cells = classes.iter().map(|class| class.chars().count());
    let digits = confusion.items().to_string().len();
    let width = cells.chain([digits]).max().unwrap_or_default();
    let padded = |text: &str| format!("{text:>width$}");
    let row = |name: &str, cells: Vec<String>| {
        let cells = [name.to_owned()].into_iter().chain(cells);
        cells.map(|cell| padded(&cell)).collect::<Vec<_>>().join(" ") + "\n"
    };
    let counts = |at: usize| confusion.counts()[at].iter().map(ToString::to_string).collect();
    let rows = classes.iter().enumerate().map(|(at, class)| row(class, counts(at)));
    row("", classes.to_vec()) + &rows.collect::<String>()
}

pub(super) fn scored<'a>(
    name: &'static str,
    predictions: &'a Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let rows = predictions.rows();
    let (mut labels, mut scores) = (Vec::new(), Vec::new());
    for row in rows {
        labels.push(row.class(&options.fields.label)?);
        scores.push(row.numbers(&options.fields.score)?);
        let (expected, found) = (scores[0].len(), scores[scores.len() - 1].len());
        if expected != found {
            let other = format!("that of line {}", rows[0].line());
            let problem = FieldProblem::Count { expected, found, other };
            return Err(row.refused(&options.fields.score, problem).into());
        }
    }
    let width = scores.first().map_or(0, Vec::len);
    if width == 1 && name != "top_k_accuracy" {
        let positive = positive(&labels, options)?;
        let labels: Vec<bool> = labels.iter().map(|label| *label == positive).collect();
        return binary(name, &positive, labels, scores.concat());
    }
    let classes = classes(&labels, width, options)?;
    let joined = classes.join(",");
    let scores = ClassScores::new(classes, &labels, scores.concat())?;
    let score = move |scores: &ClassScores| match name {
        "roc_auc" => roc_auc_multiclass(scores, options.multi_class),
        "log_loss" => log_loss(scores),
        "top_k_accuracy" => top_k_accuracy(scores, options.top_k),
        _ => {
            let value = format!("{} for each row", scores.classes().len());
            Err(MetricError::Config { option: "scores", value, allowed: "one for the class looked for" })
        }
    };
    let signature = match name {
        "top_k_accuracy" => format!("k:{}|classes:{joined}", options.top_k),
        "roc_auc" => format!("average:{:?}|classes:{joined}", options.multi_class).to_lowercase(),
        _ => format!("classes:{joined}"),
    };
    let prepared = Prepared::new(score(&scores)?, signature);
    let drawn = move |items: &[usize]| score(&scores.select(items)).ok();
    Ok(prepared.drawn(Statistic::new(labels.len(), drawn)))
}

fn binary<'a>(
    name: &'static str,
    positive: &str,
    labels: Vec<bool>,
    scores: Vec<f64>,
) -> Result<Prepared<'a>, MetricError> {
    let score = move |labels: &[bool], scores: &[f64]| match name {
        "roc_auc" => roc_auc(labels, scores),
        "average_precision" => average_precision(labels, scores),
        "brier" => brier(labels, scores),
        _ => {
            let names = ["others", "positive"];
            let of: Vec<&str> = labels.iter().map(|&label| names[usize::from(label)]).collect();
            let both = scores.iter().flat_map(|p| [1.0 - p, *p]).collect();
            log_loss(&ClassScores::new(names.map(str::to_owned).to_vec(), &of, both)?)
        }
    };
    let prepared = Prepared::new(score(&labels, &scores)?, format!("class:{positive}"));
    let count = labels.len();
    let drawn = move |items: &[usize]| {
        let labels: Vec<bool> = items.iter().map(|&item| labels[item]).collect();
        let scores: Vec<f64> = items.iter().map(|&item| scores[item]).collect();
        score(&labels, &scores).ok()
    };
    Ok(prepared.drawn(Statistic::new(count, drawn)))
}

/// The class that single scores are for.
fn positive(labels: &[String], options: &Options) -> Result<String, MetricError> {
    let known: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
    let all_of = |names: [&str; 2]| known.iter().all(|label| names.contains(label));
    match &options.positive {
        Some(class) => Ok(class.clone()),
        None if all_of(["0", "1"]) || all_of(["-1", "1"]) => Ok("1".to_owned()),
        None if all_of(["false", "true"]) => Ok("true".to_owned()),
        None => Err(MetricError::Config {
            option: "positive",
            value: format!(
                "not set, and the labels are {}",
                known.into_iter().collect::<Vec<_>>().join(", ")
            ),
            allowed: "the class that scores are for",
        }),
    }
}

/// The classes in the order of lists of scores.
fn classes(labels: &[String], width: usize, options: &Options) -> Result<Vec<String>, MetricError> {
    let mut classes = options.classes.clone();
    if classes.is_empty() {
        classes = labels.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        // Whole numbers in the order of numbers.
        let numbers: Option<Vec<i64>> = classes.iter().map(|class| class.parse().ok()).collect();
        if let Some(mut numbers) = numbers {
            numbers.sort_unstable();
            classes = numbers.iter().map(ToString::to_string).collect();
        }
    }
    if classes.len() == width {
        return Ok(classes);
    }
    let value = format!("{} ({})", classes.len(), classes.join(", "));
    let allowed = "as many as each row has scores, named in their order";
    Err(MetricError::Config { option: "classes", value, allowed })
}

pub(super) fn numbers<'a>(
    name: &'static str,
    predictions: &'a Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let column =
        |field: &str| predictions.rows().iter().map(|row| row.number(field)).collect::<Result<Vec<_>, _>>();
    let labels = column(&options.fields.label)?;
    let found = column(&options.fields.prediction)?;
    let score = move |labels: &[f64], found: &[f64]| {
        Ok(match name {
            "pearson" => pearson(labels, found)?,
            "spearman" => spearman(labels, found)?,
            "kendall" => kendall(labels, found)?,
            "mse" => regression(labels, found)?.mse,
            "rmse" => regression(labels, found)?.mse.sqrt(),
            "mae" => regression(labels, found)?.mae,
            _ => {
                let reason = "all labels are equal";
                regression(labels, found)?.r2.ok_or(MetricError::Undefined { metric: "r2", reason })?
            }
        })
    };
    let prepared = Prepared::new(score(&labels, &found)?, String::new());
    let count = labels.len();
    let drawn = move |items: &[usize]| {
        let pick = |values: &[f64]| items.iter().map(|&item| values[item]).collect::<Vec<f64>>();
        let value: Result<f64, MetricError> = score(&pick(&labels), &pick(&found));
        value.ok()
    };
    Ok(prepared.drawn(Statistic::new(count, drawn)))
}
