//! GPTQ: quantise column by column and let the later columns make up for the error.

mod kernel;
mod plan;
mod sweep;

use crate::config::{FallbackPolicy, GptqConfig, Precision};
use crate::error::QuantError;
use crate::grid::GridFit;
use crate::report::{FallbackReason, QuantReport, Quantized};
use crate::rtn::{check_weight, rtn};
use plan::Plan;
use sweep::{Outcome, sweep};
use tenuis_core::{GroupedInt, GroupedIntSpec};
use tenuis_linalg::{FactorError, GramView, HessianFactor, Real, factor_hessian};

/// Quantises a weight so that the layer's output on the calibration data changes least:
///
/// `min over Ŵ on the grid of tr((W − Ŵ) H (W − Ŵ)ᵀ)`, `H = XᵀX`,
///
/// greedily, one column after the other (Frantar et al. 2022, arXiv 2210.17323). With `U` upper triangular and
/// `(H + λI)⁻¹ = UᵀU`, rounding column `i` leaves the error `e_i = (w_i − ŵ_i) / U[i, i]`, and every later column `j`
/// becomes `w_j − e_i · U[i, j]`.
///
/// Between blocks of columns the same corrections are computed without `U`: all of them together are `W − Ŵ = E·U`, so
/// `E = (W − Ŵ)·R` with `R = U⁻¹` the Cholesky factor itself, and a block that begins at column `b` becomes
/// `W_B + (W − Ŵ)[.., ..b] · R[..b, B] · U_BB` before its first column is rounded. This spares the inverse of `R`.
///
/// Where Linears share an input, [`GptqFactor`] computes `U` once for all of them.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major. `hessian`: `[in_features, in_features]`, the sum over `rows`
/// calibration rows; its scale does not matter.
///
/// # Errors
/// [`QuantError`]; a Hessian that is of no use is an error only under [`FallbackPolicy::Fail`].
pub fn gptq(
    weight: &[f32],
    shape: [usize; 2],
    hessian: GramView<'_>,
    rows: u64,
    config: &GptqConfig,
) -> Result<Quantized, QuantError> {
    GptqFactor::new(hessian, rows, config)?.quantize(weight, shape)
}

/// Everything that GPTQ derives from a Hessian: shared by the Linears that read the same input.
///
/// ```
/// use tenuis_linalg::Gram;
/// use tenuis_quant::{GptqConfig, GptqFactor};
/// let mut gram = Gram::zeros(2);
/// gram.accumulate(&[1.0, 0.9].repeat(40));
/// let factor = GptqFactor::new(gram.view(), 40, &GptqConfig::default())?;
/// let query = factor.quantize(&[0.5, 1.0], [1, 2])?;
/// let key = factor.quantize(&[0.3, -0.2, 0.1, 0.7], [2, 2])?;
/// assert_eq!(query.report.damp_percent, key.report.damp_percent);
/// # Ok::<(), tenuis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GptqFactor {
    config: GptqConfig,
    features: usize,
    order: Option<Vec<u32>>,
    dead: Vec<u32>,
    attempts: u32,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Single { factor: HessianFactor<f32>, damp_percent: f64 },
    Double { factor: HessianFactor<f64>, damp_percent: f64 },
    Fallback(FallbackReason),
}

impl GptqFactor {
    /// Orders the columns and factors the damped Hessian, with more damping as long as that fails.
    ///
    /// Memory: one square of `config.precision` beside the Hessian, which is no longer needed afterwards.
    ///
    /// # Errors
    /// [`QuantError::Config`], and [`QuantError::NoFallback`] under [`FallbackPolicy::Fail`].
    pub fn new(hessian: GramView<'_>, rows: u64, config: &GptqConfig) -> Result<Self, QuantError> {
        config.validate()?;
        let dead = (0..).zip(hessian.diagonal()).filter(|(_, v)| *v == 0.0).map(|(i, _)| i).collect();
        let order = config.act_order.then(|| descending(hessian));
        let (attempts, state) = if rows < config.min_rows {
            (0, State::Fallback(FallbackReason::TooFewRows { rows, min_rows: config.min_rows }))
        } else {
            match config.precision {
                Precision::F32 => damped(hessian, order.as_deref(), config, |factor, damp_percent| {
                    State::Single { factor, damp_percent }
                }),
                Precision::F64 => damped(hessian, order.as_deref(), config, |factor, damp_percent| {
                    State::Double { factor, damp_percent }
                }),
            }
        };
        if let (State::Fallback(reason), FallbackPolicy::Fail) = (&state, config.fallback) {
            return Err(QuantError::NoFallback(reason.clone()));
        }
        Ok(Self { config: config.clone(), features: hessian.features(), order, dead, attempts, state })
    }

