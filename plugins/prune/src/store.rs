//! In which form a pruned weight is handed back.

use tenuis_plugin::core::{DType, Dense, Tensor};
use tenuis_plugin::{Emitter, Linear, TechniqueError};

/// Emits a pruned weight in the type that the weight had.
pub(crate) fn emit(out: &mut Emitter<'_>, linear: &Linear<'_>, values: &[f32]) -> Result<(), TechniqueError> {
    let name = linear.weight().descriptor().get("dtype").and_then(|v| v.as_str());
    let dtype = name.and_then(DType::from_name).unwrap_or(DType::F32);
    let tensor = Tensor::from_f32(dtype, linear.shape().to_vec(), values)?;
    out.emit(linear.name(), &Dense::new(tensor)?)
}
