//! `asvd`: factors of the weight scaled by how active its inputs are.

use crate::solver::Solver;
use crate::{report, store};
use tenuis_lowrank::AsvdConfig;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};

/// Activation-aware singular value decomposition.
pub(crate) struct Asvd {
    config: AsvdConfig,
    solver: Solver,
}

impl GroupTechnique for Asvd {
    const ID: &'static str = "asvd";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities =
        Capabilities::NEEDS_MOMENTS.and(Capabilities::NEEDS_DENSE).and(Capabilities::DETERMINISTIC);
    type Config = AsvdConfig;

    fn new(mut config: AsvdConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
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
        let rows = group.rows().max(1) as f64;
        let mean: Vec<f64> = group.moments()?.sum_abs.iter().map(|&sum| f64::from(sum) / rows).collect();
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let (dense, shape, config) = (linear.dense()?.to_vec(), linear.shape(), self.config.clone());
            let mean = mean.clone();
            let outcome =
                self.solver.run(host, move || tenuis_lowrank::asvd(&dense, shape, &mean, &config))?;
            let outcome = outcome.map_err(|e| report::failure(linear.name(), &e))?;
            store::emit(out, linear, &outcome, self.config.dtype)?;
        }
        Ok(())
    }
}
