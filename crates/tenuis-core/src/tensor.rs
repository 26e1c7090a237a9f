//! Tensors on the host: a type, a shape and bytes.

use crate::bytes::Bytes;
use crate::convert;
use crate::dtype::{DType, StoredType};
use bytemuck::{AnyBitPattern, NoUninit};
use std::borrow::Cow;
use thiserror::Error;

/// What can be wrong with a tensor that was asked for.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorError {
    /// The bytes do not match shape × element size.
    #[error("shape {shape:?} of {dtype} needs {expected} bytes, found {found}")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// The element type.
        dtype: StoredType,
        /// The bytes that shape and type call for.
        expected: usize,
        /// The bytes that are there.
        found: usize,
    },
    /// The shape's product overflows.
    #[error("the product of shape {shape:?} overflows")]
    Overflow {
        /// The shape.
        shape: Vec<usize>,
    },
    /// The operation needs another element type.
    #[error("element type is {found}, expected {expected}")]
    Type {
        /// What the operation works on.
        expected: &'static str,
        /// What the tensor holds.
        found: StoredType,
    },
}

/// A row-major tensor in host memory or in a mapped file.
///
/// ```
/// use tenuis_core::{DType, Tensor};
/// let t = Tensor::from_vec(DType::F32, vec![2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(t.to_f32()?.as_ref(), [1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), tenuis_core::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: StoredType,
    shape: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// Joins a type, a shape and little-endian bytes.
    ///
    /// # Errors
    /// [`TensorError::Overflow`] or [`TensorError::Length`] where the three disagree. The length of an unknown
    /// type cannot be checked here; the file's header was.
    pub fn new(dtype: impl Into<StoredType>, shape: Vec<usize>, data: Bytes) -> Result<Self, TensorError> {
        let dtype = dtype.into();
        let elements = element_count(&shape)?;
        if let StoredType::Known(known) = dtype {
            let expected = elements
                .checked_mul(known.size())
                .ok_or_else(|| TensorError::Overflow { shape: shape.clone() })?;
            if expected != data.len() {
                return Err(TensorError::Length { shape, dtype, expected, found: data.len() });
            }
        }
        Ok(Self { dtype, shape, data })
    }

    /// Takes over a vector of elements that already have the stored type.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_vec<T: NoUninit + Send + Sync>(
        dtype: DType,
        shape: Vec<usize>,
        values: Vec<T>,
    ) -> Result<Self, TensorError> {
        Self::new(dtype, shape, Bytes::from_vec(values))
    }

    /// Rounds `values` to `dtype` and stores them.
    ///
    /// # Errors
    /// [`TensorError::Type`] for an integer type, otherwise as [`Tensor::new`].
    pub fn from_f32(dtype: DType, shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        Self::new(dtype, shape, convert::from_f32(dtype, values)?)
    }

    /// The element type as stored.
    pub const fn dtype(&self) -> &StoredType {
        &self.dtype
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The little-endian bytes.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// The same bytes under another shape.
    ///
    /// # Errors
    /// [`TensorError::Length`] where the element counts differ.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, TensorError> {
        if element_count(&shape)? != self.elements() {
            let expected = element_count(&shape)?;
            return Err(TensorError::Length {
                shape,
                dtype: self.dtype.clone(),
                expected,
                found: self.elements(),
            });
        }
        Ok(Self { dtype: self.dtype.clone(), shape, data: self.data.clone() })
    }

    /// The known element type.
    ///
    /// # Errors
    /// [`TensorError::Type`] for a type that can only be copied.
    pub fn known_dtype(&self) -> Result<DType, TensorError> {
        self.dtype
            .known()
            .ok_or_else(|| TensorError::Type { expected: "a known element type", found: self.dtype.clone() })
    }

    /// The elements as `T`, without a copy where the bytes are aligned for it.
    ///
    /// # Errors
    /// [`TensorError::Type`] where the size of `T` is not that of the element type.
    pub fn cast<T: AnyBitPattern + NoUninit>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        if self.known_dtype()?.size() != size_of::<T>() {
            return Err(TensorError::Type {
                expected: std::any::type_name::<T>(),
                found: self.dtype.clone(),
            });
        }
        Ok(match bytemuck::try_cast_slice(&self.data) {
            Ok(slice) => Cow::Borrowed(slice),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.data)),
        })
    }

    /// The elements as f32, without a copy where they are f32 and aligned.
    ///
    /// # Errors
    /// [`TensorError::Type`] for types that are not floating-point.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>, TensorError> {
        if self.dtype == StoredType::Known(DType::F32) {
            return self.cast::<f32>();
        }
        let mut out = vec![0.0; self.elements()];
        self.read_f32(0, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Converts `out.len()` elements from element `start` on to f32.
    ///
    /// # Errors
    /// [`TensorError::Type`] for types that are not floating-point.
    ///
    /// # Panics
    /// If the elements reach beyond the tensor.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) -> Result<(), TensorError> {
        let dtype = self.known_dtype()?;
        let size = dtype.size();
        convert::to_f32(dtype, &self.data[start * size..(start + out.len()) * size], out)
    }
}

/// The product of a shape, checked.
///
/// # Errors
/// [`TensorError::Overflow`].
pub fn element_count(shape: &[usize]) -> Result<usize, TensorError> {
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .ok_or_else(|| TensorError::Overflow { shape: shape.to_vec() })
}
