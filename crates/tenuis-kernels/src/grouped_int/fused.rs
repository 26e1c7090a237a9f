//! Dot products on packed codes, for few rows of `x`.
//!
//! A 32-bit word holds `PER` codes of `32 / PER` bits. The codes at one place of eight words make a vector, so that
//! masking, and no shuffling, unpacks them: the code at place `j` comes out multiplied by `2^(bits·j)`, which is
//! exact in f32 and is taken back by a factor of `2^−(bits·j)` on `x`. The inputs are put in that order once per
//! call; a vector of eight codes then costs a mask, a subtraction, a conversion and a multiply-add.
//!
//! With the middle code `m` and a group's zero point `z`, `Σ x·(c − z) = Σ x·(c − m) + (m − z)·Σ x`: what is subtracted
//! in the loop is a constant, and a zero point costs one multiply-add for a group, with sums of `x` made once per call.
#![expect(clippy::needless_range_loop, reason = "one index into several arrays of registers")]

use crate::dispatch::{Kernel, LANES, Lanes};

/// Bytes of eight words.
pub(super) const BLOCK_BYTES: usize = 4 * LANES;

/// Which group the lanes of a block of eight words belong to.
#[derive(Clone, Debug)]
pub(super) enum Grouping {
    /// So many consecutive blocks make a group.
    Blocks(usize),
    /// Blocks hold several groups, or parts: the group of every lane of every block.
    Lanes(Vec<[u32; LANES]>),
}

impl Grouping {
    /// Lays out rows of `ins` codes in `groups` runs, or `None` where a group ends within a word.
    pub(super) fn new(ins: usize, groups: usize, per: usize) -> Option<Self> {
        let blocks = blocks(ins, per);
        if groups <= 1 {
            return Some(Self::Blocks(blocks.max(1)));
        }
        let columns = ins / groups;
        if columns.is_multiple_of(per * LANES) {
            return Some(Self::Blocks(columns / (per * LANES)));
        }
        let group =
            |block: usize, lane: usize| (((block * LANES + lane) * per) / columns).min(groups - 1) as u32;
        columns
            .is_multiple_of(per)
            .then(|| Self::Lanes((0..blocks).map(|b| std::array::from_fn(|lane| group(b, lane))).collect()))
    }

    /// Blocks after which a sum is scaled.
    #[inline(always)]
    pub(super) const fn run(&self) -> usize {
        match self {
            Self::Blocks(run) => *run,
            Self::Lanes(_) => 1,
        }
    }
}

/// Blocks of eight words in a row.
pub(super) const fn blocks(ins: usize, per: usize) -> usize {
    ins.div_ceil(per * LANES)
}

/// Orders and scales a row of `x` for codes of `32 / per` bits; what is missing in the last block is zero.
pub(super) fn arrange(x: &[f32], per: usize, out: &mut [[f32; LANES]]) {
    let bits = 32 / per as i32;
    for (block, out) in x.chunks(per * LANES).zip(out.chunks_exact_mut(per)) {
        for (place, out) in out.iter_mut().enumerate() {
            // The last place is shifted down, not masked: its sign bit would be in the way.
            let factor = if place + 1 == per { 1.0 } else { 2f32.powi(-bits * place as i32) };
            for (lane, out) in out.iter_mut().enumerate() {
                *out = block.get(lane * per + place).map_or(0.0, |x| x * factor);
            }
        }
    }
}

/// Sums a row of `x` by lane over every run of blocks.
pub(super) fn sum_lanes(x: &[f32], per: usize, run: usize, out: &mut [[f32; LANES]]) {
    out.fill([0.0; LANES]);
    for (word, x) in x.chunks(per).enumerate() {
        out[word / LANES / run][word % LANES] += x.iter().sum::<f32>();
    }
}

/// A row of `x` as the kernel reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arranged<'a> {
    /// What [`arrange`] wrote.
    pub(super) vectors: &'a [[f32; LANES]],
    /// What [`sum_lanes`] wrote; not read where every zero point is the middle code.
    pub(super) sums: &'a [[f32; LANES]],
}

