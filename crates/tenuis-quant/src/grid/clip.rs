//! The error of a clipped grid, which the search evaluates some eighty times per weight.
//!
//! A library's `powf` would take most of the time of the whole quantisation, so the power is computed here, in a form
//! that the compiler vectorises: bound by about thirty arithmetic instructions per eight weights (AVX2).

#![expect(
    clippy::inline_always,
    reason = "a body must be inlined into each function that selects an instruction set"
)]

use super::Grid;

/// How errors are measured: `Σ (|w − ŵ| / unit)^norm`, in f32.
pub(super) struct Measure {
    pub(super) unit: f32,
    pub(super) max_code: f32,
    pub(super) norm: f32,
}

const LANES: usize = 16;
/// Chunks of lanes between two looks at whether the candidate has lost already.
const CHUNKS: usize = 2;

impl Measure {
    /// The error of a grid on a group, or `None` as soon as it is known to be no less than `least`.
    pub(super) fn error_below(&self, least: f32, grid: Grid<f32>, values: &[f32]) -> Option<f32> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has both features.
            #[expect(unsafe_code, reason = "calls code compiled for a newer instruction set")]
            unsafe {
                return self.with_avx2(least, grid, values);
            }
        }
        self.body(least, grid, values)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn with_avx2(&self, least: f32, grid: Grid<f32>, values: &[f32]) -> Option<f32> {
        self.body(least, grid, values)
    }

    #[inline(always)]
    fn body(&self, least: f32, grid: Grid<f32>, values: &[f32]) -> Option<f32> {
        let (chunks, rest) = values.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for part in chunks.chunks(CHUNKS) {
            for chunk in part {
                for (sum, &value) in sums.iter_mut().zip(chunk) {
                    *sum += self.one(grid, value);
                }
            }
            // Adding what is not negative never lowers a rounded sum.
            if sums.iter().sum::<f32>() >= least {
                return None;
            }
        }
        let error = sums.iter().sum::<f32>() + rest.iter().map(|&value| self.one(grid, value)).sum::<f32>();
        (error < least).then_some(error)
    }

    #[inline(always)]
    fn one(&self, grid: Grid<f32>, value: f32) -> f32 {
        let error = grid.value(grid.code(value, self.max_code)) - value;
        power(error.abs() / self.unit, self.norm)
    }
}

/// `xⁿ = 2^(n·log₂ x)` for `x ≥ 0` and `n > 0`, to about six digits; below 2⁻¹²⁶ it is that or zero.
#[inline(always)]
fn power(x: f32, n: f32) -> f32 {
    // x = 2^e · m with m in √½..√2.
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let offset = x.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = (offset as i32) >> 23;
    let m = f32::from_bits((offset & 0x007f_ffff).wrapping_add(SQRT_HALF));
    // ln m = 2·artanh(y), of which five terms suffice for |y| < 0.172.
    let y = (m - 1.0) / (m + 1.0);
    let y2 = y * y;
    let series = 1.0 + y2 * (1.0 / 3.0 + y2 * (1.0 / 5.0 + y2 * (1.0 / 7.0 + y2 * (1.0 / 9.0))));
    let log2 = exponent as f32 + y * series * (2.0 * std::f32::consts::LOG2_E);

    let z = (n * log2).clamp(-126.0, 126.0);
    let whole = z.round_ties_even();
    // 2^f for |f| ≤ ½: the exponential series of f·ln 2.
    let f = (z - whole) * std::f32::consts::LN_2;
    let series = 1.0
        + f * (1.0
            + f * (1.0 / 2.0 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let scale = f32::from_bits(((whole as i32 + 127) << 23) as u32);
    if x == 0.0 { 0.0 } else { series * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_has_six_digits() {
        for n in [0.5f32, 1.0, 2.0, 2.4, 4.0] {
            for i in 0..4000 {
                let x = 2f32.powf(i as f32 / 100.0 - 25.0);
                let exact = f64::from(x).powf(f64::from(n));
                let off = (f64::from(power(x, n)) / exact - 1.0).abs();
                assert!(off < 2e-5, "{x}^{n} is off by {off:e}");
            }
            assert_eq!(power(0.0, n), 0.0);
        }
    }

    /// Lengths beside the number of lanes, and the portable code beside whatever runs here.
    #[test]
    fn sums_every_value() {
        let measure = Measure { unit: 1.0, max_code: 15.0, norm: 2.0 };
        let grid = Grid { scale: 1.0, zero: 8.0 };
        for len in [0, 1, 15, 16, 17, 40, 70] {
            let values: Vec<f32> = (0..len).map(|i| (i % 4) as f32 + 0.25).collect();
            let expected = len as f32 / 16.0;
            for error in [
                measure.error_below(f32::INFINITY, grid, &values),
                measure.body(f32::INFINITY, grid, &values),
            ] {
                assert!((error.unwrap() - expected).abs() < 1e-4);
            }
            assert_eq!(measure.error_below(expected * 0.9, grid, &values), None);
        }
    }
}
