//! A figure per weight as a map: layers from left to right, what a layer has from top to bottom.

use super::{Svg, WIDTH, escape};
use crate::format::figure;

const LABELS: f64 = 92.0;
const ROW: f64 = 18.0;
const WIDEST_CELL: f64 = 56.0;
/// The faintest cell still differs from one without a figure.
const FAINTEST: f64 = 0.08;

/// A map's cells and range.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Layers, ascending.
    pub layers: Vec<u64>,
    /// What a layer has, such as `self_attn.q_proj`.
    pub parts: Vec<String>,
    /// `parts × layers`; none where there is no figure.
    pub values: Vec<Option<f64>>,
    /// The figure that is faintest and that which is fullest; maps that are to be compared get the same.
    pub range: (f64, f64),
}

/// Draws a map. Colour is logarithmic where the range spans more than a factor of 20 and nothing is 0 or less.
pub fn heat(title: &str, map: &Heat) -> String {
    let (low, high) = map.range;
    let log = low > 0.0 && high / low > 20.0;
    let strength = |value: f64| {
        let at = match () {
            () if high <= low => 0.5,
            () if log => (value / low).ln() / (high / low).ln(),
            () => (value - low) / (high - low),
        };
        FAINTEST + (1.0 - FAINTEST) * at.clamp(0.0, 1.0)
    };
    let description = format!("From {} to {}", figure(low), figure(high));
    let bottom = ROW * map.parts.len() as f64;
    let mut svg = Svg::new(bottom + 44.0, title, &description);
    let cell = ((WIDTH - LABELS) / map.layers.len().max(1) as f64).min(WIDEST_CELL);
    for (row, part) in map.parts.iter().enumerate() {
        let y = ROW * row as f64;
        let short = part.rsplit('.').next().unwrap_or(part);
        svg.text("tick", "end", (LABELS - 6.0, y + ROW / 2.0 + 4.0), &crate::format::shorten(short, 14));
        for (column, layer) in map.layers.iter().enumerate() {
            let x = LABELS + cell * column as f64;
            let Some(value) = map.values.get(row * map.layers.len() + column).copied().flatten() else {
                continue;
            };
            let (opacity, width, height) = (strength(value), (cell - 1.0).max(0.5), ROW - 1.0);
            let told = escape(&format!("layer {layer}, {part}: {}", figure(value)));
            svg.push(format_args!(
                r#"<rect class="cell" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill-opacity="{opacity:.2}"><title>{told}</title></rect>"#
            ));
        }
    }
    let every = (22.0 / cell).ceil().max(1.0) as usize;
    for (column, layer) in map.layers.iter().enumerate().step_by(every) {
        let x = LABELS + cell * (column as f64 + 0.5);
        svg.text("tick", "middle", (x, bottom + 13.0), &layer.to_string());
    }
    svg.text("tick", "end", (LABELS - 6.0, bottom + 13.0), "layer");
    for step in 0..5 {
        let x = LABELS + 14.0 * f64::from(step);
        let opacity = FAINTEST + (1.0 - FAINTEST) * f64::from(step) / 4.0;
        svg.push(format_args!(
            r#"<rect class="cell" x="{x:.1}" y="{:.1}" width="13" height="9" fill-opacity="{opacity:.2}"/>"#,
            bottom + 24.0
        ));
    }
    let text = format!("{} to {}{}", figure(low), figure(high), if log { ", log" } else { "" });
    svg.text("tick", "start", (LABELS + 78.0, bottom + 33.0), &text);
    svg.finish()
}
