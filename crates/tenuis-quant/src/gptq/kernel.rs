//! The inner loop: quantise the columns of a block and correct the rest of it.
//!
//! A panel holds a few rows of the weight transposed, so that one instruction serves several rows: row after row is
//! independent once `U` is known. The loop is written once and compiled for each instruction set; which one runs is
//! decided at run time. It is bound by stores to the first-level cache, one per eight corrected weights (AVX2).

#![expect(
    clippy::inline_always,
    reason = "a body must be inlined into each function that selects an instruction set"
)]

use crate::grid::Grid;
use std::ops::Range;
use tenuis_linalg::Real;

/// Rows that are handled together: four registers of AVX2 in f32.
const LANES: usize = 32;

/// A block of a panel and what is needed to quantise it.
pub(super) struct Block<'a, T> {
    /// `[width, rows]`: weights, corrected for all columns before the block on entry, and for all on return.
    pub(super) corrected: &'a mut [T],
    /// `[width, rows]`: original weights on entry, `w − ŵ` on return.
    pub(super) weights: &'a mut [T],
    /// `[width, rows]`: unsigned codes.
    pub(super) codes: &'a mut [u8],
    /// `[rows]`: `Σ e²`.
    pub(super) damped: &'a mut [T],
    /// `[width, width]`, row-major: the diagonal block of `U`.
    pub(super) factor: &'a [T],
    /// `[groups, rows]`.
    pub(super) grids: &'a [Grid<T>],
    /// `[width]`: the group of each column.
    pub(super) group_of: &'a [u32],
    /// `[width, rows]`: 0 where a weight is pruned and becomes exactly zero; empty where none is.
    pub(super) kept: &'a [u8],
    /// Rows of the panel.
    pub(super) rows: usize,
    /// The largest code.
    pub(super) max_code: T,
}

/// Quantises some columns of a block, correcting all later ones of the block.
pub(super) fn quantize_columns<T: Real>(block: &mut Block<'_, T>, columns: Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has both features.
        #[expect(unsafe_code, reason = "calls code compiled for a newer instruction set")]
        unsafe {
            return with_avx2(block, columns);
        }
    }
    // A fused operation is a function call on x86 without FMA, and one instruction on every 64-bit ARM.
    if cfg!(target_arch = "aarch64") {
        body::<T, true>(block, columns);
    } else {
        body::<T, false>(block, columns);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<T: Real>(block: &mut Block<'_, T>, columns: Range<usize>) {
    body::<T, true>(block, columns);
}

#[inline(always)]
fn body<T: Real, const FUSED: bool>(block: &mut Block<'_, T>, columns: Range<usize>) {
    let rows = block.rows;
    let mut first = 0;
    while first + LANES <= rows {
        strip::<T, LANES, FUSED>(block, columns.clone(), first);
        first += LANES;
    }
    while first + 8 <= rows {
        strip::<T, 8, FUSED>(block, columns.clone(), first);
        first += 8;
    }
    while first < rows {
        strip::<T, 1, FUSED>(block, columns.clone(), first);
        first += 1;
    }
}

#[inline(always)]
fn strip<T: Real, const N: usize, const FUSED: bool>(
    block: &mut Block<'_, T>,
    columns: Range<usize>,
    first: usize,
) {
    let (rows, width) = (block.rows, block.group_of.len());
    let mut damped = [T::ZERO; N];
    for i in columns {
        let factor = &block.factor[i * width..(i + 1) * width];
        let diagonal = factor[i];
        let grids = &block.grids[block.group_of[i] as usize * rows + first..][..N];
        let (now, later) = block.corrected.split_at_mut((i + 1) * rows);
        let now = &now[i * rows + first..][..N];
        let weights = &mut block.weights[i * rows + first..][..N];
        let codes = &mut block.codes[i * rows + first..][..N];
        let mut rounded: [T; N] = std::array::from_fn(|lane| grids[lane].code(now[lane], block.max_code));
        if !block.kept.is_empty() {
            // The code of zero: a pruned weight is rounded to it from wherever corrections have moved it.
            let kept = &block.kept[i * rows + first..][..N];
            for lane in 0..N {
                rounded[lane] = if kept[lane] == 0 { grids[lane].zero } else { rounded[lane] };
            }
        }
        let mut errors = [T::ZERO; N];
        for lane in 0..N {
            let (weight, code) = (now[lane], rounded[lane]);
            let value = grids[lane].value(code);
            let error = (weight - value) / diagonal;
            errors[lane] = error;
            weights[lane] -= value;
            damped[lane] += error * error;
            // Through i32, which has a vector instruction where u8 has none.
            codes[lane] = code.as_f32() as i32 as u8;
        }
        for (column, &weight) in later.chunks_exact_mut(rows).zip(&factor[i + 1..]) {
            let column = &mut column[first..first + N];
            for lane in 0..N {
                column[lane] = if FUSED {
                    (-errors[lane]).fused(weight, column[lane])
                } else {
                    column[lane] - errors[lane] * weight
                };
            }
        }
    }
    for (sum, part) in block.damped[first..first + N].iter_mut().zip(damped) {
        *sum += part;
    }
}
