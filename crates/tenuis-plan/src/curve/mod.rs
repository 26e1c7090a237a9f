//! Curves of what a resource buys, fitted to measured points.
//!
//! Quality `P` as a function of a resource `R` (bytes, FLOPs, milliseconds) saturates. Two families are fitted by least squares:
//!
//! | family | formula | source |
//! |---|---|---|
//! | Gompertz | `P(R) = α · exp(−β · exp(−γ · R))` | Gompertz 1825, "On the nature of the function expressive of the law of human mortality" |
//! | saturating | `P(R) = Pmax · (1 − exp(−R / s))` | Mitscherlich 1909, the law of diminishing returns |
//!
//! Both are linear in their first parameter, so that starts are needed for the others only, and those come from a fixed grid:
//! the same points give the same curve.

mod error;
mod fit;
mod least_squares;

pub use error::CurveError;
pub use fit::{CurveFit, fit, fit_family};

use serde::{Deserialize, Serialize};

/// Names a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CurveFamily {
    /// `P(R) = α · exp(−β · exp(−γ · R))`.
    Gompertz,
    /// `P(R) = Pmax · (1 − exp(−R / s))`.
    Saturating,
}

impl CurveFamily {
    /// Every family, in the order in which ties are decided: fewer parameters first.
    pub const ALL: [Self; 2] = [Self::Saturating, Self::Gompertz];

    /// Counts the parameters.
    pub fn parameters(self) -> usize {
        match self {
            Self::Gompertz => 3,
            Self::Saturating => 2,
        }
    }
}

/// Says how much quality a resource buys.
///
/// ```
/// use tenuis_plan::curve::{Curve, Payoff};
/// let curve = Curve::Gompertz { alpha: 0.95, beta: 4.0, gamma: 0.1 };
/// assert!((curve.marginal(20.0) - 0.0299).abs() < 5e-5);
/// let Payoff::Until(resource) = curve.payoff(0.0065) else { unreachable!() };
/// assert!((resource - 40.0).abs() < 0.1); // another unit buys less than 0.0065 from there on
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Curve {
    /// `P(R) = α · exp(−β · exp(−γ · R))`.
    Gompertz {
        /// α, the quality without limits, in units of `P`.
        alpha: f64,
        /// β, how far below that the curve begins: `P(0) = α · exp(−β)`.
        beta: f64,
        /// γ, how fast it rises, per unit of `R`.
        gamma: f64,
    },
    /// `P(R) = Pmax · (1 − exp(−R / s))`.
    Saturating {
        /// `Pmax`, the quality without limits, in units of `P`.
        p_max: f64,
        /// `s`, the resource that buys 63 % of it, in units of `R`.
        scale: f64,
    },
}

/// Says up to where another unit of a resource pays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payoff {
    /// It buys at least the threshold just below this resource, and less everywhere above.
    Until(f64),
    /// It buys less than the threshold everywhere.
    Never,
}

/// Halvings that bring an interval of `(0, 1]` to the last bit of a double.
const HALVINGS: usize = 1100;

impl Curve {
    /// Names its family.
    pub fn family(&self) -> CurveFamily {
        match self {
            Self::Gompertz { .. } => CurveFamily::Gompertz,
            Self::Saturating { .. } => CurveFamily::Saturating,
        }
    }

    /// Computes the quality `P(R)`.
    pub fn value(&self, resource: f64) -> f64 {
        match *self {
            Self::Gompertz { alpha, beta, gamma } => alpha * (-beta * (-gamma * resource).exp()).exp(),
            Self::Saturating { p_max, scale } => -p_max * (-resource / scale).exp_m1(),
        }
    }

    /// Computes the marginal benefit `dP/dR`, in units of `P` per unit of `R`.
    ///
    /// Gompertz: `α·β·γ · exp(−γR) · exp(−β·exp(−γR))`; saturating: `Pmax / s · exp(−R / s)`.
    pub fn marginal(&self, resource: f64) -> f64 {
        match *self {
            Self::Gompertz { alpha, beta, gamma } => {
                let u = beta * (-gamma * resource).exp();
                alpha * gamma * u * (-u).exp()
            }
            Self::Saturating { p_max, scale } => p_max / scale * (-resource / scale).exp(),
        }
    }

    /// Computes the quality that no resource exceeds.
    pub fn limit(&self) -> f64 {
        match *self {
            Self::Gompertz { alpha, .. } => alpha,
            Self::Saturating { p_max, .. } => p_max,
        }
    }

