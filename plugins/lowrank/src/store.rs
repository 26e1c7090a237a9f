//! Which weights are taken, and in which form they are handed back.

use crate::report;
use tenuis_lowrank::{Decomposed, FactorDtype};
use tenuis_plugin::core::{DType, Representation, Weight};
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Emitter, GroupShape, Linear, TechniqueError};

/// Decompositions start from the weight as it was trained: of a compressed one they would only see its errors too.
pub(crate) fn dense_only(technique: &str, descriptor: &Value) -> Result<(), TechniqueError> {
    match descriptor["kind"].as_str() {
        Some("dense") => Ok(()),
        _ => Err(TechniqueError::unsupported(format!(
            "{technique} decomposes dense weights, not {descriptor}; make it an earlier stage than what compressed them"
        ))),
    }
}

/// The weight in f64 twice, its singular vectors and what the solver needs, and the Hessian with its factor; and copies of both in
/// f32, as a decomposition owns what it looks at.
pub(crate) fn estimate(group: &GroupShape, hessian: bool) -> Option<u64> {
    let features = group.linears.first()?.shape[1] as u64;
    let largest = group.linears.iter().map(|l| l.shape[0] as u64).max()? * features;
    Some(8 * 6 * largest + 4 * largest + if hessian { (8 * 3 + 4) * features * features } else { 0 })
}

/// Emits the factors, or the weight as it is where they would take as many bytes.
pub(crate) fn emit(
    out: &mut Emitter<'_>,
    linear: &Linear<'_>,
    outcome: &Decomposed,
    dtype: FactorDtype,
) -> Result<(), TechniqueError> {
    let now = linear.weight().to_weight()?;
    let stored = linear.weight().descriptor().get("dtype").and_then(Value::as_str).and_then(DType::from_name);
    let dtype = dtype.resolve(stored);
    let factors = outcome.factors.as_ref().map(|factors| factors.to_weight(dtype)).transpose();
    let factors = factors.map_err(|e| report::failure(linear.name(), &e))?;
    match factors.filter(|factors| factors.stored_bytes() < now.stored_bytes()) {
        Some(factors) => {
            out.emit(linear.name(), &factors)?;
            report::send(out.host(), linear.name(), &outcome.report, false);
        }
        None => keep(out, linear, &now, outcome)?,
    }
    Ok(())
}

/// Hands a weight back as it is, and says so.
pub(crate) fn keep(
    out: &mut Emitter<'_>,
    linear: &Linear<'_>,
    now: &Weight,
    outcome: &Decomposed,
) -> Result<(), TechniqueError> {
    out.emit(linear.name(), now.as_ref())?;
    report::send(out.host(), linear.name(), &outcome.report, true);
    Ok(())
}
