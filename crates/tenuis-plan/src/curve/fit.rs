//! The fit of a family, and the choice between families.

use super::least_squares::{Minimum, descend};
use super::{Curve, CurveError, CurveFamily};
use serde::{Deserialize, Serialize};

/// Bounds of β: below, `P` hardly depends on `R`; above, `P(0)` is 0 in any precision.
const BETA: (f64, f64) = (1e-4, 1e4);

/// Bounds of γ and 1/s in units of the largest resource: below, the curve is a line; above, a step.
const RATE: (f64, f64) = (1e-3, 1e3);

/// Bounds of α and `Pmax` in units of the largest quality.
const TOP: (f64, f64) = (1e-6, 1e6);

/// A parameter this close to a bound (in logarithms) lies on it.
const AT_BOUND: f64 = 1e-6;

/// Starts of β and of a rate, spread over what a plot could tell apart.
const BETA_STARTS: [f64; 5] = [0.1, 0.7, 2.5, 8.0, 30.0];
const RATE_STARTS: [f64; 7] = [0.03, 0.3, 1.0, 3.0, 8.0, 25.0, 100.0];

/// Describes a curve and how well it follows the points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CurveFit {
    /// The curve.
    pub curve: Curve,
    /// How many points there were.
    pub points: usize,
    /// `Σ (P(Rᵢ) − Pᵢ)²`, in squared units of `P`.
    pub sum_of_squares: f64,
    /// `√(sum of squares / (points − parameters))`, by which families are compared, in units of `P`.
    pub residual: f64,
    /// The share of the variance that the curve explains, `1 − Σ (P(Rᵢ) − Pᵢ)² / Σ (Pᵢ − mean)²`; 0 is no better than a constant.
    pub r_squared: f64,
    /// The least and the greatest resource of a point; beyond them the curve is an extrapolation.
    pub measured: (f64, f64),
    /// Whether a parameter ended at its bound: the points do not determine it, and the curve's shape is not theirs.
    pub at_bound: bool,
}

