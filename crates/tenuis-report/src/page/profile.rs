//! Where a generation spends its time.

use super::gains::lines;
use super::section::{Cell, Matrix, Row, Section, models, row};
use crate::data::{Entry, Operation, Profile, Report, SpeedProfile};
use crate::format::{seconds, share};
use std::collections::BTreeMap;

/// Giga.
const GIGA: f64 = 1e9;

/// Time by operation, a row each and a model per column: one table of decoding, one of the prefill.
pub(super) fn profile(report: &Report) -> Option<Section> {
    let mut section = Section::new(
        "profile",
        "Where time goes",
        "The share of each operation in a pass, measured apart from the speeds; below it its time, the bytes that it has to move at least, and \
         the operations that it does, both per second. Weights stand once per call, however often the caches have them.",
    );
    let parts: [(&str, Part); 2] =
        [("Decoding", |profile| profile.decode.as_ref()), ("Prefill", |profile| profile.prefill.as_ref())];
    section.matrices = parts.into_iter().filter_map(|(title, of)| table(report, title, of)).collect();
    section.unless_empty()
}

/// A part of a generation.
type Part = fn(&SpeedProfile) -> Option<&Profile>;

fn table(report: &Report, title: &str, of: Part) -> Option<Matrix> {
    let find = |entry: &Entry| entry.speed.as_ref().and_then(|speed| of(speed.profile.as_ref()?).cloned());
    // The slowest first, by what it takes of all models together.
    let mut totals: BTreeMap<String, f64> = BTreeMap::new();
    for profile in models(report).filter_map(find) {
        let whole = profile.seconds.filter(|whole| *whole > 0.0)?;
        for operation in profile.operations {
            *totals.entry(operation.name).or_default() += operation.seconds.unwrap_or_default() / whole;
        }
    }
    let mut names: Vec<(String, f64)> = totals.into_iter().collect();
    names.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut rows: Vec<Row> = names
        .iter()
        .map(|(name, _)| {
            row(name.replace('_', " "), models(report), |entry| {
                let Some(profile) = find(entry) else { return Cell::missing() };
                let whole = profile.seconds.unwrap_or_default();
                let calls: Vec<&Operation> = profile.operations.iter().filter(|o| o.name == *name).collect();
                cell(&calls, whole)
            })
        })
        .collect();
    rows.push(row("between operations", models(report), |entry| {
        let profile = find(entry);
        let rest = profile.and_then(|profile| {
            let whole = profile.seconds.filter(|whole| *whole > 0.0)?;
            let known: f64 = profile.operations.iter().filter_map(|o| o.seconds).sum();
            Some((whole - known).max(0.0) / whole)
        });
        Cell::of(rest, share).part(rest.unwrap_or_default())
    }));
    Matrix::of_models(title, "", "Operation", models(report), rows)
}

fn cell(calls: &[&Operation], whole: f64) -> Cell {
    let sum = |of: fn(&Operation) -> Option<f64>| calls.iter().filter_map(|o| of(o)).sum::<f64>();
    let (took, bytes, flops) = (sum(|o| o.seconds), sum(|o| o.bytes), sum(|o| o.flops));
    if calls.is_empty() || took <= 0.0 || whole <= 0.0 {
        return Cell::missing();
    }
    let per_second =
        |amount: f64, unit: &str| (amount > 0.0).then(|| format!("{:.1} {unit}/s", amount / took / GIGA));
    Cell::of(Some(took / whole), share).part(took / whole).detail(lines([
        Some(seconds(took)),
        per_second(bytes, "GB"),
        per_second(flops, "GFLOP"),
    ]))
}
