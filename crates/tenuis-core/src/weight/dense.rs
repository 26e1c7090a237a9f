//! The dense representation: one tensor of a floating-point type.

use super::{Codec, Component, Components, Representation, Weight, WeightError, nothing_left};
use crate::dtype::DType;
use crate::tensor::Tensor;
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The suffix of the only component.
const WEIGHT: &str = "weight";

/// Which dimension of a stored matrix comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[out_features, in_features]`, as `torch.nn.Linear` stores it.
    #[default]
    OutIn,
    /// `[in_features, out_features]`, as GPT-2's `Conv1D` stores it.
    InOut,
}

/// A dense matrix. A vector (a norm's weight, say) counts as one row.
///
/// Stored bytes: `out_features · in_features · size(dtype)`.
#[derive(Clone, Debug)]
pub struct Dense {
    tensor: Tensor,
    layout: Layout,
    shape: [usize; 2],
    dtype: DType,
}

impl Dense {
    /// A matrix in `[out_features, in_features]` layout, or a vector as one row.
    ///
    /// # Errors
    /// [`WeightError::Component`] for more than two dimensions or a type that is not floating-point.
    pub fn new(tensor: Tensor) -> Result<Self, WeightError> {
        Self::with_layout(tensor, Layout::OutIn)
    }

    /// A matrix in the given layout.
    ///
    /// # Errors
    /// As [`Dense::new`].
    pub fn with_layout(tensor: Tensor, layout: Layout) -> Result<Self, WeightError> {
        let wrong = |expected: &str| WeightError::Component {
            component: WEIGHT.to_owned(),
            expected: expected.to_owned(),
            found: format!("{} {:?}", tensor.dtype(), tensor.shape()),
        };
        let dtype =
            tensor.dtype().known().filter(|d| d.is_float()).ok_or_else(|| wrong("a floating-point type"))?;
        let shape = match (tensor.shape(), layout) {
            (&[n], _) => [1, n],
            (&[out, input], Layout::OutIn) | (&[input, out], Layout::InOut) => [out, input],
            _ => return Err(wrong("one or two dimensions")),
        };
        Ok(Self { tensor, layout, shape, dtype })
    }

    /// The element type.
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// The layout of the stored tensor.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The stored tensor.
    pub const fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

impl Representation for Dense {
    fn kind(&self) -> &'static str {
        "dense"
    }

    fn descriptor(&self) -> Value {
        let mut descriptor = json!({ "kind": self.kind(), "dtype": self.dtype.name() });
        if self.layout == Layout::InOut {
            descriptor["layout"] = json!("in_out");
        }
        descriptor
    }

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn components(&self) -> Vec<Component> {
        vec![Component::new(WEIGHT, self.tensor.clone())]
    }

    fn stored_bytes(&self) -> u64 {
        let [out_features, in_features] = self.shape;
        out_features as u64 * in_features as u64 * self.dtype.size() as u64
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape;
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        if self.layout == Layout::OutIn {
            return Ok(self.tensor.read_f32(rows.start * in_features, out)?);
        }
        let mut stored = vec![0.0; rows.len()];
        for column in 0..in_features {
            self.tensor.read_f32(column * out_features + rows.start, &mut stored)?;
            for (row, &value) in stored.iter().enumerate() {
                out[row * in_features + column] = value;
            }
        }
        Ok(())
    }

    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        assert_eq!(factors.len(), self.shape[0]);
        self.scaled(factors, self.layout == Layout::OutIn)
    }

    fn scale_columns(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        assert_eq!(factors.len(), self.shape[1]);
        self.scaled(factors, self.layout == Layout::InOut)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Dense {
    /// Multiplies the first or the last stored dimension by factors.
    fn scaled(&self, factors: &[f32], first: bool) -> Result<Option<Weight>, WeightError> {
        let mut values = self.tensor.to_f32()?.into_owned();
        let width = if self.layout == Layout::OutIn { self.shape[1] } else { self.shape[0] };
        for (row, values) in values.chunks_exact_mut(width.max(1)).enumerate() {
            if first {
                for value in values {
                    *value *= factors[row];
                }
            } else {
                values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
            }
        }
        let tensor = Tensor::from_f32(self.dtype, self.tensor.shape().to_vec(), &values)?;
        if tensor.to_f32()?.iter().any(|value| !value.is_finite()) {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self { tensor, ..self.clone() })))
    }
}

/// Reads `{"kind": "dense", "dtype": "f16"}` with the component `weight`; `"layout": "in_out"` where it is transposed.
#[derive(Clone, Copy, Debug)]
pub struct DenseCodec;

impl Codec for DenseCodec {
    fn kind(&self) -> &'static str {
        "dense"
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        mut components: Components,
    ) -> Result<Weight, WeightError> {
        let wrong = |problem: String| WeightError::Descriptor { descriptor: descriptor.to_string(), problem };
        let layout = match descriptor.get("layout").map(|v| v.as_str()) {
            None | Some(Some("out_in")) => Layout::OutIn,
            Some(Some("in_out")) => Layout::InOut,
            Some(_) => return Err(wrong("layout must be \"out_in\" or \"in_out\"".to_owned())),
        };
        let tensor = components
            .remove(WEIGHT)
            .ok_or_else(|| WeightError::MissingComponent { component: WEIGHT.to_owned() })?;
        nothing_left(&components, self.kind())?;
        let dense = Dense::with_layout(tensor, layout)?;
        if let Some(dtype) = descriptor.get("dtype")
            && dtype.as_str() != Some(dense.dtype.name())
        {
            return Err(wrong(format!("dtype disagrees with the component's {}", dense.dtype)));
        }
        if dense.shape != shape {
            return Err(WeightError::Component {
                component: WEIGHT.to_owned(),
                expected: format!("{shape:?}"),
                found: format!("{:?}", dense.shape),
            });
        }
        Ok(Arc::new(dense))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_decode_to_the_same_matrix() {
        let straight =
            Dense::new(Tensor::from_vec(DType::F32, vec![2, 3], vec![1f32, 2., 3., 4., 5., 6.]).unwrap());
        let turned = Tensor::from_vec(DType::F32, vec![3, 2], vec![1f32, 4., 2., 5., 3., 6.]).unwrap();
        let turned = Dense::with_layout(turned, Layout::InOut).unwrap();
        let straight: Weight = Arc::new(straight.unwrap());
        let mut row = [0.0; 3];
        turned.decode_rows(1..2, &mut row).unwrap();
        assert_eq!(row, [4., 5., 6.]);
        assert_eq!((&turned as &dyn Representation).to_dense().unwrap(), straight.to_dense().unwrap());
    }
}
