//! Float arithmetic in a form that the compiler turns into vector code for the CPU at hand.
//!
//! ```
//! use tenuis_linalg::float;
//! let x = [1.0, 2.0, 3.0];
//! let norm = float::vectorised(|| float::sum(&x, |v| v * v).sqrt());
//! assert!((norm - 14f32.sqrt()).abs() < 1e-6);
//! ```
#![expect(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instructions of `vectorised`"
)]

/// Values that are summed side by side, so that the order of additions allows vector instructions.
const LANES: usize = 16;

/// Runs `work` compiled for the vector instructions that this CPU has. What it calls must be `#[inline(always)]`.
#[inline]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// `Σ f(x)`.
#[inline(always)]
pub fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    fold(lanes, |a, b| a + b) + rest.iter().map(|&v| f(v)).sum::<f32>()
}

/// `Σ x·y`.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (x, y) in xs.iter().zip(ys) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    fold(lanes, |a, b| a + b) + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
}

/// The largest value; −∞ for none. A NaN is passed over, and comes out again in whatever is done with it next.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, v);
        }
    }
    rest.iter().fold(fold(lanes, larger), |a, &b| larger(a, b))
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `eˣ` without branches or calls: 2ⁿ · p(r), x = n·ln 2 + r, with the minimax polynomial of Cephes' `expf`.
///
/// Relative error below 2·10⁻⁷ where the result is a normal number; ∞ above 88.7, 0 below −87.3. NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, because it is 1.5 · 2²³.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > 88.8 { 88.8 } else { x };
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_2e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_66;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    // In two steps, because n = 128 occurs and 2¹²⁸ is no f32.
    let half = (n * 0.5) as i32;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let scaled = p * power(half) * power(n as i32 - half);
    if x < -87.3 { 0.0 } else { scaled }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cephes states 1.7e-7 for its polynomial; the rest is rounding of the last steps.
    const EXP_TOLERANCE: f64 = 2e-7;

    #[test]
    fn exp_is_accurate() {
        for i in -870_000..=887_000 {
            let x = i as f32 * 1e-4;
            let (is, should) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((is / should - 1.0).abs() < EXP_TOLERANCE, "exp({x}) = {is}, not {should}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_take_every_element() {
        for len in [0usize, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let total = (len * len.saturating_sub(1) / 2) as f32;
            assert_eq!(vectorised(|| sum(&x, |v| v)), total);
            assert_eq!(vectorised(|| dot(&x, &vec![1.0; len])), total);
            assert_eq!(vectorised(|| max(&x)), x.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
