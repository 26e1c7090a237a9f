//! Eight-bit weights for activations that are rounded to eight bits per token at run time.

use super::{Codec, Component, Components, Representation, Weight, WeightError, nothing_left, take};
use crate::convert::round_f32;
use crate::dtype::DType;
use crate::tensor::Tensor;
use serde::Deserialize;
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The suffix of the codes; that of a dense weight too, told apart by the type.
const WEIGHT: &str = "weight";
/// The suffix of the scales.
const SCALE: &str = "weight_scale";
/// The descriptor's kind.
const KIND: &str = "int8_dynamic";
/// As for grouped integers: the largest relative error of a scale that is multiplied in its stored type.
const SCALE_ROUNDING: f32 = 1.0 / 256.0;

/// `W[o, i] = scale[o] · code[o, i]`, with the promise that a product rounds its input too (W8A8, "dynamic" int8):
/// for a token `x`, `t = max|x| / 127`, `y[o] = scale[o] · t · Σᵢ code[o, i] · round(x[i] / t)`, an integer sum.
///
/// It is what compressed-tensors calls `int-quantized` with dynamic input activations per token.
///
/// # Components
/// | suffix | type | shape |
/// |---|---|---|
/// | `weight` | i8 | `[out, in]` |
/// | `weight_scale` | f32, f16 or bf16 | `[out, 1]` |
///
/// Stored bytes: `out · in + out · size(scale)`.
///
/// ```
/// use tenuis_core::{DType, Int8Dynamic, Representation};
/// let weight = Int8Dynamic::from_codes([2, 2], vec![127, -1, 0, 4], &[0.5, 2.0], DType::F32)?;
/// assert_eq!((&weight as &dyn Representation).to_dense()?, [63.5, -0.5, 0.0, 8.0]);
/// # Ok::<(), tenuis_core::WeightError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Int8Dynamic {
    shape: [usize; 2],
    scale_dtype: DType,
    codes: Tensor,
    scales: Tensor,
}

impl Int8Dynamic {
    /// Joins codes `[out, in]` and scales `[out]`, which are rounded to their stored type.
    ///
    /// # Errors
    /// [`WeightError`] where the lengths or the scales' type do not fit.
    pub fn from_codes(
        shape: [usize; 2],
        codes: Vec<i8>,
        scales: &[f32],
        scale_dtype: DType,
    ) -> Result<Self, WeightError> {
        let codes = Tensor::from_vec(DType::I8, shape.to_vec(), codes)?;
        let scales = Tensor::from_f32(scale_dtype, vec![shape[0], 1], scales)?;
        let components = Components::from([(WEIGHT.to_owned(), codes), (SCALE.to_owned(), scales)]);
        Self::from_components(shape, scale_dtype, components)
    }

    fn from_components(
        shape: [usize; 2],
        scale_dtype: DType,
        mut components: Components,
    ) -> Result<Self, WeightError> {
        let codes = take(&mut components, WEIGHT, |d| d == DType::I8, "i8", &shape)?;
        let scales = take(&mut components, SCALE, |d| d == scale_dtype, scale_dtype.name(), &[shape[0], 1])?;
        nothing_left(&components, KIND)?;
        Ok(Self { shape, scale_dtype, codes, scales })
    }

    /// The descriptor of such a weight.
    pub(crate) fn describe(scale_dtype: DType) -> Value {
        json!({ "kind": KIND, "scale_dtype": scale_dtype.name() })
    }

    /// The codes of a row, `in_features` of them.
    pub fn codes_row(&self, row: usize) -> &[i8] {
        let ins = self.shape[1];
        bytemuck::cast_slice(&self.codes.data()[row * ins..(row + 1) * ins])
    }

    /// The scales, `[out_features]`.
    ///
    /// # Errors
    /// [`WeightError::Tensor`]; cannot happen for a weight that was built.
    pub fn scales(&self) -> Result<Vec<f32>, WeightError> {
        Ok(self.scales.to_f32()?.into_owned())
    }
}

impl Representation for Int8Dynamic {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn descriptor(&self) -> Value {
        Self::describe(self.scale_dtype)
    }

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn components(&self) -> Vec<Component> {
        vec![Component::new(WEIGHT, self.codes.clone()), Component::new(SCALE, self.scales.clone())]
    }

    fn stored_bytes(&self) -> u64 {
        (self.shape[0] * (self.shape[1] + self.scale_dtype.size())) as u64
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape;
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        let mut scale = [0.0];
        for (row, out) in rows.zip(out.chunks_exact_mut(in_features.max(1))) {
            self.scales.read_f32(row, &mut scale)?;
            out.iter_mut()
                .zip(self.codes_row(row))
                .for_each(|(value, &code)| *value = scale[0] * f32::from(code));
        }
        Ok(())
    }

    /// The codes stay, the scales are multiplied and rounded to their type again.
    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        assert_eq!(factors.len(), self.shape[0]);
        let mut scales = self.scales()?;
        for (scale, factor) in scales.iter_mut().zip(factors) {
            let exact = *scale * factor;
            *scale = round_f32(self.scale_dtype, exact);
            if !scale.is_finite() || (*scale - exact).abs() > SCALE_ROUNDING * exact.abs() {
                return Ok(None);
            }
        }
        let scales = Tensor::from_f32(self.scale_dtype, vec![self.shape[0], 1], &scales)?;
        Ok(Some(Arc::new(Self { scales, ..self.clone() })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads `{"kind": "int8_dynamic", "scale_dtype": "f16"}` with the components that [`Int8Dynamic`] lists.
#[derive(Clone, Copy, Debug)]
pub struct Int8DynamicCodec;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Descriptor {
    #[serde(rename = "kind")]
    _kind: String,
    scale_dtype: String,
}

impl Codec for Int8DynamicCodec {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        components: Components,
    ) -> Result<Weight, WeightError> {
        let wrong = |problem: String| WeightError::Descriptor { descriptor: descriptor.to_string(), problem };
        let parsed = Descriptor::deserialize(descriptor).map_err(|e| wrong(e.to_string()))?;
        let dtype = DType::from_name(&parsed.scale_dtype)
            .filter(|d| matches!(d, DType::F32 | DType::F16 | DType::BF16))
            .ok_or_else(|| wrong("scale_dtype must be f32, f16 or bf16".to_owned()))?;
        Ok(Arc::new(Int8Dynamic::from_components(shape, dtype, components)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight::CodecRegistry;

    #[test]
    fn bytes_and_round_trip() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let weight: Weight = Arc::new(
                Int8Dynamic::from_codes([2, 3], vec![1, -2, 3, -128, 127, 0], &[0.5, 4.0], dtype).unwrap(),
            );
            let held: usize = weight.components().iter().map(|c| c.tensor.data().len()).sum();
            assert_eq!(held as u64, weight.stored_bytes());
            let components: Components =
                weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
            let codecs = CodecRegistry::builtin();
            let again = codecs.decode([2, 3], &weight.descriptor(), components.clone()).unwrap();
            assert_eq!(again.to_dense().unwrap(), [0.5, -1.0, 1.5, -512.0, 508.0, 0.0]);
            let rows = weight.scale_rows(&[2.0, 0.5]).unwrap().unwrap();
            assert_eq!(rows.to_dense().unwrap(), [1.0, -2.0, 3.0, -256.0, 254.0, 0.0]);
            assert!(weight.scale_columns(&[1.0; 3]).unwrap().is_none());
            let refused = codecs.decode([3, 2], &weight.descriptor(), components);
            assert!(matches!(refused, Err(WeightError::Component { .. })));
        }
    }
}
