//! Networks out of checkpoints of the host.

use std::collections::BTreeMap;
use tenuis_core::{DType, GroupedInt, Layout, LowRank, Weight};
use tenuis_distill::{Network, Params, TrainError, stored_values};
use tenuis_plugin::{CheckpointView, TechniqueError};
use tenuis_spec::{DecoderSpec, LinearSpec};

/// A failure of training as the host is told of it.
pub(crate) fn failure(error: &TrainError) -> TechniqueError {
    match error {
        TrainError::Cancelled { .. } => TechniqueError::cancelled(),
        TrainError::NonFinite { .. } => TechniqueError::numerical(error),
        TrainError::Io { .. } | TrainError::State { .. } | TrainError::Candle(_) => {
            TechniqueError::new(tenuis_plugin::FailureKind::Io, error)
        }
        _ => TechniqueError::invalid(error),
    }
}

/// The network that a checkpoint holds.
pub(crate) fn spec(view: &CheckpointView<'_>) -> Result<DecoderSpec, TechniqueError> {
    serde_json::from_str(view.spec_json())
        .map_err(|e| TechniqueError::invalid(format!("the host's description of the network: {e}")))
}

/// Every Linear of a network, the head where it is one of its own.
pub(crate) fn linears(spec: &DecoderSpec) -> impl Iterator<Item = LinearSpec> + '_ {
    spec.linears().chain((!spec.tied).then(|| spec.lm_head.clone()))
}

/// Reads a network of `spec` out of a checkpoint, whose tensor for each of the network's is found by `source`.
pub(crate) fn network(
    view: &CheckpointView<'_>,
    spec: DecoderSpec,
    source: impl Fn(&str) -> String,
) -> Result<Network, TechniqueError> {
    let layouts: BTreeMap<String, Layout> =
        linears(&spec).map(|linear| (linear.name, linear.layout)).collect();
    let mut problem = None;
    let params = Params::read(&spec, |tensor| {
        let name = source(&tensor.name);
        let values = match &tensor.module {
            Some((module, _)) => {
                let layout = layouts.get(module).copied().unwrap_or(Layout::OutIn);
                matrix(view, module_of(&name), layout)
            }
            None => view.tensor(&name).and_then(|view| Ok(view.to_f32()?.into_owned())),
        };
        values.or_else(|error| {
            problem = Some(error);
            Ok(Vec::new())
        })
    });
    match (problem, params) {
        (Some(problem), _) => Err(problem),
        (None, Ok(params)) => Ok(Network::new(spec, params)),
        (None, Err(error)) => Err(failure(&error)),
    }
}

/// The module of a weight's name.
pub(crate) fn module_of(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

fn matrix(view: &CheckpointView<'_>, module: &str, layout: Layout) -> Result<Vec<f32>, TechniqueError> {
    let values = view.dense(module)?;
    if layout == Layout::OutIn {
        return Ok(values);
    }
    let shape = view.weight(module)?.shape();
    let dense = tenuis_core::Tensor::from_f32(DType::F32, shape.to_vec(), &values)
        .map_err(|e| TechniqueError::invalid(e).about(module))?;
    let dense = tenuis_core::Dense::new(dense).map_err(|e| TechniqueError::invalid(e).about(module))?;
    let weight: Weight = std::sync::Arc::new(dense);
    stored_values(module, &weight, layout).map_err(|e| failure(&e))
}

/// The weight of a module where it is compressed, and nothing where it is dense.
///
/// # Errors
/// For a kind that cannot be trained and kept what it is.
pub(crate) fn compressed(
    view: &CheckpointView<'_>,
    module: &str,
) -> Result<Option<GroupedInt>, TechniqueError> {
    let stored = view.weight(module)?;
    if stored.descriptor()["kind"] == "dense" {
        return Ok(None);
    }
    let weight = stored.to_weight()?;
    weight.downcast::<GroupedInt>().cloned().map(Some).ok_or_else(|| {
        let kind = stored.descriptor()["kind"].as_str().unwrap_or("this kind");
        let problem = format!(
            "a weight of kind {kind} cannot be trained and stay one; train other parameters, such as train = \"norms\""
        );
        TechniqueError::unsupported(problem).about(module)
    })
}

/// The weight of a module where it is a product.
pub(crate) fn product(view: &CheckpointView<'_>, module: &str) -> Result<Option<LowRank>, TechniqueError> {
    let stored = view.weight(module)?;
    if stored.descriptor()["kind"] != "low_rank" {
        return Ok(None);
    }
    Ok(stored.to_weight()?.downcast::<LowRank>().cloned())
}
