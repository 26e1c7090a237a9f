//! Grouped affine integers: `w = scale · (code − zero)` with one scale (and zero) per row and group of columns.

mod codec;
mod packing;

pub use codec::GroupedIntCodec;
pub(crate) use codec::shape_tensor;
pub(super) use codec::{check_index, unpack_zeros};
pub use packing::{pack_codes, unpack_codes};

use super::{Component, Representation, Weight, WeightError};
use crate::convert::round_f32;
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::units::Bits;
use serde_json::{Value, json};
use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// The largest relative error of a scale that is multiplied in its stored type: bf16's own. Subnormal numbers exceed it.
const SCALE_ROUNDING: f32 = 1.0 / 256.0;

pub(crate) const PACKED: &str = "weight_packed";
pub(crate) const SCALE: &str = "weight_scale";
pub(crate) const ZERO_POINT: &str = "weight_zero_point";
pub(crate) const G_IDX: &str = "weight_g_idx";
pub(crate) const SHAPE: &str = "weight_shape";

/// How many consecutive columns of a row share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupSize {
    /// The whole row: one scale per output channel.
    Channel,
    /// So many columns.
    Columns(usize),
}

impl GroupSize {
    /// The sizes that [`GroupSize::auto`] tries, largest first.
    pub const AUTO: [usize; 3] = [128, 64, 32];

    /// The largest of 128, 64 and 32 that divides `in_features`, else per channel.
    ///
    /// ```
    /// use tenuis_core::GroupSize;
    /// assert_eq!(GroupSize::auto(352), GroupSize::Columns(32));
    /// assert_eq!(GroupSize::auto(172), GroupSize::Channel);
    /// ```
    pub fn auto(in_features: usize) -> Self {
        Self::AUTO.into_iter().find(|g| in_features.is_multiple_of(*g)).map_or(Self::Channel, Self::Columns)
    }

    /// The number of columns that share a scale in a row of `in_features`.
    pub const fn columns(self, in_features: usize) -> usize {
        match self {
            Self::Channel => in_features,
            Self::Columns(n) => n,
        }
    }

    /// Groups in a row of `in_features`.
    ///
    /// # Errors
    /// [`WeightError::GroupSize`] where the size is zero or does not divide.
    pub fn groups(self, in_features: usize) -> Result<usize, WeightError> {
        match self {
            Self::Channel => Ok(1),
            Self::Columns(n) if n > 0 && in_features.is_multiple_of(n) => Ok(in_features / n),
            Self::Columns(group_size) => Err(WeightError::GroupSize { group_size, in_features }),
        }
    }
}

/// The form of a grouped integer weight; what its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupedIntSpec {
    /// Width of a code.
    pub bits: Bits,
    /// Columns per scale.
    pub group_size: GroupSize,
    /// Whether every zero point is `2^(bits−1)`, and thus not stored.
    pub symmetric: bool,
    /// The type that scales are stored in: f32, f16 or bf16.
    pub scale_dtype: DType,
    /// Whether columns are assigned to groups by an index instead of by position.
    pub group_index: bool,
}

impl GroupedIntSpec {
    /// The form as a descriptor, which [`GroupedIntSpec::from_descriptor`] reads back.
    ///
    /// ```
    /// use tenuis_core::{Bits, DType, GroupSize, GroupedIntSpec};
    /// let spec = GroupedIntSpec {
    ///     bits: Bits::new(4).unwrap(),
    ///     group_size: GroupSize::Columns(128),
    ///     symmetric: true,
    ///     scale_dtype: DType::F16,
    ///     group_index: false,
    /// };
    /// assert_eq!(spec.descriptor()["group_size"], 128);
    /// assert_eq!(GroupedIntSpec::from_descriptor(&spec.descriptor())?, spec);
    /// # Ok::<(), tenuis_core::WeightError>(())
    /// ```
    pub fn descriptor(&self) -> Value {
        json!({
            "kind": "grouped_int",
            "bits": self.bits,
            "group_size": match self.group_size {
                GroupSize::Channel => json!("channel"),
                GroupSize::Columns(n) => json!(n),
            },
            "symmetric": self.symmetric,
            "scale_dtype": self.scale_dtype.name(),
            "g_idx": self.group_index,
        })
    }

