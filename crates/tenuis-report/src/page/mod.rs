//! The page: everything that the template shows.

mod anchors;
pub(crate) mod bought;
mod charts;
pub(crate) mod curves;
mod details;
mod gains;
pub(crate) mod gates;
mod layers;
mod machine;
mod profile;
mod resources;
pub(crate) mod search;
mod section;
mod serving;
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
use section::Section;
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
    sections: Vec<Section>,
    /// Links to sections and what they say.
    contents: Vec<(&'static str, String)>,
    noisy: Option<Vec<String>>,
    elsewhere: Vec<String>,
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
    let details = details::details(report, first);
    let anchors = anchors::rows(report, &facts);
    let sections = sections(report, &facts);
    let mut contents = vec![("comparison", "Comparison".to_owned())];
    contents.extend(sections.iter().map(|section| (section.id, section.title.clone())));
    let closing = [
        ("candidates", "How candidates were made", !details.is_empty()),
        ("literature", "Beside the literature", !anchors.is_empty()),
        ("protocol", "How it was measured", true),
    ];
    contents.extend(closing.into_iter().filter(|part| part.2).map(|(id, title, _)| (id, title.to_owned())));
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
        sections,
        contents,
        noisy: machine::noisy(report).map(<[String]>::to_vec),
        elsewhere: report.elsewhere.iter().map(|place| place.target.clone()).collect(),
        details,
        anchors,
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

/// What stands between the comparison and how candidates were made, as far as the report has it.
fn sections(report: &Report, facts: &[Facts]) -> Vec<Section> {
    let fronts = Section::new(
        "fronts",
        "Quality against cost",
        "Lower left is better. The line joins models that no other beats in both; grey ones are beaten. The ring is the baseline.",
    );
    let changes = Section::new(
        "changes",
        "Change in percent",
        "Less is better in all of these. Pale bars are within the spread of the measurement. Bars with an arrow are cut.",
    );
    let latency = Section::new(
        "latency",
        "Latency",
        "From the fastest to the slowest; the dot is the median, the stroke the 90th percentile, the line is thick up to the 99th.",
    );
    let layers = Section::new(
        "layers",
        "Layers",
        "What techniques reported of every weight. Maps of one quantity share a scale.",
    );
    let mut all = vec![search::section(report)];
    all.extend(gains::sections(report).into_iter().map(Some));
    all.extend([
        bought::section(report),
        curves::section(report),
        fronts.of_charts(charts::scatters(report)),
        changes.of_charts(charts::changes(report, facts)),
        slices::section(report),
        serving::robustness(report),
        latency.of_charts(charts::latencies(report)),
        serving::sweep(report),
        serving::load(report),
        profile::profile(report),
        resources::memory(report),
        resources::start(report),
        resources::energy(report),
        resources::elsewhere(report),
        layers.of_charts(layers::maps(report)),
        gates::section(report),
    ]);
    all.into_iter().flatten().collect()
}

/// Escapes whatever the template does not call safe; that is our charts, style and script alone.
fn write_escaped(out: &mut Output, _: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    out.write_str(if value.is_safe() { text.clone() } else { escape(&text) }.as_str())
        .map_err(minijinja::Error::from)
}
