//! The options of each technique, as recipes and plugins spell them.

use crate::error::QuantError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt::Display;
use tenuis_core::{Bits, DType, GroupSize};

/// How many columns share a scale: `"auto"`, `"channel"` or a number.
///
/// ```
/// use tenuis_core::GroupSize;
/// use tenuis_quant::GroupSizing;
/// assert_eq!(GroupSizing::Auto.resolve(4096)?, GroupSize::Columns(128));
/// assert_eq!(GroupSizing::Auto.resolve(100)?, GroupSize::Channel);
/// assert!(GroupSizing::Columns(128).resolve(100).is_err());
/// # Ok::<(), tenuis_quant::QuantError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupSizing {
    /// The largest of 128, 64 and 32 that divides the columns, else per channel.
    #[default]
    Auto,
    /// One scale per output channel.
    Channel,
    /// So many columns, which must divide.
    Columns(usize),
}

impl GroupSizing {
    /// The group size of a weight with so many columns.
    ///
    /// # Errors
    /// [`QuantError::GroupSize`] where an explicit size does not divide.
    pub fn resolve(self, in_features: usize) -> Result<GroupSize, QuantError> {
        match self {
            Self::Auto => Ok(GroupSize::auto(in_features)),
            Self::Channel => Ok(GroupSize::Channel),
            Self::Columns(n) if n > 0 && in_features.is_multiple_of(n) => Ok(GroupSize::Columns(n)),
            Self::Columns(group_size) => Err(QuantError::GroupSize { group_size, in_features }),
        }
    }
}

impl Serialize for GroupSizing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Channel => serializer.serialize_str("channel"),
            Self::Columns(n) => serializer.serialize_u64(*n as u64),
        }
    }
}

impl<'de> Deserialize<'de> for GroupSizing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Columns(i64),
            Name(String),
        }
        const ALLOWED: &str = "group_size must be \"auto\", \"channel\" or a positive number";
        match Spelling::deserialize(deserializer).map_err(|_| D::Error::custom(ALLOWED))? {
            Spelling::Name(name) if name == "auto" => Ok(Self::Auto),
            Spelling::Name(name) if name == "channel" => Ok(Self::Channel),
            Spelling::Columns(n) if n > 0 => Ok(Self::Columns(n as usize)),
            Spelling::Name(name) => Err(D::Error::custom(format!("{ALLOWED}, found {name:?}"))),
            Spelling::Columns(n) => Err(D::Error::custom(format!("{ALLOWED}, found {n}"))),
        }
    }
}

/// The type that scales are stored in; codes are chosen with the rounded scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ScaleDtype {
    /// As the weight is stored: bf16 beside a bf16 weight, else f16. Other programs hold scales in the model's own
    /// type, so that f16 scales of a bf16 model would be rounded once more when they load it.
    #[default]
    Auto,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl ScaleDtype {
    /// Settles [`ScaleDtype::Auto`] for a weight that is stored as `weight`.
    ///
    /// ```
    /// use tenuis_core::DType;
    /// use tenuis_quant::ScaleDtype;
    /// assert_eq!(ScaleDtype::Auto.resolve(DType::BF16), ScaleDtype::Bf16);
    /// assert_eq!(ScaleDtype::Auto.resolve(DType::F32), ScaleDtype::F16);
    /// assert_eq!(ScaleDtype::F32.resolve(DType::BF16), ScaleDtype::F32);
    /// ```
    #[must_use]
    pub const fn resolve(self, weight: DType) -> Self {
        match (self, weight) {
            (Self::Auto, DType::BF16) => Self::Bf16,
            (Self::Auto, _) => Self::F16,
            (explicit, _) => explicit,
        }
    }
}

impl From<ScaleDtype> for DType {
    fn from(dtype: ScaleDtype) -> Self {
        match dtype {
            ScaleDtype::F32 => Self::F32,
            // A caller of the bare algorithm has f32 values and no stored type.
            ScaleDtype::Auto | ScaleDtype::F16 => Self::F16,
            ScaleDtype::Bf16 => Self::BF16,
        }
    }
}

/// A search for the clipping of each group that minimises `Σ|w − ŵ|^norm`.
///
/// The range is shrunk by `i / grid` for every `i < max_shrink · grid`, and the first best is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MseSearch {
    /// Steps into which the whole range is divided.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub grid: u32,
    /// The largest share by which the range may shrink.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub max_shrink: f64,
    /// The exponent of the error.
    pub norm: f64,
}

impl Default for MseSearch {
    fn default() -> Self {
        Self { grid: 100, max_shrink: 0.8, norm: 2.4 }
    }
}

impl MseSearch {
    /// Candidates that are tried.
    pub(crate) fn candidates(&self) -> u32 {
        (self.max_shrink * f64::from(self.grid)) as u32
    }

    fn validate(&self) -> Result<(), QuantError> {
        check("mse.grid", self.grid, self.grid >= 1, "at least 1")?;
        let shrink = self.max_shrink;
        check("mse.max_shrink", shrink, shrink > 0.0 && shrink <= 1.0, "above 0 and at most 1")?;
        check(
            "mse.grid · mse.max_shrink",
            f64::from(self.grid) * shrink,
            self.candidates() >= 1,
            "at least 1",
        )?;
        check("mse.norm", self.norm, self.norm > 0.0 && self.norm.is_finite(), "a positive number")
    }
}

