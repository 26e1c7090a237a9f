//! Figures on parts of the data, where a report has them: a damaged tail shows here first.

use super::section::{Cell, Matrix, Row, Section, models};
use crate::data::{Entry, Report};
use crate::format::{change, figure, points, share};
use serde_json::Value;
use std::collections::BTreeSet;
use tenuis_metrics::change_percent;

/// A part's name and its figures.
type Slice = (String, Vec<(String, f64)>);

/// Slices of the text and of the tasks, models side by side, with all figures folded away below.
pub(super) fn section(report: &Report) -> Option<Section> {
    let mut section = Section::new(
        "slices",
        "Slices of the data",
        "Parts that lose more than the whole are where damage hides. The longer the bar, the larger the loss.",
    );
    section.matrices.extend(text(report));
    section.matrices.extend(tasks(report));
    section.more = models(report).filter_map(all).collect();
    section.unless_empty()
}

/// The divergence on every part of the text, with perplexity and agreement.
fn text(report: &Report) -> Option<Matrix> {
    let of = |entry: &Entry| entry.quality.as_ref().and_then(|q| q.slices.as_ref()).map_or(Vec::new(), parts);
    let base = of(&report.baseline);
    let own: Vec<Vec<Slice>> = report.candidates.iter().map(of).collect();
    let most = own.iter().flatten().filter_map(|slice| number(slice, "kl_mean")).fold(0.0, f64::max);
    let cell = |slices: &[Slice], name: &str| {
        let Some(slice) = find(slices, name) else { return Cell::missing() };
        let own = number(slice, "perplexity");
        let from = find(&base, name).and_then(|slice| number(slice, "perplexity"));
        let moved = from.zip(own).and_then(|(from, to)| change_percent(from, to).ok());
        let moved = moved.map(|moved| format!("perplexity {}", change(moved)));
        let agrees = number(slice, "top1_agreement").map(|part| format!("{} agree", share(part)));
        let Some(kl) = number(slice, "kl_mean") else { return Cell::missing() };
        // A square root, so that parts that lose little still differ.
        let level = if most > 0.0 { (kl / most).max(0.0).sqrt() } else { 0.0 };
        Cell::of(Some(kl), figure).detail(super::gains::lines([moved, agrees])).bar(level)
    };
    let rows = in_order(own.iter().flatten())
        .into_iter()
        .map(|name| Row { cells: own.iter().map(|slices| cell(slices, &name)).collect(), label: name });
    let caption = "Large figure: mean KL to the baseline in nats. The bar is its square root beside the largest of all. The hardest \
                   quarter holds what the baseline itself found least likely.";
    let matrix =
        Matrix::of_models("Text", caption, "Part of the text", report.candidates.iter(), rows.collect());
    matrix.map(|matrix| Matrix { sortable: true, ..matrix })
}

/// The scores on every part of every task.
fn tasks(report: &Report) -> Vec<Matrix> {
    let named = |entry: &Entry, name: &str| {
        let slices = entry.quality.as_ref()?.tasks.get(name)?.slices.as_ref()?;
        Some(parts(slices))
    };
    let tasks: BTreeSet<&String> =
        models(report).filter_map(|entry| entry.quality.as_ref()).flat_map(|q| q.tasks.keys()).collect();
    let table = |task: &String| {
        let all: Vec<Vec<Slice>> =
            models(report).map(|entry| named(entry, task).unwrap_or_default()).collect();
        let base = all.first()?;
        let cell = |index: usize, slices: &[Slice], name: &str| {
            let Some(value) = find(slices, name).and_then(|slice| number(slice, "value")) else {
                return Cell::missing();
            };
            let items = find(slices, name).and_then(|slice| number(slice, "items"));
            if index == 0 {
                return Cell::of(Some(value), share)
                    .detail(items.map_or(String::new(), |n| format!("{n} items")));
            }
            let Some(from) = find(base, name).and_then(|slice| number(slice, "value")) else {
                return Cell::of(Some(value), share);
            };
            let lost = (from - value).max(0.0);
            Cell::of(Some(value), share).detail(points(value - from)).bar(if from > 0.0 {
                lost / from
            } else {
                0.0
            })
        };
        let rows = in_order(all.iter().flatten()).into_iter().map(|name| Row {
            cells: all.iter().enumerate().map(|(i, slices)| cell(i, slices, &name)).collect(),
            label: name,
        });
        let caption = "Scores; below them the difference to the baseline. The bar is the share of the baseline's score that is lost.";
        let title = format!("Task {task}");
        let matrix = Matrix::of_models(&title, caption, "Part of the task", models(report), rows.collect())?;
        Some(Matrix { sortable: true, ..matrix })
    };
    tasks.into_iter().filter_map(table).collect()
}

/// All figures of a model's slices as they are: numbers become columns.
fn all(entry: &Entry) -> Option<Matrix> {
    let found = parts(entry.quality.as_ref()?.slices.as_ref()?);
    let columns: BTreeSet<&String> =
        found.iter().flat_map(|(_, figures)| figures.iter().map(|f| &f.0)).collect();
    let rows: Vec<Row> = found
        .iter()
        .map(|slice| Row {
            label: slice.0.clone(),
            cells: columns.iter().map(|column| Cell::of(number(slice, column), figure)).collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Matrix {
        title: entry.name.clone(),
        caption: String::new(),
        corner: "Slice",
        columns: columns.iter().map(|column| column.replace('_', " ")).collect(),
        rows,
        sortable: true,
    })
}

/// Names in the order in which they first stand.
fn in_order<'a>(slices: impl Iterator<Item = &'a Slice>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in slices {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn find<'a>(slices: &'a [Slice], name: &str) -> Option<&'a Slice> {
    slices.iter().find(|slice| slice.0 == name)
}

fn number(slice: &Slice, figure: &str) -> Option<f64> {
    slice.1.iter().find(|(name, _)| name == figure).map(|(_, value)| *value)
}

/// A list of objects with a `name`, or an object of objects; of an object inside (such as a perplexity) its `value`.
fn parts(value: &Value) -> Vec<Slice> {
    let named = |item: &Value| Some((item.get("name")?.as_str()?.to_owned(), figures(item)));
    match value {
        Value::Array(items) => items.iter().filter_map(named).collect(),
        Value::Object(fields) => fields.iter().map(|(name, item)| (name.clone(), figures(item))).collect(),
        _ => Vec::new(),
    }
}

fn figures(item: &Value) -> Vec<(String, f64)> {
    let Value::Object(fields) = item else {
        return item.as_f64().map(|value| ("value".to_owned(), value)).into_iter().collect();
    };
    let number = |(name, value): (&String, &Value)| {
        Some((name.clone(), value.as_f64().or_else(|| value.get("value")?.as_f64())?))
    };
    fields.iter().filter_map(number).collect()
}
