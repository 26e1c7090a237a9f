//! What another unit of a resource buys: quality kept against bytes, memory, time and operations, as a fitted curve.

use super::{Entry, kept};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_plan::curve::{self, Curve, Payoff};

/// The share of its share: where 1 % of the baseline's resource buys less than this many percentage points of quality, another
/// unit no longer pays. On the linear ideal, 1 % buys one point; this is a tenth of that.
pub const PAYING_POINTS_PER_PERCENT: f64 = 0.1;

/// Percent of the whole.
const WHOLE: f64 = 100.0;
/// Points of a drawn curve beside its first.
const LINE_STEPS: usize = 60;
/// The budgets of the table, in percent of the baseline's resource.
const BUDGETS: [f64; 6] = [10.0, 25.0, 50.0, 75.0, 90.0, 100.0];

/// Quality kept against one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceCurve {
    /// The resource.
    pub resource: Resource,
    /// The unit of every resource in here: `MB` (10⁶ bytes), `ms` per token, `MFLOP` per token.
    pub unit: String,
    /// The measured models, the baseline first. Their quality is the retention of the perplexity in percent.
    pub points: Vec<CurvePoint>,
    /// What the linear ideal buys per unit, in percentage points: 100 ÷ the baseline's resource.
    pub ideal_marginal: f64,
    /// The marginal benefit below which another unit no longer pays, in percentage points per unit: a tenth of the linear
    /// ideal's, so that 1 % of the baseline's resource buys less than 0.1 points.
    pub threshold: f64,
    /// The curve, or why there is none.
    pub fit: Fit,
}

/// A resource that quality is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Bytes of the weight files.
    Bytes,
    /// Peak memory beyond an empty process.
    PeakMemory,
    /// Median time of a decoding step.
    DecodeLatency,
    /// Operations of a decoded token.
    FlopsDecode,
}

/// A model on the way from nothing to the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// The model.
    pub model: String,
    /// What it takes.
    pub resource: f64,
    /// What it keeps of the quality, in percent; the baseline has 100.
    pub quality: f64,
    /// What the linear ideal would keep with that resource, in percent.
    pub ideal: f64,
    /// What another unit buys there by the curve, in percentage points; null without a curve.
    pub marginal: Option<f64>,
}

/// A curve, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Fit {
    /// Of the families, the one with the least residual.
    Fitted(FittedCurve),
    /// There is none.
    None {
        /// Why.
        reason: String,
    },
}

/// A curve and how well it follows the points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FittedCurve {
    /// Its family and parameters: `saturating`, `P(R) = p_max · (1 − exp(−R / scale))`, or `gompertz`,
    /// `P(R) = alpha · exp(−beta · exp(−gamma · R))`.
    pub curve: Curve,
    /// The share of the variance that it explains.
    pub r_squared: f64,
    /// `√(sum of squares / (points − parameters))`, in percentage points.
    pub residual: f64,
    /// Whether a parameter ended at its bound: the points do not determine the curve's shape.
    pub at_bound: bool,
    /// The least resource of a point; below it the curve is an extrapolation.
    pub measured_from: f64,
    /// The greatest resource of a point.
    pub measured_to: f64,
    /// The resource from which on another unit buys less than the threshold; null where it does so everywhere.
    pub payoff: Option<f64>,
    /// The curve at shares of the baseline's resource.
    pub budgets: Vec<CurveSample>,
    /// The curve from nothing to the greatest resource, evenly spaced, for whoever draws it.
    pub line: Vec<CurveSample>,
}

/// A place on a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurveSample {
    /// The resource.
    pub resource: f64,
    /// The quality in percent.
    pub quality: f64,
    /// What another unit buys, in percentage points.
    pub marginal: f64,
}

impl Resource {
    /// Every resource, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::PeakMemory, Self::DecodeLatency, Self::FlopsDecode];

