//! The options of each method, as recipes and plugins spell them.

use crate::error::LowRankError;
use serde::{Deserialize, Serialize};
use tenuis_core::DType;

/// How many directions are kept.
///
/// In a recipe: `rank = 64`, `rank = { keep = 0.8 }`, `rank = { energy = 0.95 }` or `rank = { loss_per_weight = 1e-7 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum RankChoice {
    /// So many, whatever the shape.
    Fixed(#[cfg_attr(feature = "schema", schemars(range(min = 1)))] usize),
    /// The most that hold a share of the weights.
    Keep(Keep),
    /// The fewest that hold a share of the energy.
    Energy(Energy),
    /// As many as are worth their weights.
    Worth(Worth),
}

/// `rank = ⌊keep · out · in / (out + in)⌋`: the factors have at most so large a share of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The share of the weights that is kept, above 0 and at most 1: 1 − compression.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub keep: f64,
}

/// The least rank with `Σ_{i ≤ rank} σᵢ² ≥ energy · Σ σᵢ²`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// The share of the squared singular values that is kept, above 0 and at most 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub energy: f64,
}

/// Every direction with `σᵢ² / Σ σ² ≥ loss_per_weight · (out + in)`: a price that is the same for all layers, which is
/// what one budget over all of them comes down to ([`allocate`](crate::allocate())) without having to see them together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Worth {
    /// The share of a layer's energy that one stored weight has to bring.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub loss_per_weight: f64,
}

impl RankChoice {
    /// [`RankChoice::Keep`] of a share.
    pub const fn keep(keep: f64) -> Self {
        Self::Keep(Keep { keep })
    }

    /// [`RankChoice::Energy`] of a share.
    pub const fn energy(energy: f64) -> Self {
        Self::Energy(Energy { energy })
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`LowRankError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), LowRankError> {
        let check = |option: &'static str, value: f64, holds: bool, allowed: &'static str| {
            if holds {
                Ok(())
            } else {
                Err(LowRankError::Config { option, value: value.to_string(), allowed })
            }
        };
        let share = |v: f64| v > 0.0 && v <= 1.0;
        match *self {
            Self::Fixed(rank) => check("rank", rank as f64, rank > 0, "at least 1"),
            Self::Keep(Keep { keep }) => check("rank.keep", keep, share(keep), "above 0 and at most 1"),
            Self::Energy(Energy { energy }) => {
                check("rank.energy", energy, share(energy), "above 0 and at most 1")
            }
            Self::Worth(Worth { loss_per_weight: price }) => {
                check("rank.loss_per_weight", price, price > 0.0 && price.is_finite(), "a positive number")
            }
        }
    }

    /// Whether all singular values have to be known to answer.
    pub(crate) const fn needs_spectrum(&self) -> bool {
        matches!(self, Self::Energy(_) | Self::Worth(_))
    }
}

/// SVD-LLM's mildest setting: a fifth of the weights goes.
impl Default for RankChoice {
    fn default() -> Self {
        Self::keep(0.8)
    }
}

/// How singular vectors are computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Solver {
    /// Exact, randomised, or by size and rank.
    pub method: SolverMethod,
    /// Randomised: random directions that are followed beside the others.
    pub oversampling: usize,
    /// Randomised: multiplications by the matrix and its transpose; the more, the fewer directions each of them needs.
    pub power_iterations: usize,
    /// Randomised: decides the first guess; without it, the recipe's seed does.
    pub seed: Option<u64>,
}

impl Default for Solver {
    fn default() -> Self {
        Self { method: SolverMethod::Auto, oversampling: 16, power_iterations: 3, seed: None }
    }
}

/// Sides from which on a randomised solver is worth its error.
const LARGE: usize = 1024;
/// The rank's share of the smaller side up to which it is faster than the exact one.
const FEW: usize = 4;

impl Solver {
    /// Whether `rank` singular vectors of a matrix of this shape are found by chance.
    pub(crate) fn is_randomized(&self, rank: usize, shape: [usize; 2]) -> bool {
        let smaller = shape[0].min(shape[1]);
        match self.method {
            SolverMethod::Exact => false,
            SolverMethod::Randomized => true,
            SolverMethod::Auto => smaller >= LARGE && rank.saturating_mul(FEW) <= smaller,
        }
    }
}

/// Exact or randomised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SolverMethod {
    /// Randomised where both sides are at least 1024 and the rank is at most a quarter of the smaller; exact otherwise,
    /// and wherever all singular values have to be known.
    #[default]
    Auto,
    /// The whole decomposition, in f64.
    Exact,
    /// Subspace iteration from a random start, in f32 (Halko et al. 2011, arXiv 0909.4061).
    Randomized,
}

/// The type that factors are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FactorDtype {
    /// That of the weight where that is dense, else f16.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl FactorDtype {
    /// The type for factors of a weight that is stored as `weight`, if it is dense.
    ///
    /// ```
    /// use tenuis_core::DType;
    /// use tenuis_lowrank::FactorDtype;
    /// assert_eq!(FactorDtype::Auto.resolve(Some(DType::BF16)), DType::BF16);
    /// assert_eq!(FactorDtype::Auto.resolve(None), DType::F16);
    /// assert_eq!(FactorDtype::F32.resolve(Some(DType::F16)), DType::F32);
    /// ```
    #[must_use]
    pub const fn resolve(self, weight: Option<DType>) -> DType {
        match (self, weight) {
            (Self::F32, _) | (Self::Auto, Some(DType::F32 | DType::F64)) => DType::F32,
            (Self::Bf16, _) | (Self::Auto, Some(DType::BF16)) => DType::BF16,
            (Self::F16 | Self::Auto, _) => DType::F16,
        }
    }
}

/// What to do where the statistics of the input are of no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FallbackPolicy {
    /// Decompose the weight as it is and record why.
    #[default]
    Svd,
    /// Report an error.
    Fail,
}

