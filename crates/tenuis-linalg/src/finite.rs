//! Looking for values that are NaN or infinite.

use crate::real::Real;
use rayon::prelude::*;

/// Values that one task looks at.
const PART: usize = 1 << 14;
/// Sums that are kept apart, so that they can be computed side by side.
const LANES: usize = 16;

/// Where the first value lies that is NaN or infinite.
///
/// `v·0` is 0 for a finite value and NaN for any other, and a sum of them takes no branches: the search runs at the speed of
/// memory, on all threads of the pool.
///
/// ```
/// use tenuis_linalg::first_non_finite;
/// assert_eq!(first_non_finite(&[1.0f32, f32::NAN, f32::INFINITY]), Some(1));
/// assert_eq!(first_non_finite(&[f64::MAX, -0.0]), None);
/// ```
pub fn first_non_finite<T: Real>(values: &[T]) -> Option<usize> {
    let part = values.par_chunks(PART).position_first(|part| !sound(part))?;
    (part * PART..values.len()).find(|&at| !values[at].finite())
}

fn sound<T: Real>(part: &[T]) -> bool {
    let (lanes, rest) = part.as_chunks::<LANES>();
    let mut sums = [T::ZERO; LANES];
    for lane in lanes {
        for (sum, &value) in sums.iter_mut().zip(lane) {
            *sum = value * T::ZERO + *sum;
        }
    }
    sums.iter().chain(rest).all(|value| value.finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_lies() {
        let mut values = vec![1.5f32; 3 * PART + 5];
        assert_eq!(first_non_finite(&values), None);
        for at in [3 * PART + 4, 2 * PART, PART + 17, 15, 0] {
            values[at] = if at % 2 == 0 { f32::NAN } else { f32::NEG_INFINITY };
            assert_eq!(first_non_finite(&values), Some(at));
        }
        assert_eq!(first_non_finite::<f64>(&[]), None);
    }
}
