//! Declared options and the points of their space.

use super::brackets::MOST_TRIALS;
use super::{Axis, SearchError, Value};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Options by name.
pub type Options = BTreeMap<String, Value>;

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
