//! What one must know before and after the figures.

use super::{Paper, Tone};
use crate::data::{Entry, Report};
use crate::format::figure;
use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// Says above everything else that the machine was not quiet.
pub(super) fn alarm(paper: &mut Paper, report: &Report) {
    let noise = report.machine.as_ref().and_then(|machine| machine.noise.as_ref());
    let Some(reasons) = noise.and_then(|noise| noise.noisy.as_ref()) else { return };
    let words =
        "The machine was not quiet while speed was measured: take every time with care, and measure again.";
    paper.wrapped("", "", &[(Tone::Warning, words.to_owned())]);
    for reason in reasons {
        paper.wrapped("  - ", "    ", &[(Tone::Plain, reason.clone())]);
    }
    paper.blank();
}

/// What was not measured, what it cost, and what the report warns of.
pub(super) fn notes(paper: &mut Paper, report: &Report, verdict: &Verdict) {
    let mut notes: Vec<(Tone, String)> = Vec::new();
    notes.extend(report.warnings.iter().map(|warning| (Tone::Warning, format!("Warning: {warning}"))));
    notes.extend(overloads(report));
    notes.extend(energy(report).into_iter().map(|text| (Tone::Plain, text)));
    notes.extend(costs(report).map(|text| (Tone::Plain, text)));
    notes.extend(verdict.missing.iter().map(|text| (Tone::Plain, text.clone())));
    if notes.is_empty() {
        return;
    }
    paper.heading("Notes");
    for note in notes {
        paper.wrapped("- ", "  ", &[note]);
    }
}

fn models(report: &Report) -> impl Iterator<Item = &Entry> {
    std::iter::once(&report.baseline).chain(&report.candidates)
}

fn overloads(report: &Report) -> Vec<(Tone, String)> {
    let mut by_kind: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
    for entry in models(report) {
        for (kind, found) in entry.speed.iter().flat_map(|speed| &speed.load) {
            if found.load.is_overloaded() {
                by_kind.entry(kind).or_default().push(&entry.name);
            }
        }
    }
    let told = |(kind, names): (&String, Vec<&str>)| {
        (Tone::Warning, format!("Overload under {kind} arrivals: {}.", names.join(", ")))
    };
    by_kind.into_iter().map(told).collect()
}

/// Joules per token of the models that have them, and why the others have none.
fn energy(report: &Report) -> Vec<String> {
    let mut measured = Vec::new();
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for entry in models(report) {
        let Some(speed) = entry.speed.as_ref() else { continue };
        match (speed.joules_per_token, speed.energy.as_ref()) {
            (Some(joules), _) => measured.push(format!("{} {} J", entry.name, figure(joules))),
            (None, Some(energy)) => {
                let reason = energy.reason.clone().unwrap_or_else(|| "no reason was recorded".to_owned());
                reasons.entry(reason).or_default().push(&entry.name);
            }
            (None, None) => {}
        }
    }
    let mut lines = Vec::new();
    if !measured.is_empty() {
        lines.push(format!("Energy per token: {}.", measured.join(", ")));
    }
    lines.extend(
        reasons
            .into_iter()
            .map(|(reason, names)| format!("Energy of {} unavailable: {reason}.", names.join(", "))),
    );
    lines
}

fn costs(report: &Report) -> Option<String> {
    let cost = |entry: &Entry| {
        let cost = entry.cost.as_ref()?;
        let currency = cost.currency.clone().unwrap_or_default();
        let words = cost
            .per_million_tokens
            .map_or("undecided".to_owned(), |value| format!("{} {currency}", figure(value)));
        Some(format!("{} {}", entry.name, words.trim_end()))
    };
    let all: Vec<String> = models(report).filter_map(cost).collect();
    (!all.is_empty()).then(|| format!("A million tokens cost: {}.", all.join(", ")))
}
