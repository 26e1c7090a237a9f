//! `wanda`: prunes by magnitude and activation.

use crate::{report, store};
use rayon::ThreadPool;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};
use tenuis_prune::WandaConfig;

/// Wanda: channel norms serve every member of a group.
pub(crate) struct Wanda {
    config: WandaConfig,
    pool: ThreadPool,
}

impl GroupTechnique for Wanda {
    const ID: &'static str = "wanda";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_MOMENTS
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::NEEDS_ORIGINAL)
        .and(Capabilities::DETERMINISTIC)
        .and(Capabilities::KEEPS_MASK);
    type Config = WandaConfig;

    fn new(config: WandaConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("prune")? })
    }

    fn accepts(&self, descriptor: &tenuis_plugin::serde_json::Value) -> Result<(), TechniqueError> {
        store::accepts(Self::ID, descriptor)
    }

    /// Mask, result and its stored form.
    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        let largest = group.linears.iter().map(|l| l.shape[0] as u64 * l.shape[1] as u64).max()?;
        Some(largest * 10)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        // An expert that no token reached: without inputs Wanda's score is the weight's magnitude.
        let ones = vec![1.0; group.in_features()];
        let squares = if group.rows() == 0 { &ones } else { group.moments()?.sum_sq };
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let task = store::Task::of(linear, self.config.sparsity)?;
            let mut config = self.config.clone();
            config.sparsity = task.sparsity;
            let pruned =
                self.pool.install(|| tenuis_prune::wanda(task.weight, linear.shape(), squares, &config));
            let pruned = pruned.map_err(|e| report::failure(linear.name(), &e))?;
            store::emit(out, linear, &pruned)?;
            report::send(host, linear.name(), &pruned.report);
        }
        Ok(())
    }
}
