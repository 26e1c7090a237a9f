//! What the conventions that store `[in, out]` have in common.

use super::StorageError;
use super::transpose::transpose;
use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::convert;
use crate::dtype::DType;
use crate::tensor::{Tensor, TensorError};
use crate::weight::{Components, GroupSize, GroupedInt, Representation, WeightError};
use half::f16;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

/// Misfit a format cannot hold a weight.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum Misfit {
    /// The weight is no grouped integer.
    #[error("the format has no form for representation {kind:?}")]
    Kind {
        /// What it is.
        kind: String,
    },
    /// The codes have a width that the format or the file's scheme does not have.
    #[error("its codes have {found} bits, the file's {expected}")]
    Bits {
        /// The weight's.
        found: u8,
        /// The file's.
        expected: u8,
    },
    /// The groups are no multiple of the file's.
    #[error("its groups of {found} columns are no multiple of the file's {expected}")]
    Groups {
        /// Columns of the weight's groups.
        found: usize,
        /// Columns of the file's groups.
        expected: usize,
    },
    /// Codes do not fill words.
    #[error("{features} {what} features of {bits} bits do not fill 32-bit words")]
    Words {
        /// Which side.
        what: &'static str,
        /// How many features.
        features: usize,
        /// The width of a code.
        bits: u8,
    },
    /// Columns are assigned to groups by an index.
    #[error("its columns are assigned to groups by an index (act-order), which the format does not have")]
    GroupIndex,
    /// Columns are assigned to groups by an index, and the file's groups are smaller.
    #[error("its columns are assigned to groups by an index (act-order), so that its groups cannot be split")]
    SplitIndex,
    /// A zero point of 0 in version 1 of GPTQ.
    #[error("it has a zero point of 0, which readers of version 1 disagree about; use format gptq-v2")]
    ZeroPointZero,
    /// A number is beyond the range of f16.
    #[error("its {what} {value:e} is beyond the range of f16")]
    Range {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// Asymmetric codes whose distance from the zero point needs more than eight bits.
    #[error(
        "its asymmetric codes lie up to {distance} from their zero points, more than eight signed bits hold"
    )]
    Distance {
        /// The largest.
        distance: i32,
    },
    /// Rows that are no whole number of blocks.
    #[error("its {columns} columns (groups of {group}) are no whole number of blocks of 32")]
    Blocks {
        /// Input features.
        columns: usize,
        /// Columns of a group.
        group: usize,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What the tensors of every packed weight are, by module.
#[derive(Default)]
pub(super) struct Described {
    pub(super) descriptors: BTreeMap<String, Value>,
    /// `[out, in]`.
    pub(super) shapes: BTreeMap<String, [usize; 2]>,
}

impl Described {
    pub(super) fn insert(&mut self, module: &str, descriptor: Value, shape: [usize; 2]) {
        self.descriptors.insert(module.to_owned(), descriptor);
        self.shapes.insert(module.to_owned(), shape);
    }
}

/// The tensors of a module while they are held against a configuration.
pub(super) struct Module<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) name: &'a str,
    /// The file that declares the method.
    pub(super) config: &'a Path,
}

