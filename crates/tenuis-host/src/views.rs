//! Views of the host's tensors and weights as C structs.

use std::any::Any;
use std::ffi::c_void;
use std::mem::size_of;
use std::rc::Rc;
use tenuis_abi as abi;
use tenuis_abi::{tn_dtype, tn_str, tn_tensor};
use tenuis_core::{DType, Tensor, TensorError};

/// Keeps what pointers refer to. A kept value does not move and lives as long as the arena.
#[derive(Default)]
pub(crate) struct Arena {
    kept: Vec<Rc<dyn Any>>,
}

impl Arena {
    pub(crate) fn keep<T: 'static>(&mut self, value: T) -> *const T {
        let kept = Rc::new(value);
        let pointer = Rc::as_ptr(&kept);
        self.kept.push(kept);
        pointer
    }

    pub(crate) fn keep_slice<T: 'static>(&mut self, values: Vec<T>) -> *const T {
        let pointer = values.as_ptr();
        // The elements stay where they are when the vector that owns them moves.
        self.kept.push(Rc::new(values));
        pointer
    }

    pub(crate) fn keep_text(&mut self, text: String) -> tn_str {
        let view = tn_str::new(&text);
        self.kept.push(Rc::new(text));
        view
    }

    /// A row-major tensor of bytes that live elsewhere.
    pub(crate) fn tensor(
        &mut self,
        name: tn_str,
        dtype: DType,
        shape: &[usize],
        data: *const c_void,
    ) -> *const tn_tensor {
        let elements: usize = shape.iter().product();
        let extents = self.keep_slice(shape.iter().map(|&d| d as i64).collect());
        self.keep(tn_tensor {
            struct_size: size_of::<tn_tensor>() as u32,
            flags: 0,
            dtype: dtype_code(dtype),
            device_type: abi::TN_DEVICE_CPU,
            device_id: 0,
            ndim: shape.len() as i32,
            shape: extents,
            strides: std::ptr::null(),
            data,
            byte_len: (elements * dtype.size()) as u64,
            name,
        })
    }

    /// A stored tensor, kept alive; without its data where only the shape matters.
    pub(crate) fn stored(
        &mut self,
        name: tn_str,
        tensor: Tensor,
        with_data: bool,
    ) -> Result<*const tn_tensor, TensorError> {
        let dtype = tensor.known_dtype()?;
        let data = if with_data { tensor.data().as_ptr().cast() } else { std::ptr::null() };
        let view = self.tensor(name, dtype, tensor.shape(), data);
        self.kept.push(Rc::new(tensor));
        Ok(view)
    }
}

/// The empty string.
pub(crate) const EMPTY: tn_str = tn_str::new("");

/// The ABI's number of an element type.
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

/// The element type of the ABI's number.
pub(crate) fn dtype_of(code: tn_dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&d| dtype_code(d) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_has_a_number_of_its_own() {
        for dtype in DType::ALL {
            assert_eq!(dtype_of(dtype_code(dtype)), Some(dtype));
        }
        assert_eq!(dtype_of(tn_dtype { code: abi::TN_DTYPE_FLOAT, bits: 16, lanes: 2 }), None);
    }
}
