//! Robustness of the predictions, speed at other sizes, and latency under load.

use super::charts::Chart;
use super::gains::lines;
use super::section::{Cell, Matrix, Row, Section, models, row};
use crate::chart::{Range, ranges};
use crate::data::{Entry, Load, LoadResult, Report, SweepPoint};
use crate::format::{change, figure, perplexity, rate, seconds, share};
use std::collections::BTreeSet;
use tenuis_metrics::change_percent;

pub(super) fn robustness(report: &Report) -> Option<Section> {
    let of =
        |entry: &Entry| entry.quality.as_ref().map(|quality| quality.robustness.clone()).unwrap_or_default();
    let names: BTreeSet<String> = models(report).flat_map(|entry| of(entry).into_keys()).collect();
    let base = of(&report.baseline);
    let rows = names.into_iter().map(|name| {
        let from = base.get(&name).and_then(|found| found.value);
        row(name.replace('_', " "), models(report), |entry| {
            let Some(found) = of(entry).remove(&name) else { return Cell::missing() };
            let own = !std::ptr::eq(entry, &raw const report.baseline);
            let moved = from.zip(found.value).filter(|_| own).and_then(|(a, b)| change_percent(a, b).ok());
            let spread = found.spread.and_then(|spread| Some((spread.sd?, spread.count?)));
            let spread = spread.map(|(sd, runs)| format!("± {} over {runs} runs", figure(sd)));
            let kl = found.kl_mean.filter(|_| own).map(|kl| format!("KL {}", figure(kl)));
            Cell::of(found.value, perplexity).detail(lines([moved.map(change), kl, spread]))
        })
    });
    let caption = "Perplexity on harder text; below it the change against the baseline on the same text, and the mean KL to it in nats.";
    let matrix = Matrix::of_models("", caption, "Text", models(report), rows.collect())?;
    let mut section = Section::new("robustness", "On harder text", "");
    section.matrices.push(matrix);
    Some(section)
}

/// Tokens per second by batch size and length, a table per model, on one scale of colour.
pub(super) fn sweep(report: &Report) -> Option<Section> {
    let sweep = |entry: &'_ Entry| entry.speed.as_ref().and_then(|speed| speed.sweep.clone());
    let rate_of =
        |row: &crate::data::SweepRow| row.result.decode_tokens_per_s.or(row.result.prefill_tokens_per_s);
    let most =
        models(report).filter_map(sweep).flat_map(|s| s.rows).filter_map(|r| rate_of(&r)).fold(0.0, f64::max);
    let table = |entry: &Entry| {
        let found = sweep(entry)?;
        let points = || found.rows.iter().map(|r| r.point).chain(found.skipped.iter().map(|s| s.point));
        let batches: BTreeSet<u64> = points().map(|point| point.batch_size).collect();
        let lengths: BTreeSet<u64> = points().map(|point| point.sequence_length).collect();
        let cell = |batch_size, sequence_length| {
            let point = SweepPoint { batch_size, sequence_length };
            if let Some(row) = found.rows.iter().find(|row| row.point == point) {
                let value = rate_of(row);
                let prefill = row.result.prefill_tokens_per_s.map(|value| format!("prefill {}", rate(value)));
                let cell = Cell::of(value, rate).detail(prefill.unwrap_or_default());
                return value.map_or(cell.clone(), |value| cell.heat(value / most));
            }
            let skipped = found.skipped.iter().any(|skipped| skipped.point == point);
            if skipped { Cell::missing().detail("left out") } else { Cell::missing() }
        };
        let rows: Vec<Row> = batches
            .iter()
            .map(|batch| Row {
                label: batch.to_string(),
                cells: lengths.iter().map(|length| cell(*batch, *length)).collect(),
            })
            .collect();
        let reasons: BTreeSet<String> =
            found.skipped.iter().filter_map(|skipped| skipped.reason.clone()).collect();
        let reasons: Vec<String> = reasons.into_iter().take(3).collect();
        let caption =
            if reasons.is_empty() { String::new() } else { format!("Left out: {}.", reasons.join("; ")) };
        (!rows.is_empty()).then(|| Matrix {
            title: entry.name.clone(),
            caption,
            corner: "Batch",
            columns: lengths.iter().map(|length| format!("{length} tokens")).collect(),
            rows,
            sortable: false,
        })
    };
    let mut section = Section::new(
        "sweep",
        "Throughput by batch and length",
        "Tokens per second of all sequences together while decoding, by the length of the prompt; stronger colour is faster, on one \
         scale for all models.",
    );
    section.matrices = models(report).filter_map(table).collect();
    section.unless_empty()
}

