//! `magnitude`: prunes the smallest weights.

use crate::{report, store};
use rayon::ThreadPool;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};
use tenuis_prune::MagnitudeConfig;

/// Magnitude pruning.
pub(crate) struct Magnitude {
    config: MagnitudeConfig,
    pool: ThreadPool,
}

impl GroupTechnique for Magnitude {
    const ID: &'static str = "magnitude";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_DENSE
        .and(Capabilities::NEEDS_ORIGINAL)
        .and(Capabilities::DETERMINISTIC)
        .and(Capabilities::KEEPS_MASK);
    type Config = MagnitudeConfig;

    fn new(config: MagnitudeConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("prune")? })
    }

    fn accepts(&self, descriptor: &tenuis_plugin::serde_json::Value) -> Result<(), TechniqueError> {
        store::accepts(Self::ID, descriptor)
    }

    /// Scores, mask and result.
    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        let largest = group.linears.iter().map(|l| l.shape[0] as u64 * l.shape[1] as u64).max()?;
        Some(largest * 13)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let task = store::Task::of(linear, self.config.sparsity)?;
            let mut config = self.config.clone();
            config.sparsity = task.sparsity;
            let pruned = self.pool.install(|| tenuis_prune::magnitude(task.weight, linear.shape(), &config));
            let pruned = pruned.map_err(|e| report::failure(linear.name(), &e))?;
            store::emit(out, linear, &pruned)?;
            report::send(host, linear.name(), &pruned.report);
        }
        Ok(())
    }
}