    /// Reads a descriptor of kind `grouped_int`.
    ///
    /// # Errors
    /// [`WeightError::Descriptor`] for a key that is unknown, missing or has a value that is not allowed.
    pub fn from_descriptor(descriptor: &Value) -> Result<Self, WeightError> {
        codec::parse(descriptor)
    }

    /// The exact bytes of a weight `[out_features, in_features]` in this form:
    ///
    /// `4·out·⌈in·bits/32⌉ + out·groups·size(scale) + [asymmetric] 4·groups·⌈out·bits/32⌉ + [g_idx] 4·in + 16`
    ///
    /// (the last term is the stored shape, two i64).
    ///
    /// # Errors
    /// [`WeightError::GroupSize`] where the group size does not divide `in_features`.
    pub fn stored_bytes(&self, [out_features, in_features]: [usize; 2]) -> Result<u64, WeightError> {
        let groups = self.group_size.groups(in_features)?;
        let mut bytes = 4 * out_features * self.bits.words(in_features);
        bytes += out_features * groups * self.scale_dtype.size();
        if !self.symmetric {
            bytes += 4 * groups * self.bits.words(out_features);
        }
        if self.group_index {
            bytes += 4 * in_features;
        }
        Ok(bytes as u64 + 16)
    }
}

/// A matrix of grouped affine integers in the layout of compressed-tensors' `pack-quantized`.
///
/// With unsigned codes `c ∈ 0..2^bits` and zero points `z ∈ 0..2^bits`:
///
/// `W[o, i] = scale[o, g(i)] · (c[o, i] − z[o, g(i)])`, `g(i) = i div group_size`, or `g_idx[i]` where present.
///
/// # Components
/// | suffix | type | shape |
/// |---|---|---|
/// | `weight_packed` | i32 | `[out, ⌈in·bits/32⌉]`: each row a contiguous bit stream, low bits first |
/// | `weight_scale` | f32, f16 or bf16 | `[out, groups]` |
/// | `weight_zero_point` (asymmetric) | i32 | `[⌈out·bits/32⌉, groups]`: each column a bit stream along `out` |
/// | `weight_g_idx` (with an index) | i32 | `[in]` |
/// | `weight_shape` | i64 | `[2]`: out, in |
#[derive(Clone, Debug)]
pub struct GroupedInt {
    spec: GroupedIntSpec,
    shape: [usize; 2],
    groups: usize,
    packed: Tensor,
    scales: Tensor,
    zero_point: Option<Tensor>,
    group_index: Option<Tensor>,
    /// Unpacked zero points `[out, groups]`; empty where symmetric.
    zeros: Vec<u8>,
}

impl GroupedInt {
    /// Packs unsigned codes.
    ///
    /// # Shapes
    /// `codes`: `[out, in]`, `scales`: `[out, groups]`, `zeros`: `[out, groups]` (`None` exactly where symmetric),
    /// `group_index`: `[in]` (`Some` exactly where the spec says so). Scales are rounded to their stored type;
    /// a caller that chose the codes with unrounded scales stores something else than it measured.
    ///
    /// # Errors
    /// [`WeightError`] where sizes or values disagree with the spec.
    pub fn from_codes(
        spec: GroupedIntSpec,
        shape: [usize; 2],
        codes: &[u8],
        scales: &[f32],
        zeros: Option<&[u8]>,
        group_index: Option<&[u32]>,
    ) -> Result<Self, WeightError> {
        codec::build(spec, shape, codes, scales, zeros, group_index)
    }

    /// The form.
    pub const fn spec(&self) -> GroupedIntSpec {
        self.spec
    }

    /// Groups per row.
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// The packed codes, i32 `[out, ⌈in·bits/32⌉]`.
    pub const fn packed(&self) -> &Tensor {
        &self.packed
    }

    /// The packed words of a row, `⌈in·bits/32⌉` of them.
    pub fn packed_row(&self, row: usize) -> &[u8] {
        let stride = 4 * self.spec.bits.words(self.shape[1]);
        &self.packed.data()[row * stride..(row + 1) * stride]
    }

