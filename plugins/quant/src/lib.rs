//! The quantising techniques as a Tenuis plugin: `cast`, `rtn`, `gptq`, `awq`, `smoothquant` and
//! `int8-dynamic`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-quant`, and what is here turns groups into matrices and
//! reports into metrics and log lines.

mod awq;
mod cast;
mod factors;
mod gptq;
mod int8;
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

tenuis_plugin::export_plugin!(
    cast::Cast,
    rtn::Rtn,
    gptq::Gptq,
    awq::Awq,
    int8::SmoothQuant,
    int8::Int8Dynamic,
);
