//! SparseGPT: prune column by column and let the later columns make up for the error.

mod config;
mod kernel;
mod sweep;

pub use config::{FallbackPolicy, JointConfig, SparseGptConfig};

use crate::check::{check_mask, check_weight};
use crate::error::PruneError;
use crate::magnitude::{MagnitudeConfig, count, magnitude};
use crate::mask::Mask;
use crate::report::{FallbackReason, PruneReport, Pruned};
use crate::select::Score;
use crate::target::SparsityTarget;
use crate::wanda::{WandaConfig, wanda};
use sweep::{Outcome, Task, sweep};
use tenuis_core::{GroupSize, GroupedInt, GroupedIntSpec, Representation};
use tenuis_linalg::{FactorError, GramView, HessianFactor, factor_hessian};
use tenuis_quant::{GridFit, Precision, rtn};

/// Prunes a weight so that the layer's output on the calibration data changes least:
///
/// `min over sparse Ŵ of tr((W − Ŵ) H (W − Ŵ)ᵀ)`, `H = XᵀX`,
///
/// greedily, one column after the other (Frantar and Alistarh 2023, arXiv 2301.00774). With `U` upper triangular and
/// `(H + λI)⁻¹ = UᵀU`, a weight is scored by `(w / U[i, i])²` when its block of columns comes up. Of a block of `n`
/// weights over all rows the `⌊n·s⌋ + 1` of least score are pruned, as in the reference code, whose threshold is one of
/// the scores and goes as well; under N:M all but N in every M columns of a row, scored when the first of them comes
/// up. A pruned weight leaves the error `e = w / U[i, i]`, and every later column `j` becomes `w_j − e · U[i, j]`.
///
/// With `quantize` what is kept is rounded to a grid per row in the same sweep, and the rounding errors are made up for
/// as well; [`Pruned::quantized`] is then the result, in which pruned entries are exactly zero.
///
/// Where Linears share an input, [`SparseGptFactor`] factors the Hessian once for all of them.
///
/// # Shapes
/// `weight`: `[out_features, in_features]`, row-major. `hessian`: `[in_features, in_features]`, the sum over `rows`
/// calibration rows; its scale does not matter.
///
/// # Errors
/// [`PruneError`]; a Hessian that is of no use is an error only under [`FallbackPolicy::Fail`].
pub fn sparsegpt(
    weight: &[f32],
    shape: [usize; 2],
    hessian: GramView<'_>,
    rows: u64,
    config: &SparseGptConfig,
) -> Result<Pruned, PruneError> {
    SparseGptFactor::new(hessian, rows, config)?.prune(weight, shape, None)
}

/// Everything that SparseGPT derives from a Hessian: shared by the Linears that read the same input.
///
/// ```
/// use tenuis_linalg::Gram;
/// use tenuis_prune::{SparseGptConfig, SparseGptFactor};
/// let mut gram = Gram::zeros(2);
/// gram.accumulate(&[1.0, 0.9].repeat(40));
/// let factor = SparseGptFactor::new(gram.view(), 40, &SparseGptConfig::default())?;
/// let pruned = factor.prune(&[0.5, 1.0, 0.1, 2.0], [2, 2], None)?;
/// assert!(pruned.report.fallback.is_none());
/// // Both inputs say nearly the same: what is kept takes over what was pruned.
/// assert!(pruned.weight[3] > 2.0);
/// # Ok::<(), tenuis_prune::PruneError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SparseGptFactor {
    config: SparseGptConfig,
    diagonal: Vec<f32>,
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

impl SparseGptFactor {
    /// Factors the damped Hessian, with more damping as long as that fails.
    ///
    /// Memory: one square of `config.precision` beside the Hessian, which is no longer needed afterwards.
    ///
    /// # Errors
    /// [`PruneError::Config`], and [`PruneError::NoFallback`] under [`FallbackPolicy::Fail`].
    pub fn new(hessian: GramView<'_>, rows: u64, config: &SparseGptConfig) -> Result<Self, PruneError> {
        config.validate()?;
        let diagonal: Vec<f32> = hessian.diagonal().collect();
        let dead = (0..).zip(&diagonal).filter(|(_, v)| **v == 0.0).map(|(i, _)| i).collect();
        let (attempts, state) = if rows < config.min_rows {
            (0, State::Fallback(FallbackReason::TooFewRows { rows, min_rows: config.min_rows }))
        } else {
            match config.precision {
                Precision::F32 => {
                    damped(hessian, config, |factor, damp_percent| State::Single { factor, damp_percent })
                }
                Precision::F64 => {
                    damped(hessian, config, |factor, damp_percent| State::Double { factor, damp_percent })
                }
            }
        };
        if let (State::Fallback(reason), FallbackPolicy::Fail) = (&state, config.fallback) {
            return Err(PruneError::NoFallback(reason.clone()));
        }
        Ok(Self { config: config.clone(), diagonal, dead, attempts, state })
    }

    /// The same for another sparsity; nothing is factored again.
    ///
    /// An N:M pattern whose M does not divide the block size is refused by [`SparseGptFactor::prune`].
    #[must_use]
    pub fn with_sparsity(mut self, sparsity: SparsityTarget) -> Self {
        self.config.sparsity = sparsity;
        self
    }

    /// Prunes one of the weights that read this input.
    ///
    /// # Shapes
    /// `weight`: `[out_features, in_features]`, row-major. `mask`: the same, 0 where a weight is pruned already: such
    /// weights stay zero and count towards the sparsity.
    ///
    /// # Errors
    /// [`PruneError`]: the shapes, a weight that is not finite, columns that are no whole N:M groups, nothing left.
    pub fn prune(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        mask: Option<&[u8]>,
    ) -> Result<Pruned, PruneError> {
        self.prune_while(weight, shape, mask, &|| true)
    }

