//! Declared options and the points of their space.

use super::SearchError;
use super::brackets::MOST_TRIALS;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Options by name.
pub type Options = BTreeMap<String, Value>;

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

    fn check(&self) -> Result<(), String> {
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
    fn steps(&self) -> Option<Vec<Value>> {
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
    fn at(&self, place: f64) -> Value {
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

/// Declares the options of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space {
    axes: BTreeMap<String, Axis>,
}

/// Draws in a row that give nothing new after which a space counts as exhausted.
const FUTILE: usize = 1000;

impl Space {
    /// Declares one more option.
    #[must_use]
    pub fn with(mut self, option: &str, axis: Axis) -> Self {
        self.axes.insert(option.to_owned(), axis);
        self
    }

    /// Iterates over the options in the order of their names, which is the order of a grid: the last varies fastest.
    pub fn axes(&self) -> impl Iterator<Item = (&str, &Axis)> {
        self.axes.iter().map(|(name, axis)| (name.as_str(), axis))
    }

    pub(super) fn check(&self) -> Result<(), SearchError> {
        if self.axes.is_empty() {
            return Err(SearchError::EmptySpace);
        }
        for (option, axis) in &self.axes {
            axis.check().map_err(|problem| SearchError::Axis { option: option.clone(), problem })?;
        }
        Ok(())
    }

    /// Every combination.
    pub(super) fn grid(&self) -> Result<Vec<Options>, SearchError> {
        let mut values = Vec::with_capacity(self.axes.len());
        let mut points = 1usize;
        for (option, axis) in &self.axes {
            let steps = axis.steps().ok_or_else(|| SearchError::Axis {
                option: option.clone(),
                problem: "a grid takes steps of a range; say how many".into(),
            })?;
            points = points.saturating_mul(steps.len());
            values.push((option, steps));
        }
        if points > MOST_TRIALS {
            let counted =
                if points == usize::MAX { format!("more than {points}") } else { points.to_string() };
            return Err(SearchError::Grid { points: counted, most: MOST_TRIALS });
        }
        let point = |index: usize| {
            let mut rest = index;
            let mut options = Options::new();
            for (option, steps) in values.iter().rev() {
                options.insert((*option).clone(), steps[rest % steps.len()].clone());
                rest /= steps.len();
            }
            options
        };
        Ok((0..points).map(point).collect())
    }

    /// Different points drawn at random, fewer where there are no more.
    pub(super) fn draw(&self, count: usize, seed: u64) -> Vec<Options> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut seen = BTreeSet::new();
        let mut points = Vec::new();
        let mut futile = 0;
        while points.len() < count && futile < FUTILE {
            let mut place = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let point: Options =
                self.axes.iter().map(|(name, axis)| (name.clone(), axis.at(place()))).collect();
            if seen.insert(format!("{point:?}")) {
                points.push(point);
                futile = 0;
            } else {
                futile += 1;
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_every_combination_once() {
        let space = Space::default()
            .with("bits", Axis::values([2, 4, 8]))
            .with("lr", Axis::log(1e-4, 1e-2).with_steps(3))
            .with("act_order", Axis::values([true, false]));
        let grid = space.grid().unwrap();
        assert_eq!(grid.len(), 18);
        assert!((0..18).all(|i| !grid[..i].contains(&grid[i])));
        let rates: Vec<_> = grid[..3].iter().map(|point| point["lr"].as_f64().unwrap()).collect();
        assert_eq!((rates[0], rates[2]), (1e-4, 1e-2));
        assert!((rates[1] / 1e-3 - 1.0).abs() < 1e-12, "{rates:?}");
    }

    #[test]
    fn whole_numbers_are_rounded_and_not_repeated() {
        let axis = Axis::linear(1.0, 3.0).with_steps(9).rounded();
        assert_eq!(axis.steps().unwrap(), [1, 2, 3].map(Value::Integer));
    }

    #[test]
    fn draws_differ_and_stay_within() {
        let space =
            Space::default().with("x", Axis::linear(-1.0, 1.0)).with("n", Axis::log(1.0, 64.0).rounded());
        let points = space.draw(200, 3);
        assert_eq!((points.len(), &points), (200, &space.draw(200, 3)));
        assert_ne!(points, space.draw(200, 4));
        for point in &points {
            assert!((-1.0..=1.0).contains(&point["x"].as_f64().unwrap()));
            assert!((1.0..=64.0).contains(&point["n"].as_f64().unwrap()));
        }
        // Half of the draws of a logarithmic range lie below its geometric mean.
        let small = points.iter().filter(|point| point["n"].as_f64().unwrap() <= 8.0).count();
        assert!((70..130).contains(&small), "{small}");
        assert_eq!(Space::default().with("b", Axis::values([true, false])).draw(9, 0).len(), 2);
    }

    #[test]
    fn axes_that_make_no_sense_are_named() {
        for (axis, wanted) in [
            (Axis::values::<i64>([]), "no values"),
            (Axis::values([1, 1]), "twice"),
            (Axis::values([f64::NAN]), "finite"),
            (Axis::linear(1.0, 1.0), "ascending"),
            (Axis::log(0.0, 1.0), "above 0"),
            (Axis::linear(0.0, 1.0).with_steps(1), "2 steps"),
        ] {
            let message = Space::default().with("rank", axis).check().unwrap_err().to_string();
            assert!(message.contains("rank") && message.contains(wanted), "{message}");
        }
        assert_eq!(Space::default().check(), Err(SearchError::EmptySpace));
        let range = Space::default().with("rank", Axis::linear(0.0, 1.0));
        assert!(range.grid().unwrap_err().to_string().contains("say how many"));
        let many = (0..30).fold(Space::default(), |s, i| s.with(&format!("o{i}"), Axis::values(0..10)));
        assert!(matches!(many.grid(), Err(SearchError::Grid { .. })));
    }
}
