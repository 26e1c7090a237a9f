//! Differentiable operations on candle's autograd, each a whole step in one pass over all cores.
//!
//! candle's own fused operations have no backward pass and cut the gradient without a word, and its elementwise ones
//! run on one thread and write every intermediate to memory. Each operation here is a `CustomOp` that recomputes in
//! its backward pass what is cheap and keeps nothing else. Every backward pass is held against finite differences.
//!
//! Activations may be f32, bf16 or f16: operations widen what they read, compute in f32 and round what they write.
//! Softmax, norms, losses and every sum stay f32. Parameters are f32 always (the master weights).
#![expect(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instructions of `vectorised`"
)]

pub(crate) mod attention;
pub(crate) mod bias;
pub(crate) mod divergence;
pub(crate) mod embed;
pub(crate) mod fake_quant;
pub(crate) mod gate;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod matrix;
pub(crate) mod norm;
pub(crate) mod on_grid;
pub(crate) mod seed;

use candle_core::{CpuStorage, DType, Device, Layout, Result, Shape, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Deref;

/// Values that one task takes at least: waking a thread for less costs more than it saves.
const TASK_VALUES: usize = 1 << 14;

/// The values of a row-major floating-point storage, widened to f32.
pub(crate) fn read<'a>(storage: &'a CpuStorage, layout: &Layout, op: &'static str) -> Result<Cow<'a, [f32]>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(candle_core::Error::RequiresContiguous { op }.bt());
    };
    match storage {
        CpuStorage::F32(values) => Ok(Cow::Borrowed(&values[start..end])),
        CpuStorage::F16(values) => Ok(Cow::Owned(widen(end - start, |range, out| {
            values[start..end][range].convert_to_f32_slice(out);
        }))),
        CpuStorage::BF16(values) => Ok(Cow::Owned(widen(end - start, |range, out| {
            values[start..end][range].convert_to_f32_slice(out);
        }))),
        other => {
            use candle_core::backend::BackendStorage;
            Err(candle_core::Error::UnsupportedDTypeForOp(other.dtype(), op).bt())
        }
    }
}

fn widen(len: usize, convert: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
    let mut out = vec![0.0; len];
    out.par_chunks_mut(TASK_VALUES).enumerate().for_each(|(task, out)| {
        let start = task * TASK_VALUES;
        convert(start..start + out.len(), out);
    });
    out
}

/// Values as the storage of a tensor of activations.
pub(crate) fn write(values: Vec<f32>, dtype: DType) -> Result<CpuStorage> {
    match dtype {
        DType::F32 => Ok(CpuStorage::F32(values)),
        DType::F16 => {
            let mut out = vec![half::f16::ZERO; values.len()];
            out.par_chunks_mut(TASK_VALUES)
                .zip(values.par_chunks(TASK_VALUES))
                .for_each(|(out, values)| out.convert_from_f32_slice(values));
            Ok(CpuStorage::F16(out))
        }
        DType::BF16 => {
            let mut out = vec![half::bf16::ZERO; values.len()];
            out.par_chunks_mut(TASK_VALUES)
                .zip(values.par_chunks(TASK_VALUES))
                .for_each(|(out, values)| out.convert_from_f32_slice(values));
            Ok(CpuStorage::BF16(out))
        }
        other => Err(candle_core::Error::UnsupportedDTypeForOp(other, "tenuis-distill").bt()),
    }
}

/// Rounds values to what a type holds.
pub(crate) fn round_to(values: Cow<'_, [f32]>, dtype: DType) -> Result<Cow<'_, [f32]>> {
    if dtype == DType::F32 {
        return Ok(values);
    }
    let storage = write(values.into_owned(), dtype)?;
    let layout = Layout::contiguous(len(&storage));
    Ok(Cow::Owned(read(&storage, &layout, "round")?.into_owned()))
}

fn len(storage: &CpuStorage) -> usize {
    match storage {
        CpuStorage::F32(values) => values.len(),
        CpuStorage::F16(values) => values.len(),
        CpuStorage::BF16(values) => values.len(),
        _ => 0,
    }
}

/// A new tensor outside the graph.
pub(crate) fn tensor(values: Vec<f32>, shape: &Shape, dtype: DType) -> Result<Tensor> {
    match write(values, dtype)? {
        CpuStorage::F32(values) => Tensor::from_vec(values, shape, &Device::Cpu),
        CpuStorage::F16(values) => Tensor::from_vec(values, shape, &Device::Cpu),
        CpuStorage::BF16(values) => Tensor::from_vec(values, shape, &Device::Cpu),
        _ => candle_core::bail!("activations are f32, f16 or bf16"),
    }
}

/// A tensor whose values are lent while this lives.
pub(crate) struct Lent<'a> {
    tensor: Cow<'a, Tensor>,
}

impl<'a> Lent<'a> {
    /// Makes the tensor row-major where it is not.
    pub(crate) fn new(tensor: &'a Tensor) -> Result<Self> {
        let tensor =
            if tensor.is_contiguous() { Cow::Borrowed(tensor) } else { Cow::Owned(tensor.contiguous()?) };
        Ok(Self { tensor })
    }

    pub(crate) fn lock(&self) -> Locked<'_, impl Deref<Target = Storage> + '_> {
        let (storage, layout) = self.tensor.storage_and_layout();
        Locked { storage, layout }
    }
}

/// The lock on a tensor's storage.
pub(crate) struct Locked<'a, G> {
    storage: G,
    layout: &'a Layout,
}

impl<G: Deref<Target = Storage>> Locked<'_, G> {
    pub(crate) fn values(&self) -> Result<Cow<'_, [f32]>> {
        match &*self.storage {
            Storage::Cpu(storage) => read(storage, self.layout, "lend"),
            _ => candle_core::bail!("a tensor on another device than the CPU"),
        }
    }
}

/// The f32 values of a tensor, copied.
pub(crate) fn to_vec(x: &Tensor) -> Result<Vec<f32>> {
    let lent = Lent::new(x)?;
    let locked = lent.lock();
    Ok(locked.values()?.into_owned())
}

/// Rows per task for rows of a width; it depends on the shape alone, so that sums over tasks come out the same on
/// any number of threads.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (TASK_VALUES / width.max(1)).max(1)
}

/// Calls `work(first row, rows)` for runs of rows that together make up `out`, on all threads.
pub(crate) fn for_rows(out: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = rows_per_task(width);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(task, out)| work(task * rows, out));
}

#[cfg(test)]
pub(crate) mod check;
