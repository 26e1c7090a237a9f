//! Reading what the host lends.

use tenuis_plugin::{CheckpointView, FailureKind, Model, TechniqueError, TensorView};
use tenuis_prune::structured::StructuredError;
use tenuis_spec::DecoderSpec;

/// The network that a checkpoint holds.
pub(crate) fn spec(view: &CheckpointView<'_>) -> Result<DecoderSpec, TechniqueError> {
    serde_json::from_str(view.spec_json())
        .map_err(|e| TechniqueError::invalid(format!("the host's description of the network: {e}")))
}

/// A failure as the host is told of it.
pub(crate) fn failure(error: &StructuredError) -> TechniqueError {
    match error {
        StructuredError::NonFinite { .. } | StructuredError::Singular { .. } | StructuredError::NoRows => {
            TechniqueError::numerical(error)
        }
        _ => TechniqueError::invalid(error),
    }
}

/// Something that the host was asked to measure.
pub(crate) fn statistic<'m, 'a>(
    model: &'m Model<'a>,
    key: &str,
) -> Result<&'m TensorView<'a>, TechniqueError> {
    model.statistic(key).ok_or_else(|| {
        let problem =
            format!("the host measured no {key:?}, which these options need; pass a text to calibrate on");
        TechniqueError::new(FailureKind::Unsupported, problem)
    })
}

/// The calibration rows behind the statistics.
pub(crate) fn rows(model: &Model<'_>) -> Result<u64, TechniqueError> {
    let rows = statistic(model, "rows")?.to_tensor()?;
    Ok(rows.cast::<i64>()?.first().copied().unwrap_or_default().max(0) as u64)
}

/// The calibration rows that reached a module: an expert sees only the tokens that it is given.
pub(crate) fn rows_of(model: &Model<'_>, module: &str) -> Result<u64, TechniqueError> {
    let Some(rows) = model.statistic(&format!("rows/{module}")) else { return rows(model) };
    let rows = rows.to_tensor()?;
    Ok(rows.cast::<i64>()?.first().copied().unwrap_or_default().max(0) as u64)
}
