//! `svd`: the factors with the least error of the weight.

use crate::solver::Solver;
use crate::{report, store};
use tenuis_lowrank::SvdConfig;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};

/// Truncated singular value decomposition.
pub(crate) struct Svd {
    config: SvdConfig,
    solver: Solver,
}

impl GroupTechnique for Svd {
    const ID: &'static str = "svd";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_DENSE.and(Capabilities::DETERMINISTIC);
    type Config = SvdConfig;

    fn new(mut config: SvdConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        config.solver.seed.get_or_insert(host.seed());
        Ok(Self { config, solver: Solver::new(host)? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        store::dense_only(Self::ID, descriptor)
    }

    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        store::estimate(group, false)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let (dense, shape, config) = (linear.dense()?.to_vec(), linear.shape(), self.config.clone());
            let outcome = self.solver.run(host, move || tenuis_lowrank::svd(&dense, shape, &config))?;
            let outcome = outcome.map_err(|e| report::failure(linear.name(), &e))?;
            store::emit(out, linear, &outcome, self.config.dtype)?;
        }
        Ok(())
    }
}
