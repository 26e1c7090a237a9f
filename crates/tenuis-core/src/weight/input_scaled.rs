//! A weight that was made for a scaled input: the scales are divided out at run time.

use super::{Codec, Component, Components, Representation, Weight, WeightError, nested, nothing_left, take};
use crate::dtype::DType;
use crate::tensor::Tensor;
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The suffix of the scales.
const INPUT_SCALE: &str = "input_scale";
/// The descriptor's kind.
const KIND: &str = "input_scaled";
/// The part that the scales belong to.
const INNER: &str = "inner";
/// Kinds that take scales in another way: scales are multiplied, and the terms of a sum are scaled one by one.
const REFUSED: [&str; 2] = [KIND, "sum"];

/// `W[o, i] = inner[o, i] / scale[i]`, computed as `y = inner · (x / scale)`.
///
/// Techniques that move difficulty between activations and weights (AWQ, SmoothQuant) multiply the columns of a weight
/// and fold the inverse into whatever produces the input. This is for inputs whose producer takes no factor.
///
/// # Components
/// `inner.{suffix}`: the components of the inner weight; `input_scale`: f32 `[in]`, all finite and positive.
///
/// Stored bytes: those of the inner weight and `4 · in_features`.
///
/// ```
/// use std::sync::Arc;
/// use tenuis_core::{DType, Dense, InputScaled, Representation, Tensor, Weight};
/// let inner: Weight = Arc::new(Dense::new(Tensor::from_vec(DType::F32, vec![1, 2], vec![2.0f32, 3.0])?)?);
/// let scaled: Weight = Arc::new(InputScaled::new(inner, &[2.0, 0.5])?);
/// assert_eq!(scaled.to_dense()?, [1.0, 6.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct InputScaled {
    inner: Weight,
    scale: Vec<f32>,
    stored: Tensor,
}

impl InputScaled {
    /// Joins a weight and the scale that its input is divided by, `[in_features]`.
    ///
    /// # Errors
    /// [`WeightError::Component`] where the lengths differ, [`WeightError::Value`] for a scale that is not a positive
    /// number, [`WeightError::Descriptor`] for a weight that is itself scaled, or a sum.
    pub fn new(inner: Weight, scale: &[f32]) -> Result<Self, WeightError> {
        if REFUSED.contains(&inner.kind()) {
            return Err(WeightError::Descriptor {
                descriptor: inner.descriptor().to_string(),
                problem: format!("kind {:?} is not allowed as part {INNER:?}", inner.kind()),
            });
        }
        let in_features = inner.shape()[1];
        if scale.len() != in_features {
            return Err(WeightError::Component {
                component: INPUT_SCALE.to_owned(),
                expected: format!("{in_features} values"),
                found: format!("{} values", scale.len()),
            });
        }
        if let Some(index) = scale.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(WeightError::Value {
                component: INPUT_SCALE.to_owned(),
                index,
                value: scale[index].to_string(),
                allowed: "positive numbers".to_owned(),
            });
        }
        let stored = Tensor::from_f32(DType::F32, vec![in_features], scale)?;
        Ok(Self { inner, scale: scale.to_vec(), stored })
    }

    /// The weight for the divided input.
    pub const fn inner(&self) -> &Weight {
        &self.inner
    }

    /// What the input is divided by, `[in_features]`.
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }
}

impl Representation for InputScaled {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn descriptor(&self) -> Value {
        json!({ "kind": KIND, INNER: self.inner.descriptor() })
    }

    fn shape(&self) -> [usize; 2] {
        self.inner.shape()
    }

    fn components(&self) -> Vec<Component> {
        let scale = Component::new(INPUT_SCALE, self.stored.clone());
        nested::prefixed(INNER, self.inner.as_ref()).chain([scale]).collect()
    }

    fn stored_bytes(&self) -> u64 {
        self.inner.stored_bytes() + 4 * self.scale.len() as u64
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        self.inner.decode_rows(rows, out)?;
        for row in out.chunks_exact_mut(self.scale.len().max(1)) {
            row.iter_mut().zip(&self.scale).for_each(|(value, scale)| *value /= scale);
        }
        Ok(())
    }

    fn parameters(&self) -> u64 {
        self.inner.parameters()
    }

