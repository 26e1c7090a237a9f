//! Changes in percent as bars to both sides of nothing.

use super::{Svg, WIDTH, escape};
use crate::format::change;

const LABELS: f64 = 104.0;
const VALUES: f64 = 62.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// A bar longer than this is cut, and says so with an arrow: otherwise one perplexity would flatten all the rest.
const MOST: f64 = 100.0;

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Of what.
    pub label: &'static str,
    /// In percent; none where it was not measured.
    pub change: Option<f64>,
    /// Whether it stands out of the spread of the measurement.
    pub clear: bool,
}

/// Draws bars of quantities of which less is better. `limit` is the change at either end in percent; charts that are to be
/// compared get the same.
pub fn bars(title: &str, bars: &[Bar], limit: f64) -> String {
    let told = |bar: &Bar| format!("{} {}", bar.label, bar.change.map_or("not measured".into(), change));
    let description = bars.iter().map(told).collect::<Vec<_>>().join("; ");
    let height = ROW * bars.len() as f64 + 10.0;
    let mut svg = Svg::new(height, title, &description);
    let limit = limit.clamp(1.0, MOST);
    let half = (WIDTH - LABELS - 2.0 * VALUES) / 2.0;
    let middle = LABELS + VALUES + half;
    for (index, bar) in bars.iter().enumerate() {
        let y = 5.0 + ROW * index as f64;
        let baseline = y + ROW / 2.0 + 4.0;
        svg.text("tick", "start", (0.0, baseline), bar.label);
        let Some(value) = bar.change else {
            svg.text("tick faint", "start", (middle + 6.0, baseline), "not measured");
            continue;
        };
        let length = half * (value.abs() / limit).min(1.0);
        let left = if value < 0.0 { middle - length } else { middle };
        let class = match (bar.clear, value < 0.0) {
            (false, _) => "bar unclear",
            (true, true) => "bar good",
            (true, false) => "bar bad",
        };
        let (top, told) = (y + (ROW - BAR) / 2.0, escape(&told(bar)));
        svg.push(format_args!(
            r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{length:.1}" height="{BAR}"><title>{told}</title></rect>"#
        ));
        let cut = value.abs() > limit;
        let (anchor, x, text) = match (value < 0.0, cut) {
            (true, false) => ("end", middle - length - 4.0, change(value)),
            (true, true) => ("end", middle - length - 4.0, format!("{} ◂", change(value))),
            (false, false) => ("start", middle + length + 4.0, change(value)),
            (false, true) => ("start", middle + length + 4.0, format!("▸ {}", change(value))),
        };
        svg.text("value", anchor, (x, baseline), &text);
    }
    svg.line("axis", (middle, 2.0), (middle, height - 2.0));
    svg.finish()
}
