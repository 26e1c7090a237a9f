//! Non-dominated fronts, their knees and their hypervolumes, in any number of objectives.
//!
//! A point dominates another if it is at least as good in every objective and better in one (Pareto 1896). Objectives come with a
//! [`Direction`] each.

mod hypervolume;

pub use hypervolume::hypervolume;

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use tenuis_metrics::Direction;
use thiserror::Error;

/// Says why points have no front.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum FrontError {
    /// There is nothing to be better in.
    #[error("there are no objectives; name at least one with its direction")]
    NoObjectives,
    /// A point has too many or too few values.
    #[error(
        "point {point} has {found} values for {expected} objectives; leave out what was not measured as a whole"
    )]
    Length {
        /// Its index, from 0.
        point: usize,
        /// The number of objectives.
        expected: usize,
        /// The number of its values.
        found: usize,
    },
    /// A value cannot be compared.
    #[error("objective {objective} of point {point} is {value}; it must be finite, so leave the point out")]
    NotFinite {
        /// The point's index, from 0.
        point: usize,
        /// The objective's index, from 0.
        objective: usize,
        /// What it is.
        value: f64,
    },
}

/// Finds the points that none dominates, as indices in ascending order.
///
/// Of points with equal values in all objectives the first stands for all. Cost: `O(n log n)` for two objectives, otherwise
/// `O(n·f·d)` for a front of `f`: after sorting, a point can only be dominated by one before it that is on the front itself
/// (Kung, Luccio and Preparata 1975).
///
/// # Errors
///
/// [`FrontError`] if points and objectives do not fit together or a value is not finite.
///
/// ```
/// use tenuis_metrics::Direction::{HigherIsBetter, LowerIsBetter};
/// let bytes_and_quality = [[100.0, 0.9], [50.0, 0.8], [60.0, 0.7], [50.0, 0.8]];
/// let front = tenuis_plan::front::non_dominated(&bytes_and_quality, &[LowerIsBetter, HigherIsBetter])?;
/// assert_eq!(front, [0, 1]);
/// # Ok::<(), tenuis_plan::front::FrontError>(())
/// ```
pub fn non_dominated<P: AsRef<[f64]>>(
    points: &[P],
    directions: &[Direction],
) -> Result<Vec<usize>, FrontError> {
    Ok(front_of(&minimised(points, directions)?))
}

/// Marks the point of a front that gives up the least of everything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Knee {
    /// Its index among the points.
    pub index: usize,
    /// Its distance to the hyperplane, in normalised objectives: from 0 to `(d − 1) / √d` for `d` objectives.
    pub distance: f64,
}

/// A distance that rounding alone can make.
const ROUNDING: f64 = 1e-12;

