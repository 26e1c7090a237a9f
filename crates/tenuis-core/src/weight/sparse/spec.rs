//! The form of a sparse weight: its descriptor and its size.

use super::SparsePattern;
use crate::dtype::DType;
use crate::units::Bits;
use crate::weight::{GroupedIntSpec, WeightError};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the kept entries are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SparseValues {
    /// Floats of this type: f32, f16 or bf16.
    Float(DType),
    /// Codes of an integer grid.
    Int(GroupedIntSpec),
}

/// The form of a sparse weight; what its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SparseSpec {
    /// How the index is stored.
    pub pattern: SparsePattern,
    /// How the kept entries are stored.
    pub values: SparseValues,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Descriptor {
    #[serde(rename = "kind")]
    _kind: String,
    pattern: SparsePattern,
    values: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floats {
    #[serde(rename = "kind")]
    _kind: String,
    dtype: String,
}

impl SparseSpec {
    /// The form as a descriptor, which [`SparseSpec::from_descriptor`] reads back.
    ///
    /// ```
    /// use tenuis_core::{DType, SparsePattern, SparseSpec, SparseValues};
    /// let spec = SparseSpec { pattern: SparsePattern::TwoOfFour, values: SparseValues::Float(DType::F16) };
    /// assert_eq!(spec.descriptor()["pattern"], "2:4");
    /// assert_eq!(SparseSpec::from_descriptor(&spec.descriptor())?, spec);
    /// # Ok::<(), tenuis_core::WeightError>(())
    /// ```
    pub fn descriptor(&self) -> Value {
        let values = match self.values {
            SparseValues::Float(dtype) => json!({ "kind": "dense", "dtype": dtype.name() }),
            SparseValues::Int(spec) => spec.descriptor(),
        };
        json!({ "kind": "sparse", "pattern": self.pattern, "values": values })
    }

    /// Reads a descriptor of kind `sparse`.
    ///
    /// # Errors
    /// [`WeightError::Descriptor`] for a key that is unknown, missing or has a value that is not allowed.
    pub fn from_descriptor(descriptor: &Value) -> Result<Self, WeightError> {
        let wrong = |problem: String| WeightError::Descriptor { descriptor: descriptor.to_string(), problem };
        let parsed = Descriptor::deserialize(descriptor).map_err(|e| wrong(e.to_string()))?;
        let values = match parsed.values.get("kind").and_then(Value::as_str) {
            Some("grouped_int") => SparseValues::Int(GroupedIntSpec::from_descriptor(&parsed.values)?),
            Some("dense") => {
                let floats = Floats::deserialize(&parsed.values).map_err(|e| wrong(e.to_string()))?;
                let dtype = DType::from_name(&floats.dtype).filter(|d| stored_float(*d));
                let dtype = dtype.ok_or_else(|| wrong("values.dtype must be f32, f16 or bf16".to_owned()))?;
                SparseValues::Float(dtype)
            }
            _ => return Err(wrong("values.kind must be \"dense\" or \"grouped_int\"".to_owned())),
        };
        Ok(Self { pattern: parsed.pattern, values })
    }

    /// The exact bytes of a weight `[out_features, in_features]` in this form, `kept` entries in each row:
    ///
    /// `out·⌈in/8⌉` for the index, and for the values
    ///
    /// - of floats: `Σ kept · size(dtype)`,
    /// - of integers: `Σ ⌈kept·bits/8⌉ + out·groups·size(scale) + [asymmetric] 4·groups·⌈out·bits/32⌉ + [g_idx] 4·in`.
    ///
    /// Under 2:4 every row keeps `in/2`.
    ///
    /// # Errors
    /// [`WeightError::GroupSize`] where the group size does not divide `in_features`.
    pub fn stored_bytes(
        &self,
        [out_features, in_features]: [usize; 2],
        kept: impl Iterator<Item = usize>,
    ) -> Result<u64, WeightError> {
        let index = out_features * in_features.div_ceil(8);
        let values = match self.values {
            SparseValues::Float(dtype) => kept.sum::<usize>() * dtype.size(),
            SparseValues::Int(spec) => {
                let groups = spec.group_size.groups(in_features)?;
                let codes: usize = kept.map(|kept| code_bytes(spec.bits, kept)).sum();
                let zeros = if spec.symmetric { 0 } else { 4 * groups * spec.bits.words(out_features) };
                let group_index = if spec.group_index { 4 * in_features } else { 0 };
                codes + out_features * groups * spec.scale_dtype.size() + zeros + group_index
            }
        };
        Ok((index + values) as u64)
    }
}

/// Bytes of a row of packed codes.
pub(super) const fn code_bytes(bits: Bits, codes: usize) -> usize {
    (codes * bits.get() as usize).div_ceil(8)
}

pub(super) fn stored_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}
