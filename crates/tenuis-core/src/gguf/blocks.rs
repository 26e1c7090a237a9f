//! Blocks of 32 weights, and how grouped integers become them and come back.
//!
//! | type | bytes | content | weight |
//! |---|---|---|---|
//! | Q4_0 | 18 | f16 `d`; byte `j` has element `j` in its low and `j + 16` in its high nibble | `(q − 8)·d` |
//! | Q4_1 | 20 | f16 `d`, f16 `m`; nibbles as above | `q·d + m` |
//! | Q8_0 | 34 | f16 `d`; 32 signed bytes | `q·d` |
//!
//! A weight with the same numbers in another form is turned without loss: symmetric codes of up to four bits become Q4_0,
//! wider ones Q8_0 (as do asymmetric ones wider than four bits whose distance from the zero point fits a signed byte), and
//! a group of more than 32 columns becomes several blocks with one scale. Only asymmetric codes of up to four bits lose
//! something: Q4_1 stores `m = −z·d` rounded to f16.

use super::GgmlType;
use crate::dtype::DType;
use crate::storage::{Misfit, f16_scales};
use crate::tensor::Tensor;
use crate::units::Bits;
use crate::weight::{
    Components, GroupSize, GroupedInt, GroupedIntSpec, PACKED, Representation, SCALE, SHAPE, WeightError,
    pack_codes, shape_tensor,
};
use half::f16;

/// Weights of a block.
pub const ELEMENTS: usize = 32;
/// The bytes of an f16.
const HALF: usize = 2;

/// How the rows of a grouped integer weight are written as blocks.
#[derive(Debug)]
pub struct BlockEncoder<'a> {
    weight: &'a GroupedInt,
    kind: GgmlType,
    scales: Vec<f16>,
}

impl<'a> BlockEncoder<'a> {
    /// Finds the type that holds a weight.
    ///
    /// # Errors
    /// [`Misfit`] where none does.
    pub fn new(weight: &'a GroupedInt) -> Result<Self, Misfit> {
        let ([_, in_features], spec) = (weight.shape(), weight.spec());
        if spec.group_index {
            return Err(Misfit::GroupIndex);
        }
        let group = spec.group_size.columns(in_features);
        if in_features == 0 || !group.is_multiple_of(ELEMENTS) {
            return Err(Misfit::Blocks { columns: in_features, group });
        }
        let kind = match (spec.symmetric, spec.bits.get()) {
            (true, ..=4) => GgmlType::Q4_0,
            (false, ..=4) => GgmlType::Q4_1,
            (true, _) => GgmlType::Q8_0,
            (false, _) => {
                let distance = largest_distance(weight);
                if !(-128..=127).contains(&distance) {
                    return Err(Misfit::Distance { distance });
                }
                GgmlType::Q8_0
            }
        };
        Ok(Self { weight, kind, scales: f16_scales(weight)? })
    }

    /// The type of the blocks.
    pub const fn kind(&self) -> GgmlType {
        self.kind
    }

    /// Whether the blocks have other numbers than the weight: an offset or a scale that f16 rounds.
    pub fn is_rounded(&self) -> bool {
        self.kind == GgmlType::Q4_1 || self.weight.spec().scale_dtype != DType::F16
    }

    /// Appends the blocks of a row.
    pub fn encode_row(&self, row: usize, out: &mut Vec<u8>) {
        let in_features = self.weight.shape()[1];
        let (groups, spec) = (self.weight.groups(), self.weight.spec());
        let per_group = spec.group_size.columns(in_features) / ELEMENTS;
        let mut codes = vec![0; in_features];
        self.weight.codes_row(row, &mut codes);
        let zeros = self.weight.zeros_row(row);
        for (block, codes) in codes.chunks_exact(ELEMENTS).enumerate() {
            let group = block / per_group;
            let scale = self.scales[row * groups + group];
            let zero = zeros.map_or(spec.bits.mid_code(), |zeros| zeros[group]);
            out.extend(scale.to_le_bytes());
            match self.kind {
                GgmlType::Q4_1 => {
                    out.extend(f16::from_f32(-f32::from(zero) * scale.to_f32()).to_le_bytes());
                    nibbles(codes, 0, out);
                }
                // Codes of fewer bits keep their distance from the middle, which is 8 here.
                GgmlType::Q4_0 => nibbles(codes, 8 - zero, out),
                _ => out.extend(codes.iter().map(|&code| (i16::from(code) - i16::from(zero)) as i8 as u8)),
            }
        }
    }
}