/// Options of [`svd`](crate::svd()).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SvdConfig {
    /// How many directions are kept: a number, { keep = share of the weights }, { energy = share } or
    /// { `loss_per_weight` = price }.
    pub rank: RankChoice,
    /// How singular vectors are computed.
    pub solver: Solver,
    /// The type that the factors are stored in.
    pub dtype: FactorDtype,
}

/// Options of [`asvd`](crate::asvd()).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AsvdConfig {
    /// How many directions are kept: a number, { keep = share of the weights }, { energy = share } or
    /// { `loss_per_weight` = price }.
    pub rank: RankChoice,
    /// The exponent of the mean magnitude by which input channels are scaled; 0.5 as published.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub alpha: f64,
    /// How singular vectors are computed.
    pub solver: Solver,
    /// What to do where no channel was active or a statistic is not finite.
    pub fallback: FallbackPolicy,
    /// The type that the factors are stored in.
    pub dtype: FactorDtype,
}

impl Default for AsvdConfig {
    fn default() -> Self {
        Self {
            rank: RankChoice::default(),
            alpha: 0.5,
            solver: Solver::default(),
            fallback: FallbackPolicy::default(),
            dtype: FactorDtype::default(),
        }
    }
}

/// Options of [`svdllm`](crate::svdllm()).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SvdLlmConfig {
    /// How many directions are kept: a number, { keep = share of the weights }, { energy = share } or
    /// { `loss_per_weight` = price }.
    pub rank: RankChoice,
    /// Ridges that are tried where the Hessian is not positive definite, before its eigenvalues are taken.
    pub ridges: u32,
    /// Calibration rows below which the Hessian is not trusted.
    pub min_rows: u64,
    /// How singular vectors are computed.
    pub solver: Solver,
    /// What to do where the Hessian is of no use: too few rows, zero, not finite.
    pub fallback: FallbackPolicy,
    /// The type that the factors are stored in.
    pub dtype: FactorDtype,
}

impl Default for SvdLlmConfig {
    fn default() -> Self {
        Self {
            rank: RankChoice::default(),
            ridges: 3,
            min_rows: 32,
            solver: Solver::default(),
            fallback: FallbackPolicy::default(),
            dtype: FactorDtype::default(),
        }
    }
}

/// Options of SVD-LLM under one budget for the whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// The share of all weights of the Linears of the blocks that is kept, above 0 and at most 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub keep: f64,
    /// Ridges that are tried where a Hessian is not positive definite, before its eigenvalues are taken.
    pub ridges: u32,
    /// Calibration rows below which a Hessian is not trusted.
    pub min_rows: u64,
    /// How singular vectors are computed, once the ranks are known; they take all singular values.
    pub solver: Solver,
    /// What to do where a Hessian is of no use: too few rows, zero, not finite.
    pub fallback: FallbackPolicy,
    /// The type that the factors are stored in.
    pub dtype: FactorDtype,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            keep: 0.8,
            ridges: 3,
            min_rows: 32,
            solver: Solver::default(),
            fallback: FallbackPolicy::default(),
            dtype: FactorDtype::default(),
        }
    }
}

impl BudgetConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`LowRankError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), LowRankError> {
        if self.keep > 0.0 && self.keep <= 1.0 {
            return Ok(());
        }
        let value = self.keep.to_string();
        Err(LowRankError::Config { option: "keep", value, allowed: "above 0 and at most 1" })
    }

    /// The same options for one weight after the other; ranks come from [`allocate`](crate::allocate()).
    #[must_use]
    pub fn to_svdllm(&self) -> SvdLlmConfig {
        SvdLlmConfig {
            rank: RankChoice::default(),
            ridges: self.ridges,
            min_rows: self.min_rows,
            solver: self.solver.clone(),
            fallback: self.fallback,
            dtype: self.dtype,
        }
    }
}

/// Options of [`correct`](crate::correct()).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CorrectConfig {
    /// How many directions of the error are kept, as for the other techniques; a number as a rule.
    pub rank: RankChoice,
    /// Whether the error of the output is minimised (EoRA) or that of the weight (LQER).
    pub whiten: bool,
    /// Ridges that are tried where the Hessian is not positive definite, before its eigenvalues are taken.
    pub ridges: u32,
    /// Calibration rows below which the Hessian is not trusted.
    pub min_rows: u64,
    /// How singular vectors are computed.
    pub solver: Solver,
    /// What to do where the Hessian is of no use: too few rows, zero, not finite.
    pub fallback: FallbackPolicy,
    /// The type that the factors are stored in.
    pub dtype: FactorDtype,
}

/// Rank 32 is LQER's; the whitening is `EoRA`'s.
impl Default for CorrectConfig {
    fn default() -> Self {
        Self {
            rank: RankChoice::Fixed(32),
            whiten: true,
            ridges: 3,
            min_rows: 32,
            solver: Solver::default(),
            fallback: FallbackPolicy::default(),
            dtype: FactorDtype::default(),
        }
    }
}

impl SvdConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`LowRankError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), LowRankError> {
        self.rank.validate()
    }
}

impl AsvdConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`LowRankError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), LowRankError> {
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            let value = self.alpha.to_string();
            return Err(LowRankError::Config { option: "alpha", value, allowed: "a number of at least 0" });
        }
        self.rank.validate()
    }
}

impl SvdLlmConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`LowRankError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), LowRankError> {
        self.rank.validate()
    }
}

impl CorrectConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`LowRankError::Config`] that names the option.
    pub fn validate(&self) -> Result<(), LowRankError> {
        self.rank.validate()
    }
}
