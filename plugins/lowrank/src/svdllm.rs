//! `svdllm`: the factors with the least error of the output.

use crate::solver::Solver;
use crate::{report, store};
use std::sync::Arc;
use tenuis_lowrank::SvdLlmConfig;
use tenuis_lowrank::linalg::GramView;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};

/// SVD-LLM: one factorisation of the Hessian serves every member of a group.
pub(crate) struct SvdLlm {
    config: SvdLlmConfig,
    solver: Solver,
}

impl GroupTechnique for SvdLlm {
    const ID: &'static str = "svdllm";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities =
        Capabilities::NEEDS_HESSIAN.and(Capabilities::NEEDS_DENSE).and(Capabilities::DETERMINISTIC);
    type Config = SvdLlmConfig;

    fn new(mut config: SvdLlmConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        config.solver.seed.get_or_insert(host.seed());
        Ok(Self { config, solver: Solver::new(host)? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        store::dense_only(Self::ID, descriptor)
    }

    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        store::estimate(group, true)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let (n, rows, config) = (group.in_features(), group.rows(), self.config.clone());
        let hessian = group.hessian()?.to_vec();
        let Some(first) = group.linears().first() else { return Ok(()) };
        out.host().check_cancelled()?;
        let method = self.solver.run(out.host(), move || {
            let hessian = GramView::new(n, &hessian).map_err(TechniqueError::invalid)?;
            Ok::<_, TechniqueError>(tenuis_lowrank::SvdLlm::new(hessian, rows, &config))
        })?;
        let method = Arc::new(method?.map_err(|e| report::failure(first.name(), &e))?);
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let (dense, shape, method) = (linear.dense()?.to_vec(), linear.shape(), Arc::clone(&method));
            let outcome = self.solver.run(host, move || method.decompose(&dense, shape))?;
            let outcome = outcome.map_err(|e| report::failure(linear.name(), &e))?;
            store::emit(out, linear, &outcome, self.config.dtype)?;
        }
        Ok(())
    }
}
