//! Integer dot products for each instruction set. All give the same numbers.
#![expect(unsafe_code, reason = "vector intrinsics")]

use super::STEP;
use crate::dispatch::Isa;

/// `R · M` dot products of codes.
pub(crate) struct Dot<'a, const R: usize, const M: usize> {
    /// Rows of the weight, at most 2¹⁶ columns of them.
    pub(crate) weights: [&'a [i8]; R],
    /// Tokens, within ±127, filled up with zeros to a multiple of [`STEP`].
    pub(crate) inputs: [&'a [i8]; M],
    /// The sums of the tokens' codes.
    pub(crate) sums: [i32; M],
}

/// An instruction set with integer products, which this CPU has: made by [`IntIsa::best`] and [`IntIsa::all`] only.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IntIsa {
    /// Whatever the compiler makes of plain loops.
    Portable,
    /// AVX2: signed times unsigned bytes, summed by pairs.
    #[cfg(target_arch = "x86_64")]
    Avx2(Proof),
    /// AVX-512 with VNNI: four products of bytes a lane in one instruction.
    #[cfg(target_arch = "x86_64")]
    Vnni(Proof),
}

/// Says that the CPU was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof(());

impl IntIsa {
    /// The best that goes with an instruction set for floats.
    pub(crate) fn best(isa: Isa) -> Self {
        match isa {
            Isa::Portable => Self::Portable,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => Self::vnni().unwrap_or(Self::Avx2(Proof(()))),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn vnni() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self::Vnni(Proof(())))
    }

    /// All that this CPU has, for tests.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(is_x86_feature_detected!("avx2").then_some(Self::Avx2(Proof(()))));
            all.extend(Self::vnni());
        }
        all
    }

    /// The products: row by row of the weight, one for each token.
    pub(crate) fn run<const R: usize, const M: usize>(self, dot: &Dot<'_, R, M>) -> [[i32; M]; R] {
        match self {
            Self::Portable => portable(dot),
            // SAFETY: the proof says that the CPU has AVX2.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => unsafe { x86::avx2(dot) },
            // SAFETY: the proof says that the CPU has AVX-512 with BW and VNNI.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(_) => unsafe { x86::vnni(dot) },
        }
    }
}

fn portable<const R: usize, const M: usize>(dot: &Dot<'_, R, M>) -> [[i32; M]; R] {
    let mut out = [[0; M]; R];
    for (out, weight) in out.iter_mut().zip(dot.weights) {
        for (out, input) in out.iter_mut().zip(dot.inputs) {
            *out = weight.iter().zip(input).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
        }
    }
    out
}

/// The codes of a row from the last whole step on, filled up with zeros.
fn last(row: &[i8], whole: usize) -> [i8; STEP] {
    let mut last = [0; STEP];
    let rest = &row[whole * STEP..];
    last[..rest.len()].copy_from_slice(rest);
    last
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Dot, STEP, last};
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_abs_epi8, _mm256_add_epi32,
        _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_sign_epi8, _mm512_dpbusd_epi32,
        _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
        _mm512_xor_si512,
    };

    /// `|w|` is unsigned and `x` takes the sign of `w`. Two such products are at most 2·128·127 = 32512, so that their
    /// 16-bit sum does not saturate; with unsigned codes `w + 128` it would.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2<const R: usize, const M: usize>(dot: &Dot<'_, R, M>) -> [[i32; M]; R] {
        const HALF: usize = STEP / 2;
        let ones = _mm256_set1_epi16(1);
        let mut sums = [[_mm256_setzero_si256(); M]; R];
        let whole = dot.weights[0].len() / STEP;
        let rest: [[i8; STEP]; R] = dot.weights.map(|row| last(row, whole));
        let steps = dot.inputs[0].len() / STEP;
        for step in 0..steps {
            for half in 0..2 {
                let at = step * STEP + half * HALF;
                let inputs = dot.inputs.map(|input| load(&input[at..at + HALF]));
                for r in 0..R {
                    let weight = if step < whole {
                        load(&dot.weights[r][at..at + HALF])
                    } else {
                        load(&rest[r][half * HALF..(half + 1) * HALF])
                    };
                    let magnitude = _mm256_abs_epi8(weight);
                    for m in 0..M {
                        let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(inputs[m], weight));
                        sums[r][m] = _mm256_add_epi32(sums[r][m], _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
        }
        sums.map(|sums| sums.map(|sum| total(sum)))
    }

    #[target_feature(enable = "avx2")]
    fn load(bytes: &[i8]) -> __m256i {
        assert!(bytes.len() >= 32);
        // SAFETY: 32 bytes are there; the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn total(sums: __m256i) -> i32 {
        let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    }

    /// The instruction multiplies unsigned by signed bytes: the weight is moved up by 128, and 128 times the sum of the
    /// token is taken off. Sums wrap around, which the difference undoes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn vnni<const R: usize, const M: usize>(dot: &Dot<'_, R, M>) -> [[i32; M]; R] {
        let offset = _mm512_set1_epi8(i8::MIN);
        let mut sums = [[_mm512_setzero_si512(); M]; R];
        let whole = dot.weights[0].len() / STEP;
        let rest: [[i8; STEP]; R] = dot.weights.map(|row| last(row, whole));
        let steps = dot.inputs[0].len() / STEP;
        for step in 0..steps {
            let at = step * STEP;
            let inputs = dot.inputs.map(|input| {
                let bytes = &input[at..at + STEP];
                // SAFETY: the slice has 64 bytes; the load needs no alignment.
                unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
            });
            for r in 0..R {
                let bytes = if step < whole { &dot.weights[r][at..at + STEP] } else { &rest[r][..] };
                // SAFETY: as above.
                let weight = _mm512_xor_si512(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }, offset);
                for m in 0..M {
                    sums[r][m] = _mm512_dpbusd_epi32(sums[r][m], weight, inputs[m]);
                }
            }
        }
        let mut out = [[0; M]; R];
        for r in 0..R {
            for m in 0..M {
                let raised = _mm512_reduce_add_epi32(sums[r][m]);
                out[r][m] = raised.wrapping_sub(dot.sums[m].wrapping_mul(128));
            }
        }
        out
    }
}
