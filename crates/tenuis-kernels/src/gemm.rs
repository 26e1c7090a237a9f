//! Safe calls of the `gemm` crate for the two layouts of a weight.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers")]

use crate::block::Block;
use gemm::Parallelism;

/// Writes `x Wᵀ` of a block's rows and columns on the calling thread.
///
/// # Shapes
/// `x`: `[rows of the whole output, ins]`; `tile`: `[block's columns, ins]`.
pub(crate) fn block_out_in(block: &mut Block<'_>, x: &[f32], tile: &[f32], ins: usize) {
    let (rows, outs) = (block.rows(), block.outs().len());
    assert_eq!(tile.len(), outs * ins);
    let x = &x[rows.start * ins..rows.end * ins];
    // SAFETY: the slices hold `rows × ins` and `outs × ins` values (checked above), and the block is `rows × outs`
    // with its own stride.
    unsafe {
        gemm::gemm(
            rows.len(),
            outs,
            ins,
            block.as_mut_ptr(),
            1,
            block.stride() as isize,
            false,
            x.as_ptr(),
            1,
            ins as isize,
            tile.as_ptr(),
            ins as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