    /// Finds the resource from which on another unit buys less than `threshold` (in units of `P` per unit of `R`).
    ///
    /// A Gompertz curve is S-shaped: below its inflection `ln β / γ` another unit may buy little and yet pay later, so the answer
    /// lies on the falling side of `dP/dR`. With `u = β·exp(−γR)` that is the root of `u·exp(−u) = threshold / (α·γ)` below 1.
    /// A threshold that is not positive pays for ever: `Until(∞)`.
    pub fn payoff(&self, threshold: f64) -> Payoff {
        if threshold <= 0.0 {
            return Payoff::Until(f64::INFINITY);
        }
        match *self {
            Self::Saturating { p_max, scale } => {
                let resource = scale * (p_max / (scale * threshold)).ln();
                if resource > 0.0 { Payoff::Until(resource) } else { Payoff::Never }
            }
            Self::Gompertz { alpha, beta, gamma } => {
                let wanted = threshold / (alpha * gamma);
                let top = beta.min(1.0);
                if top * (-top).exp() <= wanted {
                    return Payoff::Never;
                }
                let (mut low, mut high) = (0.0, top);
                for _ in 0..HALVINGS {
                    let middle = f64::midpoint(low, high);
                    if middle <= low || middle >= high {
                        break;
                    }
                    if middle * (-middle).exp() < wanted { low = middle } else { high = middle }
                }
                Payoff::Until((beta / high).ln() / gamma)
            }
        }
    }
}

/// Computes the linear ideal: quality in proportion to the resource, from nothing to the `full` point `(R, P)` of the baseline.
///
/// What lies above the line was bought for less than its share.
///
/// # Errors
///
/// [`CurveError::Baseline`] if the full point is not finite or its resource is not positive.
///
/// ```
/// assert_eq!(tenuis_plan::curve::linear_ideal((100.0, 0.8), 25.0)?, 0.2);
/// # Ok::<(), tenuis_plan::curve::CurveError>(())
/// ```
pub fn linear_ideal(full: (f64, f64), resource: f64) -> Result<f64, CurveError> {
    let (r, p) = full;
    if r > 0.0 && r.is_finite() && p.is_finite() {
        Ok(p * (resource / r))
    } else {
        Err(CurveError::Baseline { resource: r, quality: p })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The published figures have four decimals.
    const FOUR_DECIMALS: f64 = 5e-5;

    #[test]
    fn the_published_marginals() {
        let curve = Curve::Gompertz { alpha: 0.95, beta: 4.0, gamma: 0.1 };
        for (resource, marginal) in [(20.0, 0.0299), (40.0, 0.0065)] {
            assert!((curve.marginal(resource) - marginal).abs() < FOUR_DECIMALS, "{resource}");
        }
    }

    fn curves() -> impl Strategy<Value = Curve> {
        prop_oneof![
            (0.1..2.0, 0.1..20.0, 0.01..1.0).prop_map(|(alpha, beta, gamma)| Curve::Gompertz {
                alpha,
                beta,
                gamma
            }),
            (0.1..2.0, 0.5..50.0).prop_map(|(p_max, scale)| Curve::Saturating { p_max, scale }),
        ]
    }

    /// Central differences over this step are right to about its square.
    const STEP: f64 = 1e-4;
    const DIFFERENCE: f64 = 1e-6;

    proptest! {
        #[test]
        fn marginal_is_the_slope_of_value(curve in curves(), r in 0.1..100.0) {
            let slope = (curve.value(r + STEP) - curve.value(r - STEP)) / (2.0 * STEP);
            prop_assert!((slope - curve.marginal(r)).abs() < DIFFERENCE, "{slope} {}", curve.marginal(r));
        }

        #[test]
        fn nothing_pays_above_the_payoff(curve in curves(), threshold in 1e-5..0.5, above in 1e-3..50.0) {
            match curve.payoff(threshold) {
                Payoff::Until(r) => {
                    prop_assert!((curve.marginal(r) / threshold - 1.0).abs() < DIFFERENCE);
                    prop_assert!(curve.marginal(r + above) < threshold);
                }
                Payoff::Never => for r in 0..200 {
                    prop_assert!(curve.marginal(f64::from(r) * 0.5) <= threshold * (1.0 + DIFFERENCE));
                },
            }
        }
    }

    #[test]
    fn a_threshold_of_nothing_always_pays() {
        let curve = Curve::Saturating { p_max: 1.0, scale: 2.0 };
        assert_eq!(curve.payoff(0.0), Payoff::Until(f64::INFINITY));
        assert_eq!(curve.payoff(1.0), Payoff::Never);
    }

    #[test]
    fn the_ideal_needs_a_baseline() {
        for full in [(0.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
            assert!(matches!(linear_ideal(full, 1.0), Err(CurveError::Baseline { .. })));
        }
    }
}
