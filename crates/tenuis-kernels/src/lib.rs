//! CPU kernels that compute on compressed weights, tile by tile, never from a dense copy.
//!
//! [`linear_op`] turns a [`Weight`] of any kind into a [`LinearOp`], `y = x Wᵀ + b`. Kinds that have a kernel of their
//! own run on it; every other kind is decoded a bounded tile of rows at a time and multiplied.
//!
//! Activations stay in f32: a result differs from that of the dequantised matrix by f32 rounding alone. The one exception
//! says so in its name: [`tenuis_core::Int8Dynamic`] rounds each token to eight bits. Results do not depend on the number of threads, because the work is cut by shape and a sum is never split between threads.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a kernel is compiled for the baseline CPU"
)]

mod block;
mod composed;
mod dense;
mod dispatch;
mod gemm;
mod grouped_int;
mod input_scaled;
mod int8;
mod scratch;
mod sparse;
#[cfg(test)]
mod tests;
mod tile;

use composed::{LowRankOp, SumOp};
use dense::DenseOp;
use dispatch::Isa;
use grouped_int::GroupedIntOp;
use input_scaled::InputScaledOp;
use int8::Int8Op;
use sparse::SparseOp;
use std::fmt::Debug;
use std::sync::Arc;
use tenuis_core::{Dense, GroupedInt, InputScaled, Int8Dynamic, LowRank, Sparse, Sum, Weight, WeightError};
use tile::TiledOp;

/// Computes `y = x Wᵀ + b` on whatever form `W` has.
pub trait LinearOp: Send + Sync + Debug {
    /// `[out_features, in_features]`.
    fn shape(&self) -> [usize; 2];

    /// Multiplies: `y[r, o] = Σᵢ x[r, i] · W[o, i] + bias[o]`.
    ///
    /// # Shapes
    /// `x`: `[rows, in_features]`, `bias`: `[out_features]`, `y`: `[rows, out_features]`, all row-major.
    ///
    /// # Panics
    /// If a slice has another length.
    fn forward(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]);

    /// The bytes of RAM or of a mapped file that the operation holds for the weight.
    fn resident_bytes(&self) -> u64;
}

/// Chooses the kernel for a weight.
///
/// A kind without a kernel of its own is decoded once, tile by tile, to prove that it can be: [`LinearOp::forward`]
/// has no way to fail. (Should a representation break its promise later, the outputs concerned are NaN.)
///
/// An operation shares the weight's bytes, mapped or owned. The one exception is a grouped integer weight with an
/// act-order index, which is repacked with its columns sorted by group: a copy, as packed as the original.
///
/// ```
/// use std::sync::Arc;
/// use tenuis_core::{DType, Dense, Tensor, Weight};
/// let tensor = Tensor::from_vec(DType::F32, vec![2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let weight: Weight = Arc::new(Dense::new(tensor)?);
/// let op = tenuis_kernels::linear_op(&weight)?;
/// let mut y = [0.0; 2];
/// op.forward(&[1.0, 0.0, -1.0], 1, Some(&[0.5, 0.5]), &mut y);
/// assert_eq!(y, [-1.5, -1.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What [`tenuis_core::Representation::decode_rows`] reports.
pub fn linear_op(weight: &Weight) -> Result<Arc<dyn LinearOp>, WeightError> {
    linear_op_for(weight, Isa::detect())
}

/// As [`linear_op`], for an instruction set that a test chooses.
fn linear_op_for(weight: &Weight, isa: Isa) -> Result<Arc<dyn LinearOp>, WeightError> {
    if let Some(op) = weight.downcast::<Dense>().and_then(|dense| DenseOp::new(dense, isa)) {
        return Ok(Arc::new(op));
    }
    if let Some(grouped) = weight.downcast::<GroupedInt>() {
        return Ok(Arc::new(GroupedIntOp::new(grouped, isa)?));
    }
    if let Some(product) = weight.downcast::<LowRank>() {
        let (b, a) = (linear_op_for(product.b(), isa)?, linear_op_for(product.a(), isa)?);
        return Ok(Arc::new(LowRankOp::new(b, a)));
    }
    if let Some(sum) = weight.downcast::<Sum>() {
        let terms = sum.terms().iter().map(|term| linear_op_for(term, isa)).collect::<Result<_, _>>()?;
        return Ok(Arc::new(SumOp::new(terms)));
    }
    if let Some(scaled) = weight.downcast::<InputScaled>() {
        return Ok(Arc::new(InputScaledOp::new(scaled, isa)?));
    }
    if let Some(int8) = weight.downcast::<Int8Dynamic>() {
        return Ok(Arc::new(Int8Op::new(int8, isa)?));
    }
    if let Some(sparse) = weight.downcast::<Sparse>() {
        return Ok(Arc::new(SparseOp::new(sparse, isa)));
    }
    Ok(Arc::new(TiledOp::new(Arc::clone(weight))?))
}

/// Panics where the slices of a forward pass do not fit the shape.
fn check_lengths([outs, ins]: [usize; 2], x: &[f32], rows: usize, bias: Option<&[f32]>, y: &[f32]) {
    assert_eq!(x.len(), rows * ins, "x: [{rows}, {ins}]");
    assert_eq!(y.len(), rows * outs, "y: [{rows}, {outs}]");
    assert!(bias.is_none_or(|b| b.len() == outs), "bias: [{outs}]");
}
