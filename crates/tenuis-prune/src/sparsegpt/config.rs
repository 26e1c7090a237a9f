//! The options of SparseGPT.

use crate::error::PruneError;
use crate::target::SparsityTarget;
use serde::{Deserialize, Serialize};
use tenuis_core::Bits;
use tenuis_quant::{MseSearch, Precision, RtnConfig, ScaleDtype};

/// What to do where SparseGPT cannot work with the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FallbackPolicy {
    /// Prune by Wanda with the Hessian's diagonal, or by magnitude where that is of no use either, and record why.
    #[default]
    Wanda,
    /// Report an error.
    Fail,
}

/// The integer grid of the joint sweep: one scale for each output channel, as published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct JointConfig {
    /// Width of a code.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::bits"))]
    pub bits: Bits,
    /// Whether the grid is centred on zero, so that no zero points are stored.
    pub symmetric: bool,
    /// Searches the clipping of each row; without it the grid spans the whole range.
    pub mse: Option<MseSearch>,
    /// The type that scales are stored in.
    pub scale_dtype: ScaleDtype,
}

impl Default for JointConfig {
    fn default() -> Self {
        Self { bits: Bits::FOUR, symmetric: false, mse: None, scale_dtype: ScaleDtype::Auto }
    }
}

impl JointConfig {
    /// The same grid for rounding to nearest.
    pub(crate) fn to_rtn(&self) -> RtnConfig {
        let mut config = RtnConfig::default();
        config.bits = self.bits;
        config.group_size = tenuis_quant::GroupSizing::Channel;
        config.symmetric = self.symmetric;
        config.mse = self.mse;
        config.scale_dtype = self.scale_dtype;
        config
    }
}

/// Options of [`sparsegpt`](super::sparsegpt). Defaults are those of the reference implementation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SparseGptConfig {
    /// How much is pruned: a share in 0..1 of every block of columns, "N:M", or "inherit".
    pub sparsity: SparsityTarget,
    /// Share of the mean diagonal that is added to the diagonal of the Hessian.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_percent: f64,
    /// By how much `damp_percent` grows after a factorisation that fails.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_step: f64,
    /// The largest `damp_percent` that is tried before SparseGPT gives up.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_max: f64,
    /// Columns whose mask is chosen at once, over all rows; a whole number of groups under "N:M".
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub block_size: usize,
    /// Rounds what is kept to integers in the same sweep.
    pub quantize: Option<JointConfig>,
    /// The type to compute in.
    pub precision: Precision,
    /// Calibration rows below which the Hessian is not trusted.
    pub min_rows: u64,
    /// What to do where the Hessian is of no use: too few rows, not finite, or beyond damping.
    pub fallback: FallbackPolicy,
}

impl Default for SparseGptConfig {
    fn default() -> Self {
        Self {
            sparsity: SparsityTarget::default(),
            damp_percent: 0.01,
            damp_step: 0.01,
            damp_max: 0.1,
            block_size: 128,
            quantize: None,
            precision: Precision::F32,
            min_rows: 32,
            fallback: FallbackPolicy::Wanda,
        }
    }
}

impl SparseGptConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`PruneError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), PruneError> {
        self.sparsity.validate()?;
        let shares =
            [("damp_percent", self.damp_percent), ("damp_step", self.damp_step), ("damp_max", self.damp_max)];
        for (option, value) in shares {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(wrong(option, value.to_string(), "a number of at least 0"));
            }
        }
        if self.block_size == 0 {
            return Err(wrong("block_size", self.block_size.to_string(), "at least 1"));
        }
        if let SparsityTarget::NofM(pattern) = self.sparsity
            && !self.block_size.is_multiple_of(pattern.of())
        {
            let value = format!("{} with sparsity {pattern}", self.block_size);
            return Err(wrong("block_size", value, "a multiple of M"));
        }
        if let Some(joint) = &self.quantize {
            joint.to_rtn().validate()?;
        }
        Ok(())
    }
}

fn wrong(option: &'static str, value: String, allowed: &'static str) -> PruneError {
    PruneError::Config { option, value, allowed }
}
