//! The scheme that all packed weights of a GPTQ or AWQ file share.

use std::collections::BTreeSet;
use tenuis_core::{Bits, GroupSize, GroupedIntSpec};

/// A grouped integer weight by its form and shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) spec: GroupedIntSpec,
    pub(crate) shape: [usize; 2],
}

/// A width and a number of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    pub(crate) bits: Bits,
    pub(crate) group_size: GroupSize,
}

/// Finds the scheme by which the weights take the fewest bytes: those that it fits are packed, with their groups split where
/// they are larger, the others are f16. None where there is no weight of a width of `bits`.
pub(crate) fn smallest(weights: &[Candidate], bits: &[u8]) -> Option<Scheme> {
    let packable = weights.iter().filter(|w| bits.contains(&w.spec.bits.get()));
    let mut schemes: BTreeSet<(Bits, Option<usize>)> = BTreeSet::new();
    for weight in packable {
        let columns = match weight.spec.group_size {
            GroupSize::Channel => None,
            GroupSize::Columns(n) => Some(n),
        };
        schemes.insert((weight.spec.bits, columns));
    }
    let scheme = |(bits, columns): (Bits, Option<usize>)| Scheme {
        bits,
        group_size: columns.map_or(GroupSize::Channel, GroupSize::Columns),
    };
    schemes
        .into_iter()
        .map(scheme)
        .min_by_key(|scheme| weights.iter().map(|w| bytes(*w, *scheme)).sum::<usize>())
}

/// The bytes of a weight under a scheme.
fn bytes(weight: Candidate, scheme: Scheme) -> usize {
    let [out_features, in_features] = weight.shape;
    let own = weight.spec.group_size.columns(in_features);
    let columns = scheme.group_size.columns(in_features).min(in_features).max(1);
    let is_split = own != columns;
    let fits = weight.spec.bits == scheme.bits
        && own.is_multiple_of(columns)
        && !(is_split && weight.spec.group_index);
    if !fits {
        return 2 * out_features * in_features;
    }
    let groups = in_features / columns;
    let bits = weight.spec.bits.get() as usize;
    (out_features * in_features * bits + groups * out_features * (16 + bits)) / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenuis_core::DType;

    fn weight(bits: u8, group_size: GroupSize, shape: [usize; 2]) -> Candidate {
        let bits = Bits::new(bits).unwrap();
        let spec =
            GroupedIntSpec { bits, group_size, symmetric: true, scale_dtype: DType::F16, group_index: false };
        Candidate { spec, shape }
    }

    /// Splitting groups of most weights costs less than keeping one weight in f16.
    #[test]
    fn groups_are_split_rather_than_weights_left_out() {
        let weights = [
            weight(4, GroupSize::Columns(128), [128, 128]),
            weight(4, GroupSize::Columns(128), [352, 128]),
            weight(4, GroupSize::Columns(32), [128, 352]),
        ];
        let expected = Scheme { bits: Bits::FOUR, group_size: GroupSize::Columns(32) };
        assert_eq!(smallest(&weights, &[4]), Some(expected));
    }

    #[test]
    fn the_width_of_most_weights_wins() {
        let weights = [
            weight(4, GroupSize::Columns(32), [512, 512]),
            weight(8, GroupSize::Channel, [64, 64]),
            weight(5, GroupSize::Channel, [4096, 4096]),
        ];
        assert_eq!(smallest(&weights, &[2, 3, 4, 8]).map(|s| s.bits), Some(Bits::FOUR));
        assert_eq!(smallest(&weights[2..], &[4]), None);
    }
}