/// Finds the knee of the points' front.
///
/// Objectives are normalised over the front to `x ∈ [0, 1]`, 0 being the best. The knee has the largest distance
/// `(1 − Σ xᵢ) / √d` to the hyperplane `Σ xᵢ = 1` on the side of the ideal point. With two objectives the hyperplane is the chord between
/// the extremes (Das 1999, "On characterizing the knee of the Pareto curve based on normal-boundary intersection"); with more it is
/// also the point of the greatest utility at equal weights (Branke, Deb, Dierolf and Osswald 2004, "Finding knees in multi-objective
/// optimization"). An objective that is constant on the front does not count. The first of equals wins.
///
/// There is none if the front bulges away from the ideal point, is a line, or has fewer than three points.
///
/// # Errors
///
/// As [`non_dominated`].
///
/// ```
/// use tenuis_metrics::Direction::LowerIsBetter;
/// let points = [[0.0, 10.0], [1.0, 2.0], [10.0, 0.0]];
/// let knee = tenuis_plan::front::knee(&points, &[LowerIsBetter; 2])?;
/// assert_eq!(knee.map(|knee| knee.index), Some(1));
/// # Ok::<(), tenuis_plan::front::FrontError>(())
/// ```
pub fn knee<P: AsRef<[f64]>>(points: &[P], directions: &[Direction]) -> Result<Option<Knee>, FrontError> {
    let points = minimised(points, directions)?;
    let front = front_of(&points);
    if front.len() < 3 {
        return Ok(None);
    }
    let ranges: Vec<(usize, f64, f64)> = (0..directions.len())
        .filter_map(|objective| {
            let values = front.iter().map(|&index| points[index][objective]);
            let least = values.clone().fold(f64::INFINITY, f64::min);
            let most = values.fold(f64::NEG_INFINITY, f64::max);
            // Halves keep the difference of two huge values finite.
            (most > least).then_some((objective, least / 2.0, most / 2.0 - least / 2.0))
        })
        .collect();
    let mut best: Option<Knee> = None;
    for &index in &front {
        let sum: f64 = ranges.iter().map(|&(o, least, range)| (points[index][o] / 2.0 - least) / range).sum();
        let distance = (1.0 - sum) / (ranges.len() as f64).sqrt();
        if distance > best.map_or(ROUNDING, |knee| knee.distance) {
            best = Some(Knee { index, distance });
        }
    }
    Ok(best)
}

/// Checks the points and turns every objective so that less is better.
fn minimised<P: AsRef<[f64]>>(points: &[P], directions: &[Direction]) -> Result<Vec<Vec<f64>>, FrontError> {
    if directions.is_empty() {
        return Err(FrontError::NoObjectives);
    }
    points.iter().enumerate().map(|(index, point)| turned(index, point.as_ref(), directions)).collect()
}

fn turned(point: usize, values: &[f64], directions: &[Direction]) -> Result<Vec<f64>, FrontError> {
    if values.len() != directions.len() {
        return Err(FrontError::Length { point, expected: directions.len(), found: values.len() });
    }
    if let Some(objective) = values.iter().position(|v| !v.is_finite()) {
        return Err(FrontError::NotFinite { point, objective, value: values[objective] });
    }
    let turn = |(&value, direction): (&f64, &Direction)| match direction {
        // Adding 0 makes −0 and 0 the same to a total order.
        Direction::LowerIsBetter => value + 0.0,
        Direction::HigherIsBetter => -value + 0.0,
    };
    Ok(values.iter().zip(directions).map(turn).collect())
}

fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether `a` is nowhere worse than `b`: it dominates it or equals it.
fn covers(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b)
}

