//! What pruning tells about itself: numbers for the report and lines for the log.

use tenuis_plugin::{Host, TechniqueError};
use tenuis_prune::{PruneError, PruneReport};

/// Sends the report of one weight to the host; the keys are `{weight}/{quantity}`.
pub(crate) fn send(host: &Host<'_>, name: &str, report: &PruneReport) {
    let metric = |quantity: &str, value: f64| host.metric(&format!("{name}/{quantity}"), value);
    metric("sparsity", report.sparsity());
    metric("weight_error", report.weight_error);
}

/// A failure about one weight.
pub(crate) fn failure(name: &str, error: &PruneError) -> TechniqueError {
    let message = format!("{name}: {error}");
    match error {
        PruneError::NonFiniteWeight { .. } | PruneError::Statistic { .. } | PruneError::NoFallback(_) => {
            TechniqueError::numerical(message)
        }
        _ => TechniqueError::invalid(message),
    }
}
