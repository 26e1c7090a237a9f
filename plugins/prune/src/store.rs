//! What a weight is pruned from, and in which form it is handed back.

use std::borrow::Cow;
use std::sync::Arc;
use tenuis_plugin::core::{DType, Dense, Layout, Sparse, Tensor, Weight, convert};
use tenuis_plugin::serde_json::Value;
use tenuis_plugin::{Emitter, Linear, TechniqueError};
use tenuis_prune::linalg::transpose;
use tenuis_prune::{Pruned, SparsityTarget};

/// Pruning takes floats: codes of an integer grid would become floats again.
pub(crate) fn accepts(technique: &str, descriptor: &Value) -> Result<(), TechniqueError> {
    let of_floats = match descriptor["kind"].as_str() {
        Some("dense") => true,
        // When a recipe is checked nothing but the kind may be known.
        Some("sparse") => descriptor.get("values").is_none_or(|values| values["kind"] == "dense"),
        _ => false,
    };
    if of_floats {
        return Ok(());
    }
    let problem =
        format!("{technique} takes dense or sparse floats, not {descriptor}; prune first, then quantise");
    Err(TechniqueError::unsupported(problem))
}

/// A weight to prune.
pub(crate) struct Task<'a> {
    pub(crate) weight: &'a [f32],
    /// 0 where it is pruned already.
    pub(crate) mask: Option<Cow<'a, [u8]>>,
    pub(crate) sparsity: SparsityTarget,
}

/// A weight that is not stored as sparse counts as pruned from one zero in so many values on: below that a sparse form
/// is never smaller.
const PRUNED_FROM: usize = 32;

impl<'a> Task<'a> {
    /// Under `inherit` the sparsity is that of the weight as it is, and what is pruned is the weight as it was given.
    pub(crate) fn of(linear: &Linear<'a>, asked: SparsityTarget) -> Result<Self, TechniqueError> {
        let now = linear.dense()?;
        let sparsity = asked.resolve(now);
        if let Some(original) = linear.original()?.filter(|_| asked == SparsityTarget::Inherit) {
            return Ok(Self { weight: original, mask: None, sparsity });
        }
        let mask = linear.mask()?.map(Cow::Borrowed).or_else(|| {
            let zeros = now.iter().filter(|v| **v == 0.0).count();
            let pruned = linear.weight().descriptor()["kind"] == "sparse" || zeros * PRUNED_FROM >= now.len();
            (pruned && zeros > 0).then(|| now.iter().map(|v| u8::from(*v != 0.0)).collect())
        });
        Ok(Self { weight: now, mask, sparsity })
    }
}

/// The float type that a weight of this descriptor is stored in.
pub(crate) fn stored_dtype(descriptor: &Value) -> DType {
    // A sparse weight says it of its kept entries.
    let stored = descriptor.get("values").unwrap_or(descriptor);
    let name = stored.get("dtype").and_then(Value::as_str);
    name.and_then(DType::from_name).unwrap_or(DType::F32)
}

/// Hands over a pruned weight in the smallest form: of integers where it was rounded, else of floats in the type that it
/// had.
pub(crate) fn emit(
    out: &mut Emitter<'_>,
    linear: &Linear<'_>,
    pruned: &Pruned,
) -> Result<(), TechniqueError> {
    if let Some(quantized) = &pruned.quantized {
        return out.emit(linear.name(), Sparse::smallest_of_grouped_int(quantized)?.as_ref());
    }
    let weight = smallest(linear.weight().descriptor(), linear.shape(), &pruned.weight);
    out.emit(linear.name(), weight.map_err(|e| e.about(linear.name()))?.as_ref())
}

/// The smallest form of a pruned weight, given how it was stored before.
pub(crate) fn smallest(
    descriptor: &Value,
    shape: [usize; 2],
    values: &[f32],
) -> Result<Weight, TechniqueError> {
    let dtype = stored_dtype(descriptor);
    // Rounding keeps order, so the largest value tells of all.
    let value = values.iter().fold(0.0f32, |most, v| if v.abs() > most.abs() { *v } else { most });
    if !convert::round_f32(dtype, value).is_finite() {
        let problem = format!("the value {value} cannot be stored as {dtype}; cast to a wider type before");
        return Err(TechniqueError::numerical(problem));
    }
    let weight = Sparse::smallest(dtype, shape, values)?;
    let in_out = descriptor.get("layout").is_some_and(|layout| layout == "in_out");
    if weight.kind() != "dense" || !in_out {
        return Ok(weight);
    }
    // A dense matrix stays the way round that it was stored.
    let [rows, columns] = shape;
    let mut turned = vec![0.0; rows * columns];
    transpose::<8, 16, _, _>(values, columns, &mut turned, rows, shape, |v| v);
    let tensor = Tensor::from_f32(dtype, vec![columns, rows], &turned)?;
    Ok(Arc::new(Dense::with_layout(tensor, Layout::InOut)?))
}
