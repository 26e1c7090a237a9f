//! How candidates were made, and how everything was measured.

use crate::compare::bits_per_weight;
use crate::data::{Entry, Report, Source, Stage};
use crate::format::{count, date, figure, seconds, share};
use serde::Serialize;

/// A candidate.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    name: String,
    checkpoint: String,
    made: String,
    recipe: Option<String>,
    stages: Vec<StageDetail>,
    open: bool,
}

/// A stage of it.
#[derive(Debug, Serialize)]
struct StageDetail {
    technique: String,
    facts: Vec<String>,
    figures: Vec<(String, String)>,
    skipped: Vec<String>,
    notes: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn details(report: &Report, first: Option<usize>) -> Vec<Detail> {
    report.candidates.iter().enumerate().map(|(i, entry)| detail(entry, first == Some(i))).collect()
}

fn detail(entry: &Entry, open: bool) -> Detail {
    let compression = entry.compression.as_ref();
    Detail {
        name: entry.name.clone(),
        checkpoint: entry.checkpoint.clone().unwrap_or_default(),
        made: made(entry),
        recipe: entry.recipe.as_ref().map(recipe),
        stages: compression.map_or(Vec::new(), |compression| compression.stages.iter().map(stage).collect()),
        open,
    }
}

/// How long it took and what it has.
fn made(entry: &Entry) -> String {
    let compression = entry.compression.as_ref();
    let time = compression.and_then(|compression| compression.seconds);
    let reused = compression.and_then(|compression| compression.reused) == Some(true);
    let params = entry.size.params;
    let nonzero = params.zip(entry.size.nonzero_params).filter(|(all, nonzero)| nonzero < all);
    listed([
        Some(time.map_or("How long it took was not recorded".to_owned(), |time| {
            format!("Made in {}", seconds(time))
        })),
        reused.then(|| "found finished and used again".to_owned()),
        params.map(|params| format!("{} weights", count(params as f64))),
        nonzero.map(|(all, nonzero)| format!("{} of them not zero", share(nonzero as f64 / all as f64))),
        bits_per_weight(entry).map(|bits| format!("{bits:.2} stored bits per weight")),
    ])
}

/// A recipe as it was written, or as JSON.
fn recipe(value: &serde_json::Value) -> String {
    let pretty = || serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    value.as_str().map_or_else(pretty, str::to_owned)
}

fn stage(stage: &Stage) -> StageDetail {
    let mut facts = Vec::new();
    facts.extend(stage.version.as_ref().map(|version| format!("version {version}")));
    facts.push(stage.seconds.map_or("seconds not recorded".to_owned(), seconds));
    facts.extend(stage.weights.map(|weights| format!("{} weights changed", count(weights as f64))));
    facts.extend(
        stage.calibration_rows.filter(|&n| n > 0).map(|n| format!("{} calibration rows", count(n as f64))),
    );
    facts.extend(stage.dropped_batches.filter(|&n| n > 0).map(|n| format!("{n} batches dropped")));
    // What belongs to a weight is in the maps.
    let whole = stage.metrics.iter().filter(|metric| !metric.key.contains('/'));
    let value = |value: Option<f64>| value.map_or("not finite".to_owned(), figure);
    StageDetail {
        technique: stage.technique.clone(),
        facts,
        figures: whole.map(|metric| (metric.key.replace('_', " "), value(metric.value))).collect(),
        skipped: stage.skipped.clone(),
        notes: stage.notes.clone(),
        warnings: stage.warnings.clone(),
    }
}

/// What was measured where and how: a term and its explanation.
pub(super) fn protocol(report: &Report) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let mut add = |term, text: Option<String>| rows.push((term, text.unwrap_or("not recorded".to_owned())));
    let protocol = report.protocol.as_ref();
    add("Written", report.created_unix.map(date));
    add(
        "Program",
        report.version.as_ref().map(|version| format!("Tenuis {version}, report form {}", report.schema)),
    );
    let machine = report.machine.as_ref();
    add(
        "Machine",
        machine.map(|m| {
            let threads = m.threads.map(|threads| format!("{threads} threads"));
            listed([m.cpu.clone().or(Some("unknown processor".to_owned())), threads, m.platform.clone()])
        }),
    );
    let told = super::machine::rows(report);
    rows.extend(told);
    let mut add = |term, text: Option<String>| rows.push((term, text.unwrap_or("not recorded".to_owned())));
    add("Text", protocol.and_then(|p| p.data.as_ref()).map(source));
    let perplexity = report.baseline.quality.as_ref().and_then(|quality| quality.perplexity.as_ref());
    add("Perplexity", perplexity.map(|p| {
        let number = |value: Option<u64>| value.map_or("?".to_owned(), |n| count(n as f64));
        format!(
            "exp(mean NLL) over {} predictions: {} windows of {} tokens out of {}, not overlapping. KL is KL(baseline ‖ model).{}",
            number(p.predictions), number(p.windows), number(p.seq_len), number(p.windows_of),
            p.protocol.as_ref().filter(|hash| !hash.is_empty()).map_or(String::new(), |hash| {
                format!(" Protocol {}.", crate::format::shorten(hash, 13))
            })
        )
    }));
    for (name, task) in report.baseline.quality.iter().flat_map(|quality| &quality.tasks) {
        let items = task.items.map(|items| format!("{} items", count(items as f64)));
        let error =
            task.standard_error.map(|error| format!("standard error of the baseline {}", share(error)));
        let chance = task.chance.map(|chance| format!("{} by chance", share(chance)));
        let metric = task.metric.as_ref().map(|metric| metric.replace('_', " "));
        add("Task", Some(format!("{name}: {}", listed([metric, items, error, chance]))));
    }
    add("Calibration", protocol.and_then(|p| p.calibration.as_ref()).map(source));
    add(
        "Speed",
        protocol.and_then(|p| p.speed.as_ref()).map(|speed| {
            let number = |value: Option<u64>, what: &str| value.map(|n| format!("{n} {what}"));
            listed([
                number(speed.prompt_tokens, "tokens of prompt"),
                number(speed.decode_tokens, "decoding steps"),
                number(speed.warmup, "warm-up rounds"),
                number(speed.repeats, "counted rounds, models in turn"),
                number(speed.threads, "threads"),
                protocol.and_then(|p| p.compute_dtype.as_ref()).map(|dtype| format!("{dtype} activations")),
            ])
        }),
    );
    add(
        "Memory",
        report.baseline.memory.as_ref().map(|_| {
            "peak of a fresh process at work beyond an empty one, touched file pages included".to_owned()
        }),
    );
    rows
}

fn source(source: &Source) -> String {
    let windows = source.samples.zip(source.seq_len);
    listed([
        source.file.clone(),
        windows.map(|(samples, length)| format!("{samples} windows of {length} tokens")),
        source.hash.as_ref().map(|hash| format!("blake3 {hash}")),
    ])
}

fn listed<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