/// The type that GPTQ computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision, as the reference does.
    #[default]
    F32,
    /// Double precision: half as fast, twice the memory, for Hessians near singularity.
    F64,
}

/// What to do where GPTQ cannot work with the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FallbackPolicy {
    /// Round to nearest and record why.
    #[default]
    Rtn,
    /// Report an error.
    Fail,
}

/// Options of [`rtn`](crate::rtn()).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RtnConfig {
    /// Width of a code.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schema::bits"))]
    pub bits: Bits,
    /// Columns that share a scale: "auto", "channel" or a number that divides the input features.
    pub group_size: GroupSizing,
    /// Whether the grid is centred on zero, so that no zero points are stored.
    pub symmetric: bool,
    /// Searches the clipping of each group; without it the grid spans the whole range.
    pub mse: Option<MseSearch>,
    /// The type that scales are stored in.
    pub scale_dtype: ScaleDtype,
}

impl Default for RtnConfig {
    fn default() -> Self {
        Self {
            bits: Bits::FOUR,
            group_size: GroupSizing::Auto,
            symmetric: true,
            mse: None,
            scale_dtype: ScaleDtype::Auto,
        }
    }
}

impl RtnConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`QuantError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), QuantError> {
        self.mse.as_ref().map_or(Ok(()), MseSearch::validate)
    }
}

/// Options of [`gptq`](crate::gptq()). Defaults are those of the reference implementation, but for the group size:
/// it uses 128 where that divides, and `"auto"` goes on to smaller ones where it does not.
#[expect(clippy::struct_excessive_bools, reason = "independent options of the published algorithm")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GptqConfig {
    /// Width of a code.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schema::bits"))]
    pub bits: Bits,
    /// Columns that share a scale: "auto", "channel" or a number that divides the input features.
    pub group_size: GroupSizing,
    /// Whether the grid is centred on zero, so that no zero points are stored.
    pub symmetric: bool,
    /// Quantises columns in descending order of the Hessian's diagonal (known as "desc_act"). Without
    /// `static_groups` the groups follow that order, which needs a stored index.
    pub act_order: bool,
    /// Fixes every grid from the original weight first, so that groups stay in place whatever the order.
    pub static_groups: bool,
    /// Share of the mean diagonal that is added to the diagonal of the Hessian.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_percent: f64,
    /// By how much `damp_percent` grows after a factorisation that fails.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_step: f64,
    /// The largest `damp_percent` that is tried before GPTQ gives up.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_max: f64,
    /// Columns whose corrections are applied at once. It matters to results only where groups are not aligned with
    /// blocks: see `refresh_grids`.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub block_size: usize,
    /// Fits each grid to the weight as corrected up to that column. The reference leaves out the corrections from the
    /// block at hand, and so does the default.
    pub refresh_grids: bool,
    /// Searches the clipping of each group; without it the grid spans the whole range.
    pub mse: Option<MseSearch>,
    /// The type that scales are stored in.
    pub scale_dtype: ScaleDtype,
    /// The type to compute in.
    pub precision: Precision,
    /// Calibration rows below which the Hessian is not trusted.
    pub min_rows: u64,
    /// What to do where the Hessian is of no use: too few rows, not finite, or beyond damping.
    pub fallback: FallbackPolicy,
}

impl Default for GptqConfig {
    fn default() -> Self {
        Self {
            bits: Bits::FOUR,
            group_size: GroupSizing::Auto,
            symmetric: true,
            act_order: false,
            static_groups: false,
            damp_percent: 0.01,
            damp_step: 0.01,
            damp_max: 0.1,
            block_size: 128,
            refresh_grids: false,
            mse: None,
            scale_dtype: ScaleDtype::Auto,
            precision: Precision::F32,
            min_rows: 32,
            fallback: FallbackPolicy::Rtn,
        }
    }
}

impl GptqConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`QuantError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), QuantError> {
        let share = |v: f64| v >= 0.0 && v.is_finite();
        check("damp_percent", self.damp_percent, share(self.damp_percent), "a number of at least 0")?;
        check("damp_step", self.damp_step, share(self.damp_step), "a number of at least 0")?;
        check("damp_max", self.damp_max, share(self.damp_max), "a number of at least 0")?;
        check("block_size", self.block_size, self.block_size >= 1, "at least 1")?;
        self.mse.as_ref().map_or(Ok(()), MseSearch::validate)
    }

    /// The options that rounding to nearest shares with GPTQ.
    pub fn to_rtn(&self) -> RtnConfig {
        RtnConfig {
            bits: self.bits,
            group_size: self.group_size,
            symmetric: self.symmetric,
            mse: self.mse,
            scale_dtype: self.scale_dtype,
        }
    }
}

pub(crate) fn check(
    option: &'static str,
    value: impl Display,
    holds: bool,
    allowed: &'static str,
) -> Result<(), QuantError> {
    if holds { Ok(()) } else { Err(QuantError::Config { option, value: value.to_string(), allowed }) }
}

#[cfg(feature = "schema")]
pub(crate) mod schema;

#[cfg(test)]
mod tests;
