//! Blocks of 32 codes of four bits with a scale and a minimum, as GGUF's type Q4_1 has them.

use super::{Codec, Component, Components, Representation, Weight, WeightError, nothing_left, take};
use crate::dtype::DType;
use crate::gguf::GgmlType;
use crate::gguf::blocks::{ELEMENTS, unpack_nibbles};
use crate::tensor::Tensor;
use half::f16;
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The suffix of the only component.
pub(crate) const BLOCKS: &str = "weight_q4_1";
const KIND: &str = "q4_1";

/// A matrix in blocks of 32 columns: `w = q·d + m`, `q` of four bits, `d` and `m` f16.
///
/// The minimum `m` is a number of its own, no multiple of the scale, so that
/// [`GroupedInt`](crate::weight::GroupedInt) with its whole zero points cannot hold it.
///
/// Stored bytes: `out_features · in_features / 32 · 20`.
#[derive(Clone, Debug)]
pub struct Q4_1 {
    blocks: Tensor,
    shape: [usize; 2],
}

impl Q4_1 {
    /// Takes blocks, u8 `[out, in/32 · 20]`.
    ///
    /// # Errors
    /// [`WeightError::Component`] for another type or shape, [`WeightError::GroupSize`] where 32 does not divide the columns.
    pub fn new(shape: [usize; 2], blocks: Tensor) -> Result<Self, WeightError> {
        let [out_features, in_features] = shape;
        let wrong = WeightError::GroupSize { group_size: ELEMENTS, in_features };
        let row = GgmlType::Q4_1.row_bytes(in_features).ok_or(wrong)?;
        let mut components = Components::from([(BLOCKS.to_owned(), blocks)]);
        let blocks = take(&mut components, BLOCKS, |d| d == DType::U8, "u8", &[out_features, row])?;
        Ok(Self { blocks, shape })
    }

    /// The blocks of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        let bytes = self.blocks.shape()[1];
        &self.blocks.data()[row * bytes..(row + 1) * bytes]
    }
}

impl Representation for Q4_1 {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn descriptor(&self) -> Value {
        json!({ "kind": KIND })
    }

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn components(&self) -> Vec<Component> {
        vec![Component::new(BLOCKS, self.blocks.clone())]
    }

    fn stored_bytes(&self) -> u64 {
        let [out_features, in_features] = self.shape;
        (out_features * (in_features / ELEMENTS) * GgmlType::Q4_1.block_bytes()) as u64
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape;
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        let mut codes = [0; ELEMENTS];
        for (row, out) in rows.zip(out.chunks_exact_mut(in_features.max(1))) {
            let blocks = self.row(row).chunks_exact(GgmlType::Q4_1.block_bytes());
            for (block, out) in blocks.zip(out.chunks_exact_mut(ELEMENTS)) {
                let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
                let (scale, minimum) = (half(0), half(2));
                unpack_nibbles(&block[4..], &mut codes);
                for (value, &code) in out.iter_mut().zip(&codes) {
                    *value = f32::from(code) * scale + minimum;
                }
            }
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads `{"kind": "q4_1"}` with the component `weight_q4_1`.
#[derive(Clone, Copy, Debug)]
pub struct Q4_1Codec;

impl Codec for Q4_1Codec {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        mut components: Components,
    ) -> Result<Weight, WeightError> {
        if descriptor.as_object().is_none_or(|fields| fields.len() != 1) {
            let (descriptor, problem) = (descriptor.to_string(), "has more than a kind".to_owned());
            return Err(WeightError::Descriptor { descriptor, problem });
        }
        let blocks = components
            .remove(BLOCKS)
            .ok_or_else(|| WeightError::MissingComponent { component: BLOCKS.to_owned() })?;
        nothing_left(&components, KIND)?;
        Ok(Arc::new(Q4_1::new(shape, blocks)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_formula_and_counts_its_bytes() {
        let mut block = Vec::new();
        block.extend(f16::from_f32(0.5).to_le_bytes());
        block.extend(f16::from_f32(-3.0).to_le_bytes());
        block.extend((0..16).map(|j| j | (15 - j) << 4));
        let blocks = Tensor::from_vec(DType::U8, vec![1, 20], block).unwrap();
        let weight: Weight = Arc::new(Q4_1::new([1, 32], blocks.clone()).unwrap());
        let values = weight.to_dense().unwrap();
        assert_eq!((values[0], values[15], values[16], values[31]), (-3.0, 4.5, 4.5, -3.0));
        assert_eq!(weight.stored_bytes(), 20);
        let components = Components::from([(BLOCKS.to_owned(), blocks.clone())]);
        let again = Q4_1Codec.decode([1, 32], &weight.descriptor(), components).unwrap();
        assert_eq!(again.to_dense().unwrap(), values);
        assert!(matches!(Q4_1::new([1, 48], blocks.clone()), Err(WeightError::GroupSize { .. })));
        assert!(matches!(Q4_1::new([2, 32], blocks), Err(WeightError::Component { .. })));
    }
}
