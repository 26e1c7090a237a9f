//! Few rows of `x` against a dense matrix: bound by the bytes of the weight, which are read once.
#![expect(clippy::needless_range_loop, reason = "one index into several arrays of registers")]

use super::element::Element;
use crate::dispatch::{Kernel, LANES, Lanes};
use std::marker::PhantomData;

/// The dot products of `R` rows of a weight with `M` rows of `x`.
///
/// Every product is one running sum of eight lanes, so that a row's result does not depend on what it is computed
/// with; `R · M` of them in flight hide the latency of the multiply-add.
pub(super) struct Dots<'a, E, const R: usize, const M: usize> {
    pub(super) weight: [&'a [u8]; R],
    pub(super) x: [&'a [f32]; M],
    pub(super) element: PhantomData<E>,
}

impl<E: Element, const R: usize, const M: usize> Kernel for Dots<'_, E, R, M> {
    type Output = [[f32; M]; R];

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> [[f32; M]; R] {
        let ins = self.x[0].len();
        let chunks = ins / LANES;
        let mut sums = [[l.splat(0.0); M]; R];

        let mut weight: [&[E::Chunk]; R] = [&[]; R];
        for (part, bytes) in weight.iter_mut().zip(self.weight) {
            *part = &E::chunks(&bytes[..ins * E::SIZE]).0[..chunks];
        }
        let mut x: [&[[f32; LANES]]; M] = [&[]; M];
        for (part, values) in x.iter_mut().zip(self.x) {
            *part = &values[..ins].as_chunks().0[..chunks];
        }
        for i in 0..chunks {
            let mut values = [l.splat(0.0); R];
            for r in 0..R {
                values[r] = E::read(l, &weight[r][i]);
            }
            for m in 0..M {
                let x = l.load(&x[m][i]);
                for r in 0..R {
                    sums[r][m] = l.mul_add(values[r], x, sums[r][m]);
                }
            }
        }

        if !ins.is_multiple_of(LANES) {
            for r in 0..R {
                let rest = E::chunks(&self.weight[r][..ins * E::SIZE]).1;
                let mut chunk = E::ZERO;
                chunk.as_mut()[..rest.len()].copy_from_slice(rest);
                let values = E::read(l, &chunk);
                for m in 0..M {
                    let mut x = [0.0; LANES];
                    x[..ins % LANES].copy_from_slice(&self.x[m][chunks * LANES..]);
                    sums[r][m] = l.mul_add(values, l.load(&x), sums[r][m]);
                }
            }
        }

        let mut out = [[0.0; M]; R];
        for r in 0..R {
            for m in 0..M {
                out[r][m] = l.sum(sums[r][m]);
            }
        }
        out
    }
}

/// Adds `Σₙ x[n] · weight[n]` to `y`, for the transposed layout.
pub(super) struct Axpy<'a, E, const N: usize> {
    pub(super) y: &'a mut [f32],
    pub(super) x: [f32; N],
    pub(super) weight: [&'a [u8]; N],
    pub(super) element: PhantomData<E>,
}

impl<E: Element, const N: usize> Kernel for Axpy<'_, E, N> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let outs = self.y.len();
        let whole = outs / LANES;
        let mut factors = [l.splat(0.0); N];
        for n in 0..N {
            factors[n] = l.splat(self.x[n]);
        }
        let mut weight: [&[E::Chunk]; N] = [&[]; N];
        for (part, bytes) in weight.iter_mut().zip(self.weight) {
            *part = &E::chunks(&bytes[..outs * E::SIZE]).0[..whole];
        }
        let (y, y_rest) = self.y.as_chunks_mut();
        for (i, y) in y.iter_mut().enumerate() {
            let mut sum = l.load(y);
            for n in 0..N {
                sum = l.mul_add(factors[n], E::read(l, &weight[n][i]), sum);
            }
            l.store(sum, y);
        }
        if y_rest.is_empty() {
            return;
        }
        let mut y = [0.0; LANES];
        y[..y_rest.len()].copy_from_slice(y_rest);
        let mut sum = l.load(&y);
        for n in 0..N {
            let rest = E::chunks(&self.weight[n][..outs * E::SIZE]).1;
            let mut chunk = E::ZERO;
            chunk.as_mut()[..rest.len()].copy_from_slice(rest);
            sum = l.mul_add(factors[n], E::read(l, &chunk), sum);
        }
        l.store(sum, &mut y);
        y_rest.copy_from_slice(&y[..y_rest.len()]);
    }
}