    /// Says what it is, as in "quality rises with ...".
    pub fn describe(self) -> &'static str {
        match self {
            Self::Bytes => "bytes of the weight files",
            Self::PeakMemory => "peak memory",
            Self::DecodeLatency => "time of a decoding step",
            Self::FlopsDecode => "operations of a decoded token",
        }
    }

    /// Names the unit of its curve.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Bytes | Self::PeakMemory => "MB",
            Self::DecodeLatency => "ms",
            Self::FlopsDecode => "MFLOP",
        }
    }

    /// What a model takes of it, in its unit; nothing where that was not measured.
    pub fn of(self, entry: &Entry) -> Option<f64> {
        let value = match self {
            Self::Bytes => 1e-6 * entry.size.bytes as f64,
            Self::PeakMemory => 1e-6 * entry.memory.as_ref()?.peak_bytes as f64,
            Self::DecodeLatency => 1e3 * entry.speed.as_ref()?.decode_step_seconds.median,
            Self::FlopsDecode => 1e-6 * entry.size.work?.flops_per_decoded_token as f64,
        };
        (value.is_finite() && value > 0.0).then_some(value)
    }
}

impl ResourceCurve {
    /// Fits a curve for every resource that was measured of the baseline and of a candidate.
    ///
    /// Quality is the retention of the perplexity. Every measured model counts, dominated ones too: `r_squared` says how far
    /// the resource alone explains the quality.
    pub fn of(baseline: &Entry, candidates: &[Entry]) -> Vec<Self> {
        Resource::ALL
            .into_iter()
            .filter_map(|resource| Self::of_one(resource, baseline, candidates))
            .collect()
    }

    fn of_one(resource: Resource, baseline: &Entry, candidates: &[Entry]) -> Option<Self> {
        let full = resource.of(baseline)?;
        let measured = candidates
            .iter()
            .filter_map(|entry| Some((entry.name.clone(), resource.of(entry)?, kept(entry)?)));
        let points: Vec<(String, f64, f64)> =
            std::iter::once((baseline.name.clone(), full, WHOLE)).chain(measured).collect();
        (points.len() > 1).then(|| Self::through(resource, points))
    }

    /// Fits a curve through models, resources and qualities in percent, the baseline first.
    fn through(resource: Resource, points: Vec<(String, f64, f64)>) -> Self {
        let full = points.first().map_or(f64::NAN, |point| point.1);
        let ideal_marginal = WHOLE / full;
        let threshold = PAYING_POINTS_PER_PERCENT * ideal_marginal;
        let fit = fit(resource, full, threshold, &points);
        let marginal = |at: f64| match &fit {
            Fit::Fitted(fitted) => Some(fitted.curve.marginal(at)),
            Fit::None { .. } => None,
        };
        let points = points.into_iter().map(|(model, resource, quality)| CurvePoint {
            ideal: ideal_marginal * resource,
            marginal: marginal(resource),
            model,
            resource,
            quality,
        });
        let points = points.collect();
        Self { resource, unit: resource.unit().to_owned(), points, ideal_marginal, threshold, fit }
    }
}

fn fit(resource: Resource, full: f64, threshold: f64, points: &[(String, f64, f64)]) -> Fit {
    let pairs: Vec<(f64, f64)> = points.iter().map(|(_, resource, quality)| (*resource, *quality)).collect();
    let none = |reason: String| Fit::None { reason };
    let found = match curve::fit(&pairs) {
        Ok(found) => found,
        Err(error) => return none(error.to_string()),
    };
    if !rises(&pairs) {
        return none(format!(
            "quality does not rise with the {} among these models, so that no curve of diminishing returns goes through them",
            resource.describe()
        ));
    }
    if found.r_squared.is_nan() || found.r_squared <= 0.0 {
        return none(format!(
            "no curve follows these models better than a constant does (R² = {:.2}): the {} does not explain their quality",
            found.r_squared,
            resource.describe()
        ));
    }
    let curve = found.curve;
    let sample =
        |at: f64| CurveSample { resource: at, quality: curve.value(at), marginal: curve.marginal(at) };
    let (measured_from, measured_to) = found.measured;
    let step = measured_to / LINE_STEPS as f64;
    Fit::Fitted(FittedCurve {
        curve,
        r_squared: found.r_squared,
        residual: found.residual,
        at_bound: found.at_bound,
        measured_from,
        measured_to,
        payoff: match curve.payoff(threshold) {
            Payoff::Until(resource) => Some(resource).filter(|resource| resource.is_finite()),
            Payoff::Never => None,
        },
        budgets: BUDGETS.iter().map(|percent| sample(percent / WHOLE * full)).collect(),
        line: (0..=LINE_STEPS).map(|index| sample(index as f64 * step)).collect(),
    })
}

