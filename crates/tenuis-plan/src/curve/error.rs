//! Why there is no curve.

use super::CurveFamily;
use thiserror::Error;

/// Says why no curve was fitted.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CurveError {
    /// A point is no measurement.
    #[error(
        "point {index} is ({resource}, {quality}); the resource and the quality must be finite and not negative"
    )]
    Point {
        /// Its index, from 0.
        index: usize,
        /// Its resource.
        resource: f64,
        /// Its quality.
        quality: f64,
    },
    /// A line cannot be drawn through the baseline.
    #[error("the baseline is ({resource}, {quality}); both must be finite and its resource positive")]
    Baseline {
        /// Its resource.
        resource: f64,
        /// Its quality.
        quality: f64,
    },
    /// There are not more points than parameters, so that a residual says nothing.
    #[error(
        "{distinct} different resources do not determine the {parameters} parameters of {family:?}; measure at {} or more", parameters + 1
    )]
    TooFew {
        /// The family, the one with the fewest parameters if any was allowed.
        family: CurveFamily,
        /// Different resources among the points.
        distinct: usize,
        /// Parameters of the family.
        parameters: usize,
    },
    /// All qualities are the same.
    #[error(
        "every point has the quality {quality}; the resource made no difference, so measure at smaller ones"
    )]
    Constant {
        /// The quality.
        quality: f64,
    },
}
