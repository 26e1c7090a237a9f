//! Quantising a product: `W = B·A` stays one, with both factors rounded.

use crate::report;
use rayon::ThreadPool;
use std::sync::Arc;
use tenuis_plugin::core::{DType, LowRank, Representation};
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Emitter, Linear, TechniqueError};
use tenuis_quant::linalg::{GramView, project};
use tenuis_quant::{GptqConfig, GptqFactor, Quantized, RtnConfig, ScaleDtype};

/// Says which weights the quantising techniques take.
///
/// Any that can be decoded, but for sums: whoever rounds a sum rounds away what its terms were for.
pub(crate) fn accepts(technique: &str, descriptor: &Value) -> Result<(), TechniqueError> {
    match descriptor["kind"].as_str() {
        Some("sum") => Err(TechniqueError::unsupported(format!(
            "{technique} would round a weight and its correction into one; quantise first and correct then"
        ))),
        _ => Ok(()),
    }
}

/// Refuses what is made of several matrices: rounding their product or sum would undo what was saved.
pub(crate) fn refuse_composed(technique: &str, descriptor: &Value) -> Result<(), TechniqueError> {
    match descriptor["kind"].as_str() {
        Some(kind @ ("sum" | "low_rank")) => Err(TechniqueError::unsupported(format!(
            "{technique} does not take a weight of kind {kind}; rtn and gptq quantise the factors of a product"
        ))),
        _ => Ok(()),
    }
}

/// Whether a weight is a product.
pub(crate) fn is_product(linear: &Linear<'_>) -> bool {
    linear.weight().descriptor()["kind"] == "low_rank"
}

/// The type of scales for the factors of a product that are dense.
fn scale_dtype(configured: ScaleDtype, linear: &Linear<'_>) -> ScaleDtype {
    let name = linear.weight().descriptor()["a"]["dtype"].as_str();
    configured.resolve(name.and_then(DType::from_name).unwrap_or(DType::F32))
}

/// Rounds both factors to nearest.
pub(crate) fn rtn(
    linear: &Linear<'_>,
    config: &RtnConfig,
    pool: &ThreadPool,
    out: &mut Emitter<'_>,
) -> Result<(), TechniqueError> {
    let mut config = config.clone();
    config.scale_dtype = scale_dtype(config.scale_dtype, linear);
    let round = |values: &[f32], shape| pool.install(|| tenuis_quant::rtn(values, shape, &config));
    with_factors(linear, |b, a, shapes| {
        let rounded_a = round(a, shapes[1]).map_err(|e| report::failure(&part(linear, "a"), &e))?;
        let rounded_b = round(b, shapes[0]).map_err(|e| report::failure(&part(linear, "b"), &e))?;
        emit(linear, rounded_b, rounded_a, out)
    })
}

/// Rounds `A` against the Hessian `H` of the input, and `B` against `Â·H·Âᵀ`, that of what the rounded `Â` gives it.
pub(crate) fn gptq(
    linear: &Linear<'_>,
    hessian: GramView<'_>,
    rows: u64,
    factor: &GptqFactor,
    config: &GptqConfig,
    pool: &ThreadPool,
    out: &mut Emitter<'_>,
) -> Result<(), TechniqueError> {
    let mut config = config.clone();
    config.scale_dtype = scale_dtype(config.scale_dtype, linear);
    with_factors(linear, |b, a, shapes| {
        let failure_a = |e| report::failure(&part(linear, "a"), &e);
        let failure_b = |e| report::failure(&part(linear, "b"), &e);
        let rounded_a = pool.install(|| factor.quantize(a, shapes[1])).map_err(failure_a)?;
        let seen = (&rounded_a.weight as &dyn Representation).to_dense()?;
        let rounded_b = pool.install(|| {
            let between = project(hessian, &seen, shapes[1][0]);
            GptqFactor::new(between.view(), rows, &config)?.quantize(b, shapes[0])
        });
        emit(linear, rounded_b.map_err(failure_b)?, rounded_a, out)
    })
}

fn part(linear: &Linear<'_>, factor: &str) -> String {
    format!("{}.{factor}", linear.name())
}

/// Decodes both factors.
fn with_factors(
    linear: &Linear<'_>,
    work: impl FnOnce(&[f32], &[f32], [[usize; 2]; 2]) -> Result<(), TechniqueError>,
) -> Result<(), TechniqueError> {
    let weight = linear.weight().to_weight()?;
    let product = weight
        .downcast::<LowRank>()
        .ok_or_else(|| TechniqueError::invalid("its descriptor says low_rank").about(linear.name()))?;
    let (b, a) = (product.b().to_dense()?, product.a().to_dense()?);
    work(&b, &a, [product.b().shape(), product.a().shape()])
}

fn emit(
    linear: &Linear<'_>,
    b: Quantized,
    a: Quantized,
    out: &mut Emitter<'_>,
) -> Result<(), TechniqueError> {
    let reports = [("a", a.report), ("b", b.report)];
    out.emit(linear.name(), &LowRank::new(Arc::new(b.weight), Arc::new(a.weight))?)?;
    for (factor, report) in reports {
        report::send(out.host(), &part(linear, factor), &report);
    }
    Ok(())
}