impl<'a> Module<'a> {
    pub(super) fn tensor_name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name)
    }

    fn info(&self, suffix: &str) -> Result<&'a TensorInfo, StorageError> {
        let missing =
            || self.contradiction(suffix, "to be stored beside the module's other tensors", "missing");
        self.checkpoint.info(&self.tensor_name(suffix)).ok_or_else(missing)
    }

    fn shape_of(
        &self,
        suffix: &str,
        is_type: impl Fn(DType) -> bool,
        name: &str,
    ) -> Result<&'a [usize; 2], StorageError> {
        let info = self.info(suffix)?;
        let shape = <&[usize; 2]>::try_from(&info.shape[..]).ok();
        let known = info.dtype.known().filter(|d| is_type(*d));
        shape.filter(|s| known.is_some() && s.iter().all(|&d| d > 0)).ok_or_else(|| {
            self.contradiction(
                suffix,
                &format!("a matrix of {name}"),
                &format!("{} {:?}", info.dtype, info.shape),
            )
        })
    }

    pub(super) fn matrix(&self, suffix: &str, dtype: DType) -> Result<&'a [usize; 2], StorageError> {
        self.shape_of(suffix, |d| d == dtype, dtype.name())
    }

    pub(super) fn float_matrix(&self, suffix: &str) -> Result<(DType, &'a [usize; 2]), StorageError> {
        let is_float = |d| matches!(d, DType::F16 | DType::BF16 | DType::F32);
        let shape = self.shape_of(suffix, is_float, "f16, bf16 or f32")?;
        // The type is one of the three by now.
        Ok((self.info(suffix)?.dtype.known().unwrap_or(DType::F16), shape))
    }

    pub(super) fn read_i32(&self, suffix: &str) -> Result<Vec<i32>, StorageError> {
        let info = self.info(suffix)?;
        let found = || format!("{} {:?}", info.dtype, info.shape);
        if info.dtype.known() != Some(DType::I32) || info.shape.len() != 1 {
            return Err(self.contradiction(suffix, "a vector of i32", &found()));
        }
        let tensor = self.checkpoint.tensor(&self.tensor_name(suffix))?;
        let values = tensor.cast::<i32>().map(std::borrow::Cow::into_owned);
        values.map_err(|_| self.contradiction(suffix, "a vector of i32", &found()))
    }

    pub(super) fn expect(
        &self,
        suffix: &str,
        found: [usize; 2],
        expected: [usize; 2],
    ) -> Result<(), StorageError> {
        if found == expected {
            return Ok(());
        }
        Err(self.contradiction(suffix, &format!("{expected:?}"), &format!("{found:?}")))
    }

    pub(super) fn contradiction(&self, suffix: &str, expected: &str, found: &str) -> StorageError {
        let tensor = self.tensor_name(suffix);
        StorageError::Contradiction {
            file: self.checkpoint.file_of(&tensor).unwrap_or(self.checkpoint.dir()).to_owned(),
            tensor: tensor.into(),
            config: self.config.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// Takes a component that must be there.
pub(super) fn select(stored: &mut Components, suffix: &str) -> Result<Tensor, WeightError> {
    stored.remove(suffix).ok_or_else(|| WeightError::MissingComponent { component: suffix.to_owned() })
}

/// The transpose of a matrix of two- or four-byte elements.
pub(super) fn turned(tensor: &Tensor) -> Result<Tensor, TensorError> {
    let dtype = tensor.known_dtype()?;
    let wrong =
        || TensorError::Type { expected: "a matrix of two- or four-byte elements", found: dtype.into() };
    let &[rows, columns] = tensor.shape() else { return Err(wrong()) };
    match dtype.size() {
        2 => Tensor::from_vec(dtype, vec![columns, rows], transpose(rows, columns, &tensor.cast::<u16>()?)),
        4 => Tensor::from_vec(dtype, vec![columns, rows], transpose(rows, columns, &tensor.cast::<u32>()?)),
        _ => Err(wrong()),
    }
}

/// Into how many of the file's groups each group of a weight is split.
pub(super) fn split(weight: &GroupedInt, group_size: GroupSize) -> Result<usize, Misfit> {
    let in_features = weight.shape()[1];
    let found = weight.spec().group_size.columns(in_features);
    // A group that is wider than the weight is the whole row.
    let expected = group_size.columns(in_features).min(in_features);
    if expected == 0 || !found.is_multiple_of(expected) {
        return Err(Misfit::Groups { found, expected });
    }
    match found / expected {
        1 => Ok(1),
        _ if weight.spec().group_index => Err(Misfit::SplitIndex),
        split => Ok(split),
    }
}

/// The scales as f16 `[groups, out]`, each repeated `split` times.
pub(super) fn scale_tensor(weight: &GroupedInt, split: usize) -> Result<Tensor, Misfit> {
    let (out_features, groups) = (weight.shape()[0], weight.groups());
    let rounded = f16_scales(weight)?;
    let mut turned = Vec::with_capacity(rounded.len() * split);
    for group in 0..groups * split {
        turned.extend((0..out_features).map(|row| rounded[row * groups + group / split]));
    }
    Ok(Tensor::from_vec(DType::F16, vec![groups * split, out_features], turned)?)
}

/// The scales of a weight rounded to f16, `[out, groups]`.
pub(crate) fn f16_scales(weight: &GroupedInt) -> Result<Vec<f16>, Misfit> {
    let scales = weight.scales();
    if scales.dtype().known() == Some(DType::F16) {
        return Ok(scales.cast::<f16>()?.into_owned());
    }
    let wide = scales.to_f32()?;
    if let Some(&value) =
        wide.iter().find(|v| v.is_finite() && !convert::round_f32(DType::F16, **v).is_finite())
    {
        return Err(Misfit::Range { what: "scale", value });
    }
    Ok(wide.iter().map(|&v| f16::from_f32(v)).collect())
}
