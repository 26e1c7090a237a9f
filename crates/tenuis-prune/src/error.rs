//! What can go wrong while a matrix is pruned.

use crate::report::FallbackReason;
use tenuis_core::WeightError;
use tenuis_quant::QuantError;
use thiserror::Error;

/// Why a matrix was not pruned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The caller asked to stop.
    #[error("stopped before it was through")]
    Stopped,
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
    /// The columns are no whole number of N:M groups.
    #[error(
        "{kept}:{of} needs input features in whole groups of {of}, found {in_features}; exclude the weight or prune a \
         share of it"
    )]
    Groups {
        /// Weights kept of each group.
        kept: usize,
        /// Consecutive columns of a group.
        of: usize,
        /// Columns of the weight.
        in_features: usize,
    },
    /// So many weights would be pruned that none is left.
    #[error("a sparsity of {sparsity} prunes all of {total} weights; lower it, or drop the layer")]
    Everything {
        /// The sparsity asked for.
        sparsity: f64,
        /// Weights that are compared with each other.
        total: usize,
    },
    /// A buffer has another length than its shape calls for.
    #[error("{what} of shape {shape:?} has {} values, found {found}", shape[0] * shape[1])]
    Shape {
        /// Which buffer.
        what: &'static str,
        /// Its shape.
        shape: [usize; 2],
        /// Values in it.
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
    /// A statistic of the input is a NaN, an infinity or negative.
    #[error("the sum of squares of input channel {channel} is {value}; calibrate on other text")]
    Statistic {
        /// Which channel.
        channel: usize,
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
    /// SparseGPT cannot work with these statistics, and the configuration forbids to fall back.
    #[error("SparseGPT is impossible: {0}")]
    NoFallback(FallbackReason),
    /// The grid of the joint sweep is impossible.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// The result could not be stored.
    #[error(transparent)]
    Weight(#[from] WeightError),
}
