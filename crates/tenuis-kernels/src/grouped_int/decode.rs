//! Unpacked codes to f32: `w = scale · (code − zero)`, rounded as the representation rounds it.

use crate::dispatch::{Kernel, LANES, Lanes};

/// Decodes a row whose groups are runs of `columns` codes.
pub(super) struct Runs<'a> {
    pub(super) codes: &'a [u8],
    pub(super) columns: usize,
    pub(super) scales: &'a [f32],
    /// The zero point of a group.
    pub(super) zeros: Zeros<'a>,
    pub(super) out: &'a mut [f32],
}

/// The zero points of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zeros<'a> {
    /// One for all groups.
    Mid(u8),
    /// One per group.
    Each(&'a [u8]),
}

impl Zeros<'_> {
    #[inline(always)]
    pub(crate) fn of(self, group: usize) -> u8 {
        match self {
            Self::Mid(mid) => mid,
            Self::Each(zeros) => zeros[group],
        }
    }
}

impl Kernel for Runs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let columns = self.columns.max(1);
        let groups = self.codes.chunks_exact(columns).zip(self.out.chunks_exact_mut(columns));
        for (group, (codes, out)) in groups.enumerate() {
            let (scale, zero) = (self.scales[group], f32::from(self.zeros.of(group)));
            let (scales, minus_zero, one, none) =
                (l.splat(scale), l.splat(-zero), l.splat(1.0), l.splat(0.0));
            let (codes, codes_rest) = codes.as_chunks::<LANES>();
            let (out, out_rest) = out.as_chunks_mut();
            for (codes, out) in codes.iter().zip(out) {
                let steps = l.mul_add(l.read_u8(*codes), one, minus_zero);
                l.store(l.mul_add(steps, scales, none), out);
            }
            for (&code, out) in codes_rest.iter().zip(out_rest) {
                *out = scale * (f32::from(code) - zero);
            }
        }
    }
}

/// Decodes a row whose columns name their groups.
pub(super) fn indexed(codes: &[u8], index: &[u32], scales: &[f32], zeros: Zeros<'_>, out: &mut [f32]) {
    for ((out, &code), &group) in out.iter_mut().zip(codes).zip(index) {
        let group = group as usize;
        *out = scales[group] * (f32::from(code) - f32::from(zeros.of(group)));
    }
}
