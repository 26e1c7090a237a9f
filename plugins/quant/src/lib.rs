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

use tenuis_plugin::core::{DType, GroupedInt, Sparse};
use tenuis_plugin::{Emitter, Linear, TechniqueError};

/// The float type that a weight is stored in, or f32 where it is not dense.
fn stored_dtype(linear: &Linear<'_>) -> DType {
    let descriptor = linear.weight().descriptor();
    // A sparse weight says it of its kept entries.
    let stored = descriptor.get("values").unwrap_or(descriptor);
    let name = stored.get("dtype").and_then(|v| v.as_str());
    name.and_then(DType::from_name).unwrap_or(DType::F32)
}

/// Hands over a quantised weight; one that is pruned in the form that takes the fewest bytes.
fn emit(out: &mut Emitter<'_>, linear: &Linear<'_>, weight: &GroupedInt) -> Result<(), TechniqueError> {
    if linear.mask()?.is_none() {
        return out.emit(linear.name(), weight);
    }
    out.emit(linear.name(), Sparse::smallest_of_grouped_int(weight)?.as_ref())
}

tenuis_plugin::export_plugin!(
    cast::Cast,
    rtn::Rtn,
    gptq::Gptq,
    awq::Awq,
    int8::SmoothQuant,
    int8::Int8Dynamic,
);
