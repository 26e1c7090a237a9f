//! `gptq`: rounds with error compensation from the Hessian of the group's input.

use crate::{emit, factors, report, stored_dtype};
use rayon::ThreadPool;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, TechniqueError};
use tenuis_quant::linalg::GramView;
use tenuis_quant::{GptqConfig, GptqFactor, Precision};

/// GPTQ: one factorisation serves every member of a group.
pub(crate) struct Gptq {
    config: GptqConfig,
    pool: ThreadPool,
}

impl GroupTechnique for Gptq {
    const ID: &'static str = "gptq";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_HESSIAN
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::DETERMINISTIC)
        .and(Capabilities::KEEPS_MASK);
    type Config = GptqConfig;

    fn new(config: GptqConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("quant")? })
    }

    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        factors::accepts(Self::ID, descriptor)
    }

    /// The factor and its scratch, a working copy of the largest weight with its errors, and its codes.
    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        let width = if self.config.precision == Precision::F64 { 8 } else { 4 };
        let features = group.linears.first()?.shape[1] as u64;
        let largest = group.linears.iter().map(|l| l.shape[0] as u64).max()? * features;
        Some(2 * width * features * features + (width + 2) * largest)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let hessian =
            GramView::new(group.in_features(), group.hessian()?).map_err(TechniqueError::invalid)?;
        let Some(first) = group.linears().first() else { return Ok(()) };
        out.host().check_cancelled()?;
        let mut config = self.config.clone();
        config.scale_dtype = config.scale_dtype.resolve(stored_dtype(first));
        let factor = self.pool.install(|| GptqFactor::new(hessian, group.rows(), &config));
        let factor = factor.map_err(|e| report::failure(first.name(), &e))?;
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            if factors::is_product(linear) {
                factors::gptq(linear, hessian, group.rows(), &factor, &self.config, &self.pool, out)?;
                continue;
            }
            let (dense, mask) = (linear.dense()?, linear.mask()?);
            let go_on = || !host.cancelled();
            let quantized = self.pool.install(|| factor.quantize_while(dense, linear.shape(), mask, &go_on));
            let quantized = quantized.map_err(|e| report::failure(linear.name(), &e))?;
            emit(out, linear, &quantized.weight)?;
            report::send(host, linear.name(), &quantized.report);
        }
        Ok(())
    }
}
