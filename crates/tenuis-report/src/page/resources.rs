//! Memory, starts, energy and cost; and the same models on other machines.

use super::charts::Chart;
use super::gains::lines;
use super::section::{Cell, Matrix, Row, Section, models, row};
use crate::chart::{Part, Range, Stack, ranges, stacks};
use crate::compare::peak;
use crate::data::{Cost, Distribution, Elsewhere, Entry, MemorySplit, Report, Speed, Start};
use crate::format::{bytes, figure, rate, seconds, share};
use std::collections::BTreeSet;

pub(super) fn memory(report: &Report) -> Option<Section> {
    let split = |entry: &'_ Entry| entry.memory.as_ref().and_then(|memory| memory.split.clone());
    let stack = |entry: &Entry| Some(Stack { name: entry.name.clone(), parts: parts(&split(entry)?) });
    let all: Vec<Stack> = models(report).filter_map(stack).collect();
    let title = "What the peak is made of".to_owned();
    let mut section = Section::new(
        "memory",
        "Memory",
        "The peak of the whole process. Mapped pages can be given back by the system under pressure; the rest cannot.",
    );
    section.charts.extend(stacks(&title, &all).map(|svg| Chart { title, svg }));
    let notes: BTreeSet<String> = models(report).filter_map(split).flat_map(|split| split.notes).collect();
    section.notes = notes.into_iter().collect();
    section.unless_empty()
}

fn parts(split: &MemorySplit) -> Vec<Part> {
    let part = |label, bytes: Option<u64>| Part { label, bytes: bytes.unwrap_or_default() as f64 };
    vec![
        part("program", split.program_bytes),
        part("mapped checkpoint", split.mapped_file_bytes),
        part("unpacked weights", split.weight_bytes),
        part("KV cache", split.kv_cache_bytes),
        part("activations", split.activation_bytes),
        part("not explained", split.unexplained_bytes),
    ]
}

pub(super) fn start(report: &Report) -> Option<Section> {
    let of = |entry: &'_ Entry, cold: bool| -> Option<Start> {
        let starts = entry.memory.as_ref()?.start.as_ref()?;
        if cold { starts.cold.clone() } else { starts.warm.clone() }
    };
    let mut section = Section::new(
        "start",
        "Time to start",
        "Seconds until the model can answer: cold, with its files on disk only, and warm, with them in memory.",
    );
    let mut rows = Vec::new();
    for (title, cold) in [("Cold start", true), ("Warm start", false)] {
        let range = |entry: &Entry| {
            Some(Range { name: entry.name.clone(), seconds: of(entry, cold)?.ready_seconds? })
        };
        let all: Vec<Range> = models(report).filter_map(range).collect();
        section.charts.extend(ranges(title, &all).map(|svg| Chart { title: title.to_owned(), svg }));
        rows.push(row(title, models(report), |entry| {
            let Some(start) = of(entry, cold) else { return Cell::missing() };
            let cached =
                start.cached_share.map(|part| format!("{} of the files in memory before", share(part)));
            Cell::of(start.ready_seconds.and_then(|s| s.median), seconds).detail(cached.unwrap_or_default())
        }));
    }
    section.matrices.extend(Matrix::of_models("", "Medians.", "Start", models(report), rows));
    section.unless_empty()
}

