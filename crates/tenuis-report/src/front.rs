//! Which candidates nothing else beats in every respect.

use crate::error::FrontError;
use tenuis_metrics::Direction;

/// Whether `a` dominates `b`: it is at least as good in every objective and better in one.
///
/// ```
/// use tenuis_metrics::Direction::{HigherIsBetter, LowerIsBetter};
/// use tenuis_report::dominates;
/// let directions = [LowerIsBetter, HigherIsBetter];
/// assert!(dominates(&[1.0, 0.9], &[2.0, 0.9], &directions));
/// assert!(!dominates(&[1.0, 0.8], &[2.0, 0.9], &directions)); // smaller, but worse
/// assert!(!dominates(&[1.0, 0.9], &[1.0, 0.9], &directions)); // equal
/// ```
pub fn dominates(a: &[f64], b: &[f64], directions: &[Direction]) -> bool {
    let signed = |value: f64, direction: Direction| match direction {
        Direction::HigherIsBetter => value,
        Direction::LowerIsBetter => -value,
    };
    let mut better = false;
    for ((&a, &b), &direction) in a.iter().zip(b).zip(directions) {
        let (a, b) = (signed(a, direction), signed(b, direction));
        if a < b {
            return false;
        }
        better |= a > b;
    }
    better
}

/// The non-dominated points (Pareto front): whether each is one. Equal points stay or go together.
///
/// Every pair is compared, `O(n²·k)` for `n` points and `k` objectives; a report has tens of points.
///
/// ```
/// use tenuis_metrics::Direction::LowerIsBetter;
/// let points = [[1.0, 3.0], [2.0, 2.0], [3.0, 2.0]]; // the third is larger than the second and no better
/// assert_eq!(tenuis_report::front(&points, &[LowerIsBetter; 2])?, [true, true, false]);
/// # Ok::<(), tenuis_report::FrontError>(())
/// ```
///
/// # Errors
/// [`FrontError::Length`] where a point has not one value per objective, [`FrontError::NotANumber`] where one is a NaN.
pub fn front(points: &[impl AsRef<[f64]>], directions: &[Direction]) -> Result<Vec<bool>, FrontError> {
    for (index, point) in points.iter().map(AsRef::as_ref).enumerate() {
        if point.len() != directions.len() {
            return Err(FrontError::Length { point: index, expected: directions.len(), found: point.len() });
        }
        if let Some(objective) = point.iter().position(|value| value.is_nan()) {
            return Err(FrontError::NotANumber { point: index, objective });
        }
    }
    let beaten = |point: &[f64]| points.iter().any(|other| dominates(other.as_ref(), point, directions));
    Ok(points.iter().map(|point| !beaten(point.as_ref())).collect())
}
