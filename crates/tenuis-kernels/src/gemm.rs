//! Safe calls of the `gemm` crate for the two layouts of a weight.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers")]

use crate::block::Block;
use gemm::Parallelism;
use tenuis_core::Layout;

/// Writes `x Wᵀ` of a block's rows and columns on the calling thread.
///
/// # Shapes
/// `x`: `[rows of the whole output, ins]`; `tile`: `[block's columns, ins]` or, transposed, `[ins, block's columns]`.
pub(crate) fn block(block: &mut Block<'_>, x: &[f32], tile: &[f32], ins: usize, layout: Layout) {
    let (rows, outs) = (block.rows(), block.outs().len());
    let x = &x[rows.start * ins..rows.end * ins];
    let stride = block.stride();
    // SAFETY: the block is `rows × outs` with its own stride, and lent to us alone.
    unsafe {
        multiply(block.as_mut_ptr(), stride, [rows.len(), outs, ins], x, tile, layout, Parallelism::None);
    }
}

/// Writes `y = x Wᵀ` on all threads.
///
/// # Shapes
/// `y`: `[rows, outs]`, `x`: `[rows, ins]`, `weight`: `[outs, ins]` or, transposed, `[ins, outs]`.
pub(crate) fn whole(y: &mut [f32], shape: [usize; 3], x: &[f32], weight: &[f32], layout: Layout) {
    assert_eq!(y.len(), shape[0] * shape[1]);
    // The crate splits rows and columns among threads, never a sum. Zero means as many as the pool has.
    // SAFETY: `y` is a contiguous matrix of that shape (asserted), and lent to us alone.
    unsafe { multiply(y.as_mut_ptr(), shape[1], shape, x, weight, layout, Parallelism::Rayon(0)) }
}

/// # Safety
/// `y` must be valid for writes of `rows` rows of `outs` values that are `stride` apart.
unsafe fn multiply(
    y: *mut f32,
    stride: usize,
    [rows, outs, ins]: [usize; 3],
    x: &[f32],
    weight: &[f32],
    layout: Layout,
    parallelism: Parallelism,
) {
    assert_eq!(x.len(), rows * ins);
    assert_eq!(weight.len(), outs * ins);
    // Distances in W, from one output to the next and from one input to the next.
    let (per_out, per_in) = match layout {
        Layout::OutIn => (ins, 1),
        Layout::InOut => (1, outs),
    };
    // SAFETY: `x` and `weight` hold what the shape says (asserted); `y` does by the caller's promise. No conjugation
    // and `read_dst = false`, so `y` need not be initialised.
    unsafe {
        gemm::gemm(
            rows,
            outs,
            ins,
            y,
            1,
            stride as isize,
            false,
            x.as_ptr(),
            1,
            ins as isize,
            weight.as_ptr(),
            per_out as isize,
            per_in as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
