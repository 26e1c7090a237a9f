//! What became smaller, what is left of the quality, what became faster, and the one against the other.

use super::section::{Cell, Matrix, Row, Section, models, row};
use crate::data::{Entry, Figures, Report, Retention};
use crate::format::{
    bytes, change, count, figure, interval, operations, percent, perplexity, points, ratio, share,
};
use std::collections::BTreeSet;
use tenuis_metrics::Direction;

/// Writes a figure.
type Words = fn(f64) -> String;

/// What may become smaller, in the order of the page: its name in a report, what people call it, and how it is written.
const QUANTITIES: [(&str, &str, Words); 7] = [
    ("bytes", "Bytes of the files", bytes),
    ("bytes_f32", "Bytes against 32-bit floats", bytes),
    ("params", "Parameters", count),
    ("nonzero_params", "Parameters that are not 0", count),
    ("flops_decode", "Operations per decoded token", operations),
    ("flops_prefill", "Operations of the prefill", operations),
    ("peak_memory", "Peak memory", bytes),
];
/// Changes below this, in percent, are called even.
const EVEN: f64 = 1.0;

/// Sections of what the evaluation worked out; those of a report without it are left out.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    [smaller(report), kept(report), faster(report), balance(report)].into_iter().flatten().collect()
}

fn figures(entry: &Entry) -> Option<&Figures> {
    entry.figures.as_ref()
}

