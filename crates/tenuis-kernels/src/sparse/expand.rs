//! Kept entries to their columns, eight columns at a time: one byte of the index says where eight lanes come from.
//!
//! One row is bound by the bytes of index and entries where memory is slow, else by some ten instructions for every
//! eight columns.
#![expect(clippy::needless_range_loop, reason = "one index into several arrays of registers")]

use super::entries::Entries;
use crate::dispatch::{Kernel, LANES, Lanes};
use crate::grouped_int::Zeros;
use tenuis_core::SparsePattern;

/// A row of the weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a, S> {
    /// A byte for every eight columns.
    pub(super) index: &'a [u8],
    pub(super) entries: S,
    /// By group, of codes.
    pub(super) scales: &'a [f32],
    /// By group, of codes.
    pub(super) zeros: Zeros<'a>,
}

impl<S: Entries> Row<'_, S> {
    /// What is added to codes of a group.
    #[inline(always)]
    fn shift<L: Lanes>(&self, l: L, group: usize) -> L::Floats {
        l.splat(if S::SCALED { -f32::from(self.zeros.of(group)) } else { 0.0 })
    }

    #[inline(always)]
    fn scale<L: Lanes>(&self, l: L, group: usize) -> L::Floats {
        l.splat(if S::SCALED { self.scales[group] } else { 1.0 })
    }

    /// The eight columns of an index byte, and how many entries they took.
    #[inline(always)]
    fn columns<L: Lanes>(&self, l: L, kept: u8, first: usize, shift: L::Floats) -> L::Floats {
        let mut entries = self.entries.read(l, first);
        if S::SCALED {
            entries = l.mul_add(entries, l.splat(1.0), shift);
        }
        l.expand(kept, entries)
    }
}

/// The dot products of `R` rows of a weight with `M` rows of `x`.
///
/// Every product is one running sum of eight lanes (for codes one a group), so that a row's result does not depend on
/// what it is computed with.
pub(super) struct Dots<'a, S, const R: usize, const M: usize> {
    pub(super) weight: &'a [Row<'a, S>; R],
    pub(super) pattern: SparsePattern,
    /// Index bytes of a group.
    pub(super) run: usize,
    pub(super) x: [&'a [f32]; M],
}

impl<S: Entries, const R: usize, const M: usize> Kernel for Dots<'_, S, R, M> {
    type Output = [[f32; M]; R];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> [[f32; M]; R] {
        let ins = self.x[0].len();
        let whole = ins / LANES;
        let mut x: [&[[f32; LANES]]; M] = [&[]; M];
        let mut index: [&[u8]; R] = [&[]; R];
        for (part, values) in x.iter_mut().zip(self.x) {
            *part = &values[..ins].as_chunks().0[..whole];
        }
        for (part, row) in index.iter_mut().zip(self.weight) {
            *part = &row.index[..ins.div_ceil(LANES)];
        }
        let mut totals = [[l.splat(0.0); M]; R];
        let mut taken = [0usize; R];
        for (group, start) in (0..whole).step_by(self.run).enumerate() {
            let mut sums = [[l.splat(0.0); M]; R];
            let mut shifts = [l.splat(0.0); R];
            for r in 0..R {
                shifts[r] = self.weight[r].shift(l, group);
            }
            for byte in start..whole.min(start + self.run) {
                let mut values = [l.splat(0.0); R];
                for r in 0..R {
                    let kept = self.pattern.kept_of(index[r][byte], LANES);
                    values[r] = self.weight[r].columns(l, kept, taken[r], shifts[r]);
                    taken[r] += kept.count_ones() as usize;
                }
                for m in 0..M {
                    let x = l.load(&x[m][byte]);
                    for r in 0..R {
                        sums[r][m] = l.mul_add(values[r], x, sums[r][m]);
                    }
                }
            }
            for r in 0..R {
                for m in 0..M {
                    totals[r][m] = if S::SCALED {
                        l.mul_add(sums[r][m], self.weight[r].scale(l, group), totals[r][m])
                    } else {
                        sums[r][m]
                    };
                }
            }
        }

        let rest = ins % LANES;
        if rest > 0 {
            // The last columns of a row; of codes only where the row is one group.
            for r in 0..R {
                let kept = self.pattern.kept_of(index[r][whole], rest);
                let row = &self.weight[r];
                let values = row.columns(l, kept, taken[r], row.shift(l, 0));
                let scale = row.scale(l, 0);
                for m in 0..M {
                    let mut x = [0.0; LANES];
                    x[..rest].copy_from_slice(&self.x[m][whole * LANES..]);
                    let x = l.mul_add(l.load(&x), scale, l.splat(0.0));
                    totals[r][m] = l.mul_add(values, x, totals[r][m]);
                }
            }
        }

        let mut out = [[0.0; M]; R];
        for r in 0..R {
            for m in 0..M {
                out[r][m] = l.sum(totals[r][m]);
            }
        }
        out
    }
}

/// Writes a row as f32, rounded as the representation rounds it.
pub(super) struct Expand<'a, S> {
    pub(super) row: Row<'a, S>,
    pub(super) pattern: SparsePattern,
    /// Index bytes of a group.
    pub(super) run: usize,
    pub(super) out: &'a mut [f32],
}

impl<S: Entries> Kernel for Expand<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (none, mut taken) = (l.splat(0.0), 0);
        let (whole, rest) = self.out.as_chunks_mut::<LANES>();
        for (group, out) in whole.chunks_mut(self.run).enumerate() {
            let (shift, scale) = (self.row.shift(l, group), self.row.scale(l, group));
            for (byte, out) in (group * self.run..).zip(out) {
                let kept = self.pattern.kept_of(self.row.index[byte], LANES);
                let mut values = self.row.columns(l, kept, taken, shift);
                if S::SCALED {
                    values = l.mul_add(values, scale, none);
                }
                l.store(values, out);
                taken += kept.count_ones() as usize;
            }
        }
        if let Some(&index) = self.row.index.last().filter(|_| !rest.is_empty()) {
            let kept = self.pattern.kept_of(index, rest.len());
            let mut values = self.row.columns(l, kept, taken, self.row.shift(l, 0));
            if S::SCALED {
                values = l.mul_add(values, self.row.scale(l, 0), none);
            }
            let mut out = [0.0; LANES];
            l.store(values, &mut out);
            rest.copy_from_slice(&out[..rest.len()]);
        }
    }
}