/// What arrivals are called.
fn arrivals(name: &str) -> &str {
    match name {
        "steady" => "Steady arrivals",
        "poisson" => "Random arrivals (Poisson)",
        "bursty" => "Arrivals in bursts",
        other => other,
    }
}

pub(super) fn load(report: &Report) -> Option<Section> {
    let of = |entry: &'_ Entry, name: &str| -> Option<LoadResult> {
        entry.speed.as_ref()?.load.get(name).cloned()
    };
    let names: BTreeSet<&String> =
        models(report).filter_map(|entry| entry.speed.as_ref()).flat_map(|speed| speed.load.keys()).collect();
    let mut names: Vec<&String> = names.into_iter().collect();
    let place =
        |name: &String| ["steady", "poisson", "bursty"].iter().position(|known| known == name).unwrap_or(3);
    names.sort_by_key(|name| place(name));
    let mut section = Section::new(
        "load",
        "Latency under load",
        "From when a request was to come to its answer, waiting included. Above a utilisation of about 80 % waiting grows fast; where \
         the queue grows, figures depend on how long one measures.",
    );
    let mut rows = Vec::new();
    for name in names {
        let range =
            |entry: &Entry| Some(Range { name: entry.name.clone(), seconds: of(entry, name)?.load.latency? });
        let all: Vec<Range> = models(report).filter_map(range).collect();
        let title = arrivals(name).to_owned();
        section.charts.extend(ranges(&title, &all).map(|svg| Chart { title, svg }));
        rows.push(row(arrivals(name), models(report), |entry| {
            of(entry, name).map_or_else(Cell::missing, |found| loaded(&found.load))
        }));
        let over = |entry: &&Entry| of(entry, name).is_some_and(|found| found.load.is_overloaded());
        let over: Vec<&Entry> = models(report).filter(over).collect();
        if let Some(first) = over.first() {
            let rate = of(first, name).and_then(|found| found.arrivals?.per_second);
            let rate = rate.map_or(String::new(), |rate| format!(" at {} requests per second", figure(rate)));
            let names: Vec<&str> = over.iter().map(|entry| entry.name.as_str()).collect();
            section.notes.push(format!(
                "{}{rate} are more than these can serve: {}.",
                arrivals(name),
                names.join(", ")
            ));
        }
    }
    let caption = "Large figure: 99th percentile of the latency. Below it: median, share of the time that the model was busy, and answers \
                   per second.";
    section.matrices.extend(Matrix::of_models("", caption, "Arrivals", models(report), rows));
    section.unless_empty()
}

fn loaded(load: &Load) -> Cell {
    let (p99, median) = load.latency.map_or((None, None), |latency| (latency.p99, latency.median));
    let median = median.map(|value| format!("median {}", seconds(value)));
    let busy = load.utilisation.map(|busy| format!("{} busy", share(busy)));
    let served = load.throughput_per_second.map(|served| format!("{} answers/s", figure(served)));
    let over = load.is_overloaded();
    let grows = load.queue.as_ref().and_then(|queue| queue.seconds_per_second);
    let grows = grows.map(|each| format!(", each second adds {}", seconds(each)));
    let over_words = over.then(|| format!("overload{}", grows.unwrap_or_default()));
    Cell::of(p99, seconds)
        .tone(if over { "bad" } else { "even" })
        .detail(lines([median, busy, served, over_words]))
}
