//! Reading structs of which the other side may know fewer or more fields, texts and messages.

#![expect(unsafe_code, reason = "reads and writes what raw pointers of the other side refer to")]

use crate::{
    tn_checkpoint, tn_err, tn_group, tn_host, tn_linear, tn_model, tn_plugin, tn_str, tn_technique,
    tn_tensor, tn_tokens, tn_weight,
};
use std::mem::{MaybeUninit, offset_of, size_of};

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
extensible!(
    tn_err tn_tensor tn_weight tn_linear tn_group tn_tokens tn_checkpoint tn_model tn_host tn_technique tn_plugin
);

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

/// Borrows a text; `None` where it is null, longer than `limit` bytes, or not UTF-8.
///
/// # Safety
/// `text.len` bytes are readable at `text.ptr` for `'a`, unless that is null or the length is above `limit`.
pub unsafe fn read_text<'a>(text: tn_str, limit: u64) -> Option<&'a str> {
    if text.len == 0 {
        return Some("");
    }
    if text.ptr.is_null() || text.len > limit {
        return None;
    }
    // SAFETY: the caller vouches for the bytes.
    std::str::from_utf8(unsafe { std::slice::from_raw_parts(text.ptr.cast(), text.len as usize) }).ok()
}

/// Writes a message, cut between characters where it is too long.
///
/// # Safety
/// `error` is null or points to a `tn_err` whose owner set its `struct_size`.
pub unsafe fn write_error(error: *mut tn_err, message: &str) {
    if error.is_null() {
        return;
    }
    // SAFETY: not null; the size is the first field.
    let size = unsafe { (&raw const (*error).struct_size).read() } as usize;
    let Some(capacity) = size.min(size_of::<tn_err>()).checked_sub(offset_of!(tn_err, msg)) else {
        return;
    };
    let end = message.floor_char_boundary(capacity);
    // SAFETY: `len` lies before `msg`, and `end` bytes within what the size leaves to `msg`.
    unsafe {
        (&raw mut (*error).len).write(end as u32);
        (&raw mut (*error).msg).cast::<u8>().copy_from_nonoverlapping(message.as_ptr(), end);
    }
}

impl Default for tn_err {
    fn default() -> Self {
        Self { struct_size: size_of::<Self>() as u32, len: 0, msg: [0; 1016] }
    }
}

impl tn_err {
    /// The message; bytes that are not UTF-8 are replaced.
    pub fn message(&self) -> String {
        let bytes: Vec<u8> = self.msg.iter().take(self.len as usize).map(|c| c.to_ne_bytes()[0]).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl tn_str {
    /// A view of a text, valid as long as that.
    pub const fn new(text: &str) -> Self {
        Self { ptr: text.as_ptr().cast(), len: text.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters() {
        let mut error = tn_err::default();
        // SAFETY: a whole `tn_err`.
        unsafe { write_error(&raw mut error, "narrow") };
        assert_eq!(error.message(), "narrow");
        error.struct_size = offset_of!(tn_err, msg) as u32 + 4;
        // SAFETY: a whole `tn_err` whose size is understated.
        unsafe { write_error(&raw mut error, "thé é") };
        assert_eq!(error.message(), "thé");
        error.struct_size = 4;
        // SAFETY: as above; nothing is written.
        unsafe { write_error(&raw mut error, "lost") };
        assert_eq!(error.message(), "thé");
    }

    #[test]
    fn texts_that_are_broken_are_refused() {
        let wrong = tn_str { ptr: b"\xff".as_ptr().cast(), len: 1 };
        let null = tn_str { ptr: std::ptr::null(), len: 1 };
        let long = tn_str { ptr: std::ptr::null(), len: u64::MAX };
        // SAFETY: readable, null, or beyond the limit.
        let read = |text| unsafe { read_text(text, 100) };
        assert_eq!([wrong, null, long, tn_str::new("ok")].map(read), [None, None, None, Some("ok")]);
    }

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
