//! What a decomposition tells about itself: numbers for the report and lines for the log.

use tenuis_lowrank::linalg::WhiteningMethod;
use tenuis_lowrank::{LowRankError, LowRankReport};
use tenuis_plugin::{Host, LogLevel, TechniqueError};

/// Sends the report of one weight to the host; the keys are `{weight}/{quantity}`.
pub(crate) fn send(host: &Host<'_>, name: &str, report: &LowRankReport, kept: bool) {
    let metric = |quantity: &str, value: f64| host.metric(&format!("{name}/{quantity}"), value);
    metric("rank", report.rank as f64);
    metric("retained_energy", report.retained_energy);
    metric("truncation_loss", report.truncation_loss);
    metric("weight_error", report.weight_error);
    if kept {
        metric("kept", 1.0);
        let rank = report.rank;
        host.log(
            LogLevel::Warn,
            &format!("{name}: kept as it is: factors of rank {rank} would not be smaller"),
        );
    }
    match report.whitening {
        Some(WhiteningMethod::Cholesky { ridge, attempts }) if attempts > 1 => {
            metric("ridge", ridge);
            let text = format!("{name}: the Hessian is singular; factored with a ridge of {ridge:e}");
            host.log(LogLevel::Info, &text);
        }
        Some(WhiteningMethod::Eigen { attempts, clamped }) => {
            metric("clamped_eigenvalues", clamped as f64);
            let text = format!(
                "{name}: {attempts} Cholesky factorisations failed; whitened by eigenvalues, {clamped} of them zero"
            );
            host.log(LogLevel::Info, &text);
        }
        _ => {}
    }
    if let Some(reason) = &report.fallback {
        metric("fallback", 1.0);
        host.log(LogLevel::Warn, &format!("{name}: decomposed without regard to its input: {reason}"));
    }
}

/// A failure about one weight.
pub(crate) fn failure(name: &str, error: &LowRankError) -> TechniqueError {
    let message = format!("{name}: {error}");
    match error {
        LowRankError::NonFiniteWeight { .. } | LowRankError::NoFallback(_) | LowRankError::Svd(_) => {
            TechniqueError::numerical(message)
        }
        _ => TechniqueError::invalid(message),
    }
}
