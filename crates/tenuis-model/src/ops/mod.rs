//! The operations between the slots, on f32 rows, spread over all cores.
//!
//! candle's own elementwise operations run on one thread, and a chain of them writes every intermediate to memory.
//! These do a whole step in one pass. They are inference only: none has a backward pass.
#![expect(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instructions of `vectorised`"
)]

pub(crate) mod attention;
pub(crate) mod gate;
mod matrix;
pub(crate) mod rope;

pub(crate) use tenuis_linalg::float;

use candle_core::{CpuStorage, DType, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::borrow::Cow;

/// Values below which waking other threads costs more than it saves.
const SERIAL_BELOW: usize = 1 << 14;

/// Values that one task takes at least.
const TASK_VALUES: usize = 1 << 13;

/// The tensor itself where it is row-major, else a copy that is.
pub(crate) fn contiguous(x: &Tensor) -> candle_core::Result<Cow<'_, Tensor>> {
    Ok(if x.is_contiguous() { Cow::Borrowed(x) } else { Cow::Owned(x.contiguous()?) })
}

/// The values of a row-major f32 tensor.
pub(crate) fn slice<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    op: &'static str,
) -> candle_core::Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else {
        return Err(candle_core::Error::UnsupportedDTypeForOp(storage_dtype(storage), op).bt());
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op }.bt()),
    }
}

fn storage_dtype(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Lends the values of a row-major f32 tensor on the CPU.
pub(crate) fn with_values<R>(x: &Tensor, work: impl FnOnce(&[f32]) -> R) -> candle_core::Result<R> {
    let x = contiguous(x)?;
    let (storage, layout) = x.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a tensor on another device than the CPU");
    };
    Ok(work(slice(storage, layout, "with-values")?))
}

/// A row-major f32 tensor seen as rows of its last dimension.
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    dims: &'a [usize],
}

impl<'a> Rows<'a> {
    pub(crate) fn new(
        storage: &'a CpuStorage,
        layout: &'a Layout,
        width: usize,
        op: &'static str,
    ) -> candle_core::Result<Self> {
        let values = slice(storage, layout, op)?;
        if layout.dims().last() != Some(&width) {
            candle_core::bail!("{op}: input {:?} is not {width} wide", layout.shape());
        }
        Ok(Self { values, dims: layout.dims() })
    }

    /// The shape with another last dimension.
    pub(crate) fn shape_with(&self, width: usize) -> Shape {
        let mut dims = self.dims.to_vec();
        if let Some(last) = dims.last_mut() {
            *last = width;
        }
        Shape::from_dims(&dims)
    }
}

/// Calls `work(first row, rows)` for runs of rows that together make up `out`, on all threads where it is worth it.
pub(crate) fn for_rows(out: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() < SERIAL_BELOW {
        return work(0, out);
    }
    let rows = (TASK_VALUES / width).max(1);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(task, out)| work(task * rows, out));
}
