//! Levenberg–Marquardt for a handful of bounded parameters.

use std::ops::RangeInclusive;

/// Steps of one descent; from the starts used here a few dozen suffice.
const STEPS: usize = 200;

/// A step that lowers the sum by a smaller share ends the descent.
const CONVERGED: f64 = 1e-14;

/// The damping with which a descent begins, and the one above which no step helps any more.
const DAMPING: (f64, f64) = (1e-3, 1e12);

/// A value and its derivatives by the parameters.
pub(super) type Model<'a, const N: usize> = &'a dyn Fn(&[f64; N], f64) -> (f64, [f64; N]);

/// Where a descent ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minimum<const N: usize> {
    pub(super) parameters: [f64; N],
    pub(super) sum_of_squares: f64,
}

/// Minimises `Σ (model(x) − y)²` from `start` by damped Gauss–Newton steps (Levenberg 1944; Marquardt 1963), each cut to the bounds.
pub(super) fn descend<const N: usize>(
    points: &[(f64, f64)],
    model: Model<'_, N>,
    start: [f64; N],
    bounds: &[RangeInclusive<f64>; N],
) -> Minimum<N> {
    let sum = |p: &[f64; N]| points.iter().map(|&(x, y)| (model(p, x).0 - y).powi(2)).sum::<f64>();
    let mut best = Minimum { parameters: start, sum_of_squares: sum(&start) };
    let (mut damping, hopeless) = DAMPING;
    for _ in 0..STEPS {
        let (normal, gradient) = normal_equations(points, model, &best.parameters);
        let mut gained = 0.0;
        while damping < hopeless {
            let Some(step) = solve(damped(normal, damping), gradient) else {
                damping *= 10.0;
                continue;
            };
            let mut next = best.parameters;
            for ((value, step), bound) in next.iter_mut().zip(step).zip(bounds) {
                *value = (*value - step).clamp(*bound.start(), *bound.end());
            }
            let after = sum(&next);
            if after < best.sum_of_squares {
                gained = 1.0 - after / best.sum_of_squares;
                best = Minimum { parameters: next, sum_of_squares: after };
                damping /= 10.0;
                break;
            }
            damping *= 10.0;
        }
        if gained < CONVERGED {
            break;
        }
    }
    best
}

fn normal_equations<const N: usize>(
    points: &[(f64, f64)],
    model: Model<'_, N>,
    parameters: &[f64; N],
) -> ([[f64; N]; N], [f64; N]) {
    let (mut normal, mut gradient) = ([[0.0; N]; N], [0.0; N]);
    for &(x, y) in points {
        let (value, slopes) = model(parameters, x);
        for i in 0..N {
            gradient[i] += slopes[i] * (value - y);
            for j in 0..N {
                normal[i][j] += slopes[i] * slopes[j];
            }
        }
    }
    (normal, gradient)
}

/// Scales the diagonal as Marquardt did, so that units of parameters do not matter.
fn damped<const N: usize>(mut normal: [[f64; N]; N], damping: f64) -> [[f64; N]; N] {
    for (i, row) in normal.iter_mut().enumerate() {
        row[i] += damping * row[i].max(f64::MIN_POSITIVE);
    }
    normal
}

/// Solves by elimination with pivots; nothing where the matrix is singular.
fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot = (column..N).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))?;
        if a[pivot][column] == 0.0 || a[pivot][column].is_nan() {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        let (pivot_row, pivot_value) = (a[column], b[column]);
        for row in column + 1..N {
            let factor = a[row][column] / pivot_row[column];
            for (value, pivot) in a[row].iter_mut().zip(pivot_row).skip(column) {
                *value -= factor * pivot;
            }
            b[row] -= factor * pivot_value;
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|j| a[row][j] * b[j]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    b.iter().all(|v| v.is_finite()).then_some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system of three well-scaled equations loses a few bits at most.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn a_system_is_solved_with_pivots() {
        let a = [[0.0, 2.0, 1.0], [1.0, 1.0, 1.0], [4.0, 0.0, -1.0]];
        let x = solve(a, [7.0, 6.0, 1.0]).unwrap();
        for (found, wanted) in x.into_iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - wanted).abs() < ROUNDING, "{x:?}");
        }
        assert_eq!(solve([[1.0, 2.0], [2.0, 4.0]], [1.0, 1.0]), None);
    }

    #[test]
    fn bounds_hold() {
        let points = [(0.0, 0.0), (1.0, 5.0), (2.0, 10.0)];
        let line = |p: &[f64; 1], x: f64| (p[0] * x, [x]);
        let free = descend(&points, &line, [0.5], &[0.0..=10.0]);
        assert!((free.parameters[0] - 5.0).abs() < ROUNDING);
        let bound = descend(&points, &line, [0.5], &[0.0..=3.0]);
        assert_eq!(bound.parameters, [3.0]);
    }
}