/// Whether the straight line through the points, by least squares, rises.
fn rises(points: &[(f64, f64)]) -> bool {
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / points.len() as f64;
    let (r, p) = (mean(|point| point.0), mean(|point| point.1));
    points.iter().map(|point| (point.0 - r) * (point.1 - p)).sum::<f64>() > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descent ends where squares no longer shrink in double precision.
    const EXACT: f64 = 1e-4;

    fn through(points: &[(f64, f64)]) -> ResourceCurve {
        let name = |(index, &(resource, quality)): (usize, &(f64, f64))| {
            (format!("model-{index}"), resource, quality)
        };
        ResourceCurve::through(Resource::Bytes, points.iter().enumerate().map(name).collect())
    }

    fn near(value: f64, wanted: f64) {
        assert!((value / wanted - 1.0).abs() < EXACT, "{value}, not {wanted}");
    }

    #[test]
    fn points_of_an_exact_curve_give_back_its_parameters_and_where_it_stops_paying() {
        // P(R) = Pmax·(1 − exp(−R / 10 MB)), with 100 % at the baseline's 60 MB.
        let (scale, full) = (10.0, 60.0);
        let p_max = 100.0 / (1.0 - f64::exp(-full / scale));
        let value = |r: f64| p_max * (1.0 - f64::exp(-r / scale));
        let found = through(&[60.0, 5.0, 10.0, 20.0, 30.0].map(|r| (r, value(r))));
        let Fit::Fitted(fitted) = &found.fit else { panic!("{:?}", found.fit) };
        let Curve::Saturating { p_max: top, scale: s } = fitted.curve else { panic!("{:?}", fitted.curve) };
        near(top, p_max);
        near(s, scale);
        assert!(fitted.r_squared > 1.0 - EXACT && !fitted.at_bound);
        // The ideal buys 100/60 points per MB; the threshold is a tenth of that: Pmax/s · exp(−R/s) = 1/6.
        near(found.ideal_marginal, 100.0 / 60.0);
        near(found.threshold, 1.0 / 6.0);
        near(fitted.payoff.unwrap(), scale * (p_max / scale * 6.0).ln());
        near(found.points[2].marginal.unwrap(), p_max / scale * f64::exp(-1.0));
        near(found.points[2].ideal, 100.0 / 6.0);
        // The table's half of the baseline is 30 MB.
        let half = fitted.budgets.iter().find(|at| (at.resource - 30.0).abs() < EXACT).unwrap();
        near(half.quality, value(30.0));
        assert_eq!((fitted.line.len(), fitted.line[0].resource), (LINE_STEPS + 1, 0.0));
    }

    #[test]
    fn falling_flat_and_few_points_have_a_reason_instead_of_a_curve() {
        for (points, wanted) in [
            (&[(10.0, 100.0), (20.0, 80.0), (30.0, 60.0), (40.0, 30.0)][..], "does not rise"),
            (&[(10.0, 100.0), (20.0, 100.0), (30.0, 100.0)], "100"),
            (&[(10.0, 100.0), (5.0, 90.0)], "3 or more"),
        ] {
            let found = through(points);
            let Fit::None { reason } = &found.fit else { panic!("{points:?}: {:?}", found.fit) };
            assert!(reason.contains(wanted), "{reason}");
            assert!(found.points.iter().all(|point| point.marginal.is_none()));
        }
    }
}
