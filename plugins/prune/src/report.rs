//! What pruning tells about itself: numbers for the report and lines for the log.

use tenuis_plugin::{Host, LogLevel, TechniqueError};
use tenuis_prune::{PruneError, PruneReport};

/// Sends the report of one weight to the host; the keys are `{weight}/{quantity}`.
pub(crate) fn send(host: &Host<'_>, name: &str, report: &PruneReport) {
    let metric = |quantity: &str, value: f64| host.metric(&format!("{name}/{quantity}"), value);
    metric("sparsity", report.sparsity());
    metric("weight_error", report.weight_error);
    if let Some(error) = report.proxy_error {
        metric("proxy_error", error);
    }
    if let Some(damp) = report.damp_percent {
        metric("damp_percent", damp);
        metric("factor_attempts", f64::from(report.attempts));
        metric("dead_columns", report.dead_columns as f64);
    }
    if let Some(reason) = &report.fallback {
        metric("fallback", 1.0);
        host.log(LogLevel::Warn, &format!("{name}: pruned without error compensation: {reason}"));
    } else if report.attempts > 1 {
        let damp = report.damp_percent.unwrap_or_default();
        let attempts = report.attempts;
        host.log(
            LogLevel::Info,
            &format!("{name}: damping raised to {damp} after {attempts} factorisations"),
        );
    }
}

/// A failure about one weight.
pub(crate) fn failure(name: &str, error: &PruneError) -> TechniqueError {
    let message = format!("{name}: {error}");
    match error {
        PruneError::Stopped => TechniqueError::cancelled(),
        PruneError::NonFiniteWeight { .. } | PruneError::Statistic { .. } | PruneError::NoFallback(_) => {
            TechniqueError::numerical(message)
        }
        _ => TechniqueError::invalid(message),
    }
}
