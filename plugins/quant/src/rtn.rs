//! `rtn`: rounds to the nearest point of an integer grid.

use crate::{emit, factors, report, stored_dtype};
use rayon::ThreadPool;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};
use tenuis_quant::RtnConfig;

/// Round to nearest.
pub(crate) struct Rtn {
    config: RtnConfig,
    pool: ThreadPool,
}

impl GroupTechnique for Rtn {
    const ID: &'static str = "rtn";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    // Zero is a point of every grid, so what is pruned stays zero.
    const CAPABILITIES: Capabilities =
        Capabilities::NEEDS_DENSE.and(Capabilities::DETERMINISTIC).and(Capabilities::KEEPS_MASK);
    type Config = RtnConfig;

    fn new(config: RtnConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("quant")? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        factors::accepts(Self::ID, descriptor)
    }

    /// Codes as bytes, and packed.
    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        let largest = group.linears.iter().map(|l| l.shape[0] as u64 * l.shape[1] as u64).max()?;
        Some(largest * 2)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            if factors::is_product(linear) {
                factors::rtn(linear, &self.config, &self.pool, out)?;
                continue;
            }
            let dense = linear.dense()?;
            let mut config = self.config.clone();
            config.scale_dtype = config.scale_dtype.resolve(stored_dtype(linear));
            let quantized = self.pool.install(|| tenuis_quant::rtn(dense, linear.shape(), &config));
            let quantized = quantized.map_err(|e| report::failure(linear.name(), &e))?;
            emit(out, linear, &quantized.weight)?;
            report::send(host, linear.name(), &quantized.report);
        }
        Ok(())
    }
}
