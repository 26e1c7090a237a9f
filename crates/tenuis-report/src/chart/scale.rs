//! Axes: which range, linear or logarithmic, where the ticks are and what they say.

use crate::format::superscript;

/// From this ratio of the largest to the smallest value an axis is logarithmic.
const LOG_FROM: f64 = 20.0;

/// What an axis measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes, shown in the binary unit of the largest.
    Bytes,
    /// Seconds, shown in s, ms or µs.
    Seconds,
    /// Something with a name of its own, or none.
    Plain(&'static str),
}

/// An axis. Positions go from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scale {
    /// Whether equal distances are equal ratios.
    pub log: bool,
    /// Ticks: position and label.
    pub ticks: Vec<(f64, String)>,
    /// Quantity and unit.
    pub caption: String,
    low: f64,
    high: f64,
    divisor: f64,
    floor: Option<f64>,
}

impl Scale {
    /// An axis for these values; none where there are none. Values below `floor` are shown at it, which is how a logarithmic
    /// axis shows a zero.
    pub fn fit(values: &[f64], quantity: &str, unit: Unit, floor: Option<f64>) -> Option<Self> {
        let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let most = values.iter().copied().reduce(f64::max)?;
        let (divisor, name) = display_unit(unit, most);
        let raised = |v: f64| floor.map_or(v, |f| v.max(f)) / divisor;
        let low = values.iter().copied().map(raised).reduce(f64::min)?;
        let high = raised(most);
        let log = low > 0.0 && high / low > LOG_FROM;
        let caption = if name.is_empty() { quantity.to_owned() } else { format!("{quantity} ({name})") };
        let (low, high) = if log { padded_log(low, high) } else { padded(low, high) };
        let mut scale = Self { log, ticks: Vec::new(), caption, low, high, divisor, floor };
        scale.ticks = if log { scale.log_ticks() } else { scale.linear_ticks() };
        Some(scale)
    }

    /// Where a value stands, 0 to 1.
    pub fn at(&self, value: f64) -> f64 {
        let value = self.floor.map_or(value, |floor| value.max(floor)) / self.divisor;
        self.position(value).clamp(0.0, 1.0)
    }

    fn position(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn linear_ticks(&self) -> Vec<(f64, String)> {
        let step = nice((self.high - self.low) / 4.0);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (self.low / step).ceil() as i64;
        let mut ticks = Vec::new();
        for index in first..first + 12 {
            let value = index as f64 * step;
            if value > self.high {
                break;
            }
            ticks.push((self.position(value), format!("{value:.decimals$}").replace('-', "−")));
        }
        ticks
    }

    fn log_ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = (self.low.log10(), self.high.log10());
        let stride = ((high - low) / 5.0).ceil().max(1.0) as i32;
        let multiples: &[f64] = if high - low < 2.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        for decade in low.floor() as i32..=high.ceil() as i32 {
            for &multiple in multiples {
                let value = multiple * 10f64.powi(decade);
                let inside = self.low <= value && value <= self.high;
                if inside && decade.rem_euclid(stride) == 0 {
                    ticks.push((self.position(value), self.label(multiple, decade)));
                }
            }
        }
        ticks
    }

    fn label(&self, multiple: f64, decade: i32) -> String {
        let value = multiple * 10f64.powi(decade);
        let at_floor = self.floor.is_some_and(|floor| value * self.divisor <= floor * 1.001);
        let text = match decade {
            -3..=-1 => format!("{value:.*}", decade.unsigned_abs() as usize),
            0..=4 => format!("{value:.0}"),
            _ if multiple == 1.0 => format!("10{}", superscript(&decade.to_string())),
            _ => format!("{multiple:.0}·10{}", superscript(&decade.to_string())),
        };
        if at_floor { format!("≤{text}") } else { text }
    }
}

fn display_unit(unit: Unit, most: f64) -> (f64, &'static str) {
    match unit {
        Unit::Plain(name) => (1.0, name),
        Unit::Bytes => {
            let units = [
                (1024f64.powi(4), "TiB"),
                (1024f64.powi(3), "GiB"),
                (1024f64.powi(2), "MiB"),
                (1024.0, "KiB"),
            ];
            units.into_iter().find(|&(divisor, _)| most >= divisor).unwrap_or((1.0, "B"))
        }
        Unit::Seconds if most >= 1.0 => (1.0, "s"),
        Unit::Seconds if most >= 1e-3 => (1e-3, "ms"),
        Unit::Seconds => (1e-6, "µs"),
    }
}

fn padded(low: f64, high: f64) -> (f64, f64) {
    let span = if high > low { high - low } else { 0.2 * high.abs().max(1e-9) };
    let below = low - 0.12 * span;
    (if low >= 0.0 { below.max(0.0) } else { below }, high + 0.12 * span)
}

fn padded_log(low: f64, high: f64) -> (f64, f64) {
    let pad = (high / low).powf(0.07);
    (low / pad, high * pad)
}

/// The smallest of 1, 2, 5 and their tens that is not below a step.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let multiple = [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= step * 0.999);
    multiple.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_narrow_range_is_linear_with_round_ticks() {
        let scale = Scale::fit(&[2_483_176.0, 6_562_376.0], "size", Unit::Bytes, None).unwrap();
        assert!(!scale.log);
        assert_eq!(scale.caption, "size (MiB)");
        assert_eq!(labels(&scale), ["2", "4", "6"]);
    }

    #[test]
    fn a_wide_range_is_logarithmic_and_zero_stands_at_the_floor() {
        let scale = Scale::fit(&[0.0, 1e-3, 0.4], "KL", Unit::Plain("nats"), Some(1e-6)).unwrap();
        assert!(scale.log);
        assert_eq!(scale.at(0.0), scale.at(1e-7));
        assert!(scale.at(0.0) < scale.at(1e-5));
        assert!(labels(&scale).contains(&"≤10⁻⁶"), "{:?}", labels(&scale));
    }

    #[test]
    fn equal_values_and_none_have_an_axis_or_say_so() {
        let scale = Scale::fit(&[3.0, 3.0], "perplexity", Unit::Plain(""), None).unwrap();
        assert!(scale.at(3.0) > 0.2 && scale.at(3.0) < 0.8);
        assert!(scale.ticks.len() >= 2);
        assert_eq!(Scale::fit(&[f64::NAN], "x", Unit::Seconds, None), None);
    }
}