    /// The order in which columns are quantised, where that is not from left to right.
    pub fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }

    /// Why [`GptqFactor::quantize`] will round to nearest, if it will.
    pub const fn fallback(&self) -> Option<&FallbackReason> {
        match &self.state {
            State::Fallback(reason) => Some(reason),
            State::Single { .. } | State::Double { .. } => None,
        }
    }

    /// Quantises one of the weights that read this input.
    ///
    /// # Shapes
    /// `weight`: `[out_features, in_features]`, row-major.
    ///
    /// # Errors
    /// [`QuantError`]: the group size, the shape, a weight that is not finite.
    pub fn quantize(&self, weight: &[f32], shape: [usize; 2]) -> Result<Quantized, QuantError> {
        self.quantize_masked(weight, shape, None)
    }

    /// As [`GptqFactor::quantize`], with pruned entries that become exactly zero.
    ///
    /// A pruned entry is one whose grid has no other point than zero. When its column comes up it goes back to zero
    /// from wherever earlier corrections have moved it, and that error too is made up for by later columns; with the
    /// other entries free, this is what the objective calls for. Grids span what is kept.
    ///
    /// # Shapes
    /// `weight`: `[out_features, in_features]`, row-major. `mask`: the same, 0 where a weight is pruned.
    ///
    /// # Errors
    /// As [`GptqFactor::quantize`], and [`QuantError::Shape`] for a mask of another length.
    ///
    /// ```
    /// use tenuis_linalg::Gram;
    /// use tenuis_quant::{GptqConfig, GptqFactor};
    /// let mut gram = Gram::zeros(2);
    /// gram.accumulate(&[1.0, 0.9].repeat(40));
    /// let factor = GptqFactor::new(gram.view(), 40, &GptqConfig::default())?;
    /// let quantized = factor.quantize_masked(&[0.51, 0.0], [1, 2], Some(&[1, 0]))?;
    /// let mut codes = [0; 2];
    /// quantized.weight.codes_row(0, &mut codes);
    /// assert_eq!(codes[1], 8); // zero
    /// # Ok::<(), tenuis_quant::QuantError>(())
    /// ```
    pub fn quantize_masked(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        mask: Option<&[u8]>,
    ) -> Result<Quantized, QuantError> {
        self.quantize_while(weight, shape, mask, &|| true)
    }

    /// As [`GptqFactor::quantize_masked`], as long as `go_on` says so: every thread asks before each block of columns, some
    /// milliseconds of work.
    ///
    /// # Errors
    /// As [`GptqFactor::quantize_masked`], and [`QuantError::Stopped`].
    pub fn quantize_while(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        mask: Option<&[u8]>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Quantized, QuantError> {
        check_weight(weight, shape)?;
        if let Some(mask) = mask.filter(|mask| mask.len() != weight.len()) {
            return Err(QuantError::Shape { shape, found: mask.len() });
        }
        if shape[1] != self.features {
            return Err(QuantError::HessianFeatures { hessian: self.features, in_features: shape[1] });
        }
        match &self.state {
            State::Single { factor, damp_percent } => {
                self.compensate(weight, mask, shape, factor, *damp_percent, go_on)
            }
            State::Double { factor, damp_percent } => {
                self.compensate(weight, mask, shape, factor, *damp_percent, go_on)
            }
            State::Fallback(reason) => self.round(weight, mask, shape, reason.clone()),
        }
    }

    fn compensate<T: Real>(
        &self,
        weight: &[f32],
        mask: Option<&[u8]>,
        shape: [usize; 2],
        factor: &HessianFactor<T>,
        damp_percent: f64,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Quantized, QuantError> {
        let config = &self.config;
        let group_size = config.group_size.resolve(shape[1])?;
        let plan = Plan::new(config, group_size, shape[1], self.order.as_deref(), &self.dead);
        let fit = GridFit::new(config.bits, config.symmetric, config.scale_dtype, config.mse);
        let Outcome { codes, scales, zeros, damped_error, live_error, weight_error } =
            sweep(weight, mask, shape, &plan, &fit, factor, go_on).ok_or(QuantError::Stopped)?;
        if !damped_error.is_finite() {
            return self.round(weight, mask, shape, FallbackReason::Diverged);
        }
        let index = plan.group_index();
        let spec = GroupedIntSpec {
            bits: config.bits,
            group_size,
            symmetric: config.symmetric,
            scale_dtype: config.scale_dtype.into(),
            group_index: index.is_some(),
        };
        let zeros = (!config.symmetric).then_some(&*zeros);
        let weight = GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, index)?;
        let report = QuantReport {
            fallback: None,
            damp_percent: Some(damp_percent),
            attempts: self.attempts,
            dead_columns: self.dead.len(),
            proxy_error: Some((damped_error - factor.damp() * live_error).max(0.0)),
            weight_error,
        };
        Ok(Quantized { weight, report })
    }

    fn round(
        &self,
        weight: &[f32],
        mask: Option<&[u8]>,
        shape: [usize; 2],
        reason: FallbackReason,
    ) -> Result<Quantized, QuantError> {
        if self.config.fallback == FallbackPolicy::Fail {
            return Err(QuantError::NoFallback(reason));
        }
        let config = self.config.to_rtn();
        let mut quantized = match mask {
            // Zero is a point of every grid, so what is zero stays zero.
            Some(mask) => {
                let masked = weight.iter().zip(mask).map(|(&w, &kept)| if kept == 0 { 0.0 } else { w });
                rtn(&masked.collect::<Vec<_>>(), shape, &config)?
            }
            None => rtn(weight, shape, &config)?,
        };
        quantized.report.attempts = self.attempts;
        quantized.report.fallback = Some(reason);
        Ok(quantized)
    }
}

