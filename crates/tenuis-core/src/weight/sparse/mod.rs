//! Sparse weights: which entries are kept, and the values of these alone, as floats or as integer codes.

mod build;
mod codec;
mod pattern;
mod spec;
#[cfg(test)]
mod tests;

pub use codec::SparseCodec;
pub use pattern::SparsePattern;
pub use spec::{SparseSpec, SparseValues};

use super::{Component, G_IDX, Representation, SCALE, WeightError, ZERO_POINT};
use crate::tensor::Tensor;
use crate::weight::unpack_codes;
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::ops::Range;

const BITMASK: &str = "weight_bitmask";
const INDICES: &str = "weight_indices";
const VALUES: &str = "weight_values";
const CODES: &str = "weight_codes";

/// A matrix most of whose entries are zero.
///
/// The index says which entries are kept (see [`SparsePattern`]); everything else is exactly zero. Kept entries come
/// row by row, in the order of their columns, either as floats or as unsigned codes of an integer grid with
///
/// `W[o, i] = scale[o, g(i)] · (c[o, i] − z[o, g(i)])`, `g(i) = i div group_size`, or `g_idx[i]` where present,
///
/// so that groups are those of the input columns, as in [`GroupedInt`](super::GroupedInt). A kept entry may be zero
/// too: the index is not a claim about values.
///
/// # Components
/// | suffix | type | shape |
/// |---|---|---|
/// | `weight_bitmask` (bitmask) | u8 | `[out, ⌈in/8⌉]`: bit `i mod 8` of byte `i div 8` is 1 where column `i` is kept |
/// | `weight_indices` (2:4) | u8 | `[out, ⌈in/8⌉]`: a nibble a group of four, the lower first; two columns, the smaller in the low bits |
/// | `weight_values` (floats) | f32, f16 or bf16 | bitmask `[kept]`, 2:4 `[out, in/2]` |
/// | `weight_codes` (integers) | u8 | bitmask `[Σ⌈keptₒ·bits/8⌉]`, 2:4 `[out, ⌈in/2·bits/8⌉]`: each row a bit stream from a byte on, low bits first |
/// | `weight_scale` (integers) | f32, f16 or bf16 | `[out, groups]` |
/// | `weight_zero_point` (asymmetric integers) | i32 | `[⌈out·bits/32⌉, groups]`: each column a bit stream along `out` |
/// | `weight_g_idx` (integers with an index) | i32 | `[in]` |
///
/// ```
/// use tenuis_core::{DType, Representation, Sparse, SparsePattern};
/// let values = [0.5, 0.0, 0.0, -2.0, 0.0, 1.0, 0.0, 0.0];
/// let sparse = Sparse::from_dense(SparsePattern::Bitmask, DType::F16, [1, 8], &values)?;
/// assert_eq!(sparse.stored_bytes(), 1 + 3 * 2);
/// assert_eq!((&sparse as &dyn Representation).to_dense()?, values);
/// # Ok::<(), tenuis_core::WeightError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sparse {
    spec: SparseSpec,
    shape: [usize; 2],
    index: Tensor,
    /// Floats or codes.
    values: Tensor,
    grid: Option<Grid>,
    /// Bitmask: the entries kept before each row, and at the end all of them; empty for 2:4.
    before: Vec<usize>,
    /// Bitmask of integers: the bytes of codes before each row.
    code_bytes: Vec<usize>,
}

/// The grid of integer values.
#[derive(Clone, Debug)]
struct Grid {
    groups: usize,
    scales: Tensor,
    zero_point: Option<Tensor>,
    group_index: Option<Tensor>,
    /// Unpacked zero points `[out, groups]`; empty where symmetric.
    zeros: Vec<u8>,
}

impl Sparse {
    /// The form.
    pub const fn spec(&self) -> SparseSpec {
        self.spec
    }

    /// The bytes of a row's index, one for every eight columns; [`SparsePattern::kept_of`] reads them.
    pub fn index_row(&self, row: usize) -> &[u8] {
        let stride = self.shape[1].div_ceil(8);
        &self.index.data()[row * stride..(row + 1) * stride]
    }

    /// The positions of a row's entries among all that are kept.
    pub fn entries(&self, row: usize) -> Range<usize> {
        match self.spec.pattern {
            SparsePattern::Bitmask => self.before[row]..self.before[row + 1],
            SparsePattern::TwoOfFour => {
                let half = self.shape[1] / 2;
                row * half..(row + 1) * half
            }
        }
    }

    /// The entries that are kept.
    pub fn kept(&self) -> usize {
        match self.spec.pattern {
            SparsePattern::Bitmask => self.before.last().copied().unwrap_or_default(),
            SparsePattern::TwoOfFour => self.shape[0] * (self.shape[1] / 2),
        }
    }

    /// The kept entries as little-endian floats, or nothing for integers.
    pub fn float_bytes(&self) -> &[u8] {
        if self.grid.is_none() { self.values.data() } else { &[] }
    }

    /// The packed codes of a row's entries; nothing for floats.
    pub fn packed_row(&self, row: usize) -> &[u8] {
        let SparseValues::Int(spec) = self.spec.values else { return &[] };
        let range = match self.spec.pattern {
            SparsePattern::Bitmask => self.code_bytes[row]..self.code_bytes[row + 1],
            SparsePattern::TwoOfFour => {
                let stride = spec::code_bytes(spec.bits, self.shape[1] / 2);
                row * stride..(row + 1) * stride
            }
        };
        &self.values.data()[range]
    }

