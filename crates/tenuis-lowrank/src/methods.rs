//! SVD, ASVD and SVD-LLM.

use crate::config::{AsvdConfig, FallbackPolicy, RankChoice, Solver, SvdConfig, SvdLlmConfig};
use crate::decompose::{Scaling, decompose, squared_values};
use crate::error::LowRankError;
use crate::report::{Decomposed, FallbackReason};
use tenuis_linalg::{GramView, Whitening, WhiteningOptions};

/// Minimises `‖W − B·A‖_F`: the truncated singular value decomposition (Eckart and Young 1936).
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major.
///
/// # Errors
/// [`LowRankError`]: a rank that cannot be, a weight that does not fit its shape or is not finite.
pub fn svd(weight: &[f32], shape: [usize; 2], config: &SvdConfig) -> Result<Decomposed, LowRankError> {
    config.validate()?;
    decompose(weight, shape, Scaling::None, config.rank, &config.solver)
}

/// Minimises `‖(W − B·A)·diag(s)‖_F` with `s_i = (mean |x_i|)^α`: activation-aware SVD (Yuan et al. 2023, arXiv
/// 2312.05821). Channels that were never active count as the least active one, so that their weights survive.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major; `mean_abs`: `[in_features]`, the mean of `|x|` over the calibration
/// rows (any common factor gives the same result).
///
/// # Errors
/// As [`svd()`]; [`LowRankError::Features`] and [`LowRankError::NoFallback`].
pub fn asvd(
    weight: &[f32],
    shape: [usize; 2],
    mean_abs: &[f64],
    config: &AsvdConfig,
) -> Result<Decomposed, LowRankError> {
    config.validate()?;
    if mean_abs.len() != shape[1] {
        return Err(LowRankError::Features { found: mean_abs.len(), in_features: shape[1] });
    }
    let usable = if let Some(channel) = mean_abs.iter().position(|m| !m.is_finite()) {
        Err(FallbackReason::NonFiniteMagnitude { channel })
    } else {
        let least = mean_abs.iter().copied().filter(|&m| m > 0.0).fold(f64::INFINITY, f64::min);
        if least.is_finite() { Ok(least) } else { Err(FallbackReason::NoActivity) }
    };
    match usable {
        Ok(least) => {
            let scale: Vec<f64> = mean_abs.iter().map(|m| m.max(least).powf(config.alpha)).collect();
            decompose(weight, shape, Scaling::Channels(&scale), config.rank, &config.solver)
        }
        Err(reason) => plain(weight, shape, reason, config.fallback, config.rank, &config.solver),
    }
}

/// Minimises `‖X·(W − B·A)ᵀ‖_F`, the error of the output over the calibration rows: truncation-aware data whitening
/// (SVD-LLM: Wang et al. 2024, arXiv 2403.07378).
///
/// With `S·Sᵀ = XᵀX` the singular values of `W·S` are what each direction is worth to the output, and dropping the least
/// of them is optimal. Several weights that read the same input share the factorisation: see [`SvdLlm`].
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major; `hessian`: `XᵀX` over `rows` calibration rows.
///
/// # Errors
/// As [`svd()`]; [`LowRankError::Features`] and [`LowRankError::NoFallback`].
pub fn svdllm(
    weight: &[f32],
    shape: [usize; 2],
    hessian: GramView<'_>,
    rows: u64,
    config: &SvdLlmConfig,
) -> Result<Decomposed, LowRankError> {
    SvdLlm::new(hessian, rows, config)?.decompose(weight, shape)
}

/// SVD-LLM on the weights that read one input: the Hessian is factored once.
#[derive(Clone, Debug)]
pub struct SvdLlm {
    config: SvdLlmConfig,
    features: usize,
    whitening: Result<Whitening, FallbackReason>,
}

impl SvdLlm {
    /// Factors the Hessian.
    ///
    /// # Errors
    /// [`LowRankError::Config`]; [`LowRankError::NoFallback`] where the Hessian is of no use and the configuration says so.
    pub fn new(hessian: GramView<'_>, rows: u64, config: &SvdLlmConfig) -> Result<Self, LowRankError> {
        config.validate()?;
        let whitening = whiten(hessian, rows, config.min_rows, config.ridges);
        if let (Err(reason), FallbackPolicy::Fail) = (&whitening, config.fallback) {
            return Err(LowRankError::NoFallback(reason.clone()));
        }
        Ok(Self { config: config.clone(), features: hessian.features(), whitening })
    }

    /// Decomposes one of the weights that read this input.
    ///
    /// # Errors
    /// As [`svdllm`].
    pub fn decompose(&self, weight: &[f32], shape: [usize; 2]) -> Result<Decomposed, LowRankError> {
        self.decompose_to(weight, shape, self.config.rank)
    }

    /// As [`decompose`](Self::decompose), to another rank than the configuration's.
    ///
    /// # Errors
    /// As [`svdllm`].
    pub fn decompose_to(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        rank: RankChoice,
    ) -> Result<Decomposed, LowRankError> {
        self.check(shape)?;
        whitened(weight, shape, &self.whitening, self.config.fallback, rank, &self.config.solver)
    }

    /// The squared singular values of a weight in the whitened space, largest first, all of them: what
    /// [`allocate`](crate::allocate()) wants to know.
    ///
    /// # Errors
    /// As [`svdllm`].
    pub fn spectrum(&self, weight: &[f32], shape: [usize; 2]) -> Result<Vec<f64>, LowRankError> {
        self.check(shape)?;
        let scaling = self.whitening.as_ref().map_or(Scaling::None, Scaling::Whitening);
        squared_values(weight, shape, scaling)
    }

    const fn check(&self, shape: [usize; 2]) -> Result<(), LowRankError> {
        if shape[1] == self.features {
            return Ok(());
        }
        Err(LowRankError::Features { found: self.features, in_features: shape[1] })
    }
}

pub(crate) fn whiten(
    hessian: GramView<'_>,
    rows: u64,
    min_rows: u64,
    ridges: u32,
) -> Result<Whitening, FallbackReason> {
    if rows < min_rows {
        return Err(FallbackReason::TooFewRows { rows, min_rows });
    }
    Ok(Whitening::new(hessian, WhiteningOptions::default().ridges(ridges))?)
}

/// Decomposes in the whitened space, or plainly where there is none.
pub(crate) fn whitened(
    weight: &[f32],
    shape: [usize; 2],
    whitening: &Result<Whitening, FallbackReason>,
    policy: FallbackPolicy,
    rank: RankChoice,
    solver: &Solver,
) -> Result<Decomposed, LowRankError> {
    match whitening {
        Ok(whitening) => {
            let mut outcome = decompose(weight, shape, Scaling::Whitening(whitening), rank, solver)?;
            outcome.report.whitening = Some(whitening.method());
            Ok(outcome)
        }
        Err(reason) => plain(weight, shape, reason.clone(), policy, rank, solver),
    }
}

fn plain(
    weight: &[f32],
    shape: [usize; 2],
    reason: FallbackReason,
    policy: FallbackPolicy,
    rank: RankChoice,
    solver: &Solver,
) -> Result<Decomposed, LowRankError> {
    if policy == FallbackPolicy::Fail {
        return Err(LowRankError::NoFallback(reason));
    }
    let mut outcome = decompose(weight, shape, Scaling::None, rank, solver)?;
    outcome.report.fallback = Some(reason);
    Ok(outcome)
}
