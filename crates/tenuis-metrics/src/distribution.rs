//! The normal distribution and Student's t.

use std::f64::consts::{PI, SQRT_2};

/// Steps of a bisection: more than the digits of an f64 from 1e300 down.
const STEPS: usize = 200;

/// `Φ(x)`, the share of a normal distribution below `x`.
pub(crate) fn normal_below(x: f64) -> f64 {
    if x.abs() > 38.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    // Both are accurate to a few units of 1e-16, absolutely: the series near 0, the continued fraction far from it.
    if x.abs() < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while sum + term != sum {
            n += 2.0;
            term *= x * x / n;
            sum += term;
        }
        return 0.5 + sum * density(x);
    }
    let z = x.abs();
    let fraction = (1..100).rev().fold(z, |below, n| z + f64::from(n) / below);
    let tail = density(z) / fraction;
    if x > 0.0 { 1.0 - tail } else { tail }
}

fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

/// `Φ⁻¹(p)`; infinite at 0 and 1.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    match p {
        _ if p <= 0.0 => f64::NEG_INFINITY,
        _ if p >= 1.0 => f64::INFINITY,
        _ => bisect(-39.0, 39.0, |x| normal_below(x) < p),
    }
}

/// The `p`-quantile of Student's t, for `p` from 0.5 to below 1.
pub(crate) fn student_quantile(p: f64, degrees: f64) -> f64 {
    bisect(0.0, 1e9, |t| 1.0 - 0.5 * incomplete_beta(degrees / (degrees + t * t), degrees / 2.0) < p)
}

fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function `I_x(a, ½)`, by the continued fraction (DLMF 8.17.22).
fn incomplete_beta(x: f64, a: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let b = 0.5;
    let front = |a: f64, b: f64, x: f64| {
        (a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a
    };
    // The fraction converges fast on one side of the mean only.
    if x < (a + 1.0) / (a + b + 2.0) {
        front(a, b, x) * fraction(a, b, x)
    } else {
        1.0 - front(b, a, 1.0 - x) * fraction(b, a, 1.0 - x)
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let coefficient = |k: i32| {
        let m = f64::from(k / 2);
        if k % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        }
    };
    1.0 / (1..400).rev().fold(1.0, |below, k| 1.0 + coefficient(k) / below)
}

/// `ln Γ(x)` for positive `x`: Stirling's series above 15, and the recurrence below.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 15.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];
    let sum = series.iter().rev().fold(0.0, |sum, c| sum * inverse + c) / x;
    (x - 0.5) * x.ln() - x + (SQRT_2 * PI.sqrt()).ln() + sum - f64::ln(product)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles as scipy 1.17.1 gives them.
    #[test]
    fn quantiles() {
        for (p, x) in [(0.975, 1.959_963_984_540_054), (0.5, 0.0), (1e-6, -4.753_424_308_822_899)] {
            assert!((normal_quantile(p) - x).abs() < 1e-9, "{p}");
        }
        for (p, degrees, t) in [
            (0.975, 1.0, 12.706_204_736_432_095),
            (0.975, 4.0, 2.776_445_105_197_793),
            (0.975, 30.0, 2.042_272_456_301_238),
            (0.975, 1000.0, 1.962_339_080_826_408),
            (0.95, 7.0, 1.894_578_605_061_305),
            (0.5, 3.0, 0.0),
        ] {
            assert!(
                (student_quantile(p, degrees) - t).abs() < 1e-8,
                "{p} {degrees}: {}",
                student_quantile(p, degrees)
            );
        }
        assert!((ln_gamma(0.5) - PI.sqrt().ln()).abs() < 1e-13);
    }
}
