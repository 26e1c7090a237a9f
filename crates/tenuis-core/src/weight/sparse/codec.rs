//! Reading sparse weights back, and checking everything about them.

use super::spec::{code_bytes, stored_float};
use super::{BITMASK, CODES, Grid, INDICES, Sparse, SparsePattern, SparseSpec, SparseValues, VALUES};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::weight::grouped_int::{check_index, unpack_zeros};
use crate::weight::{
    Codec, Components, G_IDX, GroupedIntSpec, SCALE, Weight, WeightError, ZERO_POINT, nothing_left, take,
};
use serde_json::Value;
use std::sync::Arc;

/// Reads `{"kind": "sparse", "pattern": "bitmask" | "2:4", "values": …}` with the components that [`Sparse`] lists;
/// `values` is `{"kind": "dense", "dtype": "f16"}` or a descriptor of kind `grouped_int`.
#[derive(Clone, Copy, Debug)]
pub struct SparseCodec;

impl Codec for SparseCodec {
    fn kind(&self) -> &'static str {
        "sparse"
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        components: Components,
    ) -> Result<Weight, WeightError> {
        let spec = SparseSpec::from_descriptor(descriptor)?;
        Ok(Arc::new(Sparse::from_components(spec, shape, components)?))
    }
}

impl Sparse {
    /// Joins components, checking types, shapes, the index and that there are as many values as it calls for.
    ///
    /// # Errors
    /// A [`WeightError`] that names the component.
    pub fn from_components(
        spec: SparseSpec,
        shape: [usize; 2],
        mut components: Components,
    ) -> Result<Self, WeightError> {
        let [out_features, in_features] = shape;
        let index_shape = [out_features, in_features.div_ceil(8)];
        let u8_only = |d| d == DType::U8;
        let (index, before) = match spec.pattern {
            SparsePattern::Bitmask => {
                let index = take(&mut components, BITMASK, u8_only, "u8", &index_shape)?;
                let before = count(&index, in_features)?;
                (index, before)
            }
            SparsePattern::TwoOfFour => {
                if !in_features.is_multiple_of(4) {
                    return Err(WeightError::Descriptor {
                        descriptor: spec.descriptor().to_string(),
                        problem: format!("{in_features} input features are no whole number of fours"),
                    });
                }
                let index = take(&mut components, INDICES, u8_only, "u8", &index_shape)?;
                check_pairs(&index, in_features)?;
                (index, Vec::new())
            }
        };
        let kept = before.last().copied().unwrap_or_default();
        let (values, grid, code_bytes) = match spec.values {
            SparseValues::Float(dtype) => {
                if !stored_float(dtype) {
                    return Err(WeightError::Descriptor {
                        descriptor: spec.descriptor().to_string(),
                        problem: "values.dtype must be f32, f16 or bf16".to_owned(),
                    });
                }
                let value_shape = match spec.pattern {
                    SparsePattern::Bitmask => vec![kept],
                    SparsePattern::TwoOfFour => vec![out_features, in_features / 2],
                };
                let values = take(&mut components, VALUES, |d| d == dtype, dtype.name(), &value_shape)?;
                (values, None, Vec::new())
            }
            SparseValues::Int(int) => {
                let starts = starts(int, shape, &before);
                let code_shape = match spec.pattern {
                    SparsePattern::Bitmask => vec![starts.last().copied().unwrap_or_default()],
                    SparsePattern::TwoOfFour => {
                        vec![out_features, code_bytes(int.bits, in_features / 2)]
                    }
                };
                let codes = take(&mut components, CODES, u8_only, "u8", &code_shape)?;
                check_padding(int, shape, &codes, &before, &starts)?;
                let grid = Grid::take(int, shape, &mut components)?;
                (codes, Some(grid), starts)
            }
        };
        nothing_left(&components, "sparse")?;
        Ok(Self { spec, shape, index, values, grid, before, code_bytes })
    }
}