pub(super) fn energy(report: &Report) -> Option<Section> {
    let energy = |entry: &'_ Entry| entry.speed.as_ref().and_then(|speed| speed.energy.clone());
    let measured = |entry: &Entry| {
        let Some(found) = energy(entry) else { return Cell::missing() };
        let joules = found.package_joules.filter(|_| found.state.as_deref() == Some("measured"));
        let Some(package) = joules else {
            return Cell { text: "unavailable".to_owned(), ..Cell::new("") }
                .detail(found.reason.unwrap_or_default());
        };
        let all = package + found.dram_joules.unwrap_or_default();
        let watts =
            found.seconds.filter(|&s| s > 0.0).map(|s| format!("{}\u{a0}W on average", figure(all / s)));
        let each = entry.speed.as_ref().and_then(|speed| speed.joules_per_token);
        Cell::of(each, |joules| format!("{}\u{a0}J", figure(joules))).detail(watts.unwrap_or_default())
    };
    let price = |label: &str, pick: fn(&Cost) -> Option<f64>| {
        row(label, models(report), |entry| {
            let Some(cost) = entry.cost.as_ref() else { return Cell::missing() };
            let currency = cost.currency.clone().unwrap_or_default();
            let words = |value| format!("{}\u{a0}{currency}", figure(value)).trim_end().to_owned();
            match pick(cost) {
                None => Cell::new("undecided").detail("energy has a price, but was not measured"),
                value => Cell::of(value, words),
            }
        })
    };
    let mut rows: Vec<Row> = vec![row("Energy per token", models(report), measured)];
    let costs = || models(report).filter_map(|entry| entry.cost.as_ref());
    if costs().next().is_some() {
        rows.push(price("A million tokens", |cost| cost.per_million_tokens));
        rows.push(price("… of it the machine", |cost| cost.machine_per_million_tokens));
    }
    if costs().any(|cost| cost.energy_per_million_tokens.is_some()) {
        rows.push(price("… of it energy", |cost| cost.energy_per_million_tokens));
    }
    let caption = "Energy of the processor's package and memory while generating, prompt included. What is unavailable is not \
                   known; it meets no requirement.";
    let matrix = Matrix::of_models("", caption, "Figure", models(report), rows)?;
    let mut section = Section::new("energy", "Energy and cost", "");
    section.matrices.push(matrix);
    Some(section)
}

/// A table per machine on which the same models ran besides.
pub(super) fn elsewhere(report: &Report) -> Option<Section> {
    let mut section = Section::new(
        "elsewhere",
        "On other machines",
        "These figures were measured on the machine that their table names. They are compared with each other, never with those above.",
    );
    for place in &report.elsewhere {
        let noisy =
            place.machine.as_ref().and_then(|machine| machine.noise.as_ref()).and_then(|n| n.noisy.as_ref());
        section
            .notes
            .extend(noisy.map(|reasons| format!("{} was not quiet: {}.", place.target, reasons.join("; "))));
        section.matrices.extend(table(place));
    }
    section.unless_empty()
}

fn table(place: &Elsewhere) -> Option<Matrix> {
    let speed = |pick: fn(&Speed) -> Option<f64>| move |entry: &Entry| entry.speed.as_ref().and_then(pick);
    let cell = |label: &str, of: &dyn Fn(&Entry) -> Option<f64>, words: fn(f64) -> String, most: bool| {
        let best = place.models.iter().filter_map(of).reduce(if most { f64::max } else { f64::min });
        row(label, place.models.iter(), |entry| {
            let value = of(entry);
            let tone = if value.is_some() && value == best { "good" } else { "even" };
            let cell = Cell::of(value, words);
            if cell.is_missing() { cell } else { cell.tone(tone) }
        })
    };
    let timed = |label: &str, pick: fn(&Speed) -> Option<Distribution>| {
        row(label, place.models.iter(), |entry| {
            let Some(d) = entry.speed.as_ref().and_then(pick) else { return Cell::missing() };
            Cell::of(d.median, seconds).detail(lines([d.p99.map(|p99| format!("p99 {}", seconds(p99)))]))
        })
    };
    let rows = vec![
        cell("Decoded tokens per second", &speed(|s| s.decode_tokens_per_s), rate, true),
        cell("Prompt tokens per second", &speed(|s| s.prefill_tokens_per_s), rate, true),
        timed("Decoding step", |s| s.decode_step_seconds),
        timed("Prefill", |s| s.prefill_seconds),
        timed("Whole generation", |s| s.latency_seconds),
        cell("Peak memory", &peak, bytes, false),
        cell("Bytes of the files", &|entry| Some(entry.size.bytes as f64), bytes, false),
    ];
    let machine = place.machine.as_ref().map_or(String::new(), |machine| {
        let parts =
            [machine.cpu.clone(), machine.threads.map(|n| format!("{n} threads")), machine.platform.clone()];
        format!("{}. Best values are green.", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    });
    Matrix::of_models(&format!("Measured on {}", place.target), machine, "Figure", place.models.iter(), rows)
}
