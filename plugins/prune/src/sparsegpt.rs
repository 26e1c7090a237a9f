//! `sparsegpt`: prunes with error compensation from the Hessian of the group's input.

use crate::{report, store};
use rayon::ThreadPool;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};
use tenuis_prune::linalg::GramView;
use tenuis_prune::{Precision, SparseGptConfig, SparseGptFactor};

/// SparseGPT: one factorisation serves every member of a group.
pub(crate) struct SparseGpt {
    config: SparseGptConfig,
    pool: ThreadPool,
}

impl GroupTechnique for SparseGpt {
    const ID: &'static str = "sparsegpt";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_HESSIAN
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::NEEDS_ORIGINAL)
        .and(Capabilities::DETERMINISTIC)
        .and(Capabilities::KEEPS_MASK);
    type Config = SparseGptConfig;

    fn new(config: SparseGptConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("prune")? })
    }

    fn accepts(&self, descriptor: &tenuis_plugin::serde_json::Value) -> Result<(), TechniqueError> {
        store::accepts(Self::ID, descriptor)
    }

    /// The factor and its scratch; of the largest weight two working copies, masks and the result.
    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        let width = if self.config.precision == Precision::F64 { 8 } else { 4 };
        let features = group.linears.first()?.shape[1] as u64;
        let largest = group.linears.iter().map(|l| l.shape[0] as u64).max()? * features;
        Some(2 * width * features * features + (2 * width + 12) * largest)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let hessian =
            GramView::new(group.in_features(), group.hessian()?).map_err(TechniqueError::invalid)?;
        let Some(first) = group.linears().first() else { return Ok(()) };
        out.host().check_cancelled()?;
        let mut config = self.config.clone();
        if let Some(joint) = &mut config.quantize {
            joint.scale_dtype = joint.scale_dtype.resolve(store::stored_dtype(first.weight().descriptor()));
        }
        let factor = self.pool.install(|| SparseGptFactor::new(hessian, group.rows(), &config));
        let mut factor = factor.map_err(|e| report::failure(first.name(), &e))?;
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let task = store::Task::of(linear, config.sparsity)?;
            factor = factor.with_sparsity(task.sparsity);
            let go_on = || !host.cancelled();
            let pruned = self
                .pool
                .install(|| factor.prune_while(task.weight, linear.shape(), task.mask.as_deref(), &go_on));
            let pruned = pruned.map_err(|e| report::failure(linear.name(), &e))?;
            store::emit(out, linear, &pruned)?;
            report::send(host, linear.name(), &pruned.report);
        }
        Ok(())
    }
}
