//! What a resource buys: curves, marginal benefits, and where they stop paying.

use super::charts::Chart;
use super::gains::lines;
use super::section::{Cell, Matrix, Row, Section};
use crate::chart::{Plot, PlotLine, PlotPoint, Scale, Unit};
use crate::data::{CurveFit, CurvePoint, CurveSample, Report, ResourceCurve};
use crate::format::{figure, percent, share};
use std::collections::BTreeMap;

/// A curve that explains less of the variance than this gets a warning.
const POOR_FIT: f64 = 0.5;
/// The whole quality, in percent.
const WHOLE: f64 = 100.0;

/// What people call a resource.
pub(crate) fn resource_words(resource: &str) -> String {
    match resource {
        "bytes" => "size of the files".to_owned(),
        "peak_memory" => "peak memory".to_owned(),
        "decode_latency" => "time per decoded token".to_owned(),
        "flops_decode" => "operations per decoded token".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Why curves are missing, resources with the same reason together.
pub(crate) fn missing_curves(report: &Report) -> Vec<String> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for curve in report.curves.iter().filter(|curve| curve.fit.line.is_empty()) {
        let reason = curve.fit.reason.as_deref().unwrap_or("the reason was not recorded");
        reasons.entry(reason).or_default().push(resource_words(&curve.resource));
    }
    reasons.into_iter().map(|(reason, of)| format!("No curve over {}: {reason}.", of.join(", "))).collect()
}

/// Where another unit stops paying, in words.
pub(crate) fn payoff_words(curve: &ResourceCurve) -> String {
    let unit = &curve.unit;
    let full = curve.points.first().map(|point| point.resource);
    match curve.fit.payoff {
        None => format!("another {unit} pays nowhere"),
        Some(at) => {
            let part = full.map(|full| format!(" ({} of the baseline's)", share(at / full)));
            let beyond = curve.fit.measured_to.is_some_and(|to| at > to);
            let extrapolated = if beyond { ", beyond what was measured" } else { "" };
            format!(
                "another {unit} pays up to {}\u{a0}{unit}{}{extrapolated}",
                figure(at),
                part.unwrap_or_default()
            )
        }
    }
}

pub(super) fn section(report: &Report) -> Option<Section> {
    let mut section = Section::new(
        "buys",
        "What a resource buys",
        "Quality kept (of the perplexity, in percent) against what it takes. Solid: the fitted curve; dashed: the linear ideal, on which \
         quality grows with its share of the resource; upright: from there on, 1 % of the baseline's resource buys less than 0.1 \
         points, a tenth of the ideal, so that more no longer pays.",
    );
    for curve in &report.curves {
        section.charts.extend(chart(curve));
        section.matrices.extend(table(curve));
        section.notes.extend(doubts(curve));
    }
    section.notes.extend(missing_curves(report));
    section.unless_empty()
}

/// What speaks against trusting a curve.
fn doubts(curve: &ResourceCurve) -> Vec<String> {
    let fit = &curve.fit;
    let what = resource_words(&curve.resource);
    if fit.line.is_empty() {
        return Vec::new();
    }
    let mut doubts = Vec::new();
    if fit.at_bound == Some(true) {
        doubts.push(format!(
            "The curve over {what} ended at a bound: these models do not determine its shape; measure more sizes."
        ));
    }
    if let Some(explained) = fit.r_squared.filter(|&explained| explained < POOR_FIT) {
        doubts.push(format!(
            "The {what} explains only {} of how the quality varies: by which technique it was spent matters more.",
            share(explained)
        ));
    }
    doubts
}

fn unit(name: &str) -> Unit {
    match name {
        "MB" => Unit::Plain("MB"),
        "ms" => Unit::Plain("ms"),
        "MFLOP" => Unit::Plain("MFLOP"),
        _ => Unit::Plain(""),
    }
}

fn chart(curve: &ResourceCurve) -> Option<Chart> {
    let fit = &curve.fit;
    let full = curve.points.first()?;
    if fit.line.is_empty() {
        return None;
    }
    let what = resource_words(&curve.resource);
    let corners: Vec<(f64, f64)> = fit.line.iter().map(|at| (at.resource, at.quality)).collect();
    let across: Vec<f64> = curve.points.iter().map(|point| point.resource).chain([0.0]).collect();
    let up: Vec<f64> = curve.points.iter().map(|point| point.quality).chain([0.0, WHOLE]).collect();
    let point = |(index, point): (usize, &CurvePoint)| PlotPoint {
        name: point.model.clone(),
        detail: format!("{}\u{a0}{}, {} kept", figure(point.resource), curve.unit, percent(point.quality)),
        x: point.resource,
        y: point.quality,
        class: if index == 0 { "base" } else { "best" },
        named: index == 0,
    };
    let farthest = across.iter().copied().fold(0.0, f64::max);
    let title = format!("Quality against {what}");
    let plot = Plot {
        title: title.clone(),
        description: format!("Upper left is better; {}", payoff_words(curve)),
        x: Scale::fit(&across, &what, unit(&curve.unit), None)?,
        y: Scale::fit(&up, "quality kept", Unit::Plain("%"), None)?,
        lines: vec![
            PlotLine { class: "ideal", corners: vec![(0.0, 0.0), (full.resource, WHOLE)] },
            PlotLine { class: "curve", corners },
        ],
        mark: fit.payoff.filter(|&at| at <= farthest).map(|at| (at, "no longer pays")),
        points: curve.points.iter().enumerate().map(point).collect(),
    };
    Some(Chart { svg: plot.svg(), title })
}

/// The formula with its parameters.
fn formula(fit: &CurveFit) -> String {
    let parameter = |name: &str| fit.curve.get(name).and_then(serde_json::Value::as_f64).map(figure);
    let of = |name| parameter(name).unwrap_or_default();
    match fit.curve.get("family").and_then(serde_json::Value::as_str) {
        Some("saturating") => format!("P(R) = {} · (1 − exp(−R / {}))", of("p_max"), of("scale")),
        Some("gompertz") => {
            format!("P(R) = {} · exp(−{} · exp(−{} · R))", of("alpha"), of("beta"), of("gamma"))
        }
        Some(other) => format!("P(R) of the family {other}"),
        None => "P(R)".to_owned(),
    }
}

/// What another unit buys, at every model and at shares of the baseline's resource.
fn table(curve: &ResourceCurve) -> Option<Matrix> {
    let fit = &curve.fit;
    let full = curve.points.first()?.resource;
    if fit.line.is_empty() {
        return None;
    }
    let pays = |marginal: f64| curve.threshold.is_none_or(|threshold| marginal >= threshold);
    let benefit = |marginal: Option<f64>| {
        let tone = if marginal.is_some_and(pays) { "good" } else { "even" };
        let points = |value: f64| format!("{}\u{a0}points", figure(value));
        let each = Cell::of(marginal, points);
        let hundredth = Cell::of(marginal.map(|value| value * full / WHOLE), points);
        [each, hundredth].map(|cell| if cell.is_missing() { cell } else { cell.tone(tone) })
    };
    let takes = |resource: f64| {
        Cell::of(Some(resource), |value| format!("{}\u{a0}{}", figure(value), curve.unit))
            .detail(format!("{} of the baseline's", share(resource / full)))
    };
    let mut points: Vec<&CurvePoint> = curve.points.iter().collect();
    points.sort_by(|a, b| a.resource.total_cmp(&b.resource));
    let model = |point: &&CurvePoint| {
        let kept = Cell::of(Some(point.quality), percent);
        let mut cells = vec![takes(point.resource), kept, Cell::of(point.ideal, percent)];
        cells.extend(benefit(point.marginal));
        Row { label: point.model.clone(), cells }
    };
    let budget = |at: &CurveSample| {
        let kept = Cell::of(Some(at.quality), percent).detail("by the curve");
        let ideal = curve.ideal_marginal.map(|slope| slope * at.resource);
        let mut cells = vec![takes(at.resource), kept, Cell::of(ideal, percent)];
        cells.extend(benefit(at.marginal));
        Row { label: format!("{:.0} % of the baseline", WHOLE * at.resource / full), cells }
    };
    let rows: Vec<Row> = points.iter().map(model).chain(fit.budgets.iter().map(budget)).collect();
    let what = resource_words(&curve.resource);
    let fitted = lines([
        fit.r_squared.map(|r| format!("R² {r:.3}")),
        fit.residual.map(|residual| format!("residual {} points", figure(residual))),
    ])
    .replace('\n', ", ");
    let below = fit.measured_from.map_or(String::new(), |from| {
        format!(" Below {}\u{a0}{} the curve is an extrapolation.", figure(from), curve.unit)
    });
    Some(Matrix {
        title: format!("By {what}"),
        caption: format!(
            "{} in {}; {fitted}. By it, {}.{below}",
            formula(fit),
            curve.unit,
            payoff_words(curve)
        ),
        corner: "Budget",
        columns: vec![
            "Takes".to_owned(),
            "Keeps".to_owned(),
            "Linear ideal".to_owned(),
            format!("Another {} buys", curve.unit),
            "Another 1 % buys".to_owned(),
        ],
        rows,
        sortable: false,
    })
}
