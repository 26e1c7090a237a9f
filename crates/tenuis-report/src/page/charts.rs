//! Which charts a report has.

use crate::chart::{Bar, Point, Range, Scale, Scatter, Unit, bars, ranges};
use crate::compare::{Facts, Pace, decode_seconds, divergence, file_bytes, peak, perplexity};
use crate::data::{Entry, Report};
use crate::format::{bytes, figure, seconds};
use serde::Serialize;

/// Divergences below this, in nats, are the rounding of floats and drawn as this.
pub(super) const KL_FLOOR: f64 = 1e-6;

/// A chart with its heading.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) svg: String,
}

/// Takes a figure out of an entry, where it has it.
type Figure = fn(&Entry) -> Option<f64>;
/// Writes a figure.
type Words = fn(f64) -> String;

struct Quality {
    name: &'static str,
    short: &'static str,
    of: Figure,
    unit: Unit,
    floor: Option<f64>,
}

const DIVERGENCE: Quality = Quality {
    name: "KL to the baseline",
    short: "KL",
    of: divergence,
    unit: Unit::Plain("nats"),
    floor: Some(KL_FLOOR),
};
const PERPLEXITY: Quality =
    Quality { name: "perplexity", short: "Perplexity", of: perplexity, unit: Unit::Plain(""), floor: None };

/// Quality against size, decode latency and peak memory, as far as there are two models that have both.
pub(super) fn scatters(report: &Report) -> Vec<Chart> {
    let measured = |quality: &Quality| report.candidates.iter().any(|entry| (quality.of)(entry).is_some());
    let Some(quality) = [DIVERGENCE, PERPLEXITY].into_iter().find(measured) else { return Vec::new() };
    let costs: [(&str, Figure, Unit, Words); 3] = [
        ("size", file_bytes, Unit::Bytes, bytes),
        ("time per decoded token", decode_seconds, Unit::Seconds, seconds),
        ("peak memory", peak, Unit::Bytes, bytes),
    ];
    costs
        .into_iter()
        .filter_map(|(name, of, unit, text)| scatter(report, &quality, name, of, unit, text))
        .collect()
}

fn scatter(
    report: &Report,
    quality: &Quality,
    name: &str,
    of: Figure,
    unit: Unit,
    text: Words,
) -> Option<Chart> {
    let point = |(index, entry): (usize, &Entry)| {
        let (x, y) = of(entry).zip((quality.of)(entry))?;
        Some(Point {
            name: entry.name.clone(),
            x,
            y: quality.floor.map_or(y, |floor| y.max(floor)),
            detail: format!("{name} {}, {} {}", text(x), quality.name, figure(y)),
            baseline: index == 0,
        })
    };
    let entries = std::iter::once(&report.baseline).chain(&report.candidates);
    let points: Vec<Point> = entries.enumerate().filter_map(point).collect();
    if points.len() < 2 {
        return None;
    }
    let axis = |values: Vec<f64>, name, unit, floor| Scale::fit(&values, name, unit, floor);
    let title = format!("{} against {name}", quality.short);
    let x = axis(points.iter().map(|p| p.x).collect(), name, unit, None)?;
    let y = axis(points.iter().map(|p| p.y).collect(), quality.name, quality.unit, quality.floor)?;
    Some(Chart { svg: Scatter { title: title.clone(), x, y, points }.svg(), title })
}

/// The changes of every candidate, on one scale.
pub(super) fn changes(report: &Report, facts: &[Facts]) -> Vec<Chart> {
    let rows: Vec<Vec<Bar>> = facts.iter().map(change_bars).collect();
    let most = rows.iter().flatten().filter_map(|bar| bar.change).map(f64::abs).fold(10.0, f64::max);
    let draw = |(candidate, rows): (&Entry, &Vec<Bar>)| {
        let title = candidate.name.clone();
        let svg = bars(&format!("Changes of {title} in percent, less is better"), rows, most);
        Chart { title, svg }
    };
    report.candidates.iter().zip(&rows).map(draw).collect()
}

fn change_bars(facts: &Facts) -> Vec<Bar> {
    let sure = |label, change| Bar { label, change, clear: true };
    let timed = |label, pace: Option<Pace>| {
        let clear = pace.is_some_and(|pace| pace.clear != Some(false));
        Bar { label, change: pace.map(|pace| pace.change), clear }
    };
    vec![
        sure("bytes", facts.size_change()),
        sure("perplexity", facts.perplexity_change),
        timed("decode latency", facts.decode),
        timed("prefill latency", facts.prefill),
        sure("peak memory", facts.memory_change()),
    ]
}

/// Latencies of decoding and of the prefill.
pub(super) fn latencies(report: &Report) -> Vec<Chart> {
    type Pick = fn(&crate::data::Speed) -> Option<crate::data::Distribution>;
    let kinds: [(&str, Pick); 3] = [
        ("Decoding step", |s| s.decode_step_seconds),
        ("Prefill of the prompt", |s| s.prefill_seconds),
        ("Whole generation", |s| s.latency_seconds),
    ];
    let chart = |(title, pick): (&str, Pick)| {
        let entries = std::iter::once(&report.baseline).chain(&report.candidates);
        let row = |entry: &Entry| {
            Some(Range { name: entry.name.clone(), seconds: entry.speed.as_ref().and_then(pick)? })
        };
        let rows: Vec<Range> = entries.filter_map(row).collect();
        Some(Chart { title: title.to_owned(), svg: ranges(title, &rows)? })
    };
    kinds.into_iter().filter_map(chart).collect()
}
