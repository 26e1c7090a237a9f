//! The quantising techniques as a Tenuis plugin: `cast`, `rtn` and `gptq`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-quant`, and what is here turns groups into matrices and
//! reports into metrics and log lines.

mod cast;
mod gptq;
mod report;
mod rtn;
mod threads;

use tenuis_plugin::Linear;
use tenuis_plugin::core::DType;

/// The float type that a weight is stored in, or f32 where it is not dense.
fn stored_dtype(linear: &Linear<'_>) -> DType {
    let name = linear.weight().descriptor().get("dtype").and_then(|v| v.as_str());
    name.and_then(DType::from_name).unwrap_or(DType::F32)
}

tenuis_plugin::export_plugin!(cast::Cast, rtn::Rtn, gptq::Gptq);
