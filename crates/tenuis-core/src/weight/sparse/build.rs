//! Making sparse weights, and choosing the smallest form.

use super::spec::code_bytes;
use super::{BITMASK, CODES, INDICES, Sparse, SparsePattern, SparseSpec, SparseValues, VALUES};
use crate::convert::round_f32;
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::weight::{
    Component, Components, Dense, GroupedInt, PACKED, Representation, SHAPE, Weight, WeightError, pack_codes,
};
use std::sync::Arc;

impl Sparse {
    /// Keeps what is not zero once it is rounded to `dtype`.
    ///
    /// # Shapes
    /// `values`: `[out_features, in_features]`, row-major.
    ///
    /// # Errors
    /// [`WeightError::Component`] for another length, [`WeightError::Value`] where four entries hold more than the
    /// two that 2:4 keeps, [`WeightError::Descriptor`] for a type or shape that the form has no room for.
    pub fn from_dense(
        pattern: SparsePattern,
        dtype: DType,
        shape: [usize; 2],
        values: &[f32],
    ) -> Result<Self, WeightError> {
        check_length(VALUES, values.len(), shape)?;
        let mut index = Index::new(pattern, shape);
        let mut kept = Vec::new();
        for row in values.chunks_exact(shape[1].max(1)) {
            let columns = index.row(row.len(), |column| !vanishes(dtype, row[column]))?;
            kept.extend(columns.iter().map(|&column| row[column as usize]));
        }
        let spec = SparseSpec { pattern, values: SparseValues::Float(dtype) };
        let value_shape = match pattern {
            SparsePattern::Bitmask => vec![kept.len()],
            SparsePattern::TwoOfFour => vec![shape[0], shape[1] / 2],
        };
        let mut components = index.components()?;
        components.insert(VALUES.to_owned(), Tensor::from_f32(dtype, value_shape, &kept)?);
        Self::from_components(spec, shape, components)
    }

    /// Keeps the codes that are not their group's zero point; scales and zero points stay as they are.
    ///
    /// # Errors
    /// [`WeightError::Value`] where four entries hold more than the two that 2:4 keeps, [`WeightError::Descriptor`]
    /// for a shape that the form has no room for.
    pub fn from_grouped_int(pattern: SparsePattern, weight: &GroupedInt) -> Result<Self, WeightError> {
        let (shape, int) = (weight.shape(), weight.spec());
        let mut index = Index::new(pattern, shape);
        let mut packed: Vec<u8> = Vec::new();
        let mut kept = Vec::new();
        let mut codes = vec![0; shape[1]];
        let groups = Groups::of(weight);
        for row in 0..shape[0] {
            weight.codes_row(row, &mut codes);
            let columns = index.row(shape[1], |column| codes[column] != groups.zero(row, column))?;
            kept.clear();
            kept.extend(columns.iter().map(|&column| codes[column as usize]));
            let words = pack_codes(int.bits, &kept);
            packed.extend_from_slice(&bytemuck::cast_slice(&words)[..code_bytes(int.bits, kept.len())]);
        }
        let spec = SparseSpec { pattern, values: SparseValues::Int(int) };
        let code_shape = match pattern {
            SparsePattern::Bitmask => vec![packed.len()],
            SparsePattern::TwoOfFour => vec![shape[0], code_bytes(int.bits, shape[1] / 2)],
        };
        let mut components = index.components()?;
        components.insert(CODES.to_owned(), Tensor::from_vec(DType::U8, code_shape, packed)?);
        let of_grid = |c: &Component| c.suffix != PACKED && c.suffix != SHAPE;
        let grid = weight.components().into_iter().filter(of_grid);
        components.extend(grid.map(|c| (c.suffix.into_owned(), c.tensor)));
        Self::from_components(spec, shape, components)
    }

