//! Choosing an instruction set at run time.
//!
//! A kernel is written once, generic over [`Lanes`], and compiled for each instruction set: [`Isa::run`] calls the
//! copy that the CPU can execute. The value of a `Lanes` type is the proof that the CPU can: one that needs special
//! instructions is only made by [`Isa::detect`].

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

/// Values in a vector.
pub(crate) const LANES: usize = 8;

/// Operations on eight f32 or eight 32-bit words at once.
///
/// Every sum has the same order in each implementation; results differ only where one fuses multiply and add.
pub(crate) trait Lanes: Copy {
    /// Eight f32.
    type Floats: Copy;
    /// Eight 32-bit words.
    type Words: Copy;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, values: &[f32; LANES]) -> Self::Floats;
    fn store(self, values: Self::Floats, out: &mut [f32; LANES]);
    /// `a · b + c`.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The sum of all lanes.
    fn sum(self, values: Self::Floats) -> f32;
    /// Eight little-endian f32 of any alignment.
    fn read_f32(self, bytes: &[u8; 32]) -> Self::Floats;
    /// Eight little-endian f16 of any alignment.
    fn read_f16(self, bytes: &[u8; 16]) -> Self::Floats;
    /// Eight little-endian bf16 of any alignment.
    fn read_bf16(self, bytes: &[u8; 16]) -> Self::Floats;

    /// The first values in the lanes whose bits are set, in their order; zero in the others.
    fn expand(self, kept: u8, values: Self::Floats) -> Self::Floats;

    /// Eight bytes as unsigned integers.
    fn read_u8(self, bytes: [u8; 8]) -> Self::Floats;

    fn splat_word(self, value: u32) -> Self::Words;
    /// Eight little-endian words of any alignment.
    fn read_words(self, bytes: &[u8; 32]) -> Self::Words;
    fn and(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// `a − b`, wrapping.
    fn sub(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Logical shift.
    fn shift_right(self, a: Self::Words, by: u32) -> Self::Words;
    /// The words as signed integers, rounded to f32.
    fn to_floats(self, a: Self::Words) -> Self::Floats;
}

/// For every byte: the value that each lane takes, counted from the first, and below zero in lanes whose bit is not set.
static EXPANSION: [[i32; LANES]; 256] = {
    let mut table = [[-1; LANES]; 256];
    let mut kept = 0;
    while kept < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < LANES {
            if kept >> lane & 1 == 1 {
                table[kept][lane] = next;
                next += 1;
            }
            lane += 1;
        }
        kept += 1;
    }
    table
};

/// A computation that is compiled for every instruction set.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;

    /// Computes with the given lanes. Implementations are `#[inline(always)]`, and so is what they call: code that
    /// is not inlined into the caller is compiled for the baseline instruction set.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isa {
    /// Whatever the compiler makes of plain loops for the build's target.
    Portable,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

impl Isa {
    /// The best that this CPU has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = avx2::Avx2::detect() {
            return Self::Avx2(avx2);
        }
        Self::Portable
    }

    /// All that this CPU has, for tests.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        match Self::detect() {
            Self::Portable => vec![Self::Portable],
            #[cfg(target_arch = "x86_64")]
            best @ Self::Avx2(_) => vec![Self::Portable, best],
        }
    }

    /// Runs the kernel's copy for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run(portable::Portable),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.run(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies every operation, with results as bits.
    struct Everything;

    impl Kernel for Everything {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<L: Lanes>(self, l: L) -> Vec<u32> {
            let values = [1.5, -2.0, 0.25, 7.0, -0.5, 3.0, 1e-3, 65504.0];
            let bytes: [u8; 32] = std::array::from_fn(|i| (i * 37 + 11) as u8);
            let halves: [u8; 16] =
                [0, 0x3c, 1, 0, 0xff, 0x03, 0, 0x80, 0xff, 0x7b, 0, 0x7c, 0x55, 0x35, 1, 0xfc];
            let words = l.read_words(&bytes);
            let product = l.mul_add(l.load(&values), l.splat(2.0), l.splat(-1.0));
            let floats = [
                product,
                l.read_f32(&bytes),
                l.read_f16(&halves),
                l.read_bf16(&halves),
                l.expand(0b1010_0110, l.load(&values)),
                l.expand(0xff, product),
                l.expand(0, product),
                l.read_u8([0, 1, 127, 128, 200, 255, 9, 64]),
                l.to_floats(l.sub(l.and(words, l.splat_word(0xf0)), l.splat_word(0x80))),
                l.to_floats(l.shift_right(words, 28)),
            ];
            let mut out = vec![l.sum(product).to_bits()];
            for value in floats {
                let mut lanes = [0.0; LANES];
                l.store(value, &mut lanes);
                out.extend(lanes.map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() }));
            }
            out
        }
    }

    #[test]
    fn instruction_sets_agree() {
        let expected = Isa::Portable.run(Everything);
        for isa in Isa::all() {
            assert_eq!(isa.run(Everything), expected, "{isa:?}");
        }
    }

    /// Every f16 widens as the `half` crate says, in every instruction set.
    #[test]
    fn all_halves_widen() {
        struct Widen([u8; 16]);
        impl Kernel for Widen {
            type Output = [f32; LANES];
            #[inline(always)]
            fn run<L: Lanes>(self, l: L) -> [f32; LANES] {
                let mut out = [0.0; LANES];
                l.store(l.read_f16(&self.0), &mut out);
                out
            }
        }
        for isa in Isa::all() {
            for bits in 0..=u16::MAX {
                let mut bytes = [0; 16];
                bytes[6..8].copy_from_slice(&bits.to_le_bytes());
                let (found, expected) = (isa.run(Widen(bytes))[3], half::f16::from_bits(bits).to_f32());
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(same, "{isa:?} {bits:#06x}: {found} instead of {expected}");
            }
        }
    }
}
