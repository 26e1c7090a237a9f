//! What quantisation returns.

use std::fmt;
use tenuis_core::GroupedInt;

/// A quantised matrix and how it came about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Quantized {
    /// The codes, scales and zero points.
    pub weight: GroupedInt,
    /// What happened on the way.
    pub report: QuantReport,
}

/// What happened while a matrix was quantised.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct QuantReport {
    /// Why the matrix was rounded to nearest although GPTQ was asked for.
    pub fallback: Option<FallbackReason>,
    /// The share of the mean diagonal that was added to the Hessian in the end; `None` where there was no GPTQ.
    pub damp_percent: Option<f64>,
    /// Factorisations that were tried.
    pub attempts: u32,
    /// Input channels that were never active; GPTQ sets their weights to zero.
    pub dead_columns: usize,
    /// `tr((W − Ŵ)·H·(W − Ŵ)ᵀ)`: the squared output error over the calibration rows; `None` where there was no GPTQ.
    pub proxy_error: Option<f64>,
    /// `‖W − Ŵ‖²_F`.
    pub weight_error: f64,
}

/// Why GPTQ could not be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FallbackReason {
    /// Fewer calibration rows than the configuration asks for.
    TooFewRows {
        /// Rows behind the Hessian.
        rows: u64,
        /// Rows asked for.
        min_rows: u64,
    },
    /// No input channel was ever active.
    ZeroHessian,
    /// The Hessian holds a NaN or an infinity.
    NonFiniteHessian {
        /// Where.
        row: usize,
        /// Where.
        column: usize,
    },
    /// Not positive definite, even with the largest damping allowed.
    NotPositiveDefinite {
        /// The last damping tried, as a share of the mean diagonal.
        damp_percent: f64,
        /// Factorisations that were tried.
        attempts: u32,
    },
    /// The corrections overflowed.
    Diverged,
    /// The mean magnitude of an input channel is not finite.
    NonFiniteActivations {
        /// The channel.
        channel: usize,
    },
    /// No candidate of a search had a finite loss.
    NonFiniteSearch {
        /// Candidates that were tried.
        candidates: u32,
    },
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewRows { rows, min_rows } => {
                write!(f, "only {rows} calibration rows, {min_rows} are needed")
            }
            Self::ZeroHessian => f.write_str("the Hessian is zero: no input channel was ever active"),
            Self::NonFiniteHessian { row, column } => {
                write!(f, "the Hessian is not finite at row {row}, column {column}")
            }
            Self::NotPositiveDefinite { damp_percent, attempts } => write!(
                f,
                "the Hessian is not positive definite, not even with damping {damp_percent} (tried {attempts})"
            ),
            Self::NonFiniteActivations { channel } => {
                write!(f, "the activations of input channel {channel} are not finite")
            }
            Self::NonFiniteSearch { candidates } => {
                write!(f, "none of {candidates} candidates has a finite loss")
            }
            Self::Diverged => f.write_str("the corrections overflowed"),
        }
    }
}
