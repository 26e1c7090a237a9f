//! Lanes as AVX2 vectors.
#![expect(unsafe_code, reason = "vector intrinsics")]

use super::{EXPANSION, Kernel, LANES, Lanes};
use std::arch::x86_64::{
    __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_set_epi64x, _mm256_and_si256, _mm256_andnot_ps,
    _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32,
    _mm256_srai_epi32, _mm256_srl_epi32, _mm256_storeu_ps, _mm256_sub_epi32,
};

/// The proof that the CPU has AVX2, FMA and F16C: [`Avx2::detect`] is the only way to get one.
///
/// That proof is the safety argument of every `unsafe` block below, beside the sizes of the arrays that are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Asks the CPU.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    /// Runs a kernel compiled for these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the CPU has the features.
        unsafe { run(self, kernel) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn run<K: Kernel>(avx2: Avx2, kernel: K) -> K::Output {
    kernel.run(avx2)
}

impl Lanes for Avx2 {
    type Floats = __m256;
    type Words = __m256i;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> __m256 {
        // SAFETY: the CPU has AVX2, and the array has 32 bytes; the load needs no alignment.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, values: __m256, out: &mut [f32; LANES]) {
        // SAFETY: the CPU has AVX2, and the array has 32 bytes; the store needs no alignment.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the CPU has FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        // SAFETY: the CPU has AVX2.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }

    #[inline(always)]
    fn read_f32(self, bytes: &[u8; 32]) -> __m256 {
        // SAFETY: the CPU has AVX2, and the array has 32 bytes; the load needs no alignment.
        unsafe { _mm256_loadu_ps(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn read_f16(self, bytes: &[u8; 16]) -> __m256 {
        // SAFETY: the CPU has F16C, and the array has 16 bytes; the load needs no alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn read_bf16(self, bytes: &[u8; 16]) -> __m256 {
        // SAFETY: the CPU has AVX2, and the array has 16 bytes; the load needs no alignment.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn expand(self, kept: u8, values: __m256) -> __m256 {
        // SAFETY: the CPU has AVX2, and a row of the table has 32 bytes; the load needs no alignment.
        unsafe {
            let from = _mm256_loadu_si256(EXPANSION[kept as usize].as_ptr().cast());
            // The permutation looks at three bits only; what is below zero becomes a mask of ones.
            let moved = _mm256_permutevar8x32_ps(values, from);
            _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_srai_epi32::<31>(from)), moved)
        }
    }

    #[inline(always)]
    fn read_u8(self, bytes: [u8; 8]) -> __m256 {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_set_epi64x(0, i64::from_le_bytes(bytes)))) }
    }

    #[inline(always)]
    fn splat_word(self, value: u32) -> __m256i {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_set1_epi32(value.cast_signed()) }
    }

    #[inline(always)]
    fn read_words(self, bytes: &[u8; 32]) -> __m256i {
        // SAFETY: the CPU has AVX2, and the array has 32 bytes; the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn shift_right(self, a: __m256i, by: u32) -> __m256i {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(by.cast_signed())) }
    }

    #[inline(always)]
    fn to_floats(self, a: __m256i) -> __m256 {
        // SAFETY: the CPU has AVX2.
        unsafe { _mm256_cvtepi32_ps(a) }
    }
}
