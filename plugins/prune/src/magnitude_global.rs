//! `magnitude-global`: prunes the smallest weights of the whole model under one budget.

use crate::{report, store};
use rayon::ThreadPool;
use std::collections::BTreeSet;
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{
    Capabilities, CheckpointView, Host, LogLevel, Model, ModelEmitter, ModelTechnique, TechniqueError,
};
use tenuis_prune::{GlobalConfig, GlobalSearch};

/// Magnitude pruning with one threshold for all blocks.
pub(crate) struct MagnitudeGlobal {
    config: GlobalConfig,
    pool: ThreadPool,
}

impl ModelTechnique for MagnitudeGlobal {
    const ID: &'static str = "magnitude-global";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: Capabilities = Capabilities::DETERMINISTIC.and(Capabilities::KEEPS_MASK);
    type Config = GlobalConfig;

    fn new(config: GlobalConfig, host: &Host<'_>) -> Result<Self, TechniqueError> {
        config.validate().map_err(TechniqueError::invalid)?;
        Ok(Self { config, pool: host.thread_pool("prune")? })
    }

    /// One matrix with its scores, mask and result; what was emitted is the host's.
    fn estimate(&self, model: &Model<'_>) -> Option<u64> {
        let largest =
            linears(model.student()).ok()?.into_iter().map(|(_, [o, i])| o as u64 * i as u64).max()?;
        Some(largest * 24)
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let student = model.student();
        let linears = linears(student)?;
        if linears.is_empty() {
            return Err(TechniqueError::invalid("the model has no Linear to prune"));
        }
        for (name, _) in &linears {
            store::accepts(Self::ID, student.weight(name)?.descriptor()).map_err(|e| e.about(name))?;
        }
        let host = out.host();
        let total = linears.iter().map(|(_, [o, i])| o * i).sum();
        let mut search = GlobalSearch::new(total, &self.config).map_err(TechniqueError::invalid)?;
        let steps = (if search.is_open() { 4 } else { 1 }) * linears.len() as u64;
        let mut done = 0;
        while search.is_open() {
            for (name, shape) in &linears {
                host.check_cancelled()?;
                host.progress(done, steps, name);
                let weight = student.dense(name)?;
                self.pool.install(|| search.count(&weight, *shape)).map_err(|e| report::failure(name, &e))?;
                done += 1;
            }
            search.advance();
        }
        let mut zeros = 0;
        for (name, shape) in &linears {
            host.check_cancelled()?;
            host.progress(done, steps, name);
            let weight = student.dense(name)?;
            let pruned = self.pool.install(|| search.prune(&weight, *shape));
            let pruned = pruned.map_err(|e| report::failure(name, &e))?;
            let stored = student.weight(name)?.descriptor();
            out.emit_weight(name, store::smallest(stored, *shape, &pruned.weight)?.as_ref())?;
            report::send(host, name, &pruned.report);
            zeros += pruned.report.pruned;
            done += 1;
        }
        let share = zeros as f64 / total as f64;
        host.metric("sparsity", share);
        host.log(LogLevel::Info, &format!("{zeros} of {total} weights of Linears are zero ({share:.4})"));
        Ok(())
    }
}

/// The Linears of the blocks: every matrix that the description of a layer names.
fn linears(view: &CheckpointView<'_>) -> Result<Vec<(String, [usize; 2])>, TechniqueError> {
    let spec: Value = tenuis_plugin::serde_json::from_str(view.spec_json())
        .map_err(|e| TechniqueError::invalid(format!("the host's description of the network: {e}")))?;
    let mut named = BTreeSet::new();
    names(&spec["layers"], &mut named);
    let linears = view.weights().filter(|(name, _)| named.contains(*name));
    Ok(linears.map(|(name, weight)| (name.to_owned(), weight.shape())).collect())
}

/// Every `name` in a description.
fn names<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        Value::Object(fields) => {
            found.extend(fields.get("name").and_then(Value::as_str));
            fields.values().for_each(|value| names(value, found));
        }
        _ => {}
    }
}
