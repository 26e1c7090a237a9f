//! Finding the smallest of many scores without sorting them.

use rayon::prelude::*;
use tenuis_linalg::Real;

/// A score. What is not negative orders as its bits do.
pub(crate) trait Score: Real {
    /// Bits of the type.
    const BITS: u32;

    fn key(self) -> u64;
}

impl Score for f32 {
    const BITS: u32 = 32;

    #[inline]
    fn key(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Score for f64 {
    const BITS: u32 = 64;

    #[inline]
    fn key(self) -> u64 {
        self.to_bits()
    }
}

/// Where the smallest scores end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The largest key that belongs to them.
    pub(crate) key: u64,
    /// How many scores of that key do: the first ones.
    pub(crate) ties: usize,
    /// How many scores have that key.
    pub(crate) equal: usize,
}

/// Bits that one pass decides.
const DIGIT: u32 = 11;
/// Scores that one task counts.
const TASK: usize = 1 << 16;

/// Looks for the cut below which the `count` smallest of all scores lie, in passes over the scores.
///
/// Counts digits from the top, in as many passes as a key has digits: three for f32. Bound by reading the scores.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// The digits that are known, and the bits below them.
    prefix: u64,
    shift: u32,
    bits: u32,
    left: usize,
    equal: usize,
    counts: Vec<usize>,
}

impl Search {
    /// Begins a search for the `count` smallest, `count > 0`.
    pub(crate) fn new<T: Score>(count: usize) -> Self {
        Self { prefix: 0, shift: T::BITS, bits: T::BITS, left: count, equal: 0, counts: Vec::new() }
    }

    /// Whether there is another pass.
    pub(crate) const fn is_open(&self) -> bool {
        self.shift > 0
    }

    /// Counts some of the scores of a pass.
    pub(crate) fn count<T: Score>(&mut self, parts: &[&[T]]) {
        let width = DIGIT.min(self.shift);
        let (above, below, digits) = (self.shift, self.shift - width, 1usize << width);
        let counts = parts
            .par_iter()
            .flat_map(|part| part.par_chunks(TASK))
            .fold(
                || vec![0usize; digits],
                |mut counts, scores| {
                    for score in scores {
                        let key = score.key();
                        if above == self.bits || key >> above == self.prefix {
                            counts[(key >> below) as usize & (digits - 1)] += 1;
                        }
                    }
                    counts
                },
            )
            .reduce(|| vec![0; digits], sum);
        self.counts = sum(counts, std::mem::take(&mut self.counts));
    }

    /// Ends a pass, in which every score was counted once.
    pub(crate) fn advance(&mut self) {
        let width = DIGIT.min(self.shift);
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(1 << width, 0);
        let mut digit = 0;
        while digit + 1 < counts.len() && counts[digit] < self.left {
            self.left -= counts[digit];
            digit += 1;
        }
        self.shift -= width;
        self.prefix = self.prefix << width | digit as u64;
        self.equal = counts[digit];
    }

    /// What was found, once no pass is left.
    pub(crate) const fn cut(&self) -> Cut {
        Cut { key: self.prefix, ties: self.left, equal: self.equal }
    }
}

