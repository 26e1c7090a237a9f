//! The page: everything that the template shows.

mod anchors;
mod charts;
mod details;
mod layers;
mod slices;
mod table;

use crate::chart::escape;
use crate::compare::Facts;
use crate::data::Report;
use crate::error::ReportError;
use crate::verdict::Verdict;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value};
use serde::Serialize;

const TEMPLATE: &str = include_str!("../../templates/report.html");
const STYLE: &str = include_str!("../../templates/style.css");
const SCRIPT: &str = include_str!("../../templates/sort.js");

#[derive(Serialize)]
struct Page {
    style: &'static str,
    script: &'static str,
    title: String,
    baseline: String,
    subtitle: String,
    verdict: Verdict,
    table: table::Table,
    scatters: Vec<charts::Chart>,
    changes: Vec<charts::Chart>,
    latencies: Vec<charts::Chart>,
    layers: Vec<charts::Chart>,
    slices: Vec<slices::Slices>,
    details: Vec<details::Detail>,
    anchors: Vec<anchors::Row>,
    protocol: Vec<(&'static str, String)>,
    warnings: Vec<String>,
}

pub(crate) fn page(report: &Report) -> Result<String, ReportError> {
    let facts: Vec<Facts> = report.candidates.iter().map(|c| Facts::of(&report.baseline, c)).collect();
    let verdict = Verdict::of(report);
    let first = verdict.picks.first().map(|pick| pick.index);
    let model = report.baseline.checkpoint.clone().unwrap_or_else(|| report.baseline.name.clone());
    let model = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let candidates = report.candidates.len();
    let page = Page {
        style: STYLE,
        script: SCRIPT,
        title: format!("Compression report: {model}"),
        subtitle: format!(
            "{candidates} {} beside the baseline",
            if candidates == 1 { "candidate" } else { "candidates" }
        ),
        baseline: report.baseline.name.clone(),
        table: table::table(report, &facts),
        scatters: charts::scatters(report),
        changes: charts::changes(report, &facts),
        latencies: charts::latencies(report),
        layers: layers::maps(report),
        slices: slices::slices(report),
        details: details::details(report, first),
        anchors: anchors::rows(report, &facts),
        protocol: details::protocol(report),
        warnings: report.warnings.clone(),
        verdict,
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(write_escaped);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template("report.html", TEMPLATE)?;
    Ok(environment.get_template("report.html")?.render(Serde(&page))?)
}

/// Escapes whatever the template does not call safe; that is our charts, style and script alone.
fn write_escaped(out: &mut Output, _: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    out.write_str(if value.is_safe() { text.clone() } else { escape(&text) }.as_str())
        .map_err(minijinja::Error::from)
}
