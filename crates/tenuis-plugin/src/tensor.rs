//! Borrowed tensors of the host.

#![expect(unsafe_code, reason = "reads tensors behind raw pointers of the host")]

use crate::error::TechniqueError;
use std::borrow::Cow;
use tenuis_abi as abi;
use tenuis_abi::{read_covered, tn_dtype, tn_tensor};
use tenuis_core::{Bytes, DType, Tensor, element_count};

/// A tensor that the host lends for a call.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    pub(crate) name: String,
    dtype: DType,
    shape: Vec<usize>,
    /// `None` where only the shape is known.
    bytes: Option<&'a [u8]>,
}

impl<'a> TensorView<'a> {
    /// Reads and checks a tensor; `None` for null.
    ///
    /// # Safety
    /// `tensor` is null or a tensor of the host that is valid for `'a`.
    pub(crate) unsafe fn read(tensor: *const tn_tensor) -> Result<Option<Self>, TechniqueError> {
        // SAFETY: the caller vouches for it.
        let Some(raw) = (unsafe { read_covered(tensor) }) else { return Ok(None) };
        // SAFETY: the host's name.
        let name = unsafe { text(raw.name) }?;
        let wrong = |what: &str| TechniqueError::invalid(format!("tensor {name:?} of the host has {what}"));
        let dtype = dtype_of(raw.dtype).ok_or_else(|| wrong("an unknown element type"))?;
        if raw.device_type != abi::TN_DEVICE_CPU || !raw.strides.is_null() {
            return Err(wrong("an unknown device or strides"));
        }
        let ndim = usize::try_from(raw.ndim).ok().filter(|&n| n <= 16 && (n == 0 || !raw.shape.is_null()));
        let ndim = ndim.ok_or_else(|| wrong("a broken number of dimensions"))?;
        let mut shape = Vec::with_capacity(ndim);
        for i in 0..ndim {
            // SAFETY: the host gives `ndim` extents.
            let extent = unsafe { *raw.shape.add(i) };
            shape.push(usize::try_from(extent).map_err(|_| wrong("a negative extent"))?);
        }
        let len = element_count(&shape)?.checked_mul(dtype.size());
        let len =
            len.filter(|&l| l as u64 == raw.byte_len).ok_or_else(|| wrong("a length that disagrees"))?;
        let bytes = match (len, raw.data.is_null()) {
            (0, _) => Some(&[][..]),
            (_, true) => None,
            // SAFETY: the host lends `byte_len` bytes.
            (_, false) => Some(unsafe { std::slice::from_raw_parts(raw.data.cast::<u8>(), len) }),
        };
        Ok(Some(Self { name: name.to_owned(), dtype, shape, bytes }))
    }

    /// The name; for a component its suffix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element type.
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The little-endian bytes.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host passed the shape alone.
    pub fn bytes(&self) -> Result<&'a [u8], TechniqueError> {
        self.bytes.ok_or_else(|| TechniqueError::invalid(format!("tensor {:?} has no data here", self.name)))
    }

    /// The elements as f32, without a copy where they are f32 and aligned.
    ///
    /// # Errors
    /// [`TechniqueError`] for integers and where the host passed the shape alone.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>, TechniqueError> {
        let bytes = self.bytes()?;
        if let (DType::F32, Ok(values)) = (self.dtype, bytemuck::try_cast_slice(bytes)) {
            return Ok(Cow::Borrowed(values));
        }
        let mut values = vec![0.0; bytes.len() / self.dtype.size()];
        tenuis_core::convert::to_f32(self.dtype, bytes, &mut values)?;
        Ok(Cow::Owned(values))
    }

    /// The elements as f32, which the host promises to be f32, aligned and of this shape.
    pub(crate) fn as_f32(&self, shape: &[usize]) -> Result<&'a [f32], TechniqueError> {
        let values = bytemuck::try_cast_slice(self.bytes()?).ok();
        values.filter(|_| self.dtype == DType::F32 && self.shape == shape).ok_or_else(|| {
            let found = (self.dtype, &self.shape);
            TechniqueError::invalid(format!("the host passed {found:?} where f32 {shape:?} is due"))
        })
    }

    /// A copy that does not borrow.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host passed the shape alone.
    pub fn to_tensor(&self) -> Result<Tensor, TechniqueError> {
        Ok(Tensor::new(self.dtype, self.shape.clone(), Bytes::from_vec(self.bytes()?.to_vec()))?)
    }
}

/// A text of the host, which is valid UTF-8 by the ABI.
///
/// # Safety
/// The text is readable for `'a`.
pub(crate) unsafe fn text<'a>(text: abi::tn_str) -> Result<&'a str, TechniqueError> {
    // SAFETY: the caller vouches for it.
    unsafe { abi::read_text(text, u64::from(u32::MAX)) }
        .ok_or_else(|| TechniqueError::invalid("a text of the host is not UTF-8"))
}

/// An array of pointers of the host.
///
/// # Safety
/// `items` is null or has `count` entries that are readable for `'a`.
pub(crate) unsafe fn array<'a, T>(items: *const *const T, count: u32) -> &'a [*const T] {
    if items.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(items, count as usize) }
}

pub(crate) const fn dtype_code(dtype: DType) -> tn_dtype {
    let code = match dtype {
        DType::F64 | DType::F32 | DType::F16 => abi::TN_DTYPE_FLOAT,
        DType::BF16 => abi::TN_DTYPE_BFLOAT,
        DType::U8 => abi::TN_DTYPE_UINT,
        DType::Bool => abi::TN_DTYPE_BOOL,
        DType::F8E4M3 => abi::TN_DTYPE_F8_E4M3,
        DType::F8E5M2 => abi::TN_DTYPE_F8_E5M2,
        _ => abi::TN_DTYPE_INT,
    };
    tn_dtype { code, bits: (dtype.size() * 8) as u8, lanes: 1 }
}

fn dtype_of(code: tn_dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&d| dtype_code(d) == code)
}
