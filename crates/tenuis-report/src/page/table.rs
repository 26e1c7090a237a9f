//! The comparison: a row per model, a column per quantity.

use crate::compare::{Facts, bits_per_weight, decode_seconds, divergence, file_bytes, peak, perplexity};
use crate::data::{Distribution, Entry, Report};
use crate::format::{bytes, change, count, figure, percent, ratio, seconds, share};
use crate::front;
use crate::verdict::{Grade, score};
use serde::Serialize;
use std::collections::BTreeSet;
use tenuis_metrics::Direction::LowerIsBetter;
use tenuis_metrics::efficiency;

/// A table.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Headings with what each means.
    pub(super) columns: Vec<(String, String)>,
    /// Rows, the baseline first.
    pub(super) rows: Vec<Row>,
    /// Which quantities decide on the front.
    pub(super) objectives: Vec<&'static str>,
}

/// A model.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) baseline: bool,
    pub(super) dominated: bool,
    pub(super) cells: Vec<Cell>,
}

/// A cell: what it says and what it is sorted by.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    text: String,
    sort: Option<f64>,
}

/// What the front is made of: a name, and the figure of an entry.
type Objective = (&'static str, fn(&Entry) -> Option<f64>);

/// What the front is made of; the first of quality that every model has, and every cost that every model has.
pub(super) fn objectives(report: &Report) -> Vec<Objective> {
    let everywhere = |pick: fn(&Entry) -> Option<f64>| entries(report).all(|entry| pick(entry).is_some());
    let quality: [Objective; 2] = [("KL", kl), ("perplexity", perplexity)];
    let costs: [Objective; 3] =
        [("bytes", file_bytes), ("decode latency", decode_seconds), ("peak memory", peak)];
    let quality = quality.into_iter().find(|(_, pick)| everywhere(*pick));
    quality.into_iter().chain(costs.into_iter().filter(|(_, pick)| everywhere(*pick))).collect()
}

fn kl(entry: &Entry) -> Option<f64> {
    divergence(entry).map(|kl| kl.max(super::charts::KL_FLOOR))
}

fn entries(report: &Report) -> impl Iterator<Item = &Entry> {
    std::iter::once(&report.baseline).chain(&report.candidates)
}

pub(super) fn table(report: &Report, facts: &[Facts]) -> Table {
    let objectives = objectives(report);
    let value = |entry| objectives.iter().map(|(_, pick)| pick(entry).unwrap_or(f64::INFINITY)).collect();
    let points: Vec<Vec<f64>> = entries(report).map(value).collect();
    let directions = vec![LowerIsBetter; objectives.len()];
    let on_front = front(&points, &directions).unwrap_or_else(|_| vec![true; points.len()]);
    let tasks: BTreeSet<&String> =
        entries(report).filter_map(|entry| entry.quality.as_ref()).flat_map(|q| q.tasks.keys()).collect();
    let own = Facts::of(&report.baseline, &report.baseline);
    let rows = entries(report).zip(std::iter::once(&own).chain(facts)).zip(&on_front).enumerate();
    let rows = rows.map(|(index, ((entry, facts), on))| Row {
        name: entry.name.clone(),
        baseline: index == 0,
        dominated: !on,
        cells: cells(report, entry, facts, &tasks, *on),
    });
    Table {
        rows: rows.collect(),
        columns: columns(&tasks),
        objectives: objectives.iter().map(|o| o.0).collect(),
    }
}

fn columns(tasks: &BTreeSet<&String>) -> Vec<(String, String)> {
    let column = |name: &str, meaning: &str| (name.to_owned(), meaning.to_owned());
    let mut columns = vec![
        column("Size", "bytes of the weight files"),
        column("Ratio", "baseline's bytes ÷ the model's: larger is smaller"),
        column("Fraction", "the model's bytes ÷ the baseline's"),
        column("Bits/weight", "stored bits per weight, scales included"),
        column("Loss", "the worst grade of what was measured"),
        column("Perplexity", "exp(mean NLL), lower is better"),
        column("Kept", "baseline's perplexity ÷ the model's, in percent"),
        column("Change", "change of the perplexity"),
        column("KL", "mean KL to the baseline in nats, lower is better"),
        column("Top-1", "predictions that agree with the baseline's"),
    ];
    columns.extend(tasks.iter().map(|name| column(name, "score of the task, higher is better")));
    columns.extend([
        column("Decode", "median time of a decoding step"),
        column("Change", "change of the time of a decoding step"),
        column("Prefill", "median time of a prefill"),
        column("Change", "change of the time of a prefill"),
        column("Peak memory", "beyond an empty process"),
        column("Change", "change of the peak memory"),
        column("Efficiency", "perplexity kept ÷ fraction of the bytes, in percent; the baseline has 100"),
        column("Score", "weighted score of what was measured, 0 to 1; the baseline has 0.5"),
        column("Front", "whether no other model is as good in everything and better in something"),
    ]);
    columns
}

fn cells(
    report: &Report,
    entry: &Entry,
    facts: &Facts,
    tasks: &BTreeSet<&String>,
    on_front: bool,
) -> Vec<Cell> {
    let baseline = std::ptr::eq(entry, &raw const report.baseline);
    let quality = entry.quality.as_ref();
    let speed = |pick: fn(&crate::data::Speed) -> Option<&Distribution>| {
        entry.speed.as_ref().and_then(pick).and_then(|distribution| distribution.median)
    };
    let grade = Grade::of(facts);
    let loss = format!("{grade:?}").to_lowercase();
    let loss = if baseline { dash() } else { Cell { text: loss, sort: Some(f64::from(grade as u8)) } };
    let change_of = |value: Option<f64>| if baseline { dash() } else { cell(value, change) };
    let worth = facts.retention.zip(facts.fraction).and_then(|(kept, part)| efficiency(kept, part).ok());
    let mut cells = vec![
        cell(Some(entry.size.bytes as f64), bytes),
        cell(facts.ratio, ratio),
        cell(facts.fraction, share),
        cell(bits_per_weight(entry), |bits| format!("{bits:.2}")),
        loss,
        cell(perplexity(entry), crate::format::perplexity),
        cell(facts.retention, percent),
        change_of(facts.perplexity_change),
        cell(quality.and_then(|q| q.kl_mean), figure),
        cell(quality.and_then(|q| q.top1_agreement), share),
    ];
    let task =
        |name: &&String| cell(quality.and_then(|q| q.tasks.get(*name)).and_then(|task| task.value), share);
    cells.extend(tasks.iter().map(task));
    cells.extend([
        cell(speed(|s| s.decode_step_seconds.as_ref()), seconds),
        change_of(facts.decode.map(|pace| pace.change)),
        cell(speed(|s| s.prefill_seconds.as_ref()), seconds),
        change_of(facts.prefill.map(|pace| pace.change)),
        cell(peak(entry), bytes),
        change_of(facts.memory_change()),
        cell(worth, |value| format!("{}\u{a0}%", count(value))),
        cell(score(report, facts), |value| format!("{value:.3}")),
        Cell {
            text: if on_front { "yes" } else { "dominated" }.to_owned(),
            sort: Some(f64::from(u8::from(!on_front))),
        },
    ]);
    cells
}

fn cell(value: Option<f64>, text: impl Fn(f64) -> String) -> Cell {
    value.map_or_else(dash, |value| Cell { text: text(value), sort: Some(value) })
}

fn dash() -> Cell {
    Cell { text: "–".to_owned(), sort: None }
}
