//! What a decomposition returns.

use std::sync::Arc;
use tenuis_core::{DType, Dense, LowRank, Tensor};
use tenuis_linalg::{WhiteningError, WhiteningMethod};
use thiserror::Error;

/// The factors of a weight, `W ≈ B·A`.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Columns of `B` and rows of `A`.
    pub rank: usize,
    /// `B`, `[out_features, rank]`, row-major.
    pub b: Vec<f32>,
    /// `A`, `[rank, in_features]`, row-major.
    pub a: Vec<f32>,
}

impl Factors {
    /// The factors as a representation, rounded to `dtype`.
    ///
    /// # Errors
    /// [`LowRankError::Weight`](crate::LowRankError::Weight) for a type that is not floating-point.
    pub fn to_weight(&self, dtype: DType) -> Result<LowRank, crate::LowRankError> {
        let dense = |rows: usize, values: &[f32]| {
            let shape = vec![rows, values.len() / rows.max(1)];
            let tensor = Tensor::from_f32(dtype, shape, values).map_err(tenuis_core::WeightError::from)?;
            Dense::new(tensor).map(Arc::new)
        };
        let b = dense(self.b.len() / self.rank.max(1), &self.b)?;
        Ok(LowRank::new(b, dense(self.rank, &self.a)?)?)
    }
}

/// A decomposed matrix and how it came about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decomposed {
    /// The factors; `None` where they would have as many weights as the matrix, which then stays as it is.
    pub factors: Option<Factors>,
    /// What happened on the way.
    pub report: LowRankReport,
}

/// What happened while a matrix was decomposed.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LowRankReport {
    /// Directions that are kept; also where the factors would not be smaller.
    pub rank: usize,
    /// `Σ_{i ≤ rank} σᵢ² / Σ σᵢ²` of the matrix that was decomposed: the scaled or whitened one where there is a scaling.
    pub retained_energy: f64,
    /// `Σ_{i > rank} σᵢ²`: with whitening the squared output error over the calibration rows.
    pub truncation_loss: f64,
    /// `‖W − B·A‖²_F`.
    pub weight_error: f64,
    /// Whether the singular vectors are those of a randomised solver.
    pub randomized: bool,
    /// How the Hessian was factored, where it was.
    pub whitening: Option<WhiteningMethod>,
    /// Why the weight itself was decomposed although the input was to be considered.
    pub fallback: Option<FallbackReason>,
}

/// Why the statistics of the input could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FallbackReason {
    /// Fewer calibration rows than the configuration asks for.
    #[error("only {rows} calibration rows, {min_rows} are needed")]
    TooFewRows {
        /// Rows behind the Hessian.
        rows: u64,
        /// Rows asked for.
        min_rows: u64,
    },
    /// The Hessian has no square root.
    #[error(transparent)]
    Hessian(#[from] WhiteningError),
    /// A mean magnitude is a NaN or an infinity.
    #[error("the mean magnitude of input channel {channel} is not finite")]
    NonFiniteMagnitude {
        /// The channel.
        channel: usize,
    },
    /// No input channel was ever active.
    #[error("no input channel was ever active")]
    NoActivity,
}
