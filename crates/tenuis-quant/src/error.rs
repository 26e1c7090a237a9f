//! What can go wrong while a matrix is quantised.

use crate::report::FallbackReason;
use tenuis_core::WeightError;
use thiserror::Error;

/// Why a matrix was not quantised.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantError {
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
    /// An explicit group size does not divide the columns.
    #[error(
        "group_size {group_size} does not divide {in_features} input features; use \"auto\", \"channel\" or a divisor"
    )]
    GroupSize {
        /// The size asked for.
        group_size: usize,
        /// Columns of the weight.
        in_features: usize,
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
    #[error("the Hessian has {hessian} features, the weight {in_features} input features")]
    HessianFeatures {
        /// Features of the Hessian.
        hessian: usize,
        /// Columns of the weight.
        in_features: usize,
    },
    /// GPTQ cannot work with these statistics, and the configuration forbids to fall back.
    #[error("GPTQ is impossible: {0}")]
    NoFallback(FallbackReason),
    /// AWQ's search is of no use, and the configuration forbids to fall back.
    #[error("AWQ is impossible: {0}")]
    NoAwq(FallbackReason),
    /// The inputs are no whole number of rows, or none.
    #[error("{values} input values are no rows of {in_features} input features")]
    Inputs {
        /// Values that were given.
        values: usize,
        /// Columns of the weight.
        in_features: usize,
    },
    /// A scale of the input channels has another length, or is not positive everywhere.
    #[error(
        "a scale of {found} values for {in_features} input features; needed is a positive number for each"
    )]
    Scale {
        /// Values in the scale.
        found: usize,
        /// Columns of the weight.
        in_features: usize,
    },
    /// The result could not be stored.
    #[error(transparent)]
    Weight(#[from] WeightError),
}
