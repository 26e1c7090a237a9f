//! Groups of items whose scores stand for themselves.

use std::ops::RangeInclusive;

/// The name of the slices by length.
pub(crate) const LENGTH: &str = "length";

/// Groups of like length: `bounds[i]` are the least and the greatest length within a group.
///
/// The cuts are the quartiles of all lengths, so that every group has about a quarter of the items. Items of equal length
/// are in the same group, hence there may be fewer than four.
pub(crate) fn quartiles(lengths: &[usize]) -> Vec<RangeInclusive<usize>> {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let mut bounds: Vec<RangeInclusive<usize>> = Vec::new();
    let mut start = 0;
    for quarter in 1..=4 {
        let end = sorted.len() * quarter / 4;
        // Equal lengths stay together, in the lower group.
        let end = sorted.get(end.wrapping_sub(1)).map_or(end, |last| sorted.partition_point(|l| l <= last));
        if end > start {
            bounds.push(sorted[start]..=sorted[end - 1]);
            start = end;
        }
    }
    bounds
}

/// What the group of a length is called: its number and its bounds in characters.
pub(crate) fn name(bounds: &[RangeInclusive<usize>], length: usize) -> String {
    let group = bounds.iter().position(|bounds| bounds.contains(&length)).unwrap_or_default();
    match bounds.get(group) {
        Some(bounds) => format!("q{} ({}–{})", group + 1, bounds.start(), bounds.end()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quarters_have_the_same_number_of_items() {
        let lengths: Vec<usize> = (1..=8).rev().collect();
        assert_eq!(quartiles(&lengths), [1..=2, 3..=4, 5..=6, 7..=8]);
        assert_eq!(name(&quartiles(&lengths), 5), "q3 (5–6)");
        assert_eq!(quartiles(&[3, 3, 3, 3, 9]), [3..=3, 9..=9]);
        assert_eq!(quartiles(&[7]), [7..=7]);
    }

    proptest! {
        #[test]
        fn every_length_is_in_one_group(lengths in prop::collection::vec(0usize..40, 1..60)) {
            let bounds = quartiles(&lengths);
            prop_assert!((1..=4).contains(&bounds.len()));
            for length in &lengths {
                prop_assert_eq!(bounds.iter().filter(|b| b.contains(length)).count(), 1);
            }
        }
    }
}