/// Columns by descending diagonal; equal ones keep their order, dead ones come last.
fn descending(hessian: GramView<'_>) -> Vec<u32> {
    let diagonal: Vec<f32> = hessian.diagonal().collect();
    let mut order: Vec<u32> = (0..diagonal.len() as u32).collect();
    order.sort_by(|&a, &b| diagonal[b as usize].total_cmp(&diagonal[a as usize]));
    order
}

fn damped<T: Real>(
    hessian: GramView<'_>,
    order: Option<&[u32]>,
    config: &GptqConfig,
    found: impl Fn(HessianFactor<T>, f64) -> State,
) -> (u32, State) {
    let mut attempts = 0;
    loop {
        let damp_percent = config.damp_percent + f64::from(attempts) * config.damp_step;
        attempts += 1;
        let reason = match factor_hessian(hessian, order, damp_percent) {
            Ok(factor) => return (attempts, found(factor, damp_percent)),
            Err(FactorError::Zero) => FallbackReason::ZeroHessian,
            Err(FactorError::NonFinite { row, column }) => FallbackReason::NonFiniteHessian { row, column },
            Err(_) => {
                // Half a step of slack: 0.01 + 9·0.01 is a little more than 0.1.
                let next = damp_percent + config.damp_step;
                if config.damp_step > 0.0 && next <= config.damp_max + config.damp_step / 2.0 {
                    continue;
                }
                FallbackReason::NotPositiveDefinite { damp_percent, attempts }
            }
        };
        return (attempts, State::Fallback(reason));
    }
}
