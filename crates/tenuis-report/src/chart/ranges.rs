//! Distributions of latencies: a line from the fastest to the slowest, thick to the 99th percentile, with marks at the median and
//! the 90th.

use super::{Scale, Svg, Unit, WIDTH, escape};
use crate::data::Distribution;
use crate::format::{seconds, shorten};

const LABELS: f64 = 112.0;
const RIGHT: f64 = 14.0;
const ROW: f64 = 22.0;
const BOTTOM: f64 = 40.0;

/// A model's latency.
#[derive(Clone, Debug)]
pub struct Range {
    /// The model.
    pub name: String,
    /// Its quantiles.
    pub seconds: Distribution,
}

/// Draws one row per model; none where no model has a median.
pub fn ranges(title: &str, rows: &[Range]) -> Option<String> {
    let all = |d: &Distribution| [d.min, d.median, d.p90, d.p99, d.max];
    let values: Vec<f64> = rows.iter().flat_map(|row| all(&row.seconds)).flatten().collect();
    rows.iter().find(|row| row.seconds.median.is_some())?;
    let scale = Scale::fit(&values, "latency", Unit::Seconds, None)?;
    let told = |row: &Range| {
        let quantile = |name: &str, value: Option<f64>| value.map(|v| format!("{name} {}", seconds(v)));
        let d = &row.seconds;
        let parts = [
            quantile("min", d.min),
            quantile("median", d.median),
            quantile("p90", d.p90),
            quantile("p99", d.p99),
            quantile("max", d.max),
        ];
        format!("{}: {}", row.name, parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    };
    let description = rows.iter().map(told).collect::<Vec<_>>().join("; ");
    let height = ROW * rows.len() as f64 + BOTTOM + 6.0;
    let bottom = height - BOTTOM;
    let mut svg = Svg::new(height, title, &description);
    let x = |value: f64| LABELS + scale.at(value) * (WIDTH - LABELS - RIGHT);
    for (at, label) in &scale.ticks {
        let x = LABELS + at * (WIDTH - LABELS - RIGHT);
        svg.line("grid", (x, 4.0), (x, bottom));
        svg.text("tick", "middle", (x, bottom + 14.0), label);
    }
    for (index, row) in rows.iter().enumerate() {
        let d = &row.seconds;
        let y = 4.0 + ROW * (index as f64 + 0.5);
        svg.text("tick", "start", (0.0, y + 4.0), &shorten(&row.name, 17));
        let Some(median) = d.median else {
            svg.text("tick faint", "start", (LABELS + 6.0, y + 4.0), "not measured");
            continue;
        };
        svg.push(format_args!("<g><title>{}</title>", escape(&told(row))));
        let (low, high) = (d.min.unwrap_or(median), d.p99.or(d.p90).unwrap_or(median));
        if let Some(max) = d.max {
            svg.line("whisker far", (x(high), y), (x(max), y));
            svg.line("whisker far", (x(max), y - 3.0), (x(max), y + 3.0));
        }
        svg.line("whisker", (x(low), y), (x(high), y));
        if let Some(p90) = d.p90 {
            svg.line("whisker", (x(p90), y - 5.0), (x(p90), y + 5.0));
        }
        svg.push(format_args!(
            r#"<circle class="point best" cx="{:.1}" cy="{y:.1}" r="4.5"/></g>"#,
            x(median)
        ));
    }
    svg.line("axis", (LABELS, bottom), (WIDTH - RIGHT, bottom));
    let log = if scale.log { ", log scale" } else { "" };
    let middle = f64::midpoint(LABELS, WIDTH - RIGHT);
    svg.text("caption", "middle", (middle, height - 6.0), &format!("{}{log} →", scale.caption));
    Some(svg.finish())
}
