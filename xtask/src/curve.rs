//! The learning curve of the demonstration model as a picture.

use crate::error::Error;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use plotters::prelude::*;
use serde_json::Value;
use std::fmt::Write;
use std::fs;

/// Steps that are averaged into one point.
const WINDOW: usize = 25;

/// A point of a curve: tokens seen in millions, and a loss in nats.
type Point = (f64, f64);

fn lines(log: &Utf8Path) -> Result<Vec<Value>, Error> {
    let text = fs::read_to_string(log).map_err(Error::file("reading", log))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Keeps every [`WINDOW`]th step of a log and all validations.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn thin(log: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
    let kept = |line: &Value| {
        line.get("valid_loss").is_some()
            || line.get("step").and_then(Value::as_u64).is_some_and(|step| step.is_multiple_of(WINDOW as u64))
    };
    let mut text = String::new();
    for line in lines(log)?.iter().filter(|line| kept(line)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    fs::write(to, text).map_err(Error::file("writing", to))
}

/// Draws the losses of runs that follow one another; each has so many tokens in a step.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn draw(runs: &[(Utf8PathBuf, u64)], to: &Utf8Path) -> Result<(), Error> {
    let (mut train, mut valid): (Vec<Point>, Vec<Point>) = Default::default();
    let mut seen = 0.0;
    for (log, tokens) in runs {
        let tokens = *tokens as f64;
        let (mut sum, mut last) = (Vec::new(), 0.0);
        for line in lines(log)? {
            let number = |key: &str| line.get(key).and_then(Value::as_f64);
            if let (Some(loss), Some(step)) = (number("valid_nll"), number("step")) {
                valid.push((seen + tokens * step / 1e6, loss));
            } else if let (Some(loss), Some(step)) = (number("nll"), number("step")) {
                last = tokens * step / 1e6;
                sum.push(loss);
                if sum.len() == WINDOW {
                    train.push((seen + last, sum.iter().sum::<f64>() / WINDOW as f64));
                    sum.clear();
                }
            }
        }
        seen += last;
    }
    let failed = |e: &dyn std::fmt::Display| Error::file("drawing", to)(std::io::Error::other(e.to_string()));
    let root = SVGBackend::new(to.as_std_path(), (720, 400)).into_drawing_area();
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..seen.max(0.1), 0.4..2.0)
        .map_err(|e| failed(&e))?;
    chart
        .configure_mesh()
        .x_desc("million tokens")
        .y_desc("loss (nats per token)")
        .light_line_style(WHITE)
        .draw()
        .map_err(|e| failed(&e))?;
    for (name, points, colour) in
        [("training", &train, RGBColor(150, 170, 200)), ("validation", &valid, RGBColor(190, 60, 40))]
    {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .map_err(|e| failed(&e))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK).draw().map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}
