//! Building and checking grouped integer weights.

use super::{
    G_IDX, GroupSize, GroupedInt, GroupedIntSpec, PACKED, SCALE, SHAPE, ZERO_POINT, pack_codes, unpack_codes,
};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::units::Bits;
use crate::weight::{Codec, Components, Weight, WeightError, nothing_left, take};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Reads `{"kind": "grouped_int", "bits": 4, "group_size": 128 | "channel", "symmetric": true, "scale_dtype": "f16",
/// "g_idx": false}` with the components that [`GroupedInt`] lists.
#[derive(Clone, Copy, Debug)]
pub struct GroupedIntCodec;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Descriptor {
    #[serde(rename = "kind")]
    _kind: String,
    bits: Bits,
    group_size: StoredGroupSize,
    symmetric: bool,
    scale_dtype: String,
    #[serde(default)]
    g_idx: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StoredGroupSize {
    Columns(usize),
    Name(String),
}

impl Codec for GroupedIntCodec {
    fn kind(&self) -> &'static str {
        "grouped_int"
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        components: Components,
    ) -> Result<Weight, WeightError> {
        let spec = parse(descriptor)?;
        Ok(Arc::new(GroupedInt::from_components(spec, shape, components)?))
    }
}

pub(super) fn parse(descriptor: &Value) -> Result<GroupedIntSpec, WeightError> {
    let wrong = |problem: String| WeightError::Descriptor { descriptor: descriptor.to_string(), problem };
    let parsed = Descriptor::deserialize(descriptor).map_err(|e| wrong(e.to_string()))?;
    let group_size = match parsed.group_size {
        StoredGroupSize::Columns(n) => GroupSize::Columns(n),
        StoredGroupSize::Name(name) if name == "channel" => GroupSize::Channel,
        StoredGroupSize::Name(name) => {
            return Err(wrong(format!("group_size {name:?}: a number or \"channel\"")));
        }
    };
    let scale_dtype = DType::from_name(&parsed.scale_dtype)
        .filter(|&d| is_scale_type(d))
        .ok_or_else(|| wrong("scale_dtype must be f32, f16 or bf16".to_owned()))?;
    Ok(GroupedIntSpec {
        bits: parsed.bits,
        group_size,
        symmetric: parsed.symmetric,
        scale_dtype,
        group_index: parsed.g_idx,
    })
}

