//! Lanes as arrays, which the compiler turns into whatever vectors the target has (SSE2, NEON).

use super::{EXPANSION, LANES, Lanes};

/// Lanes for every CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

/// `a · b + c`, fused where that is one instruction; elsewhere `mul_add` would be a slow library call.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

/// Widens an f16 without branches, so that a loop over it becomes vector code: the exponent is rebased by one
/// multiplication, exact for subnormals too; infinities and NaN get the largest exponent back.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    /// 2^(127 − 15).
    const REBASE: f32 = f32::from_bits(0x7780_0000);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let rebased = (f32::from_bits(magnitude) * REBASE).to_bits();
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(rebased | special | u32::from(bits & 0x8000) << 16)
}

#[inline(always)]
fn map<T: Copy, U: Copy + Default>(values: [T; LANES], each: impl Fn(T) -> U) -> [U; LANES] {
    let mut out = [U::default(); LANES];
    for (slot, value) in out.iter_mut().zip(values) {
        *slot = each(value);
    }
    out
}

#[inline(always)]
fn zip<T: Copy + Default>(a: [T; LANES], b: [T; LANES], each: impl Fn(T, T) -> T) -> [T; LANES] {
    let mut out = [T::default(); LANES];
    for ((slot, a), b) in out.iter_mut().zip(a).zip(b) {
        *slot = each(a, b);
    }
    out
}

#[inline(always)]
fn parts<const N: usize, T: Copy + Default>(bytes: &[u8], each: impl Fn([u8; N]) -> T) -> [T; LANES] {
    let mut out = [T::default(); LANES];
    for (slot, part) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *slot = each(*part);
    }
    out
}

impl Lanes for Portable {
    type Floats = [f32; LANES];
    type Words = [u32; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Floats {
        *values
    }

    #[inline(always)]
    fn store(self, values: Self::Floats, out: &mut [f32; LANES]) {
        *out = values;
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        let mut out = c;
        for i in 0..LANES {
            out[i] = mul_add(a[i], b[i], c[i]);
        }
        out
    }

    #[inline(always)]
    fn sum(self, v: Self::Floats) -> f32 {
        let half = [v[0] + v[4], v[1] + v[5], v[2] + v[6], v[3] + v[7]];
        (half[0] + half[2]) + (half[1] + half[3])
    }

    #[inline(always)]
    fn read_f32(self, bytes: &[u8; 32]) -> Self::Floats {
        parts(bytes, f32::from_le_bytes)
    }

    #[inline(always)]
    fn read_f16(self, bytes: &[u8; 16]) -> Self::Floats {
        parts(bytes, |b| widen_f16(u16::from_le_bytes(b)))
    }

    #[inline(always)]
    fn read_bf16(self, bytes: &[u8; 16]) -> Self::Floats {
        parts(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))
    }

    #[inline(always)]
    fn expand(self, kept: u8, values: Self::Floats) -> Self::Floats {
        map(EXPANSION[kept as usize], |from| if from < 0 { 0.0 } else { values[from as usize & (LANES - 1)] })
    }

    #[inline(always)]
    fn read_u8(self, bytes: [u8; 8]) -> Self::Floats {
        map(bytes, f32::from)
    }

    #[inline(always)]
    fn splat_word(self, value: u32) -> Self::Words {
        [value; LANES]
    }

    #[inline(always)]
    fn read_words(self, bytes: &[u8; 32]) -> Self::Words {
        parts(bytes, u32::from_le_bytes)
    }

    #[inline(always)]
    fn and(self, a: Self::Words, b: Self::Words) -> Self::Words {
        zip(a, b, |a, b| a & b)
    }

    #[inline(always)]
    fn sub(self, a: Self::Words, b: Self::Words) -> Self::Words {
        zip(a, b, u32::wrapping_sub)
    }

    #[inline(always)]
    fn shift_right(self, a: Self::Words, by: u32) -> Self::Words {
        map(a, |a| a >> by)
    }

    #[inline(always)]
    fn to_floats(self, a: Self::Words) -> Self::Floats {
        map(a, |a| a.cast_signed() as f32)
    }
}
