//! A search: its answer, the trials and their front, and the recipes that come with the program beside it.

use super::charts::Chart;
use super::section::{Cell, Matrix, Row, Section};
use crate::chart::{Plot, PlotPoint, Scale, Unit};
use crate::data::{Report, Search, SearchScore, Trial};
use crate::format::{bytes, count, figure, perplexity, seconds, share};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use tenuis_metrics::Direction;

/// Figures that say how good a model is, in the order in which one is chosen for the upright axis.
const QUALITY: [&str; 4] = ["kl_mean", "loss", "perplexity", "top1"];
/// At most so many charts.
const MOST_CHARTS: usize = 3;

pub(super) fn section(report: &Report) -> Option<Section> {
    let search = report.search.as_ref()?;
    let mut section = Section::new("search", "Search", search.unseen.clone().unwrap_or_default());
    section.summary = summary(search);
    section.charts = charts(search);
    section.matrices.extend(answers(search));
    let (front, others): (Vec<&Trial>, Vec<&Trial>) =
        search.trials.iter().partition(|trial| search.front.contains(&trial.name));
    let title = "Trials that no other beats";
    section.matrices.extend(trials(search, title, &front));
    section.more.extend(trials(search, "Other trials", &others));
    section.unless_empty()
}

/// What was wanted, what was done and what came of it.
fn summary(search: &Search) -> Vec<(&'static str, String)> {
    let mut lines = vec![("Answer", answer_words(search))];
    if let Some(best) = search.best.as_ref().filter(|best| !best.choices.is_empty()) {
        lines.push(("Chosen", choices(&best.choices)));
    }
    lines.extend(search.comparison.clone().map(|words| ("Against the built-in recipes", words)));
    if let Some(scenario) = &search.scenario {
        let description = if scenario.description.is_empty() {
            String::new()
        } else {
            format!(": {}", scenario.description)
        };
        lines.push(("Scenario", format!("{}{description}", scenario.name)));
        let objective = match scenario.objective.as_deref() {
            Some("max_quality") => "the most quality".to_owned(),
            Some("min_cost") => "the least cost".to_owned(),
            Some("score") => "the best weighted score".to_owned(),
            other => other.unwrap_or("not recorded").to_owned(),
        };
        let terms = if scenario.terms.is_empty() {
            String::new()
        } else {
            format!(" of {}", scenario.terms.join("; "))
        };
        lines.push(("Wanted", objective + &terms));
        if !scenario.constraints.is_empty() {
            lines.push(("Limits", scenario.constraints.join("; ")));
        }
    }
    lines.push(("Trials", trial_words(search)));
    if !search.left_out.is_empty() {
        let figures = search.left_out.join(", ");
        lines.push(("Left out", format!("{figures}: not measured of the baseline, so it counts for nobody")));
    }
    if latency(search) {
        let words = "Latencies are this machine's, whatever the scenario is called".to_owned();
        lines.push(("Machine", words));
    }
    lines
}

/// Whether any limit, term or objective is a time.
fn latency(search: &Search) -> bool {
    let timed = |text: &String| {
        ["latency", "decode_p", "ttft", "tokens_per_s", "cold_start"].iter().any(|word| text.contains(word))
    };
    let scenario = search.scenario.iter().flat_map(|s| s.terms.iter().chain(&s.constraints));
    scenario.chain(search.objectives.iter().map(|objective| &objective.figure)).any(timed)
}

/// The answer in a sentence.
pub(crate) fn answer_words(search: &Search) -> String {
    let Some(best) = &search.best else { return "nothing was measured".to_owned() };
    let name = best.candidate.as_ref().unwrap_or(&best.name);
    let score = best.score.map_or(String::new(), |score| format!(", score {}", figure(score)));
    let feasible = match (search.outcome.as_deref(), best.feasible) {
        (Some("feasible"), _) | (None, Some(true)) => " meets every limit".to_owned(),
        _ if best.violations.is_empty() => " comes closest; it meets not every limit".to_owned(),
        _ => format!(" comes closest; it violates: {}", best.violations.join("; ")),
    };
    format!("{name}{feasible}{score}")
}

