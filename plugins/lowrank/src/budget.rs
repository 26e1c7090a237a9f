//! `svdllm-budget`: SVD-LLM with one budget of weights for the whole model.

use crate::solver::Solver;
use crate::{report, store};
use std::sync::Arc;
use tenuis_lowrank::linalg::GramView;
use tenuis_lowrank::{BudgetConfig, LayerSpectrum, RankChoice, SvdLlm, allocate};
use tenuis_plugin::core::{DType, Representation};
use tenuis_plugin::serde_json::{self, Value};
use tenuis_plugin::{
    Capabilities, CheckpointView, Host, LogLevel, Model, ModelEmitter, ModelTechnique, Statistics,
    TechniqueError,
};
use tenuis_spec::{DecoderSpec, InputGroup};

/// SVD-LLM whose ranks are those that one budget buys where they are worth most.
///
/// Two passes over the weights, of which one group is in memory at a time: the first takes every singular value, then the
/// budget is spread, and the second decomposes. The Hessians are those of the model as it is given: unlike `svdllm`, no
/// block sees what the blocks before it have become.
pub(crate) struct SvdLlmBudget {
    config: BudgetConfig,
    solver: Solver,
}

impl ModelTechnique for SvdLlmBudget {
    const ID: &'static str = "svdllm-budget";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::DETERMINISTIC;
    type Config = BudgetConfig;

    fn new(mut config: BudgetConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        config.solver.seed.get_or_insert(host.seed());
        Ok(Self { config, solver: Solver::new(host)? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        store::dense_only(Self::ID, descriptor)
    }

    fn statistics(&self) -> Statistics {
        Statistics::GRAM_INPUTS
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let student = model.student();
        let spec: DecoderSpec = serde_json::from_str(student.spec_json())
            .map_err(|e| TechniqueError::invalid(format!("the host's description of the network: {e}")))?;
        let groups: Vec<InputGroup> = spec.layers.iter().flat_map(tenuis_spec::LayerSpec::groups).collect();
        let steps = 2 * groups.len() as u64;
        let mut spectra = Vec::new();
        for (done, group) in (0..).zip(&groups) {
            let method = self.begin(model, group, out.host(), [done, steps])?;
            for linear in &group.linears {
                let (weight, shape) = (student.dense(&linear.name)?, linear.shape);
                let method = Arc::clone(&method);
                let squared = self.solver.run(out.host(), move || method.spectrum(&weight, shape))?;
                spectra.push((linear.shape, squared.map_err(|e| report::failure(&linear.name, &e))?));
            }
        }
        let layers: Vec<LayerSpectrum<'_>> =
            spectra.iter().map(|(shape, squared)| LayerSpectrum { shape: *shape, squared }).collect();
        let ranks = allocate(&layers, self.config.keep).map_err(TechniqueError::invalid)?;
        let mut ranks = ranks.into_iter();
        for (done, group) in (groups.len() as u64..).zip(&groups) {
            let method = self.begin(model, group, out.host(), [done, steps])?;
            for linear in &group.linears {
                let Some(rank) = ranks.next().flatten() else {
                    keep(out.host(), &linear.name);
                    continue;
                };
                let (weight, shape) = (student.dense(&linear.name)?, linear.shape);
                let method = Arc::clone(&method);
                let work = move || method.decompose_to(&weight, shape, RankChoice::Fixed(rank));
                let outcome = self.solver.run(out.host(), work)?;
                let outcome = outcome.map_err(|e| report::failure(&linear.name, &e))?;
                let stored = stored_dtype(student, &linear.name)?;
                let dtype = self.config.dtype.resolve(Some(stored));
                let factors = outcome.factors.as_ref().map(|factors| factors.to_weight(dtype)).transpose();
                let factors = factors.map_err(|e| report::failure(&linear.name, &e))?;
                let now = (linear.shape[0] * linear.shape[1] * stored.size()) as u64;
                match factors.filter(|factors| factors.stored_bytes() < now) {
                    Some(factors) => {
                        out.emit_weight(&linear.name, &factors)?;
                        report::send(out.host(), &linear.name, &outcome.report, false);
                    }
                    None => report::send(out.host(), &linear.name, &outcome.report, true),
                }
            }
        }
        Ok(())
    }
}

impl SvdLlmBudget {
    /// Factors the Hessian of a group.
    fn begin(
        &self,
        model: &Model<'_>,
        group: &InputGroup,
        host: &Host<'_>,
        [done, steps]: [u64; 2],
    ) -> Result<Arc<SvdLlm>, TechniqueError> {
        host.check_cancelled()?;
        let missing = || TechniqueError::invalid("an input group without Linears");
        let first = &group.linears.first().ok_or_else(missing)?.name;
        host.progress(done, steps, first);
        let n = group.in_features();
        let missing = |key: &str| {
            TechniqueError::invalid(format!("the host has not measured {key:?}; pass text to calibrate on"))
        };
        let key = format!("gram/{first}");
        let gram = model.statistic(&key).ok_or_else(|| missing(&key))?;
        let rows = model.statistic("rows").ok_or_else(|| missing("rows"))?.bytes()?;
        let rows = rows.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
        let gram = gram.to_f32()?.into_owned();
        let rows = u64::try_from(rows).unwrap_or_default();
        let config = self.config.to_svdllm();
        let method = self.solver.run(host, move || {
            let hessian = GramView::new(n, &gram).map_err(TechniqueError::invalid)?;
            Ok::<_, TechniqueError>(SvdLlm::new(hessian, rows, &config))
        })?;
        Ok(Arc::new(method?.map_err(|e| report::failure(first, &e))?))
    }
}

fn stored_dtype(student: &CheckpointView<'_>, module: &str) -> Result<DType, TechniqueError> {
    let name = student.weight(module)?.descriptor().get("dtype").and_then(Value::as_str);
    Ok(name.and_then(DType::from_name).unwrap_or(DType::F32))
}

/// Says that the budget leaves a weight dense.
fn keep(host: &Host<'_>, name: &str) {
    host.metric(&format!("{name}/kept"), 1.0);
    host.log(
        LogLevel::Info,
        &format!("{name}: dense, which the budget allows: every direction of it is worth its weights"),
    );
}