    /// Groups of columns that share a scale; 0 for floats.
    pub fn groups(&self) -> usize {
        self.grid.as_ref().map_or(0, |grid| grid.groups)
    }

    /// Writes the scales of a row as f32, `groups` of them; for integers.
    ///
    /// # Errors
    /// [`WeightError::Tensor`]; cannot happen for a weight that was built.
    pub fn scales_row(&self, row: usize, out: &mut [f32]) -> Result<(), WeightError> {
        match &self.grid {
            Some(grid) => Ok(grid.scales.read_f32(row * grid.groups, out)?),
            None => Ok(()),
        }
    }

    /// The zero points of a row, or `None` where all are `2^(bits−1)`, or values are floats.
    pub fn zeros_row(&self, row: usize) -> Option<&[u8]> {
        let grid = self.grid.as_ref().filter(|grid| grid.zero_point.is_some())?;
        Some(&grid.zeros[row * grid.groups..(row + 1) * grid.groups])
    }

    /// The group of every column, where that is not `column div group_size`.
    pub fn group_index(&self) -> Option<Cow<'_, [i32]>> {
        self.grid.as_ref()?.group_index.as_ref().and_then(|t| t.cast::<i32>().ok())
    }

    /// Calls `entry` with every kept column of a row, in order, and how many of the row's entries came before.
    pub fn for_each_kept(&self, row: usize, mut entry: impl FnMut(usize, usize)) {
        let mut count = 0;
        for (byte, &index) in self.index_row(row).iter().enumerate() {
            let mut kept = self.spec.pattern.kept_of(index, self.shape[1] - byte * 8);
            while kept != 0 {
                entry(byte * 8 + kept.trailing_zeros() as usize, count);
                kept &= kept - 1;
                count += 1;
            }
        }
    }

    /// Bytes that are held beside the stored ones to find rows.
    pub fn lookup_bytes(&self) -> u64 {
        let zeros = self.grid.as_ref().map_or(0, |grid| grid.zeros.len());
        (size_of_val(&*self.before) + size_of_val(&*self.code_bytes) + zeros) as u64
    }

    fn decode_floats(&self, row: usize, kept: &mut Vec<f32>, out: &mut [f32]) -> Result<(), WeightError> {
        let entries = self.entries(row);
        kept.resize(entries.len(), 0.0);
        self.values.read_f32(entries.start, kept)?;
        self.for_each_kept(row, |column, entry| out[column] = kept[entry]);
        Ok(())
    }

    fn decode_codes(&self, row: usize, codes: &mut Vec<u8>, out: &mut [f32]) -> Result<(), WeightError> {
        let (SparseValues::Int(spec), Some(grid)) = (self.spec.values, &self.grid) else { return Ok(()) };
        codes.resize(self.entries(row).len(), 0);
        unpack_codes(spec.bits, self.packed_row(row), codes);
        let mut scales = vec![0.0; grid.groups];
        self.scales_row(row, &mut scales)?;
        let (index, zeros) = (self.group_index(), self.zeros_row(row));
        let columns = spec.group_size.columns(self.shape[1]).max(1);
        self.for_each_kept(row, |column, entry| {
            let group = index.as_ref().map_or(column / columns, |index| index[column] as usize);
            let zero = zeros.map_or(spec.bits.mid_code(), |zeros| zeros[group]);
            out[column] = scales[group] * (f32::from(codes[entry]) - f32::from(zero));
        });
        Ok(())
    }
}

impl Representation for Sparse {
    fn kind(&self) -> &'static str {
        "sparse"
    }

    fn descriptor(&self) -> Value {
        self.spec.descriptor()
    }

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn components(&self) -> Vec<Component> {
        let index = match self.spec.pattern {
            SparsePattern::Bitmask => BITMASK,
            SparsePattern::TwoOfFour => INDICES,
        };
        let mut components = vec![Component::new(index, self.index.clone())];
        let Some(grid) = &self.grid else {
            components.push(Component::new(VALUES, self.values.clone()));
            return components;
        };
        components.push(Component::new(CODES, self.values.clone()));
        components.push(Component::new(SCALE, grid.scales.clone()));
        components.extend(grid.zero_point.clone().map(|t| Component::new(ZERO_POINT, t)));
        components.extend(grid.group_index.clone().map(|t| Component::new(G_IDX, t)));
        components
    }

    fn stored_bytes(&self) -> u64 {
        let kept = (0..self.shape[0]).map(|row| self.entries(row).len());
        // The group size was checked when the weight was built.
        self.spec.stored_bytes(self.shape, kept).unwrap_or_default()
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        let [out_features, in_features] = self.shape;
        assert!(rows.end <= out_features && out.len() == rows.len() * in_features, "rows {rows:?}");
        out.fill(0.0);
        let (mut kept, mut codes) = (Vec::new(), Vec::new());
        for (row, out) in rows.zip(out.chunks_exact_mut(in_features.max(1))) {
            if self.grid.is_some() {
                self.decode_codes(row, &mut codes, out)?;
            } else {
                self.decode_floats(row, &mut kept, out)?;
            }
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