/// The distance of a code from its zero point that is farthest from zero.
fn largest_distance(weight: &GroupedInt) -> i32 {
    let [rows, columns] = weight.shape();
    let group = weight.spec().group_size.columns(columns);
    let (mut codes, mut largest) = (vec![0; columns], 0i32);
    for row in 0..rows {
        weight.codes_row(row, &mut codes);
        let Some(zeros) = weight.zeros_row(row) else { continue };
        for (codes, &zero) in codes.chunks_exact(group).zip(zeros) {
            for &code in codes {
                let distance = i32::from(code) - i32::from(zero);
                if distance.abs() > largest.abs() {
                    largest = distance;
                }
            }
        }
    }
    largest
}

/// Appends 32 codes as 16 bytes.
fn nibbles(codes: &[u8], shift: u8, out: &mut Vec<u8>) {
    let (low, high) = codes.split_at(ELEMENTS / 2);
    out.extend(low.iter().zip(high).map(|(low, high)| (low + shift) | (high + shift) << 4));
}

/// The codes of a Q4_0 or Q4_1 block's nibbles.
pub(crate) fn unpack_nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(ELEMENTS / 2);
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

/// The form of a weight that is stored as Q4_0 or Q8_0; none for other types.
pub(crate) fn spec(kind: GgmlType) -> Option<GroupedIntSpec> {
    let bits = match kind {
        GgmlType::Q4_0 => Bits::FOUR,
        GgmlType::Q8_0 => Bits::EIGHT,
        _ => return None,
    };
    let group_size = GroupSize::Columns(ELEMENTS);
    Some(GroupedIntSpec { bits, group_size, symmetric: true, scale_dtype: DType::F16, group_index: false })
}

/// The components of `grouped_int` out of Q4_0 or Q8_0 blocks, u8 `[out, row bytes]`; both hold the same numbers.
pub(crate) fn components(
    kind: GgmlType,
    shape: [usize; 2],
    blocks: &Tensor,
) -> Result<Components, WeightError> {
    let [out_features, in_features] = shape;
    let (block_bytes, bits) =
        (kind.block_bytes(), if kind == GgmlType::Q4_0 { Bits::FOUR } else { Bits::EIGHT });
    let mut packed = Vec::with_capacity(out_features * bits.words(in_features));
    let mut scales = Vec::with_capacity(out_features * in_features / ELEMENTS);
    let mut codes = vec![0; in_features];
    let row_bytes = (in_features / ELEMENTS * block_bytes).max(1);
    for row in blocks.data().chunks_exact(row_bytes) {
        for (block, codes) in row.chunks_exact(block_bytes).zip(codes.chunks_exact_mut(ELEMENTS)) {
            let (scale, values) = block.split_at(HALF);
            scales.push(f16::from_le_bytes([scale[0], scale[1]]));
            if kind == GgmlType::Q4_0 {
                unpack_nibbles(values, codes);
            } else {
                for (code, &value) in codes.iter_mut().zip(values) {
                    // From signed to an offset of 128.
                    *code = value ^ 0x80;
                }
            }
        }
        packed.extend(pack_codes(bits, &codes));
    }
    let groups = in_features / ELEMENTS;
    let packed = Tensor::from_vec(DType::I32, vec![out_features, bits.words(in_features)], packed)?;
    let scales = Tensor::from_vec(DType::F16, vec![out_features, groups], scales)?;
    Ok(Components::from([
        (PACKED.to_owned(), packed),
        (SCALE.to_owned(), scales),
        (SHAPE.to_owned(), shape_tensor(shape)),
    ]))
}