impl Grid {
    fn take(
        spec: GroupedIntSpec,
        [out_features, in_features]: [usize; 2],
        components: &mut Components,
    ) -> Result<Self, WeightError> {
        let groups = spec.group_size.groups(in_features)?;
        let i32_only = |d| d == DType::I32;
        let scale = spec.scale_dtype;
        let scales = take(components, SCALE, |d| d == scale, scale.name(), &[out_features, groups])?;
        let zero_point = if spec.symmetric {
            None
        } else {
            let shape = [spec.bits.words(out_features), groups];
            Some(take(components, ZERO_POINT, i32_only, "i32", &shape)?)
        };
        let group_index = if spec.group_index {
            let index = take(components, G_IDX, i32_only, "i32", &[in_features])?;
            check_index(&index.cast::<i32>()?, groups)?;
            Some(index)
        } else {
            None
        };
        let zeros = match &zero_point {
            Some(tensor) => unpack_zeros(spec.bits, &tensor.cast::<i32>()?, out_features, groups),
            None => Vec::new(),
        };
        Ok(Self { groups, scales, zero_point, group_index, zeros })
    }
}

/// Entries kept before each row, and at the end all of them.
fn count(index: &Tensor, in_features: usize) -> Result<Vec<usize>, WeightError> {
    let stride = in_features.div_ceil(8);
    let rows = index.shape()[0];
    let mut before = Vec::with_capacity(rows + 1);
    let mut kept = 0;
    before.push(0);
    for row in 0..rows {
        let bytes = &index.data()[row * stride..(row + 1) * stride];
        if let Some(&last) =
            bytes.last().filter(|&&b| !in_features.is_multiple_of(8) && b >> (in_features % 8) != 0)
        {
            return Err(value(BITMASK, (row + 1) * stride - 1, last, "no bit beyond the last column"));
        }
        let (words, rest) = bytes.as_chunks::<8>();
        kept += words.iter().map(|w| u64::from_le_bytes(*w).count_ones() as usize).sum::<usize>();
        kept += rest.iter().map(|b| b.count_ones() as usize).sum::<usize>();
        before.push(kept);
    }
    Ok(before)
}

/// Every nibble names two columns, the smaller first; a nibble without a group is zero.
fn check_pairs(index: &Tensor, in_features: usize) -> Result<(), WeightError> {
    let stride = in_features.div_ceil(8);
    let half = !in_features.is_multiple_of(8);
    let sorted = |nibble: u8| nibble & 3 < nibble >> 2;
    for (at, &byte) in index.data().iter().enumerate() {
        let second = if half && (at + 1).is_multiple_of(stride) { byte >> 4 == 0 } else { sorted(byte >> 4) };
        if !(sorted(byte & 15) && second) {
            return Err(value(
                INDICES,
                at,
                byte,
                "two ascending columns a nibble, and zero where there is no group",
            ));
        }
    }
    Ok(())
}

/// The bytes of codes before each row of a bitmask, and at the end all of them; nothing for 2:4.
fn starts(spec: GroupedIntSpec, [out_features, _]: [usize; 2], before: &[usize]) -> Vec<usize> {
    if before.is_empty() {
        return Vec::new();
    }
    let mut starts = Vec::with_capacity(out_features + 1);
    starts.push(0);
    let mut end = 0;
    for pair in before.windows(2) {
        end += code_bytes(spec.bits, pair[1] - pair[0]);
        starts.push(end);
    }
    starts
}

/// The last byte of a row's codes has no bit beyond them.
fn check_padding(
    spec: GroupedIntSpec,
    [out_features, in_features]: [usize; 2],
    codes: &Tensor,
    before: &[usize],
    starts: &[usize],
) -> Result<(), WeightError> {
    for row in 0..out_features {
        let (entries, end) = if starts.is_empty() {
            (in_features / 2, (row + 1) * code_bytes(spec.bits, in_features / 2))
        } else {
            (before[row + 1] - before[row], starts[row + 1])
        };
        let used = entries * usize::from(spec.bits.get()) % 8;
        if used != 0 && codes.data()[end - 1] >> used != 0 {
            return Err(value(CODES, end - 1, codes.data()[end - 1], "no bit beyond a row's last code"));
        }
    }
    Ok(())
}

fn value(component: &str, index: usize, found: u8, allowed: &str) -> WeightError {
    WeightError::Value {
        component: component.to_owned(),
        index,
        value: format!("{found:#010b}"),
        allowed: allowed.to_owned(),
    }
}