/// Fits every family that has fewer parameters than there are different resources, and keeps the one with the least residual.
///
/// The residual is `√(Σ (P(Rᵢ) − Pᵢ)² / (n − parameters))`: a family with more parameters has to earn them. Parameters are
/// fitted in logarithms, hence positive, within bounds, from a fixed grid of starts: nothing is drawn at random.
///
/// # Errors
///
/// [`CurveError`] if a point is negative or not finite, there are fewer than three different resources, or all qualities are equal.
///
/// ```
/// use tenuis_plan::curve::{CurveFamily, fit};
/// let points = [(1.0, 0.39), (2.0, 0.63), (4.0, 0.86), (8.0, 0.98), (16.0, 1.0)];
/// let fit = fit(&points)?;
/// assert_eq!(fit.curve.family(), CurveFamily::Saturating);
/// assert!(fit.r_squared > 0.999);
/// # Ok::<(), tenuis_plan::curve::CurveError>(())
/// ```
pub fn fit(points: &[(f64, f64)]) -> Result<CurveFit, CurveError> {
    let mut best = fit_family(CurveFamily::ALL[0], points)?;
    for &family in &CurveFamily::ALL[1..] {
        match fit_family(family, points) {
            Ok(other) if other.residual < best.residual => best = other,
            Ok(_) | Err(CurveError::TooFew { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(best)
}

/// Fits one family.
///
/// # Errors
///
/// As [`fit`], with [`CurveError::TooFew`] if there are not more different resources than the family has parameters.
pub fn fit_family(family: CurveFamily, points: &[(f64, f64)]) -> Result<CurveFit, CurveError> {
    let units = check(family, points)?;
    let scaled: Vec<_> = points.iter().map(|&(r, p)| (r / units.0, p / units.1)).collect();
    let (curve, at_bound) = match family {
        CurveFamily::Gompertz => gompertz(&scaled, units),
        CurveFamily::Saturating => saturating(&scaled, units),
    };
    let sum_of_squares: f64 = points.iter().map(|&(r, p)| (curve.value(r) - p).powi(2)).sum();
    let mean = points.iter().map(|&(_, p)| p).sum::<f64>() / points.len() as f64;
    let variation: f64 = points.iter().map(|&(_, p)| (p - mean).powi(2)).sum();
    let resources = points.iter().map(|&(r, _)| r);
    Ok(CurveFit {
        curve,
        points: points.len(),
        sum_of_squares,
        residual: (sum_of_squares / (points.len() - family.parameters()) as f64).sqrt(),
        r_squared: 1.0 - sum_of_squares / variation,
        measured: (resources.clone().fold(f64::INFINITY, f64::min), resources.fold(0.0, f64::max)),
        at_bound,
    })
}

/// Checks the points and yields the largest resource and quality, which the fit uses as units.
fn check(family: CurveFamily, points: &[(f64, f64)]) -> Result<(f64, f64), CurveError> {
    let usable = |v: f64| v.is_finite() && v >= 0.0;
    if let Some(index) = points.iter().position(|&(r, p)| !usable(r) || !usable(p)) {
        let (resource, quality) = points[index];
        return Err(CurveError::Point { index, resource, quality });
    }
    let mut resources: Vec<_> = points.iter().map(|&(r, _)| r).collect();
    resources.sort_by(f64::total_cmp);
    resources.dedup();
    let (distinct, parameters) = (resources.len(), family.parameters());
    if distinct <= parameters {
        return Err(CurveError::TooFew { family, distinct, parameters });
    }
    let quality = points[0].1;
    if points.iter().all(|&(_, p)| p == quality) {
        return Err(CurveError::Constant { quality });
    }
    let largest =
        points.iter().fold((0.0, 0.0), |(r, p): (f64, f64), point| (r.max(point.0), p.max(point.1)));
    Ok(largest)
}

fn gompertz(points: &[(f64, f64)], units: (f64, f64)) -> (Curve, bool) {
    let model = |p: &[f64; 3], r: f64| {
        let [alpha, beta, gamma] = p.map(f64::exp);
        let u = beta * (-gamma * r).exp();
        let value = alpha * (-u).exp();
        (value, [value, -value * u, value * u * gamma * r])
    };
    let bounds = [TOP, BETA, RATE].map(|(low, high)| low.ln()..=high.ln());
    let starts = BETA_STARTS.iter().flat_map(|beta| RATE_STARTS.iter().map(move |gamma| (beta, gamma)));
    let descents = starts.map(|(beta, gamma)| {
        let top = projection(points, |r| (-beta * (-gamma * r).exp()).exp());
        descend(points, &model, [top, *beta, *gamma].map(f64::ln), &bounds)
    });
    let least = least(descents, [0.0; 3]);
    let [alpha, beta, gamma] = least.parameters.map(f64::exp);
    let at_bound = on_bound(&least.parameters, &[TOP, BETA, RATE]);
    (Curve::Gompertz { alpha: alpha * units.1, beta, gamma: gamma / units.0 }, at_bound)
}

fn saturating(points: &[(f64, f64)], units: (f64, f64)) -> (Curve, bool) {
    let model = |p: &[f64; 2], r: f64| {
        let [top, rate] = p.map(f64::exp);
        let share = -(-rate * r).exp_m1();
        (top * share, [top * share, top * (-rate * r).exp() * rate * r])
    };
    let bounds = [TOP, RATE].map(|(low, high)| low.ln()..=high.ln());
    let descents = RATE_STARTS.iter().map(|rate| {
        let top = projection(points, |r| -(-rate * r).exp_m1());
        descend(points, &model, [top, *rate].map(f64::ln), &bounds)
    });
    let least = least(descents, [0.0; 2]);
    let [top, rate] = least.parameters.map(f64::exp);
    (
        Curve::Saturating { p_max: top * units.1, scale: units.0 / rate },
        on_bound(&least.parameters, &[TOP, RATE]),
    )
}

/// The linear parameter that suits a shape best, `Σ p·f(r) / Σ f(r)²`, within its bounds (variable projection, Golub and Pereyra 1973).
fn projection(points: &[(f64, f64)], shape: impl Fn(f64) -> f64) -> f64 {
    let (mut product, mut square) = (0.0, 0.0);
    for &(r, p) in points {
        let f = shape(r);
        product += p * f;
        square += f * f;
    }
    let top = product / square;
    if top.is_finite() { top.clamp(TOP.0, TOP.1) } else { 1.0 }
}

fn least<const N: usize>(descents: impl Iterator<Item = Minimum<N>>, start: [f64; N]) -> Minimum<N> {
    let worst = Minimum { parameters: start, sum_of_squares: f64::INFINITY };
    descents.fold(worst, |best, next| if next.sum_of_squares < best.sum_of_squares { next } else { best })
}

fn on_bound<const N: usize>(parameters: &[f64; N], bounds: &[(f64, f64); N]) -> bool {
    parameters
        .iter()
        .zip(bounds)
        .any(|(p, (low, high))| (p - low.ln()).abs() < AT_BOUND || (p - high.ln()).abs() < AT_BOUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(curve: &Curve, resources: &[f64], noise: f64) -> Vec<(f64, f64)> {
        let point = |(i, &r): (usize, &f64)| {
            // A fixed pattern of signs without a trend stands for noise.
            let sign = [1.0, -1.0, -1.0, 1.0, 0.5, -0.5, 0.0][i % 7];
            (r, (curve.value(r) + noise * sign).max(0.0))
        };
        resources.iter().enumerate().map(point).collect()
    }

    fn spaced(count: usize, to: f64) -> Vec<f64> {
        (0..count).map(|i| to * (i + 1) as f64 / count as f64).collect()
    }

    /// Noise of half a percent moves a parameter by a few percent.
    const NOISE: f64 = 0.005;
    const FOUND: f64 = 0.06;
    /// Without noise only the descent's end is left.
    const EXACT: f64 = 1e-5;

    #[test]
    fn known_parameters_come_back_from_noisy_points() {
        let curve = Curve::Gompertz { alpha: 0.95, beta: 4.0, gamma: 0.1 };
        let found = fit(&sample(&curve, &spaced(14, 70.0), NOISE)).unwrap();
        let Curve::Gompertz { alpha, beta, gamma } = found.curve else { panic!("{found:?}") };
        for (value, wanted) in [(alpha, 0.95), (beta, 4.0), (gamma, 0.1)] {
            assert!((value / wanted - 1.0).abs() < FOUND, "{found:?}");
        }
        assert!(!found.at_bound && found.r_squared > 0.99 && found.measured == (5.0, 70.0), "{found:?}");

        let curve = Curve::Saturating { p_max: 0.8, scale: 12e6 };
        let found = fit(&sample(&curve, &spaced(14, 60e6), NOISE)).unwrap();
        let Curve::Saturating { p_max, scale } = found.curve else { panic!("{found:?}") };
        assert!((p_max / 0.8 - 1.0).abs() < FOUND && (scale / 12e6 - 1.0).abs() < FOUND, "{found:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn exact_points_are_met(alpha in 0.2..100.0, beta in 0.5..10.0, gamma in 0.5..10.0, unit in 1e-3..1e9) {
            let curve = Curve::Gompertz { alpha, beta, gamma: gamma / unit };
            let found = fit_family(CurveFamily::Gompertz, &sample(&curve, &spaced(10, unit), 0.0)).unwrap();
            prop_assert!(found.residual < EXACT * alpha, "{found:?} {curve:?}");
        }
    }

    #[test]
    fn the_same_points_give_the_same_curve_in_any_unit() {
        let curve = Curve::Saturating { p_max: 0.9, scale: 3.0 };
        let small = sample(&curve, &spaced(8, 10.0), NOISE);
        let large: Vec<_> = small.iter().map(|&(r, p)| (r * 1e6, p)).collect();
        let (small, large) = (fit(&small).unwrap(), fit(&large).unwrap());
        assert_eq!(small.curve.family(), large.curve.family());
        assert!((small.sum_of_squares / large.sum_of_squares - 1.0).abs() < EXACT);
    }

    #[test]
    fn what_is_degenerate_is_refused() {
        assert!(matches!(fit(&[]), Err(CurveError::TooFew { distinct: 0, .. })));
        assert!(matches!(fit(&[(1.0, 0.5)]), Err(CurveError::TooFew { distinct: 1, parameters: 2, .. })));
        let repeated = [(1.0, 0.5), (1.0, 0.6), (2.0, 0.7), (2.0, 0.8)];
        assert!(matches!(fit(&repeated), Err(CurveError::TooFew { distinct: 2, .. })));
        let constant = [(1.0, 0.5), (2.0, 0.5), (3.0, 0.5), (4.0, 0.5)];
        assert_eq!(fit(&constant), Err(CurveError::Constant { quality: 0.5 }));
        let holed = [(1.0, 0.5), (2.0, f64::NAN), (3.0, 0.5)];
        assert!(matches!(fit(&holed), Err(CurveError::Point { index: 1, .. })));
        assert!(matches!(fit(&[(f64::INFINITY, 0.5)]), Err(CurveError::Point { index: 0, .. })));
        assert!(matches!(fit(&[(-1.0, 0.5)]), Err(CurveError::Point { index: 0, .. })));
    }

    #[test]
    fn three_points_do_not_make_a_gompertz_curve() {
        let points = [(1.0, 0.1), (2.0, 0.5), (3.0, 0.9)];
        assert_eq!(fit(&points).unwrap().curve.family(), CurveFamily::Saturating);
        assert!(matches!(fit_family(CurveFamily::Gompertz, &points), Err(CurveError::TooFew { .. })));
    }

    #[test]
    fn quality_that_falls_is_no_curve_of_these() {
        let falling = [(1.0, 0.9), (2.0, 0.7), (3.0, 0.4), (4.0, 0.3), (5.0, 0.1)];
        let found = fit(&falling).unwrap();
        assert!(found.at_bound && found.r_squared < 0.1, "{found:?}");
    }
}