    /// As [`SparseGptFactor::prune`], as long as `go_on` says so, which is asked before each block of columns.
    ///
    /// # Errors
    /// As [`SparseGptFactor::prune`], and [`PruneError::Stopped`].
    pub fn prune_while(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        mask: Option<&[u8]>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Pruned, PruneError> {
        self.config.validate()?;
        check_weight(weight, shape)?;
        check_mask(mask, shape)?;
        if shape[1] != self.diagonal.len() {
            return Err(PruneError::Features { found: self.diagonal.len(), in_features: shape[1] });
        }
        let target = self.config.sparsity.resolve(weight);
        match target {
            SparsityTarget::NofM(pattern) => pattern.check(shape[1])?,
            SparsityTarget::Share(share) => drop(count(weight.len(), share)?),
            SparsityTarget::Inherit => {}
        }
        match &self.state {
            State::Single { factor, damp_percent } => {
                self.compensate(weight, shape, mask, target, (factor, *damp_percent), go_on)
            }
            State::Double { factor, damp_percent } => {
                self.compensate(weight, shape, mask, target, (factor, *damp_percent), go_on)
            }
            State::Fallback(reason) => self.fall_back(weight, shape, target, reason.clone()),
        }
    }

    fn compensate<T: Score>(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        mask: Option<&[u8]>,
        target: SparsityTarget,
        (factor, damp_percent): (&HessianFactor<T>, f64),
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Pruned, PruneError> {
        let joint = self.config.quantize.as_ref();
        let fit = joint.map(|j| GridFit::new(j.bits, j.symmetric, j.scale_dtype, j.mse));
        let task = Task {
            shape,
            mask,
            target,
            block_size: self.config.block_size,
            dead: &self.dead,
            factor,
            fit: fit.as_ref(),
        };
        let outcome = sweep(weight, &task, go_on).ok_or(PruneError::Stopped)?;
        if !outcome.damped_error.is_finite() {
            return self.fall_back(weight, shape, target, FallbackReason::Diverged);
        }
        let Outcome { weight: mut values, mut kept, codes, scales, zeros, .. } = outcome;
        let mut quantized = None;
        if let Some(joint) = joint {
            let spec = GroupedIntSpec {
                bits: joint.bits,
                group_size: GroupSize::Channel,
                symmetric: joint.symmetric,
                scale_dtype: joint.scale_dtype.into(),
                group_index: false,
            };
            let zeros = (!joint.symmetric).then_some(&*zeros);
            let grouped = GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, None)?;
            // What is stored, and what of it is zero: rounding adds zeros of its own.
            grouped.decode_rows(0..shape[0], &mut values)?;
            kept.iter_mut().zip(&values).for_each(|(kept, value)| *kept = u8::from(*value != 0.0));
            quantized = Some(grouped);
        }
        let mask = Mask::of(shape, kept);
        let report = PruneReport {
            pruned: mask.pruned(),
            total: weight.len() as u64,
            weight_error: outcome.weight_error,
            proxy_error: Some((outcome.damped_error - factor.damp() * outcome.live_error).max(0.0)),
            damp_percent: Some(damp_percent),
            attempts: self.attempts,
            dead_columns: self.dead.len(),
            fallback: None,
        };
        Ok(Pruned { weight: values, mask, quantized, report })
    }

    /// Prunes by Wanda, or by magnitude where the diagonal is of no use.
    fn fall_back(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        target: SparsityTarget,
        reason: FallbackReason,
    ) -> Result<Pruned, PruneError> {
        if self.config.fallback == FallbackPolicy::Fail {
            return Err(PruneError::NoFallback(reason));
        }
        let useful = self.diagonal.iter().all(|d| d.is_finite() && *d >= 0.0)
            && self.diagonal.iter().any(|d| *d > 0.0);
        let mut pruned = if useful {
            wanda(weight, shape, &self.diagonal, &WandaConfig { sparsity: target })?
        } else {
            magnitude(weight, shape, &MagnitudeConfig { sparsity: target, ..MagnitudeConfig::default() })?
        };
        if let Some(joint) = &self.config.quantize {
            let quantized = rtn(&pruned.weight, shape, &joint.to_rtn())?.weight;
            quantized.decode_rows(0..shape[0], &mut pruned.weight)?;
            let kept = pruned.weight.iter().map(|v| u8::from(*v != 0.0)).collect();
            pruned.mask = Mask::of(shape, kept);
            pruned.report.pruned = pruned.mask.pruned();
            let errors = weight.iter().zip(&pruned.weight).map(|(w, v)| f64::from(w - v).powi(2));
            pruned.report.weight_error = errors.sum();
            pruned.quantized = Some(quantized);
        }
        pruned.report.attempts = self.attempts;
        pruned.report.dead_columns = self.dead.len();
        pruned.report.fallback = Some(reason);
        Ok(pruned)
    }
}

fn damped<T: Score>(
    hessian: GramView<'_>,
    config: &SparseGptConfig,
    found: impl Fn(HessianFactor<T>, f64) -> State,
) -> (u32, State) {
    let mut attempts = 0;
    loop {
        let damp_percent = config.damp_percent + f64::from(attempts) * config.damp_step;
        attempts += 1;
        let reason = match factor_hessian(hessian, None, damp_percent) {
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
