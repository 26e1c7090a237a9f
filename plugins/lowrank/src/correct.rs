//! `correct`: adds a low-rank approximation of the error that earlier stages made.

use crate::solver::Solver;
use crate::{report, store};
use std::sync::Arc;
use tenuis_lowrank::CorrectConfig;
use tenuis_lowrank::linalg::GramView;
use tenuis_plugin::core::{CodecRegistry, DType, Representation, Sum};
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{
    Capabilities, Emitter, Group, GroupShape, GroupTechnique, Host, LogLevel, TechniqueError,
};

/// LQER, or `EoRA` with whitening: one Hessian serves every member of a group.
pub(crate) struct Correct {
    config: CorrectConfig,
    solver: Solver,
}

impl GroupTechnique for Correct {
    const ID: &'static str = "correct";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_HESSIAN
        .and(Capabilities::NEEDS_DENSE)
        .and(Capabilities::NEEDS_ORIGINAL)
        .and(Capabilities::DETERMINISTIC);
    type Config = CorrectConfig;

    fn new(mut config: CorrectConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        config.solver.seed.get_or_insert(host.seed());
        Ok(Self { config, solver: Solver::new(host)? })
    }

    /// A sum is stored by the core's codecs, so every term has to be of a kind that they know.
    fn accepts(&self, descriptor: &Value) -> Result<(), TechniqueError> {
        match descriptor["kind"].as_str() {
            Some("dense") => Err(TechniqueError::unsupported(
                "correct mends the error of compressed weights, and this one is dense; compress it in an earlier stage",
            )),
            Some(kind) if CodecRegistry::builtin().kinds().any(|known| known == kind) => Ok(()),
            _ => Err(TechniqueError::unsupported(format!(
                "correct cannot store a sum with a weight of another plugin's kind: {descriptor}"
            ))),
        }
    }

    fn estimate(&self, group: &GroupShape) -> Option<u64> {
        store::estimate(group, true)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        let (n, rows) = (group.in_features(), group.rows());
        let hessian: Arc<[f32]> = group.hessian()?.into();
        let total = group.linears().len() as u64;
        for (done, linear) in (0..).zip(group.linears()) {
            let host = out.host();
            host.check_cancelled()?;
            host.progress(done, total, linear.name());
            let now = linear.weight().to_weight()?;
            let Some(original) = linear.original()? else {
                // Nothing was lost: the weight is the one that the model came with.
                out.emit(linear.name(), now.as_ref())?;
                let text = format!("{}: kept as it is: no earlier stage changed it", linear.name());
                out.host().log(LogLevel::Warn, &text);
                continue;
            };
            let (original, compressed) = (original.to_vec(), linear.dense()?.to_vec());
            let (shape, hessian, config) = (linear.shape(), Arc::clone(&hessian), self.config.clone());
            let outcome = self.solver.run(host, move || {
                let hessian = GramView::new(n, &hessian).map_err(TechniqueError::invalid)?;
                let outcome =
                    tenuis_lowrank::correct(&original, &compressed, shape, Some((hessian, rows)), &config);
                Ok::<_, TechniqueError>(outcome)
            })?;
            let outcome = outcome?.map_err(|e| report::failure(linear.name(), &e))?;
            let Some(factors) = &outcome.factors else {
                store::keep(out, linear, &now, &outcome)?;
                continue;
            };
            let dtype = self.config.dtype.resolve(None::<DType>);
            let factors = factors.to_weight(dtype).map_err(|e| report::failure(linear.name(), &e))?;
            let bytes = factors.stored_bytes();
            let sum = Sum::new(vec![now, Arc::new(factors)])?;
            out.emit(linear.name(), &sum)?;
            report::send(out.host(), linear.name(), &outcome.report, false);
            out.host().metric(&format!("{}/correction_bytes", linear.name()), bytes as f64);
        }
        Ok(())
    }
}