fn is_scale_type(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

impl GroupedInt {
    /// Joins components that are already packed, checking types, shapes and the group index.
    ///
    /// # Errors
    /// A [`WeightError`] that names the component.
    pub fn from_components(
        spec: GroupedIntSpec,
        shape: [usize; 2],
        mut components: Components,
    ) -> Result<Self, WeightError> {
        let [out_features, in_features] = shape;
        let groups = spec.group_size.groups(in_features)?;
        let i32_only = |d| d == DType::I32;
        let packed =
            take(&mut components, PACKED, i32_only, "i32", &[out_features, spec.bits.words(in_features)])?;
        let scale_type = spec.scale_dtype;
        let scales =
            take(&mut components, SCALE, |d| d == scale_type, scale_type.name(), &[out_features, groups])?;
        let zero_point = if spec.symmetric {
            None
        } else {
            Some(take(
                &mut components,
                ZERO_POINT,
                i32_only,
                "i32",
                &[spec.bits.words(out_features), groups],
            )?)
        };
        let group_index = if spec.group_index {
            Some(take(&mut components, G_IDX, i32_only, "i32", &[in_features])?)
        } else {
            None
        };
        let stored = take(&mut components, SHAPE, |d| matches!(d, DType::I64 | DType::I32), "i64", &[2])?;
        check_shape(&stored, shape)?;
        nothing_left(&components, "grouped_int")?;
        if let Some(index) = &group_index {
            check_index(&index.cast::<i32>()?, groups)?;
        }
        let zeros = match &zero_point {
            Some(tensor) => unpack_zeros(spec.bits, &tensor.cast::<i32>()?, out_features, groups),
            None => Vec::new(),
        };
        Ok(Self { spec, shape, groups, packed, scales, zero_point, group_index, zeros })
    }
}

fn check_shape(stored: &Tensor, shape: [usize; 2]) -> Result<(), WeightError> {
    let found: Vec<i64> = match stored.known_dtype()? {
        DType::I64 => stored.cast::<i64>()?.into_owned(),
        _ => stored.cast::<i32>()?.iter().map(|&v| i64::from(v)).collect(),
    };
    if found == shape.map(|d| d as i64) {
        return Ok(());
    }
    Err(WeightError::Component {
        component: SHAPE.to_owned(),
        expected: format!("{shape:?}"),
        found: format!("{found:?}"),
    })
}

pub(in crate::weight) fn check_index(index: &[i32], groups: usize) -> Result<(), WeightError> {
    match index.iter().position(|&g| usize::try_from(g).map_or(true, |g| g >= groups)) {
        None => Ok(()),
        Some(position) => Err(WeightError::Value {
            component: G_IDX.to_owned(),
            index: position,
            value: index[position].to_string(),
            allowed: format!("0..{groups}"),
        }),
    }
}

pub(crate) fn shape_tensor(shape: [usize; 2]) -> Tensor {
    let values: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    #[expect(clippy::expect_used, reason = "two i64 always fill a tensor of shape [2]")]
    Tensor::from_vec(DType::I64, vec![2], values).expect("two values")
}

pub(super) fn build(
    spec: GroupedIntSpec,
    shape: [usize; 2],
    codes: &[u8],
    scales: &[f32],
    zeros: Option<&[u8]>,
    group_index: Option<&[u32]>,
) -> Result<GroupedInt, WeightError> {
    let [out_features, in_features] = shape;
    let groups = spec.group_size.groups(in_features)?;
    let length = |component: &str, found: usize, expected: usize| {
        if found == expected {
            return Ok(());
        }
        Err(WeightError::Component {
            component: component.to_owned(),
            expected: format!("{expected} values"),
            found: format!("{found} values"),
        })
    };
    length(PACKED, codes.len(), out_features * in_features)?;
    length(SCALE, scales.len(), out_features * groups)?;
    length(ZERO_POINT, zeros.map_or(0, <[u8]>::len), if spec.symmetric { 0 } else { out_features * groups })?;
    length(G_IDX, group_index.map_or(0, <[u32]>::len), if spec.group_index { in_features } else { 0 })?;
    for (component, values) in [(PACKED, codes), (ZERO_POINT, zeros.unwrap_or_default())] {
        if let Some(index) = values.iter().position(|&v| v > spec.bits.max_code()) {
            return Err(WeightError::Value {
                component: component.to_owned(),
                index,
                value: values[index].to_string(),
                allowed: format!("0..={}", spec.bits.max_code()),
            });
        }
    }

    let words = spec.bits.words(in_features);
    let mut packed = Vec::with_capacity(out_features * words);
    for row in codes.chunks_exact(in_features.max(1)) {
        packed.extend(pack_codes(spec.bits, row));
    }
    let mut components = Components::new();
    components.insert(PACKED.to_owned(), Tensor::from_vec(DType::I32, vec![out_features, words], packed)?);
    let scale = Tensor::from_f32(spec.scale_dtype, vec![out_features, groups], scales)?;
    components.insert(SCALE.to_owned(), scale);
    if let Some(zeros) = zeros.filter(|_| !spec.symmetric) {
        let words = spec.bits.words(out_features);
        let packed = pack_zeros(spec.bits, zeros, out_features, groups);
        components.insert(ZERO_POINT.to_owned(), Tensor::from_vec(DType::I32, vec![words, groups], packed)?);
    }
    if let Some(index) = group_index.filter(|_| spec.group_index) {
        let index = index.iter().map(|&g| g as i32).collect();
        components.insert(G_IDX.to_owned(), Tensor::from_vec(DType::I32, vec![in_features], index)?);
    }
    components.insert(SHAPE.to_owned(), shape_tensor(shape));
    GroupedInt::from_components(spec, shape, components)
}

/// `[out, groups]` codes to `[words(out), groups]`, packed along `out`.
fn pack_zeros(bits: Bits, zeros: &[u8], out_features: usize, groups: usize) -> Vec<i32> {
    let words = bits.words(out_features);
    let mut packed = vec![0; words * groups];
    for group in 0..groups {
        let column: Vec<u8> = (0..out_features).map(|row| zeros[row * groups + group]).collect();
        for (word, value) in pack_codes(bits, &column).into_iter().enumerate() {
            packed[word * groups + group] = value;
        }
    }
    packed
}

pub(in crate::weight) fn unpack_zeros(
    bits: Bits,
    packed: &[i32],
    out_features: usize,
    groups: usize,
) -> Vec<u8> {
    let words = bits.words(out_features);
    let mut zeros = vec![0; out_features * groups];
    let mut column = vec![0; out_features];
    for group in 0..groups {
        let stream: Vec<i32> = (0..words).map(|word| packed[word * groups + group]).collect();
        unpack_codes(bits, bytemuck::cast_slice(&stream), &mut column);
        for (row, &zero) in column.iter().enumerate() {
            zeros[row * groups + group] = zero;
        }
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight::Representation;
    use proptest::prelude::*;

    fn weight(spec: GroupedIntSpec, shape: [usize; 2], seed: u32) -> GroupedInt {
        let groups = spec.group_size.groups(shape[1]).unwrap();
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let codes: Vec<u8> = (0..shape[0] * shape[1]).map(|_| next() & spec.bits.max_code()).collect();
        let scales: Vec<f32> = (0..shape[0] * groups).map(|_| f32::from(next()) / 256.0 + 0.01).collect();
        let zeros: Vec<u8> = (0..shape[0] * groups).map(|_| next() & spec.bits.max_code()).collect();
        let index: Vec<u32> = (0..shape[1]).map(|_| u32::from(next()) % groups as u32).collect();
        GroupedInt::from_codes(
            spec,
            shape,
            &codes,
            &scales,
            (!spec.symmetric).then_some(&zeros),
            spec.group_index.then_some(&index),
        )
        .unwrap()
    }

    proptest! {
        /// The formula counts what the components hold, and the codec reads back what was built.
        #[test]
        fn bytes_and_round_trip(
            width in prop::sample::select(&Bits::ALLOWED[..]),
            group in prop::sample::select(&[GroupSize::Channel, GroupSize::Columns(4), GroupSize::Columns(7)][..]),
            scale_dtype in prop::sample::select(&[DType::F32, DType::F16, DType::BF16][..]),
            symmetric: bool, group_index: bool, rows in 1usize..20, times in 1usize..5, seed: u32,
        ) {
            let spec = GroupedIntSpec { bits: Bits::new(width).unwrap(), group_size: group, symmetric, scale_dtype, group_index };
            let shape = [rows, times * 28];
            let weight = weight(spec, shape, seed);
            let held: usize = weight.components().iter().map(|c| c.tensor.data().len()).sum();
            prop_assert_eq!(held as u64, weight.stored_bytes());
            let components = weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
            let again = GroupedIntCodec.decode(shape, &weight.descriptor(), components).unwrap();
            prop_assert_eq!(again.to_dense().unwrap(), (&weight as &dyn Representation).to_dense().unwrap());
            prop_assert_eq!(again.descriptor(), weight.descriptor());
        }
    }

    #[test]
    fn decodes_the_formula() {
        let spec = GroupedIntSpec {
            bits: Bits::new(4).unwrap(),
            group_size: GroupSize::Columns(2),
            symmetric: false,
            scale_dtype: DType::F32,
            group_index: false,
        };
        let weight =
            GroupedInt::from_codes(spec, [1, 4], &[0, 15, 3, 4], &[0.5, 2.0], Some(&[8, 3]), None).unwrap();
        assert_eq!((&weight as &dyn Representation).to_dense().unwrap(), [-4.0, 3.5, 0.0, 2.0]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let spec = GroupedIntSpec {
            bits: Bits::new(4).unwrap(),
            group_size: GroupSize::Columns(3),
            symmetric: true,
            scale_dtype: DType::F16,
            group_index: false,
        };
        let refused = GroupedInt::from_codes(spec, [1, 4], &[0; 4], &[1.0], None, None);
        assert!(matches!(refused, Err(WeightError::GroupSize { group_size: 3, in_features: 4 })));
        let spec = GroupedIntSpec { group_size: GroupSize::Channel, ..spec };
        let refused = GroupedInt::from_codes(spec, [1, 4], &[16, 0, 0, 0], &[1.0], None, None);
        assert!(matches!(refused, Err(WeightError::Value { index: 0, .. })));
        let spec = GroupedIntSpec { group_index: true, group_size: GroupSize::Columns(2), ..spec };
        let refused = GroupedInt::from_codes(spec, [1, 4], &[0; 4], &[1.0; 2], None, Some(&[0, 1, 2, 0]));
        assert!(matches!(refused, Err(WeightError::Value { index: 2, .. })));
    }
}
