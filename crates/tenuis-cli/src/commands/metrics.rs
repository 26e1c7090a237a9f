//! `tenuis metrics`.

use super::print;
use crate::args::{MetricsAction, MetricsArgs, ScoringArgs};
use crate::exit::{Code, Failure};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::fmt::Write;
use tenuis_metrics::{
    BootstrapConfig, Comparison, Direction, Interval, METRICS, MetricError, Options, Report, Verdict,
    compare, compute,
};

pub(crate) fn run(args: &MetricsArgs) -> Result<(), Failure> {
    match &args.action {
        MetricsAction::List => list(),
        MetricsAction::Compute { metric, file, interval, scoring } => {
            let mut options = options(scoring)?;
            if *interval {
                options.bootstrap.get_or_insert_with(BootstrapConfig::default);
            }
            let report = compute(metric, file, &options).map_err(|e| failure(&e))?;
            if scoring.json { json(&report) } else { print(&text(&report)) }
        }
        MetricsAction::Compare { metric, baseline, candidate, scoring } => {
            let found = compare(metric, baseline, candidate, &options(scoring)?).map_err(|e| failure(&e))?;
            if scoring.json { json(&found) } else { print(&comparison(&found)) }
        }
    }
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(Code::Internal, e))?;
    print(&format!("{text}\n"))
}

fn list() -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "metric",
        "better",
        "range",
        "fields",
        "what it measures",
    ]);
    for metric in METRICS {
        table.add_row([
            metric.name.to_owned(),
            better(metric.direction).to_owned(),
            metric.range.to_string(),
            metric.fields.join(", "),
            metric.about.to_owned(),
        ]);
    }
    print(&format!("{table}\n"))
}

const fn better(direction: Direction) -> &'static str {
    match direction {
        Direction::HigherIsBetter => "higher",
        Direction::LowerIsBetter => "lower",
    }
}

fn options(scoring: &ScoringArgs) -> Result<Options, Failure> {
    let Some(path) = &scoring.options else { return Ok(Options::default()) };
    let text = std::fs::read_to_string(path).map_err(|e| Failure::input(path, e))?;
    toml::from_str(&text).map_err(|e| Failure::input(path, e))
}

fn failure(error: &MetricError) -> Failure {
    Failure::new(Code::Input, error)
}

pub(super) fn within(interval: &Interval) -> String {
    format!("[{:.4}, {:.4}] at {:.0} %", interval.low, interval.high, 100.0 * interval.confidence)
}

fn text(report: &Report) -> String {
    let mut text = format!("{} {:.4}", report.metric, report.value);
    // Writing to a string cannot fail.
    if let Some(interval) = &report.interval {
        let _ = write!(text, ", {}", within(interval));
    }
    let _ = writeln!(
        text,
        "  ({} is better, {}; {} items of {})\n{}",
        better(report.direction),
        report.range,
        report.items,
        report.file,
        report.signature
    );
    for (name, value) in &report.parts {
        let _ = writeln!(text, "  {name} {value:.4}");
    }
    if let Some(table) = &report.table {
        let _ = writeln!(text, "{table}");
    }
    text
}

fn comparison(found: &Comparison) -> String {
    let verdict = match found.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Undecided => "undecided: the interval holds 0",
    };
    let percent = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.2} %"));
    format!(
        "baseline   {}candidate  {}difference {:+.4}, {}: {verdict}\nretention {}, change {}\n",
        text(&found.baseline),
        text(&found.candidate),
        found.difference.value,
        within(&found.difference),
        percent(found.retention),
        percent(found.change),
    )
}