    /// The smallest form of a matrix whose entries are stored as `dtype`: dense, bitmask or, where it fits, 2:4. Of
    /// equal sizes 2:4 comes first, because its rows need not be looked for.
    ///
    /// ```
    /// use tenuis_core::{DType, Sparse};
    /// let weight = |values: &[f32]| Sparse::smallest(DType::F16, [1, 8], values);
    /// assert_eq!(weight(&[1.0; 8])?.kind(), "dense");
    /// let two_of_four = weight(&[1.0, 0.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0])?;
    /// assert_eq!(two_of_four.descriptor()["pattern"], "2:4");
    /// let uneven = weight(&[1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0])?;
    /// assert_eq!(uneven.descriptor()["pattern"], "bitmask");
    /// # Ok::<(), tenuis_core::WeightError>(())
    /// ```
    ///
    /// # Shapes
    /// `values`: `[out_features, in_features]`, row-major.
    ///
    /// # Errors
    /// [`WeightError::Component`] for another length, [`WeightError::Tensor`] for a type that is not floating-point.
    pub fn smallest(dtype: DType, shape: [usize; 2], values: &[f32]) -> Result<Weight, WeightError> {
        check_length(VALUES, values.len(), shape)?;
        let dense = (values.len() * dtype.size()) as u64;
        let counts = super::spec::stored_float(dtype).then(|| {
            let rows = values.chunks_exact(shape[1].max(1));
            Counts::new(shape, rows.map(|row| move |column: usize| !vanishes(dtype, row[column])))
        });
        if let Some(pattern) =
            counts.map(|c| c.best(SparseValues::Float(dtype), shape, dense)).transpose()?.flatten()
        {
            Ok(Arc::new(Self::from_dense(pattern, dtype, shape, values)?))
        } else {
            let tensor = Tensor::from_f32(dtype, shape.to_vec(), values)?;
            Ok(Arc::new(Dense::new(tensor)?))
        }
    }

    /// The smallest form of a grouped integer weight: as it is, bitmask or, where it fits, 2:4.
    ///
    /// # Errors
    /// [`WeightError`]; cannot happen for a weight that was built.
    pub fn smallest_of_grouped_int(weight: &GroupedInt) -> Result<Weight, WeightError> {
        let shape = weight.shape();
        let groups = Groups::of(weight);
        let rows = (0..shape[0]).map(|row| {
            let mut codes = vec![0; shape[1]];
            weight.codes_row(row, &mut codes);
            let groups = &groups;
            move |column: usize| codes[column] != groups.zero(row, column)
        });
        let values = SparseValues::Int(weight.spec());
        match Counts::new(shape, rows).best(values, shape, weight.stored_bytes())? {
            Some(pattern) => Ok(Arc::new(Self::from_grouped_int(pattern, weight)?)),
            None => Ok(Arc::new(weight.clone())),
        }
    }
}

/// The zero points of a grouped integer weight by entry.
struct Groups<'a> {
    weight: &'a GroupedInt,
    group_of: Vec<u32>,
}

impl<'a> Groups<'a> {
    fn of(weight: &'a GroupedInt) -> Self {
        let in_features = weight.shape()[1];
        let columns = weight.spec().group_size.columns(in_features).max(1);
        let group_of = match weight.group_index() {
            Some(index) => index.iter().map(|&group| group as u32).collect(),
            None => (0..in_features).map(|column| (column / columns) as u32).collect(),
        };
        Self { weight, group_of }
    }

    fn zero(&self, row: usize, column: usize) -> u8 {
        let mid = self.weight.spec().bits.mid_code();
        self.weight.zeros_row(row).map_or(mid, |zeros| zeros[self.group_of[column] as usize])
    }
}

/// How many entries a matrix keeps, and whether 2:4 has room for them.
struct Counts {
    kept: Vec<usize>,
    two_of_four: bool,
}

impl Counts {
    fn new<F: Fn(usize) -> bool>([_, in_features]: [usize; 2], rows: impl Iterator<Item = F>) -> Self {
        let mut two_of_four = in_features.is_multiple_of(4);
        let kept = rows.map(|keeps| {
            let mut kept = 0;
            for first in (0..in_features).step_by(4) {
                let group = (first..in_features.min(first + 4)).filter(|&column| keeps(column)).count();
                two_of_four &= group <= 2;
                kept += group;
            }
            kept
        });
        Self { kept: kept.collect(), two_of_four }
    }

