//! Reading a struct of which the other side may know fewer or more fields.

#![expect(unsafe_code, reason = "copies a struct of foreign length behind a raw pointer")]

use crate::{tn_err, tn_group, tn_host, tn_linear, tn_model, tn_plugin, tn_technique, tn_tensor, tn_weight};
use std::mem::{MaybeUninit, size_of};

/// A struct that carries its own size.
///
/// # Safety
/// The type is `repr(C)`, a u32 at [`Extensible::SIZE_OFFSET`] is its size in bytes, and all zeros is a valid value.
pub unsafe trait Extensible: Copy {
    /// Where `struct_size` lies.
    const SIZE_OFFSET: usize;
}

macro_rules! extensible {
    ($($name:ident)*) => {$(
        // SAFETY: `repr(C)`; every field is an integer, a raw pointer, an optional function or an array of these.
        unsafe impl Extensible for $name {
            const SIZE_OFFSET: usize = std::mem::offset_of!($name, struct_size);
        }
    )*};
}
extensible!(tn_err tn_tensor tn_weight tn_linear tn_group tn_model tn_host tn_technique tn_plugin);

/// Copies the fields that `struct_size` covers and leaves the others zero, `NULL`, `None`.
///
/// `None` for a null pointer and for a size that does not even cover itself.
///
/// # Safety
/// `source` is null or points to as many readable bytes as its `struct_size` says, aligned for `T`.
pub unsafe fn read_covered<T: Extensible>(source: *const T) -> Option<T> {
    if source.is_null() {
        return None;
    }
    let bytes = source.cast::<u8>();
    // SAFETY: the caller vouches for the struct, of which this is a part, and for its alignment.
    let struct_size = unsafe { bytes.add(T::SIZE_OFFSET).cast::<u32>().read_unaligned() } as usize;
    if struct_size < T::SIZE_OFFSET + size_of::<u32>() {
        return None;
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: at most `struct_size` bytes are read, and at most the size of `T` is written.
    unsafe { bytes.copy_to_nonoverlapping(copy.as_mut_ptr().cast(), struct_size.min(size_of::<T>())) };
    // SAFETY: the bytes are those of a `T` that the other side made, or zeros, which the trait allows. A field that
    // is covered in part cannot occur: sizes end at fields.
    Some(unsafe { copy.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn fields_beyond_the_size_are_not_read() {
        // SAFETY: zeros are a valid `tn_group`.
        let mut group: tn_group = unsafe { std::mem::zeroed() };
        group.n_linears = 3;
        group.calib_rows = 77;
        group.struct_size = offset_of!(tn_group, calib_rows) as u32;
        // SAFETY: the struct is whole, its size understated.
        let read = unsafe { read_covered(&raw const group) }.unwrap();
        assert_eq!((read.n_linears, read.calib_rows), (3, 0));
        group.struct_size = size_of::<tn_group>() as u32;
        // SAFETY: as above.
        assert_eq!(unsafe { read_covered(&raw const group) }.unwrap().calib_rows, 77);
    }

    #[test]
    fn nothing_is_read_from_null_or_a_size_of_zero() {
        // SAFETY: null is allowed, and so is a size of zero.
        let (null, empty) = unsafe {
            let empty: tn_plugin = std::mem::zeroed();
            (read_covered(std::ptr::null::<tn_host>()).is_none(), read_covered(&raw const empty).is_none())
        };
        assert!(null && empty);
    }
}
