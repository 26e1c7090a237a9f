//! What pruning tells about itself.

use crate::mask::Mask;
use rayon::prelude::*;
use tenuis_core::GroupedInt;
use thiserror::Error;

/// Why SparseGPT did not use the Hessian.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum FallbackReason {
    /// Too few rows for a Hessian that says anything.
    #[error("only {rows} calibration rows, at least {min_rows} are needed")]
    TooFewRows {
        /// Rows behind the Hessian.
        rows: u64,
        /// What the configuration asks for.
        min_rows: u64,
    },
    /// No input channel was ever active.
    #[error("the Hessian is zero: no input channel was ever active")]
    ZeroHessian,
    /// The Hessian holds a NaN or an infinity.
    #[error("the Hessian is not finite at row {row}, column {column}")]
    NonFiniteHessian {
        /// Where.
        row: usize,
        /// Where.
        column: usize,
    },
    /// Not even the largest damping made the Hessian positive definite.
    #[error(
        "the Hessian is not positive definite with {damp_percent} of its mean diagonal added, tried {attempts} times"
    )]
    NotPositiveDefinite {
        /// The last damping that was tried.
        damp_percent: f64,
        /// Factorisations.
        attempts: u32,
    },
    /// The sweep ended in values that are not finite.
    #[error("the sweep ended in values that are not finite")]
    Diverged,
}

/// What happened while a matrix was pruned.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Weights that are zero now.
    pub pruned: u64,
    /// All weights.
    pub total: u64,
    /// `‖W − Ŵ‖²`.
    pub weight_error: f64,
    /// `tr((W − Ŵ) XᵀX (W − Ŵ)ᵀ)`, the squared output error over the calibration rows, where the Hessian was used.
    pub proxy_error: Option<f64>,
    /// The share of the mean diagonal that was added to the Hessian.
    pub damp_percent: Option<f64>,
    /// Factorisations that were tried.
    pub attempts: u32,
    /// Input channels that were never active; their weights are zero.
    pub dead_columns: usize,
    /// Why another criterion was used, if it was.
    pub fallback: Option<FallbackReason>,
}

impl PruneReport {
    /// The share of weights that are zero.
    pub fn sparsity(&self) -> f64 {
        self.pruned as f64 / self.total.max(1) as f64
    }
}

/// A pruned weight.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// `[out_features, in_features]`, row-major; zero where the mask says so.
    pub weight: Vec<f32>,
    /// Which weights are kept.
    pub mask: Mask,
    /// The weight as integers, where it was rounded in the same sweep; `weight` is what these decode to.
    pub quantized: Option<GroupedInt>,
    /// What happened on the way.
    pub report: PruneReport,
}

impl Pruned {
    /// Zeroes what a mask drops, leaving the rest as it is.
    pub(crate) fn masked(weight: &[f32], mask: Mask) -> Self {
        let mut values = vec![0.0f32; weight.len()];
        let parts: Vec<(f64, u64)> = values
            .par_chunks_mut(TASK)
            .zip(weight.par_chunks(TASK))
            .zip(mask.kept().par_chunks(TASK))
            .map(|((values, weight), kept)| {
                let (mut error, mut zeros) = (0.0, 0);
                for ((value, &w), &kept) in values.iter_mut().zip(weight).zip(kept) {
                    let lost = if kept == 0 { w } else { 0.0 };
                    *value = w - lost;
                    error += f64::from(lost) * f64::from(lost);
                    zeros += u64::from(*value == 0.0);
                }
                (error, zeros)
            })
            .collect();
        let report = PruneReport {
            pruned: parts.iter().map(|(_, zeros)| zeros).sum(),
            total: weight.len() as u64,
            weight_error: parts.iter().map(|(error, _)| error).sum(),
            ..PruneReport::default()
        };
        Self { weight: values, mask, quantized: None, report }
    }
}

/// Weights that one task looks at.
const TASK: usize = 1 << 16;
