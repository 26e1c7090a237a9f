//! Dot products on packed codes, for few rows of `x`.
//!
//! A 32-bit word holds `PER` codes of `32 / PER` bits. The codes at one place of eight words make a vector, so that
//! masking, and no shuffling, unpacks them: the code at place `j` comes out multiplied by `2^(bits·j)`, which is
//! exact in f32 and is taken back by a factor of `2^−(bits·j)` on `x`. The inputs are put in that order once per
//! call; a vector of eight codes then costs a mask, a subtraction, a conversion and a multiply-add.

use super::decode::Zeros;
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
        if columns % (per * LANES) == 0 {
            return Some(Self::Blocks(columns / (per * LANES)));
        }
        let group =
            |block: usize, lane: usize| (((block * LANES + lane) * per) / columns).min(groups - 1) as u32;
        (columns % per == 0)
            .then(|| Self::Lanes((0..blocks).map(|b| std::array::from_fn(|lane| group(b, lane))).collect()))
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
            let factor = if place + 1 == per { 1.0 } else { (-f32::from(place as u8) * bits as f32).exp2() };
            for (lane, out) in out.iter_mut().enumerate() {
                *out = block.get(lane * per + place).map_or(0.0, |x| x * factor);
            }
        }
    }
}

/// The dot products of `R` packed rows with `M` arranged rows of `x`.
pub(super) struct Fused<'a, const PER: usize, const R: usize, const M: usize> {
    pub(super) codes: [&'a [u8]; R],
    pub(super) scales: [&'a [f32]; R],
    pub(super) zeros: [Zeros<'a>; R],
    pub(super) x: [&'a [[f32; LANES]]; M],
    pub(super) grouping: &'a Grouping,
}

impl<const PER: usize, const R: usize, const M: usize> Fused<'_, PER, R, M> {
    const BITS: u32 = 32 / PER as u32;
    const MASK: u32 = u32::MAX >> (32 - Self::BITS);

    /// Moves zero points to each of the places.
    #[inline(always)]
    fn place<L: Lanes>(l: L, zeros: L::Words, out: &mut [L::Words; PER]) {
        for (place, out) in out.iter_mut().enumerate() {
            *out = if place + 1 == PER { zeros } else { l.shift_left(zeros, Self::BITS * place as u32) };
        }
    }

    /// Adds the products of one block to `sums`.
    #[inline(always)]
    fn block<L: Lanes>(
        l: L,
        words: [L::Words; R],
        zeros: &[[L::Words; PER]; R],
        x: [&[[f32; LANES]; PER]; M],
        sums: &mut [[L::Floats; M]; R],
    ) {
        for place in 0..PER {
            let mut values = [l.splat(0.0); R];
            for r in 0..R {
                let codes = if place + 1 == PER {
                    l.shift_right(words[r], 32 - Self::BITS)
                } else {
                    l.and(words[r], l.splat_word(Self::MASK << (Self::BITS * place as u32)))
                };
                values[r] = l.to_floats(l.sub(codes, zeros[r][place]));
            }
            for m in 0..M {
                let x = l.load(&x[m][place]);
                for r in 0..R {
                    sums[r][m] = l.mul_add(values[r], x, sums[r][m]);
                }
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
            x[m] = self.x[m].as_chunks().0;
        }
        let blocks = x[0].len();

        let mut totals = [[l.splat(0.0); M]; R];
        let mut zeros = [[l.splat_word(0); PER]; R];
        let mut scales = [l.splat(0.0); R];
        let run = match self.grouping {
            Grouping::Blocks(run) => *run,
            Grouping::Lanes(_) => 1,
        };
        let (mut block, mut group) = (0, 0);
        while block < blocks {
            for r in 0..R {
                match self.grouping {
                    Grouping::Blocks(_) => {
                        scales[r] = l.splat(self.scales[r][group]);
                        Self::place(l, l.splat_word(u32::from(self.zeros[r].of(group))), &mut zeros[r]);
                    }
                    Grouping::Lanes(groups) => {
                        let (mut scale, mut zero) = ([0.0; LANES], [0; LANES]);
                        for lane in 0..LANES {
                            let group = groups[block][lane] as usize;
                            scale[lane] = self.scales[r][group];
                            zero[lane] = u32::from(self.zeros[r].of(group));
                        }
                        scales[r] = l.load(&scale);
                        Self::place(l, l.load_words(&zero), &mut zeros[r]);
                    }
                }
            }
            let mut sums = [[l.splat(0.0); M]; R];
            let end = blocks.min(block + run);
            while block < end {
                let mut words = [l.splat_word(0); R];
                for r in 0..R {
                    words[r] = l.read_words(whole[r].get(block).unwrap_or(&last[r]));
                }
                let mut inputs = [&x[0][block]; M];
                for m in 0..M {
                    inputs[m] = &x[m][block];
                }
                Self::block(l, words, &zeros, inputs, &mut sums);
                block += 1;
            }
            for r in 0..R {
                for m in 0..M {
                    totals[r][m] = l.mul_add(sums[r][m], scales[r], totals[r][m]);
                }
            }
            group += 1;
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
