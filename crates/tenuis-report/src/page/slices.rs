//! Figures on parts of the data, where a report has them.

use crate::data::Report;
use crate::format::figure;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// The slices of one model.
#[derive(Debug, Serialize)]
pub(super) struct Slices {
    name: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// The slices of every model that has some: a list of objects with a `name`, or an object of objects; their numbers become
/// columns, and of an object inside (such as a perplexity) its `value`.
pub(super) fn slices(report: &Report) -> Vec<Slices> {
    let entries = std::iter::once(&report.baseline).chain(&report.candidates);
    let of = |entry: &crate::data::Entry| {
        let found = parts(entry.quality.as_ref()?.slices.as_ref()?);
        let columns: BTreeSet<&String> =
            found.iter().flat_map(|(_, figures)| figures.iter().map(|f| &f.0)).collect();
        let value = |figures: &[(String, f64)], column: &String| {
            figures.iter().find(|f| f.0 == *column).map_or("–".to_owned(), |f| figure(f.1))
        };
        let row = |(name, figures): &(String, Vec<(String, f64)>)| {
            (name.clone(), columns.iter().map(|column| value(figures, column)).collect())
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        let columns = columns.iter().map(|column| column.replace('_', " ")).collect();
        (!rows.is_empty()).then(|| Slices { name: entry.name.clone(), columns, rows })
    };
    entries.filter_map(of).collect()
}

fn parts(value: &Value) -> Vec<(String, Vec<(String, f64)>)> {
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