    /// The pattern that is smallest, or `None` where `dense` bytes are fewer.
    fn best(
        &self,
        values: SparseValues,
        shape: [usize; 2],
        dense: u64,
    ) -> Result<Option<SparsePattern>, WeightError> {
        let spec = |pattern| SparseSpec { pattern, values };
        let bitmask = spec(SparsePattern::Bitmask).stored_bytes(shape, self.kept.iter().copied())?;
        let halves = std::iter::repeat_n(shape[1] / 2, shape[0]);
        let two_of_four = if self.two_of_four {
            spec(SparsePattern::TwoOfFour).stored_bytes(shape, halves)?
        } else {
            u64::MAX
        };
        Ok(if bitmask.min(two_of_four) >= dense {
            None
        } else if two_of_four <= bitmask {
            Some(SparsePattern::TwoOfFour)
        } else {
            Some(SparsePattern::Bitmask)
        })
    }
}

/// An index that is filled row by row.
struct Index {
    pattern: SparsePattern,
    shape: [usize; 2],
    bytes: Vec<u8>,
    columns: Vec<u32>,
}

impl Index {
    fn new(pattern: SparsePattern, shape: [usize; 2]) -> Self {
        let bytes = Vec::with_capacity(shape[0] * shape[1].div_ceil(8));
        Self { pattern, shape, bytes, columns: Vec::new() }
    }

    /// Adds a row; returns its columns in the order of their values.
    fn row(&mut self, in_features: usize, keeps: impl Fn(usize) -> bool) -> Result<&[u32], WeightError> {
        self.columns.clear();
        match self.pattern {
            SparsePattern::Bitmask => {
                for first in (0..in_features).step_by(8) {
                    let mut byte = 0u8;
                    for column in (first..in_features.min(first + 8)).filter(|&column| keeps(column)) {
                        byte |= 1 << (column - first);
                        self.columns.push(column as u32);
                    }
                    self.bytes.push(byte);
                }
            }
            SparsePattern::TwoOfFour => {
                for (nibble, first) in (0..in_features).step_by(4).enumerate() {
                    let two = self.two_of(first, in_features, &keeps)?;
                    if nibble % 2 == 0 {
                        self.bytes.push(two);
                    } else if let Some(last) = self.bytes.last_mut() {
                        *last |= two << 4;
                    }
                }
            }
        }
        Ok(&self.columns)
    }

    /// The nibble of a group of four: its kept columns, filled up to two with others, whose values are zero.
    fn two_of(
        &mut self,
        first: usize,
        in_features: usize,
        keeps: impl Fn(usize) -> bool,
    ) -> Result<u8, WeightError> {
        let mut kept: u8 = (first..in_features.min(first + 4))
            .filter(|&column| keeps(column))
            .fold(0, |bits, column| bits | 1 << (column - first));
        if kept.count_ones() > 2 || first + 4 > in_features {
            return Err(WeightError::Value {
                component: INDICES.to_owned(),
                index: self.bytes.len(),
                value: format!("{} kept entries from column {first} on", kept.count_ones()),
                allowed: "two of every four".to_owned(),
            });
        }
        while kept.count_ones() < 2 {
            kept |= 1 << kept.trailing_ones();
        }
        let (low, high) = (kept.trailing_zeros(), kept.ilog2());
        self.columns.extend([first as u32 + low, first as u32 + high]);
        Ok((low | high << 2) as u8)
    }

    fn components(self) -> Result<Components, WeightError> {
        let suffix = match self.pattern {
            SparsePattern::Bitmask => BITMASK,
            SparsePattern::TwoOfFour => INDICES,
        };
        let shape = vec![self.shape[0], self.shape[1].div_ceil(8)];
        Ok(Components::from([(suffix.to_owned(), Tensor::from_vec(DType::U8, shape, self.bytes)?)]))
    }
}

/// Whether a value is zero once it is stored.
fn vanishes(dtype: DType, value: f32) -> bool {
    // f16 has nothing between zero and 6e-8; the other types are as fine as f32 is near zero.
    value == 0.0 || (dtype == DType::F16 && value.abs() < 1e-7 && round_f32(dtype, value) == 0.0)
}

fn check_length(component: &str, found: usize, shape: [usize; 2]) -> Result<(), WeightError> {
    if found == shape[0] * shape[1] {
        return Ok(());
    }
    Err(WeightError::Component {
        component: component.to_owned(),
        expected: format!("{shape:?} values"),
        found: format!("{found} values"),
    })
}
