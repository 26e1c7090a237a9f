//! What can go wrong while a matrix is decomposed.

use crate::report::FallbackReason;
use tenuis_core::WeightError;
use tenuis_linalg::SvdError;
use thiserror::Error;

/// Why a matrix was not decomposed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LowRankError {
    /// An option has a value that makes no sense.
    #[error("{option} is {value}, but must be {allowed}")]
    Config {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The rank asked for is larger than any matrix of this shape can have.
    #[error(
        "rank {rank} is more than the {most} that a weight of shape {shape:?} can have; ask for at most {most}, or for \
         a share: rank = {{ keep = 0.8 }}"
    )]
    RankOutOfRange {
        /// The rank asked for.
        rank: usize,
        /// The smaller side.
        most: usize,
        /// `[out_features, in_features]`.
        shape: [usize; 2],
    },
    /// What is to be kept is less than one direction.
    #[error(
        "keeping {keep} of a weight of shape {shape:?} leaves rank 0, which removes everything; keep at least {least:.6}"
    )]
    RemovesEverything {
        /// The share of the weights asked for.
        keep: f64,
        /// The least share that leaves rank 1.
        least: f64,
        /// `[out_features, in_features]`.
        shape: [usize; 2],
    },
    /// The budget is less than one direction for every weight.
    #[error("a budget of {keep} of all weights is less than rank 1 for each; keep at least {least:.6}")]
    Budget {
        /// The share of all weights asked for.
        keep: f64,
        /// The least share that leaves rank 1 everywhere.
        least: f64,
    },
    /// The weight's buffer has another length than its shape calls for.
    #[error("a weight of shape {shape:?} has {} values, found {found}", shape[0] * shape[1])]
    Shape {
        /// `[out_features, in_features]`.
        shape: [usize; 2],
        /// Values in the buffer.
        found: usize,
    },
    /// The weight holds a NaN or an infinity.
    #[error("the weight is {value} at row {row}, column {column}")]
    NonFiniteWeight {
        /// Where.
        row: usize,
        /// Where.
        column: usize,
        /// What is there.
        value: f32,
    },
    /// The statistics belong to another layer.
    #[error("the statistics have {found} features, the weight {in_features} input features")]
    Features {
        /// Features of the statistics.
        found: usize,
        /// Columns of the weight.
        in_features: usize,
    },
    /// The method cannot work with these statistics, and the configuration forbids to fall back.
    #[error("the input's statistics are of no use: {0}")]
    NoFallback(FallbackReason),
    /// The decomposition failed.
    #[error(transparent)]
    Svd(#[from] SvdError),
    /// The result could not be stored.
    #[error(transparent)]
    Weight(#[from] WeightError),
}
