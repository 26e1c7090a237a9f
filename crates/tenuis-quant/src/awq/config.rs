//! The options of AWQ.

use crate::config::{FallbackPolicy, GroupSizing, RtnConfig, ScaleDtype, check};
use crate::error::QuantError;
use serde::{Deserialize, Serialize};
use tenuis_core::Bits;

/// Options of [`awq`](crate::awq()). Defaults are those of the reference, but for the group size, as for GPTQ.
#[expect(clippy::struct_excessive_bools, reason = "independent options of the published algorithm")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AwqConfig {
    /// Width of a code.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::config::schema::bits"))]
    pub bits: Bits,
    /// Columns that share a scale: "auto", "channel" or a number that divides the input features.
    pub group_size: GroupSizing,
    /// Whether the grid is centred on zero, so that no zero points are stored.
    pub symmetric: bool,
    /// Searches scales of the input channels.
    pub scale: bool,
    /// Steps of the exponent α between 0 and 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub grid: u32,
    /// Searches the range of each group.
    pub clip: bool,
    /// Steps into which the whole range is divided.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub clip_grid: u32,
    /// The largest share by which the range may shrink.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub clip_max_shrink: f64,
    /// Tokens, evenly spaced, that the range is searched on.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub clip_tokens: usize,
    /// Weights whose range is left alone: those with one of these in the last part of their name. What queries and keys
    /// are multiplied with each other makes the output of their own a poor measure.
    pub clip_exclude: Vec<String>,
    /// Searches scales also where the input's producer takes none, and leaves a division at run time. Other programs
    /// cannot read such weights.
    pub run_time_scales: bool,
    /// The type that scales of groups are stored in.
    pub scale_dtype: ScaleDtype,
    /// What to do where the search is of no use: activations or losses that are not finite.
    pub fallback: FallbackPolicy,
}

impl Default for AwqConfig {
    fn default() -> Self {
        Self {
            bits: Bits::FOUR,
            group_size: GroupSizing::Auto,
            symmetric: false,
            scale: true,
            grid: 20,
            clip: true,
            clip_grid: 20,
            clip_max_shrink: 0.5,
            clip_tokens: 512,
            clip_exclude: ["q_", "k_", "query", "key", "qkv", "c_attn"].map(str::to_owned).to_vec(),
            run_time_scales: false,
            scale_dtype: ScaleDtype::Auto,
            fallback: FallbackPolicy::Rtn,
        }
    }
}

impl AwqConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`QuantError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), QuantError> {
        check("grid", self.grid, self.grid >= 1, "at least 1")?;
        check("clip_grid", self.clip_grid, self.clip_grid >= 1, "at least 1")?;
        let shrink = self.clip_max_shrink;
        check("clip_max_shrink", shrink, shrink > 0.0 && shrink <= 1.0, "above 0 and at most 1")?;
        check("clip_tokens", self.clip_tokens, self.clip_tokens >= 1, "at least 1")
    }

    /// Whether the range of a weight is searched, by its name.
    ///
    /// ```
    /// use tenuis_quant::AwqConfig;
    /// let config = AwqConfig::default();
    /// assert!(config.clips("model.layers.0.mlp.down_proj"));
    /// assert!(!config.clips("model.layers.0.self_attn.q_proj"));
    /// ```
    pub fn clips(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or(name);
        self.clip && !self.clip_exclude.iter().any(|part| last.contains(part.as_str()))
    }

    /// The options that rounding to nearest shares with AWQ.
    pub fn to_rtn(&self) -> RtnConfig {
        RtnConfig {
            bits: self.bits,
            group_size: self.group_size,
            symmetric: self.symmetric,
            mse: None,
            scale_dtype: self.scale_dtype,
        }
    }

    /// Limits that are tried.
    pub(super) fn clip_candidates(&self) -> u32 {
        ((self.clip_max_shrink * f64::from(self.clip_grid)) as u32).max(1)
    }
}