    fn nonzero_parameters(&self) -> Result<u64, WeightError> {
        self.inner.nonzero_parameters()
    }

    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        let inner = self.inner.scale_rows(factors)?;
        Ok(inner.map(|inner| Arc::new(Self { inner, ..self.clone() }) as Weight))
    }

    fn scale_columns(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        let scale: Vec<f32> = self.scale.iter().zip(factors).map(|(scale, factor)| scale / factor).collect();
        // A quotient beyond the range of f32 is no scale any more.
        Ok(Self::new(self.inner.clone(), &scale).ok().map(|scaled| Arc::new(scaled) as Weight))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads `{"kind": "input_scaled", "inner": DESCRIPTOR}`, where the inner descriptor is of another kind of this crate but `sum`.
#[derive(Clone, Copy, Debug)]
pub struct InputScaledCodec;

impl Codec for InputScaledCodec {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        mut components: Components,
    ) -> Result<Weight, WeightError> {
        let wrong = |problem: &str| WeightError::Descriptor {
            descriptor: descriptor.to_string(),
            problem: problem.to_owned(),
        };
        nested::check_keys(descriptor, &["kind", INNER])?;
        let inner = descriptor.get(INNER).ok_or_else(|| wrong("has no \"inner\""))?;
        let inner = nested::decode(INNER, shape, inner, &mut components, &REFUSED)?;
        let scale = take(&mut components, INPUT_SCALE, |d| d == DType::F32, "f32", &[shape[1]])?;
        nothing_left(&components, KIND)?;
        Ok(Arc::new(InputScaled::new(inner, &scale.to_f32()?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bits;
    use crate::weight::{CodecRegistry, Dense, GroupSize, GroupedInt, GroupedIntSpec};

    fn grouped(scale_dtype: DType) -> Weight {
        let spec = GroupedIntSpec {
            bits: Bits::FOUR,
            group_size: GroupSize::Columns(2),
            symmetric: false,
            scale_dtype,
            group_index: false,
        };
        let zeros = [7, 9, 1, 15];
        let scales = [0.5, 2.0, 0.25, 1.0];
        Arc::new(
            GroupedInt::from_codes(spec, [2, 4], &[0, 15, 3, 4, 9, 8, 7, 1], &scales, Some(&zeros), None)
                .unwrap(),
        )
    }

    fn dense() -> Weight {
        let values: Vec<f32> = (0..8u8).map(f32::from).collect();
        Arc::new(Dense::new(Tensor::from_vec(DType::F32, vec![2, 4], values).unwrap()).unwrap())
    }

    #[test]
    fn bytes_and_round_trip() {
        for inner in [grouped(DType::F16), dense()] {
            let weight: Weight = Arc::new(InputScaled::new(inner, &[2.0, 0.5, 1.0, 4.0]).unwrap());
            let held: usize = weight.components().iter().map(|c| c.tensor.data().len()).sum();
            assert_eq!(held as u64, weight.stored_bytes());
            let components =
                weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
            let again = CodecRegistry::builtin().decode([2, 4], &weight.descriptor(), components).unwrap();
            assert_eq!(again.to_dense().unwrap(), weight.to_dense().unwrap());
        }
    }

    /// Powers of two pass through every stored type without rounding.
    #[test]
    fn rows_and_columns_take_factors() {
        for weight in [dense(), grouped(DType::F16), Arc::new(InputScaled::new(dense(), &[1.0; 4]).unwrap())]
        {
            let before = weight.to_dense().unwrap();
            let rows = weight.scale_rows(&[2.0, 0.25]).unwrap().unwrap();
            let expected: Vec<f32> = before.iter().enumerate().map(|(i, v)| v * [2.0, 0.25][i / 4]).collect();
            assert_eq!(rows.to_dense().unwrap(), expected);
            assert_eq!(rows.descriptor(), weight.descriptor());
            let Some(columns) = weight.scale_columns(&[1.0, 2.0, 4.0, 0.5]).unwrap() else {
                assert_eq!(weight.kind(), "grouped_int", "whose columns share scales");
                continue;
            };
            let expected: Vec<f32> =
                before.iter().enumerate().map(|(i, v)| v * [1.0, 2.0, 4.0, 0.5][i % 4]).collect();
            assert_eq!(columns.to_dense().unwrap(), expected);
        }
    }

    #[test]
    fn factors_beyond_the_stored_type_are_declined() {
        assert!(
            grouped(DType::F16).scale_rows(&[1e-7, 1.0]).unwrap().is_none(),
            "scales would lose their digits"
        );
        assert!(grouped(DType::F16).scale_rows(&[1.0, 1e6]).unwrap().is_none(), "scales would be infinite");
        assert!(grouped(DType::F32).scale_rows(&[1e-7, 1e6]).unwrap().is_some());
        assert!(dense().scale_rows(&[1.0, f32::MAX]).unwrap().is_none());
    }

    #[test]
    fn scales_that_make_no_sense_are_refused() {
        assert!(matches!(InputScaled::new(dense(), &[1.0; 3]), Err(WeightError::Component { .. })));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let refused = InputScaled::new(dense(), &[1.0, bad, 1.0, 1.0]);
            assert!(matches!(refused, Err(WeightError::Value { index: 1, .. })), "{bad}");
        }
        let twice = json!({ "kind": "input_scaled", "inner": { "kind": "input_scaled" } });
        let refused = InputScaledCodec.decode([2, 4], &twice, Components::new());
        assert!(matches!(refused, Err(WeightError::Descriptor { .. })));
    }
}