fn sum(mut a: Vec<usize>, b: Vec<usize>) -> Vec<usize> {
    if a.len() < b.len() {
        return sum(b, a);
    }
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// The cut below which the `count` smallest of all scores lie, `count > 0`.
pub(crate) fn cut<T: Score>(parts: &[&[T]], count: usize) -> Cut {
    let mut search = Search::new::<T>(count);
    while search.is_open() {
        search.count(parts);
        search.advance();
    }
    search.cut()
}

/// Sets `kept` to 0 where a score lies below the cut, and to 1 elsewhere; takes ties from the cut.
pub(crate) fn drop_below<T: Score>(scores: &[T], kept: &mut [u8], cut: &mut Cut) {
    let key = cut.key;
    let equal: usize = kept
        .par_chunks_mut(TASK)
        .zip(scores.par_chunks(TASK))
        .map(|(kept, scores)| {
            let mut equal = 0;
            for (kept, score) in kept.iter_mut().zip(scores) {
                *kept = u8::from(score.key() >= key);
                equal += usize::from(score.key() == key);
            }
            equal
        })
        .sum();
    let mut ties = equal.min(cut.ties);
    cut.ties -= ties;
    let mut pairs = kept.iter_mut().zip(scores);
    while ties > 0 {
        let Some((kept, score)) = pairs.next() else { break };
        if score.key() == key {
            *kept = 0;
            ties -= 1;
        }
    }
}

/// As [`cut`] and [`drop_below`] for a short row, on the calling thread; `keys` is scratch.
pub(crate) fn drop_smallest(scores: &[f32], count: usize, kept: &mut [u8], keys: &mut Vec<u32>) {
    kept.fill(1);
    if count == 0 {
        return;
    }
    keys.clear();
    keys.extend(scores.iter().map(|s| s.to_bits()));
    let (below, &mut key, _) = keys.select_nth_unstable(count - 1);
    let mut ties = count - below.iter().filter(|&&k| k < key).count();
    for (kept, score) in kept.iter_mut().zip(scores) {
        let bits = score.to_bits();
        if bits < key {
            *kept = 0;
        } else if bits == key && ties > 0 {
            *kept = 0;
            ties -= 1;
        }
    }
}

/// The same within every group of `of` columns, keeping `keep` of each.
pub(crate) fn drop_in_groups(scores: &[f32], keep: usize, of: usize, kept: &mut [u8]) {
    for (scores, kept) in scores.chunks(of).zip(kept.chunks_mut(of)) {
        for (place, kept) in kept.iter_mut().enumerate() {
            let score = scores[place];
            // A later equal score goes after this one, an earlier one before it.
            let smaller = scores[..place].iter().filter(|&&s| s <= score).count()
                + scores[place + 1..].iter().filter(|&&s| s < score).count();
            *kept = u8::from(smaller >= scores.len() - keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first `count` of a stable sort.
    fn sorted(scores: &[f32], count: usize) -> Vec<u8> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut kept = vec![1; scores.len()];
        order[..count].iter().for_each(|&i| kept[i] = 0);
        kept
    }

    fn coarse() -> impl Strategy<Value = Vec<f32>> {
        // Few distinct values, so that ties are common.
        prop::collection::vec((0u8..40).prop_map(|v| f32::from(v) * 0.37), 1..300)
    }

    proptest! {
        #[test]
        fn every_way_equals_a_stable_sort(scores in coarse(), share in 0.0f64..1.0, split in 0usize..300) {
            let count = (scores.len() as f64 * share) as usize;
            let expected = sorted(&scores, count);
            let mut kept = vec![9; scores.len()];
            drop_smallest(&scores, count, &mut kept, &mut Vec::new());
            prop_assert_eq!(&kept, &expected);
            if count > 0 {
                let split = split.min(scores.len());
                let (a, b) = scores.split_at(split);
                let mut at = cut(&[a, b], count);
                let (kept_a, kept_b) = kept.split_at_mut(split);
                drop_below(a, kept_a, &mut at);
                drop_below(b, kept_b, &mut at);
                prop_assert_eq!(&kept, &expected);
                let wide: Vec<f64> = scores.iter().map(|&s| f64::from(s)).collect();
                let mut at = cut(&[&wide], count);
                drop_below(&wide, &mut kept, &mut at);
                prop_assert_eq!(&kept, &expected);
            }
        }

        #[test]
        fn groups_are_rows_of_their_own(scores in coarse(), keep in 1usize..4) {
            let scores = &scores[..scores.len() / 4 * 4];
            let mut kept = vec![9; scores.len()];
            drop_in_groups(scores, keep, 4, &mut kept);
            for (scores, kept) in scores.chunks(4).zip(kept.chunks(4)) {
                prop_assert_eq!(kept, &sorted(scores, 4 - keep)[..]);
            }
        }
    }
}
