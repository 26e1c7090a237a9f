//! What a quantisation tells about itself: numbers for the report and lines for the log.

use tenuis_plugin::{Host, LogLevel, TechniqueError};
use tenuis_quant::{QuantError, QuantReport};

/// Sends the report of one weight to the host; the keys are `{weight}/{quantity}`.
pub(crate) fn send(host: &Host<'_>, name: &str, report: &QuantReport) {
    let metric = |quantity: &str, value: f64| host.metric(&format!("{name}/{quantity}"), value);
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
        host.log(LogLevel::Warn, &format!("{name}: rounded to nearest instead of GPTQ: {reason}"));
    } else if report.attempts > 1 {
        let damp = report.damp_percent.unwrap_or_default();
        let attempts = report.attempts;
        host.log(
            LogLevel::Info,
            &format!("{name}: damping raised to {damp} after {attempts} factorisations"),
        );
    }
    if report.dead_columns > 0 {
        let dead = report.dead_columns;
        host.log(
            LogLevel::Info,
            &format!("{name}: {dead} input channels were never active; their weights are zero"),
        );
    }
}

/// A failure about one weight.
pub(crate) fn failure(name: &str, error: &QuantError) -> TechniqueError {
    let message = format!("{name}: {error}");
    match error {
        QuantError::Stopped => TechniqueError::cancelled(),
        QuantError::NonFiniteWeight { .. } | QuantError::NoFallback(_) | QuantError::NoAwq(_) => {
            TechniqueError::numerical(message)
        }
        _ => TechniqueError::invalid(message),
    }
}
