//! Handing results to the host.

#![expect(unsafe_code, reason = "calls C functions of the host and writes into its buffers")]

use crate::error::{TechniqueError, outcome};
use crate::host::Host;
use crate::tensor::dtype_code;
use serde_json::Value;
use tenuis_abi::{tn_err, tn_str};
use tenuis_core::{DType, Representation, element_count};

/// Takes the new weights of a group.
#[derive(Debug)]
pub struct Emitter<'a> {
    host: &'a Host<'a>,
}

impl<'a> Emitter<'a> {
    pub(crate) const fn new(host: &'a Host<'a>) -> Self {
        Self { host }
    }

    /// The host's other functions.
    pub const fn host(&self) -> &'a Host<'a> {
        self.host
    }

    /// Hands over the new weight of a member; a second one replaces the first.
    ///
    /// # Errors
    /// What the host finds wrong with it.
    pub fn emit(&mut self, name: &str, weight: &dyn Representation) -> Result<(), TechniqueError> {
        let components = weight.components();
        for component in &components {
            let tensor = &component.tensor;
            let buffer = self.buffer(name, &component.suffix, tensor.known_dtype()?, tensor.shape())?;
            buffer.copy_from_slice(tensor.data());
        }
        let suffixes: Vec<&str> = components.iter().map(|c| c.suffix.as_ref()).collect();
        self.commit(name, &weight.descriptor(), &suffixes)
    }

    /// Borrows the host's buffer for a component, to write into without a copy: every byte of it, before
    /// [`commit`](Self::commit).
    ///
    /// # Errors
    /// Where the host has no memory, or no such member.
    pub fn buffer(
        &mut self,
        name: &str,
        suffix: &str,
        dtype: DType,
        shape: &[usize],
    ) -> Result<&mut [u8], TechniqueError> {
        // SAFETY: the bytes are the host's until the weight is emitted, which needs this emitter again.
        unsafe { buffer(self.host, name, suffix, dtype, shape) }
    }

    /// Joins a descriptor and buffers that were written into the new weight of a member.
    ///
    /// # Errors
    /// What the host finds wrong with it.
    pub fn commit(
        &mut self,
        name: &str,
        descriptor: &Value,
        suffixes: &[&str],
    ) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let emit = host.emit.ok_or_else(|| TechniqueError::missing("emit"))?;
        let descriptor = descriptor.to_string();
        let names: Vec<tn_str> = suffixes.iter().map(|s| tn_str::new(s)).collect();
        let mut error = tn_err::default();
        // SAFETY: the host's function; everything that it is given outlives the call.
        let status = unsafe {
            emit(
                host.ctx,
                tn_str::new(name),
                tn_str::new(&descriptor),
                names.len() as u32,
                names.as_ptr(),
                &raw mut error,
            )
        };
        outcome(status, &error)
    }

    /// Says that the new weight of a member was made for the input x / `scale`, `[in_features]`, all positive.
    ///
    /// # Errors
    /// What the host finds wrong with it.
    pub fn fold(&mut self, name: &str, scale: &[f32]) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let fold = host.fold.ok_or_else(|| TechniqueError::missing("fold"))?;
        let mut error = tn_err::default();
        // SAFETY: as above.
        let status =
            unsafe { fold(host.ctx, tn_str::new(name), scale.len() as u64, scale.as_ptr(), &raw mut error) };
        outcome(status, &error)
    }

    /// The parent module's output error with what is emitted so far; under `NEEDS_OUT_LOSS`.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host lends no loss or cannot compute it.
    pub fn out_loss(&mut self) -> Result<f64, TechniqueError> {
        let host = &self.host.raw;
        let out_loss = host.out_loss.ok_or_else(|| TechniqueError::missing("out_loss"))?;
        let (mut loss, mut error) = (f64::NAN, tn_err::default());
        // SAFETY: as above.
        let status = unsafe { out_loss(host.ctx, &raw mut loss, &raw mut error) };
        outcome(status, &error).map(|()| loss)
    }
}

/// Borrows a buffer of the host, for a component of a weight or, without a suffix, for a tensor.
///
/// # Safety
/// The caller ends the borrow before what is written is emitted, or another buffer for the same is lent.
pub(crate) unsafe fn buffer<'b>(
    host: &Host<'_>,
    name: &str,
    suffix: &str,
    dtype: DType,
    shape: &[usize],
) -> Result<&'b mut [u8], TechniqueError> {
    let host = &host.raw;
    let out_alloc = host.out_alloc.ok_or_else(|| TechniqueError::missing("out_alloc"))?;
    let expected = element_count(shape)? * dtype.size();
    let extents: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let (mut data, mut len, mut error) = (std::ptr::null_mut(), 0, tn_err::default());
    // SAFETY: the host's function; everything that it is given outlives the call.
    let status = unsafe {
        out_alloc(
            host.ctx,
            tn_str::new(name),
            tn_str::new(suffix),
            dtype_code(dtype),
            extents.len() as i32,
            extents.as_ptr(),
            &raw mut data,
            &raw mut len,
            &raw mut error,
        )
    };
    outcome(status, &error)?;
    if expected == 0 {
        return Ok(&mut []);
    }
    if data.is_null() || len != expected as u64 {
        return Err(TechniqueError::invalid(format!("the host lent {len} bytes for {expected}")).about(name));
    }
    // SAFETY: the host lends `len` bytes until the weight is emitted; the caller knows when that is.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), expected) })
}
