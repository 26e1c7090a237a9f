//! The volume that a front dominates.

use super::{FrontError, front_of, lexicographic, minimised, turned};
use tenuis_metrics::Direction;

/// Computes the hypervolume: the volume between a reference point and all that the points dominate (Zitzler and Thiele 1998).
///
/// Greater is better, in the product of the objectives' units; points that are not better than `reference` in every objective add
/// nothing. The volume is cut into slices along the last objective (While, Hingston, Barone and Huband 2006, "A faster algorithm for
/// calculating hypervolume"), at `O(f^(d−1) log f)` for a front of `f` points, so keep to a
/// few objectives.
///
/// # Errors
///
/// [`FrontError`] as for a front; the reference counts as the point after the last.
///
/// ```
/// use tenuis_metrics::Direction::LowerIsBetter;
/// let points = [[1.0, 2.0], [2.0, 1.0]];
/// assert_eq!(tenuis_plan::front::hypervolume(&points, &[3.0, 3.0], &[LowerIsBetter; 2])?, 3.0);
/// # Ok::<(), tenuis_plan::front::FrontError>(())
/// ```
pub fn hypervolume<P: AsRef<[f64]>>(
    points: &[P],
    reference: &[f64],
    directions: &[Direction],
) -> Result<f64, FrontError> {
    let points = minimised(points, directions)?;
    let reference = turned(points.len(), reference, directions)?;
    let within: Vec<_> =
        points.into_iter().filter(|p| p.iter().zip(&reference).all(|(v, end)| v < end)).collect();
    Ok(volume(within, &reference))
}

fn volume(points: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    let Some((&end, rest)) = reference.split_last() else { return 1.0 };
    let front = front_of(&points);
    let mut points: Vec<_> =
        points.into_iter().enumerate().filter(|(i, _)| front.binary_search(i).is_ok()).collect();
    points.sort_by(|(_, a), (_, b)| a[rest.len()].total_cmp(&b[rest.len()]).then(lexicographic(a, b)));
    if rest.is_empty() {
        return points.first().map_or(0.0, |(_, best)| end - best[0]);
    }
    let mut total = 0.0;
    for slice in 0..points.len() {
        let from = points[slice].1[rest.len()];
        let to = points.get(slice + 1).map_or(end, |(_, next)| next[rest.len()]);
        if to > from {
            let below = points[..=slice].iter().map(|(_, p)| p[..rest.len()].to_vec()).collect();
            total += (to - from) * volume(below, rest);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{HigherIsBetter as Up, LowerIsBetter as Down};
    use proptest::prelude::*;

    /// Sums of small integers are exact.
    const SIDE: i32 = 5;

    proptest! {
        #[test]
        fn it_counts_the_dominated_cells(points in prop::collection::vec(prop::array::uniform3(0..SIDE), 0..12)) {
            let values: Vec<_> = points.iter().map(|p| p.map(f64::from)).collect();
            let volume = hypervolume(&values, &[f64::from(SIDE); 3], &[Down; 3]).unwrap();
            let cells = (0..SIDE * SIDE * SIDE).map(|i| [i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE]);
            let dominated = cells.filter(|c| points.iter().any(|p| (0..3).all(|i| p[i] <= c[i]))).count();
            prop_assert_eq!(volume, dominated as f64);
        }
    }

    #[test]
    fn directions_turn_and_points_beyond_the_reference_add_nothing() {
        assert_eq!(hypervolume(&[[3.0], [1.0]], &[1.0], &[Up]), Ok(2.0));
        assert_eq!(hypervolume(&[[3.0, 9.0]], &[2.0, 10.0], &[Down; 2]), Ok(0.0));
        assert_eq!(hypervolume::<[f64; 1]>(&[], &[1.0], &[Down]), Ok(0.0));
        let wrong = hypervolume(&[[1.0]], &[1.0, 2.0], &[Down]);
        assert_eq!(wrong, Err(FrontError::Length { point: 1, expected: 1, found: 2 }));
    }
}