/// Names in the candidates' figures: the known ones in their order, then the rest.
fn names<'a, 'b>(
    report: &'a Report,
    known: impl Iterator<Item = &'b str>,
    of: impl Fn(&'a Figures) -> Vec<&'a String>,
) -> Vec<String> {
    let place =
        |name: &String| ["task.", "robustness.", "business."].iter().position(|kind| name.starts_with(kind));
    let mut rest: BTreeSet<&String> = report.candidates.iter().filter_map(figures).flat_map(of).collect();
    let mut all: Vec<String> =
        known.filter(|name| rest.remove(&(*name).to_owned())).map(str::to_owned).collect();
    let mut rest: Vec<&String> = rest.into_iter().collect();
    rest.sort_by_key(|name| place(name));
    all.extend(rest.into_iter().cloned());
    all
}

fn smaller(report: &Report) -> Option<Section> {
    let known = QUANTITIES.iter().map(|quantity| quantity.0);
    let rows = names(report, known, |figures| figures.compression.keys().collect()).into_iter().map(|name| {
        let quantity = QUANTITIES.iter().find(|quantity| quantity.0 == name);
        let (label, words) =
            quantity.map_or((name.replace('_', " "), figure as Words), |q| (q.1.to_owned(), q.2));
        let of = |entry: &Entry| figures(entry).and_then(|figures| figures.compression.get(&name)).copied();
        let original = report.candidates.iter().find_map(|entry| of(entry)?.original);
        row(label, models(report), |entry| {
            if std::ptr::eq(entry, &raw const report.baseline) {
                return Cell::of(original, words);
            }
            let Some(found) = of(entry) else { return Cell::missing() };
            let changed = found.change_percent.unwrap_or_default();
            let tone = match changed {
                c if c <= -EVEN => "good",
                c if c >= EVEN => "bad",
                _ => "even",
            };
            let fraction = found.fraction.map(|part| format!("fraction {}", share(part)));
            let after = found.compressed.map(words);
            let cell = Cell::of(found.compression_ratio, ratio).tone(tone).detail(lines([fraction, after]));
            found.fraction.map_or(cell.clone(), |part| cell.part(part))
        })
    });
    let caption = "Large figure: the ratio, original ÷ compressed (above 1× is smaller). Below it: the fraction, compressed ÷ \
                   original, also drawn as a bar, and what there is now. Operations count a multiplication and an addition as two.";
    let matrix = Matrix::of_models("", caption, "Quantity", models(report), rows.collect())?;
    let mut section = Section::new("smaller", "What became smaller", "");
    section.matrices.push(matrix);
    Some(section)
}

/// What a quality is called, how its values are written, and whether they are shares.
fn quality(name: &str, of: &Retention) -> (String, Words, bool) {
    let shares = [of.baseline, of.candidate].into_iter().flatten().all(|value| (0.0..=1.0).contains(&value));
    match name.split_once('.') {
        None if name == "perplexity" => ("Perplexity".to_owned(), perplexity, false),
        None if name == "top1" => ("Top-1 agreement".to_owned(), share, true),
        Some(("task", task)) if shares => (format!("Task {task}"), share, true),
        Some(("task", task)) => (format!("Task {task}"), figure, false),
        Some(("robustness", text)) => (format!("Perplexity, {}", text.replace('_', " ")), perplexity, false),
        Some(("business", figure_name)) => (format!("Own figure {figure_name}"), figure, false),
        _ => (name.replace('_', " "), figure, false),
    }
}

fn kept(report: &Report) -> Option<Section> {
    let found =
        names(report, ["perplexity", "top1"].into_iter(), |figures| figures.retention.keys().collect());
    let mut rows: Vec<Row> = Vec::new();
    for name in found {
        let of = |entry: &Entry| figures(entry).and_then(|figures| figures.retention.get(&name)).cloned();
        let Some(first) = report.candidates.iter().find_map(of) else { continue };
        let (label, words, shares) = quality(&name, &first);
        rows.push(row(label, models(report), |entry| {
            if std::ptr::eq(entry, &raw const report.baseline) {
                return Cell::of(first.baseline, words);
            }
            of(entry).map_or_else(Cell::missing, |found| retained(&found, words, shares))
        }));
    }
    rows.extend(normalised(report));
    let caption = "Large figure: what is left, 100 % where nothing was lost. Below it: the value, its change, and the interval of the \
                   difference (paired bootstrap over the same windows or items). Significant: the interval leaves out 0.";
    let matrix = Matrix::of_models("", caption, "Quality", models(report), rows)?;
    let mut section = Section::new("kept", "What is left of the quality", "");
    section.matrices.push(matrix);
    Some(section)
}

fn retained(found: &Retention, words: Words, shares: bool) -> Cell {
    let (tone, judged) = match (found.is_significant(), found.is_worse()) {
        (Some(true), Some(true)) => ("bad", "significant loss"),
        (Some(true), _) => ("good", "significant gain"),
        (Some(false), _) => ("even", "not significant"),
        (None, _) => ("even", "no interval"),
    };
    let value = found.candidate.map(words).zip(found.change_percent.map(change));
    let value = value.map(|(value, change)| format!("{value} ({change})"));
    let interval = found.difference.and_then(|d| {
        let level = d.confidence.map_or(String::new(), |level| format!("{:.0}\u{a0}%: ", 100.0 * level));
        Some(format!("{level}{}", interval(d.low?, d.high?, shares)))
    });
    let detail = lines([value, interval, Some(judged.to_owned())]);
    Cell::of(found.percent, percent).tone(tone).detail(detail)
}

/// Scores by length-normalised likelihood, which stand beside the plain ones.
fn normalised(report: &Report) -> Vec<Row> {
    let score = |entry: &Entry, name: &str| entry.quality.as_ref()?.tasks.get(name)?.acc_norm;
    let tasks = report.baseline.quality.iter().flat_map(|quality| quality.tasks.keys());
    let with = tasks.filter_map(|name| Some((name, score(&report.baseline, name)?)));
    with.map(|(name, from)| {
        row(format!("Task {name}, by length (acc_norm)"), models(report), |entry| {
            let Some(to) = score(entry, name) else { return Cell::missing() };
            if std::ptr::eq(entry, &raw const report.baseline) {
                return Cell::of(Some(to), share);
            }
            let left = tenuis_metrics::retention(Direction::HigherIsBetter, from, to).ok();
            Cell::of(left, percent).detail(lines([
                Some(format!("{} ({})", share(to), points(to - from))),
                Some("no interval".to_owned()),
            ]))
        })
    })
    .collect()
}

fn faster(report: &Report) -> Option<Section> {
    let found = names(report, ["decode", "prefill"].into_iter(), |figures| figures.speed_up.keys().collect());
    let rows = found.into_iter().map(|name| {
        let label = match name.as_str() {
            "decode" => "Decoding step".to_owned(),
            "prefill" => "Prefill".to_owned(),
            other => other.replace('_', " "),
        };
        row(label, report.candidates.iter(), |entry| {
            let Some(up) = figures(entry).and_then(|figures| figures.speed_up.get(&name)) else {
                return Cell::missing();
            };
            let theory = up.theoretical.map(|theory| format!("{} in theory", ratio(theory)));
            let short = up.falls_short == Some(true);
            let tone = match up.measured {
                Some(measured) if measured >= 1.0 + EVEN / 100.0 => "good",
                Some(measured) if measured <= 1.0 - EVEN / 100.0 => "bad",
                _ => "even",
            };
            let words = short.then(|| "⚑ falls short".to_owned());
            let cell = Cell::of(up.measured, ratio).tone(tone).detail(lines([theory, words]));
            if short { cell.flag() } else { cell }
        })
    });
    let caption = "Large figure: baseline's median ÷ the candidate's, as measured. In theory: what fewer bytes to read (decoding) or \
                   fewer operations (prefill) allow. ⚑: less than nine tenths of it was reached.";
    let matrix = Matrix::of_models("", caption, "Phase", report.candidates.iter(), rows.collect())?;
    let mut section = Section::new("faster", "What became faster", "");
    section.matrices.push(matrix);
    Some(section)
}

fn balance(report: &Report) -> Option<Section> {
    let of = |pick: fn(&Figures) -> Option<f64>| move |entry: &Entry| figures(entry).and_then(pick);
    let (worth, score) = (of(|f| f.efficiency), of(|f| f.score));
    let rows = vec![
        row("Efficiency", report.candidates.iter(), |entry| {
            Cell::of(worth(entry), |value| format!("{}\u{a0}%", count(value)))
        }),
        row("Weighted score", report.candidates.iter(), |entry| {
            let value = score(entry);
            let tone = match value {
                Some(value) if value > 0.5 => "good",
                Some(value) if value < 0.5 => "bad",
                _ => "even",
            };
            let cell = Cell::of(value, |value| format!("{value:.3}"));
            value.map_or(cell.clone(), |value| cell.part(value).tone(tone))
        }),
    ];
    let weights = report.candidates.iter().filter_map(figures).find(|f| !f.score_weights.is_empty());
    let weights = weights.map_or(String::new(), |figures| {
        let each =
            figures.score_weights.iter().filter_map(|(name, weight)| Some(format!("{name} {}", (*weight)?)));
        format!(" with the weights {}", each.collect::<Vec<_>>().join(", "))
    });
    let caption = format!(
        "Efficiency: perplexity left in percent ÷ fraction of the bytes; the baseline has 100 %. Score: 0 to 1{weights}; the \
         baseline has 0.5. It takes medians as they are, where the comparison above counts an unclear speed-up as none."
    );
    let matrix = Matrix::of_models("", caption, "Figure", report.candidates.iter(), rows)?;
    let mut section = Section::new("balance", "Gain against loss", "");
    section.matrices.push(matrix);
    Some(section)
}

/// Lines of a cell.
pub(super) fn lines<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}