fn front_of(points: &[Vec<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    // The sort is stable: of equal points the first comes first and covers the others.
    order.sort_by(|&a, &b| lexicographic(&points[a], &points[b]));
    let mut front: Vec<usize> = Vec::new();
    for index in order {
        let point = &points[index];
        let covered = match (point.len(), front.last()) {
            // In two dimensions the last member has the least second objective of all so far.
            (1 | 2, last) => last.is_some_and(|&last| covers(&points[last], point)),
            _ => front.iter().any(|&member| covers(&points[member], point)),
        };
        if !covered {
            front.push(index);
        }
    }
    front.sort_unstable();
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{HigherIsBetter as Up, LowerIsBetter as Down};
    use proptest::prelude::*;

    fn dominates(a: &[f64], b: &[f64], directions: &[Direction]) -> bool {
        let better = |i: usize| match directions[i] {
            Up => a[i] > b[i],
            Down => a[i] < b[i],
        };
        (0..a.len()).all(|i| better(i) || a[i] == b[i]) && (0..a.len()).any(better)
    }

    fn problems() -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Direction>)> {
        (1usize..5).prop_flat_map(|d| {
            // A coarse grid makes ties and equal points common.
            let point = prop::collection::vec((-4i32..5).prop_map(f64::from), d);
            let direction = prop_oneof![Just(Up), Just(Down)];
            (prop::collection::vec(point, 0..40), prop::collection::vec(direction, d))
        })
    }

    proptest! {
        #[test]
        fn the_front_is_what_its_definition_says((points, directions) in problems()) {
            let front = non_dominated(&points, &directions).unwrap();
            for (index, point) in points.iter().enumerate() {
                let dominated = points.iter().any(|other| dominates(other, point, &directions));
                let repeated = points[..index].contains(point);
                prop_assert_eq!(front.contains(&index), !dominated && !repeated, "{}", index);
            }
            prop_assert!(front.is_sorted());
        }

        #[test]
        fn the_knee_is_on_the_front_and_farthest((points, directions) in problems()) {
            let front = non_dominated(&points, &directions).unwrap();
            if let Some(knee) = knee(&points, &directions).unwrap() {
                prop_assert!(front.contains(&knee.index));
                let d = directions.len() as f64;
                prop_assert!(knee.distance > 0.0 && knee.distance <= (d - 1.0) / d.sqrt() + ROUNDING);
            }
        }

        #[test]
        fn units_do_not_move_the_knee((points, directions) in problems(), unit in 1e-3..1e3) {
            let scaled: Vec<Vec<f64>> =
                points.iter().map(|p| p.iter().enumerate().map(|(i, v)| if i == 0 { v * unit } else { *v }).collect()).collect();
            let (a, b) = (knee(&points, &directions).unwrap(), knee(&scaled, &directions).unwrap());
            prop_assert_eq!(a.is_some(), b.is_some());
            if let (Some(a), Some(b)) = (a, b) {
                prop_assert!((a.distance - b.distance).abs() < 1e3 * ROUNDING);
            }
        }
    }

    #[test]
    fn the_distance_to_the_chord() {
        let points = [[0.0, 1.0], [0.25, 0.25], [1.0, 0.0]];
        let knee = knee(&points, &[Down, Down]).unwrap().unwrap();
        assert_eq!(knee.index, 1);
        assert!((knee.distance - 0.5 / 2f64.sqrt()).abs() < ROUNDING);
    }

    #[test]
    fn a_line_and_a_bulge_have_no_knee() {
        let line = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]];
        let bulge = [[0.0, 1.0], [0.9, 0.9], [1.0, 0.0]];
        for points in [line, bulge] {
            assert_eq!(knee(&points, &[Down, Down]), Ok(None));
        }
        assert_eq!(knee(&line[..2], &[Down, Down]), Ok(None));
    }

    #[test]
    fn a_constant_objective_does_not_count() {
        let points = [[0.0, 5.0, 1.0], [0.25, 5.0, 0.25], [1.0, 5.0, 0.0]];
        assert_eq!(knee(&points, &[Down, Up, Down]).unwrap().map(|k| k.index), Some(1));
    }

    #[test]
    fn thousands_of_points_take_no_time() {
        // Points on a sphere: all are on the front, the worst case.
        let point = |i: u32| {
            let (a, b) = (f64::from(i % 50) / 50.0, f64::from(i / 50) / 60.0);
            let (x, y) = ((1.0 + a) * (1.0 + b), (2.0 - a) * (1.0 + b));
            let length = (x * x + y * y + 1.0).sqrt();
            vec![-x / length, -y / length, -1.0 / length]
        };
        let points: Vec<_> = (0..3000).map(point).collect();
        assert_eq!(non_dominated(&points, &[Down; 3]).unwrap().len(), 3000);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert_eq!(non_dominated(&[[1.0]], &[]), Err(FrontError::NoObjectives));
        let length = non_dominated(&[vec![1.0], vec![1.0, 2.0]], &[Up]);
        assert_eq!(length, Err(FrontError::Length { point: 1, expected: 1, found: 2 }));
        assert!(matches!(
            knee(&[[1.0, f64::NAN]], &[Up, Up]),
            Err(FrontError::NotFinite { point: 0, objective: 1, .. })
        ));
    }
}