/// Repeats a body for every place, `0..PER`, with the place as a constant: left to itself the compiler keeps the loop,
/// and with it shifts and masks that vary.
macro_rules! for_place {
    ($place:ident in $per:ident $body:block) => {
        for_place!(@each $place $per $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@each $place:ident $per:ident $body:block $($index:literal)*) => {
        $(if $index < $per {
            #[expect(non_upper_case_globals, reason = "reads as the loop variable that it stands for")]
            const $place: usize = $index;
            $body
        })*
    };
}

/// The dot products of `R` packed rows with `M` arranged rows of `x`.
pub(super) struct Fused<'a, const PER: usize, const R: usize, const M: usize> {
    pub(super) codes: [&'a [u8]; R],
    pub(super) scales: [&'a [f32]; R],
    /// The zero points, unless all of them are `mid`.
    pub(super) zeros: Option<[&'a [u8]; R]>,
    pub(super) mid: u8,
    pub(super) x: [Arranged<'a>; M],
    pub(super) grouping: &'a Grouping,
}

impl<const PER: usize, const R: usize, const M: usize> Fused<'_, PER, R, M> {
    const BITS: u32 = 32 / PER as u32;
    const MASK: u32 = u32::MAX >> (32 - Self::BITS);

    /// Adds the products of one block to `sums`.
    #[inline(always)]
    fn block<L: Lanes>(
        l: L,
        words: [L::Words; R],
        mid: u8,
        x: [&[[f32; LANES]; PER]; M],
        sums: &mut [[L::Floats; M]; R],
    ) {
        for_place!(place in PER {
            let up = if place + 1 == PER { 0 } else { Self::BITS * place as u32 };
            let mid = l.splat_word(u32::from(mid) << up);
            let mut values = [l.splat(0.0); R];
            for r in 0..R {
                let codes = if place + 1 == PER {
                    l.shift_right(words[r], 32 - Self::BITS)
                } else {
                    l.and(words[r], l.splat_word(Self::MASK << up))
                };
                values[r] = l.to_floats(l.sub(codes, mid));
            }
            for m in 0..M {
                let x = l.load(&x[m][place]);
                for r in 0..R {
                    sums[r][m] = l.mul_add(values[r], x, sums[r][m]);
                }
            }
        });
    }

    /// The values of the groups of run `run`, one per lane.
    #[inline(always)]
    fn of_groups<L: Lanes>(&self, l: L, run: usize, value: impl Fn(usize) -> f32) -> L::Floats {
        match self.grouping {
            Grouping::Blocks(_) => l.splat(value(run)),
            Grouping::Lanes(groups) => {
                let mut values = [0.0; LANES];
                for (value_of_lane, &group) in values.iter_mut().zip(&groups[run]) {
                    *value_of_lane = value(group as usize);
                }
                l.load(&values)
            }
        }
    }
}

impl<const PER: usize, const R: usize, const M: usize> Kernel for Fused<'_, PER, R, M> {
    type Output = [[f32; M]; R];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> [[f32; M]; R] {
        let mut whole: [&[[u8; BLOCK_BYTES]]; R] = [&[]; R];
        let mut last = [[0; BLOCK_BYTES]; R];
        for r in 0..R {
            let (blocks, rest) = self.codes[r].as_chunks();
            whole[r] = blocks;
            last[r][..rest.len()].copy_from_slice(rest);
        }
        let mut x: [&[[[f32; LANES]; PER]]; M] = [&[]; M];
        for m in 0..M {
            x[m] = self.x[m].vectors.as_chunks().0;
        }
        let blocks = x[0].len();
        for m in 0..M {
            x[m] = &x[m][..blocks];
        }

        let mut totals = [[l.splat(0.0); M]; R];
        for (run, first) in (0..blocks).step_by(self.grouping.run()).enumerate() {
            let mut sums = [[l.splat(0.0); M]; R];
            for block in first..blocks.min(first + self.grouping.run()) {
                let mut words = [l.splat_word(0); R];
                for r in 0..R {
                    words[r] = l.read_words(whole[r].get(block).unwrap_or(&last[r]));
                }
                let mut inputs = [&x[0][block]; M];
                for m in 0..M {
                    inputs[m] = &x[m][block];
                }
                Self::block(l, words, self.mid, inputs, &mut sums);
            }
            if let Some(zeros) = &self.zeros {
                let mid = f32::from(self.mid);
                for r in 0..R {
                    let shift = self.of_groups(l, run, |group| mid - f32::from(zeros[r][group]));
                    for m in 0..M {
                        sums[r][m] = l.mul_add(shift, l.load(&self.x[m].sums[run]), sums[r][m]);
                    }
                }
            }
            for r in 0..R {
                let scales = self.of_groups(l, run, |group| self.scales[r][group]);
                for m in 0..M {
                    totals[r][m] = l.mul_add(sums[r][m], scales, totals[r][m]);
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