/// How many trials there were, and by which method.
pub(crate) fn trial_words(search: &Search) -> String {
    let number = |value: Option<u64>| value.map(|value| count(value as f64));
    let part = |value: Option<u64>, words: &str| {
        number(value.filter(|&value| value > 0)).map(|value| format!("{value} {words}"))
    };
    let measured = number(search.measured).map(|measured| format!("{measured} measured"));
    let parts = [
        measured,
        part(search.pruned, "of them on a part of the data only"),
        part(search.failed, "failed"),
        number(search.planned).map(|planned| format!("{planned} planned")),
        search.method.clone(),
        search.seed.map(|seed| format!("seed {seed}")),
        search.seconds.map(seconds),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Choices by axis.
pub(crate) fn choices(choices: &Map<String, Value>) -> String {
    let one = |(axis, value): (&String, &Value)| format!("{axis} {}", choice(value));
    choices.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn choice(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(value) if !number.is_i64() => figure(value),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// How a figure is written.
fn words(name: &str) -> fn(f64) -> String {
    match name {
        "bytes" | "peak_memory" => bytes,
        "perplexity" => perplexity,
        "params" | "nonzero_params" => count,
        "fraction" | "top1" => share,
        _ => figure,
    }
}

fn unit(name: &str) -> Unit {
    match name {
        "bytes" | "peak_memory" => Unit::Bytes,
        "kl_mean" => Unit::Plain("nats"),
        "loss" => Unit::Plain("points"),
        name if name.ends_with("_ms") => Unit::Plain("ms"),
        _ => Unit::Plain(""),
    }
}

/// Quality against every other objective.
fn charts(search: &Search) -> Vec<Chart> {
    let figures: Vec<&str> = search.objectives.iter().map(|objective| objective.figure.as_str()).collect();
    let up = QUALITY.into_iter().find(|name| figures.contains(name)).or_else(|| figures.get(1).copied());
    let Some(up) = up else { return Vec::new() };
    let across = figures.into_iter().filter(|name| *name != up);
    across.filter_map(|across| chart(search, across, up)).take(MOST_CHARTS).collect()
}

fn chart(search: &Search, across: &str, up: &str) -> Option<Chart> {
    let best = search.best.as_ref().map(|best| best.name.as_str());
    let point = |trial: &Trial| {
        let (x, y) = (*trial.figures.get(across)?, *trial.figures.get(up)?);
        let knee = search.knee.as_ref() == Some(&trial.name);
        let on_front = search.front.contains(&trial.name);
        let chosen = best == Some(trial.name.as_str());
        let class = match trial.state.as_deref() {
            Some("partial") => "partial",
            _ if knee => "knee",
            _ if on_front => "best",
            _ => "dominated",
        };
        let mut name = trial.name.clone();
        if knee {
            name.push_str(" knee");
        }
        if chosen {
            name.push_str(" ★");
        }
        let detail = format!(
            "{}; {} {}, {} {}",
            choices(&trial.choices),
            across.replace('_', " "),
            words(across)(x),
            up.replace('_', " "),
            words(up)(y)
        );
        Some(PlotPoint { name, detail, x, y, class, named: knee || chosen })
    };
    let mut points: Vec<PlotPoint> = search.trials.iter().filter_map(point).collect();
    if points.len() < 2 {
        return None;
    }
    let order =
        |point: &PlotPoint| ["partial", "dominated", "best", "knee"].iter().position(|c| *c == point.class);
    points.sort_by_key(|point| (order(point), point.named));
    let title = format!("{} against {}", up.replace('_', " "), across.replace('_', " "));
    let plot = Plot {
        description: format!(
            "Blue points are beaten by no other in all objectives: {}. ★ is the answer",
            search.front.join(", ")
        ),
        x: axis(&points, |point| point.x, across)?,
        y: axis(&points, |point| point.y, up)?,
        title: title.clone(),
        lines: Vec::new(),
        mark: None,
        points,
    };
    Some(Chart { svg: plot.svg(), title })
}

fn axis(points: &[PlotPoint], of: fn(&PlotPoint) -> f64, name: &str) -> Option<Scale> {
    let floor = (name == "kl_mean").then_some(super::charts::KL_FLOOR);
    Scale::fit(&points.iter().map(of).collect::<Vec<_>>(), &name.replace('_', " "), unit(name), floor)
}

/// Figures that any has, in the order of the objectives, then by name.
fn figures<'a>(search: &'a Search, all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut rest: BTreeSet<&String> = all.collect();
    let objectives = search.objectives.iter().map(|objective| &objective.figure);
    let mut names: Vec<String> = objectives.filter(|figure| rest.remove(figure)).cloned().collect();
    names.extend(rest.into_iter().cloned());
    names
}

fn verdict(feasible: Option<bool>, violations: &[String]) -> Cell {
    match feasible {
        Some(true) => Cell::new("yes").tone("good"),
        Some(false) => Cell::new("no").tone("bad").detail(violations.join("\n")),
        None => Cell::missing(),
    }
}

/// The answer beside the recipes that come with the program, on the same text.
fn answers(search: &Search) -> Option<Matrix> {
    let all: Vec<&SearchScore> = search.best.iter().chain(&search.builtin).collect();
    let names = figures(search, all.iter().flat_map(|score| score.figures.keys()));
    let best_score =
        all.iter().filter(|one| one.feasible == Some(true)).filter_map(|one| one.score).reduce(f64::max);
    let row = |(index, one): (usize, &&SearchScore)| {
        let found = index == 0 && search.best.is_some();
        let score = Cell::of(one.score, figure);
        let leads = one.feasible == Some(true) && one.score.is_some() && one.score == best_score;
        let mut cells = vec![
            Cell::new(if found { "found" } else { "built in" }),
            if leads { score.tone("good") } else { score },
            verdict(one.feasible, &one.violations),
        ];
        cells.extend(names.iter().map(|name| Cell::of(one.figures.get(name).copied(), words(name))));
        Row { label: one.candidate.clone().unwrap_or_else(|| one.name.clone()), cells }
    };
    let rows: Vec<Row> = all.iter().enumerate().map(row).collect();
    let mut columns = vec!["From".to_owned(), "Score".to_owned(), "Meets limits".to_owned()];
    columns.extend(names.iter().map(|name| name.replace('_', " ")));
    (!rows.is_empty()).then(|| Matrix {
        title: "On text that the search did not see".to_owned(),
        caption: "The score of the baseline is 0; the best one that meets every limit is green.".to_owned(),
        corner: "Recipe",
        columns,
        rows,
        sortable: false,
    })
}

/// A table of trials.
fn trials(search: &Search, title: &str, trials: &[&Trial]) -> Option<Matrix> {
    let axes: BTreeSet<&String> = trials.iter().flat_map(|trial| trial.choices.keys()).collect();
    let names = figures(search, trials.iter().flat_map(|trial| trial.figures.keys()));
    // A column that mixes numbers and texts has no order.
    let ordered =
        |axis: &String| trials.iter().filter_map(|trial| trial.choices.get(axis)).all(Value::is_number);
    let ordered: BTreeSet<&String> = axes.iter().copied().filter(|axis| ordered(axis)).collect();
    let row = |trial: &&Trial| {
        let choice = |axis: &&String| {
            let Some(value) = trial.choices.get(*axis) else { return Cell::missing() };
            let sort = value.as_f64().filter(|_| ordered.contains(*axis));
            Cell { sort, ..Cell::new(choice(value)) }
        };
        let mut cells: Vec<Cell> = axes.iter().map(choice).collect();
        cells.push(Cell::of(trial.data_share, share));
        cells.push(Cell::of(trial.score, figure));
        cells.push(match &trial.failure {
            Some(reason) => Cell::new("failed").tone("bad").detail(reason.clone()),
            None => verdict(trial.feasible, &trial.violations),
        });
        cells.extend(names.iter().map(|name| Cell::of(trial.figures.get(name).copied(), words(name))));
        let knee = if search.knee.as_ref() == Some(&trial.name) { " (knee)" } else { "" };
        Row { label: format!("{}{knee}", trial.name), cells }
    };
    let rows: Vec<Row> = trials.iter().map(row).collect();
    let mut columns: Vec<String> = axes.iter().map(|axis| axis.replace('_', " ")).collect();
    columns.extend(["Data", "Score", "Meets limits"].map(str::to_owned));
    columns.extend(names.iter().map(|name| name.replace('_', " ")));
    let direction = |direction: Direction| match direction {
        Direction::LowerIsBetter => "lower",
        Direction::HigherIsBetter => "higher",
    };
    let objectives = search.objectives.iter().map(|o| format!("{} ({})", o.figure, direction(o.direction)));
    let caption = format!(
        "Objectives of the front, and which values are better: {}. Figures of a trial are those of the text that the search saw.",
        objectives.collect::<Vec<_>>().join(", ")
    );
    (!rows.is_empty()).then(|| Matrix {
        title: title.to_owned(),
        caption,
        corner: "Trial",
        columns,
        rows,
        sortable: true,
    })
}