    /// The unsigned codes of a row, `in_features` of them.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn codes_row(&self, row: usize, out: &mut [u8]) {
        assert_eq!(out.len(), self.shape[1]);
        unpack_codes(self.spec.bits, self.packed_row(row), out);
    }

    /// The scales, `[out, groups]`, as stored.
    pub const fn scales(&self) -> &Tensor {
        &self.scales
    }

    /// Writes the scales of a row as f32, `groups` of them.
    ///
    /// # Errors
    /// [`WeightError::Tensor`]; cannot happen for a weight that was built.
    pub fn scales_row(&self, row: usize, out: &mut [f32]) -> Result<(), WeightError> {
        Ok(self.scales.read_f32(row * self.groups, out)?)
    }

    /// The zero points of a row, or `None` where all are `2^(bits−1)`.
    pub fn zeros_row(&self, row: usize) -> Option<&[u8]> {
        (!self.spec.symmetric).then(|| &self.zeros[row * self.groups..(row + 1) * self.groups])
    }

    /// The group of every column, where that is not `column div group_size`.
    pub fn group_index(&self) -> Option<Cow<'_, [i32]>> {
        self.group_index.as_ref().and_then(|t| t.cast::<i32>().ok())
    }
}

impl Representation for GroupedInt {
    fn kind(&self) -> &'static str {
        "grouped_int"
    }

    fn descriptor(&self) -> Value {
        self.spec.descriptor()
    }

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn components(&self) -> Vec<Component> {
        let mut components =
            vec![Component::new(PACKED, self.packed.clone()), Component::new(SCALE, self.scales.clone())];
        components.extend(self.zero_point.clone().map(|t| Component::new(ZERO_POINT, t)));
        components.extend(self.group_index.clone().map(|t| Component::new(G_IDX, t)));
        components.push(Component::new(SHAPE, codec::shape_tensor(self.shape)));
        components
    }

    fn stored_bytes(&self) -> u64 {
        // The group size was checked when the weight was built.
        self.spec.stored_bytes(self.shape).unwrap_or_default()
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape;
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        let index = self.group_index();
        let columns = self.spec.group_size.columns(in_features);
        let mid = self.spec.bits.mid_code();
        let mut codes = vec![0; in_features];
        let mut scales = vec![0.0; self.groups];
        for (row, out) in rows.zip(out.chunks_exact_mut(in_features.max(1))) {
            self.codes_row(row, &mut codes);
            self.scales_row(row, &mut scales)?;
            let zeros = self.zeros_row(row);
            let zero = |group: usize| f32::from(zeros.map_or(mid, |z| z[group]));
            if let Some(index) = &index {
                for ((value, &code), &group) in out.iter_mut().zip(&codes).zip(index.iter()) {
                    *value = scales[group as usize] * (f32::from(code) - zero(group as usize));
                }
            } else {
                let groups = out.chunks_exact_mut(columns).zip(codes.chunks_exact(columns));
                for (group, (values, codes)) in groups.enumerate() {
                    let (scale, zero) = (scales[group], zero(group));
                    for (value, &code) in values.iter_mut().zip(codes) {
                        *value = scale * (f32::from(code) - zero);
                    }
                }
            }
        }
        Ok(())
    }

    /// The codes stay, the scales of each row are multiplied and rounded to their type again.
    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        assert_eq!(factors.len(), self.shape[0]);
        let (dtype, groups) = (self.spec.scale_dtype, self.groups.max(1));
        let mut scales = self.scales.to_f32()?.into_owned();
        for (row, factor) in scales.chunks_exact_mut(groups).zip(factors) {
            for scale in row {
                let exact = *scale * factor;
                *scale = round_f32(dtype, exact);
                let held = scale.is_finite() && (*scale - exact).abs() <= SCALE_ROUNDING * exact.abs();
                if !held {
                    return Ok(None);
                }
            }
        }
        let scales = Tensor::from_f32(dtype, self.scales.shape().to_vec(), &scales)?;
        Ok(Some(Arc::new(Self { scales, ..self.clone() })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
