//! The values that an option may have.

use super::brackets::MOST_TRIALS;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Holds the value of an option, as a recipe has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// A switch.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// Yields a number as such.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Integer(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Says how a range is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scale {
    /// Equal differences.
    #[default]
    Linear,
    /// Equal ratios, for learning rates and their like.
    Log,
}

/// Declares the values of an option: in TOML a list, or `{ from, to }` with `scale`, `steps` and `integer`.
///
/// ```
/// use tenuis_plan::search::{Axis, Space};
/// let space: Space = toml::from_str("bits = [2, 3, 4]\nlr = { from = 1e-5, to = 1e-3, scale = 'log', steps = 3 }")?;
/// let expected = Space::default().with("bits", Axis::values([2, 3, 4])).with("lr", Axis::log(1e-5, 1e-3).with_steps(3));
/// assert_eq!(space, expected);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Axis {
    /// Just these.
    Values(Vec<Value>),
    /// All between two numbers, both included.
    Range(Range),
}

/// Declares all values between two numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Range {
    /// The least value.
    pub from: f64,
    /// The greatest value.
    pub to: f64,
    /// How it is divided.
    #[serde(default)]
    pub scale: Scale,
    /// How many values a grid takes of it, ends included; a random search takes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Whether values are rounded to whole numbers.
    #[serde(default)]
    pub integer: bool,
}

impl Axis {
    /// Lists values.
    pub fn values<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::Values(values.into_iter().map(Into::into).collect())
    }

    /// Declares a range that is drawn from evenly.
    pub fn linear(from: f64, to: f64) -> Self {
        Self::Range(Range { from, to, scale: Scale::Linear, steps: None, integer: false })
    }

    /// Declares a range that is drawn from evenly in logarithms.
    pub fn log(from: f64, to: f64) -> Self {
        Self::Range(Range { from, to, scale: Scale::Log, steps: None, integer: false })
    }

    /// Says how many values a grid takes of a range; a list stays as it is.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        if let Self::Range(range) = &mut self {
            range.steps = Some(steps);
        }
        self
    }

    /// Rounds the values of a range to whole numbers; a list stays as it is.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        if let Self::Range(range) = &mut self {
            range.integer = true;
        }
        self
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Values(values) if values.is_empty() => Err("there are no values; list at least one".into()),
            Self::Values(values) => {
                match values.iter().find(|v| matches!(v, Value::Float(f) if !f.is_finite())) {
                    Some(_) => Err("a value is not finite; leave it out".into()),
                    None => match values.iter().enumerate().find(|(i, value)| values[..*i].contains(value)) {
                        Some((_, repeated)) => Err(format!("{repeated:?} is listed twice; leave one out")),
                        None => Ok(()),
                    },
                }
            }
            Self::Range(Range { from, to, scale, steps, .. }) => {
                if !(from.is_finite() && to.is_finite() && from < to) {
                    Err(format!("the range is from {from} to {to}; it must be finite and ascending"))
                } else if *scale == Scale::Log && *from <= 0.0 {
                    Err(format!("a logarithmic range cannot begin at {from}; begin above 0"))
                } else if steps.is_some_and(|steps| steps < 2) {
                    Err("a range has two ends; take at least 2 steps".into())
                } else {
                    Ok(())
                }
            }
        }
    }

    /// The values that a grid takes.
    pub(super) fn steps(&self) -> Option<Vec<Value>> {
        match self {
            Self::Values(values) => Some(values.clone()),
            Self::Range(range) => {
                let steps = range.steps?;
                let mut values: Vec<_> = (0..steps.min(MOST_TRIALS + 1))
                    .map(|i| range.at(i as f64 / (steps - 1) as f64))
                    .collect();
                values.dedup();
                Some(values)
            }
        }
    }

    /// The value at a place from 0 to 1.
    pub(super) fn at(&self, place: f64) -> Value {
        match self {
            Self::Values(values) => {
                values[((place * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
            Self::Range(range) => range.at(place),
        }
    }
}

impl Range {
    fn at(&self, place: f64) -> Value {
        let value = match self.scale {
            // Ends are met exactly.
            _ if place == 0.0 => self.from,
            _ if place == 1.0 => self.to,
            Scale::Linear => self.from + place * (self.to - self.from),
            Scale::Log => (self.from.ln() + place * (self.to.ln() - self.from.ln())).exp(),
        };
        if self.integer { Value::Integer(value.round() as i64) } else { Value::Float(value) }
    }
}

impl<'de> Deserialize<'de> for Axis {
    /// Reads a list or a table. By hand, because an untagged enum could not say which key of a table is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrTable;

        impl<'de> Visitor<'de> for ListOrTable {
            type Value = Axis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values, or a table with from and to")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Axis, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Axis::Values)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Axis, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(table)).map(Axis::Range)
            }
        }

        deserializer.deserialize_any(ListOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Space;

    #[test]
    fn whole_numbers_are_rounded_and_not_repeated() {
        let axis = Axis::linear(1.0, 3.0).with_steps(9).rounded();
        assert_eq!(axis.steps().unwrap(), [1, 2, 3].map(Value::Integer));
    }

    #[test]
    fn what_is_wrong_in_a_declaration_is_named() {
        for (text, wanted) in [
            ("lr = { from = 1, to = 2, stesp = 3 }", "stesp"),
            ("lr = { from = 1 }", "missing field `to`"),
            ("lr = 3", "a list of values, or a table"),
            ("lr = { from = 1, to = 2, scale = 'cubic' }", "cubic"),
        ] {
            let message = toml::from_str::<Space>(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn a_declaration_survives_a_round_trip() {
        let space = Space::default()
            .with("bits", Axis::values([2, 4]))
            .with("act_order", Axis::values([true, false]))
            .with("lr", Axis::log(1e-5, 1e-3).with_steps(3))
            .with("rank", Axis::linear(4.0, 64.0).rounded());
        assert_eq!(toml::from_str::<Space>(&toml::to_string(&space).unwrap()).unwrap(), space);
        assert_eq!(serde_json::from_str::<Space>(&serde_json::to_string(&space).unwrap()).unwrap(), space);
    }
}
