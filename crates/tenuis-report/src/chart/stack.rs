//! Sums of bytes and what they are made of, as bars of parts.

use super::{Svg, WIDTH, escape};
use crate::format::{bytes, shorten};

const LABELS: f64 = 112.0;
const VALUES: f64 = 66.0;
const ROW: f64 = 24.0;
const BAR: f64 = 15.0;
const KEY: f64 = 18.0;
/// Colours that the style sheet has; more parts share the last.
const COLOURS: usize = 6;

/// A part of a sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub label: &'static str,
    /// Bytes.
    pub bytes: f64,
}

/// A sum with its parts; every stack of a chart has the same parts in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Of what.
    pub name: String,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// Draws a row per sum on one scale and a key below; none where all is nothing.
pub fn stacks(title: &str, rows: &[Stack]) -> Option<String> {
    let sum = |row: &Stack| row.parts.iter().map(|part| part.bytes).sum::<f64>();
    let most = rows.iter().map(sum).reduce(f64::max).filter(|most| *most > 0.0)?;
    let told = |row: &Stack| {
        let parts = row.parts.iter().map(|part| format!("{} {}", part.label, bytes(part.bytes)));
        format!("{}: {}", row.name, parts.collect::<Vec<_>>().join(", "))
    };
    let shown: Vec<(usize, &Part)> = rows.first()?.parts.iter().enumerate().collect();
    let used: Vec<(usize, &str)> = shown
        .into_iter()
        .filter(|(index, _)| {
            rows.iter().any(|row| row.parts.get(*index).is_some_and(|part| part.bytes > 0.0))
        })
        .map(|(index, part)| (index, part.label))
        .collect();
    let bottom = ROW * rows.len() as f64 + 8.0;
    let height = bottom + KEY * used.len().div_ceil(2) as f64 + 4.0;
    let mut svg = Svg::new(height, title, &rows.iter().map(told).collect::<Vec<_>>().join("; "));
    for (index, row) in rows.iter().enumerate() {
        let y = ROW * index as f64;
        let baseline = y + ROW / 2.0 + 4.0;
        svg.text("tick", "start", (0.0, baseline), &shorten(&row.name, 17));
        let mut x = LABELS;
        for (index, part) in row.parts.iter().enumerate() {
            let width = (WIDTH - LABELS - VALUES) * part.bytes / most;
            let (class, top) = (index.min(COLOURS - 1), y + (ROW - BAR) / 2.0);
            let told = escape(&format!("{}: {}", part.label, bytes(part.bytes)));
            svg.push(format_args!(
                r#"<rect class="part part-{class}" x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{BAR}"><title>{told}</title></rect>"#
            ));
            x += width;
        }
        svg.text("value", "start", (x + 5.0, baseline), &bytes(sum(row)));
    }
    for (place, (index, label)) in used.iter().enumerate() {
        let (x, y) = (if place % 2 == 0 { 0.0 } else { WIDTH / 2.0 }, bottom + KEY * (place / 2) as f64);
        let class = (*index).min(COLOURS - 1);
        svg.push(format_args!(
            r#"<rect class="part part-{class}" x="{x:.1}" y="{y:.1}" width="11" height="11"/>"#
        ));
        svg.text("tick", "start", (x + 16.0, y + 10.0), label);
    }
    Some(svg.finish())
}
