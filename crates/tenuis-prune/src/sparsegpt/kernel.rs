//! The inner loop: prune the columns of a block and correct the rest of it.
//!
//! A panel holds a few rows of the weight transposed, so that one instruction serves several rows: row after row is
//! independent once the mask is known. The loop is written once and compiled for each instruction set; which one runs
//! is decided at run time. It is bound by stores to the first-level cache, one per eight corrected weights (AVX2).

#![expect(
    clippy::inline_always,
    reason = "a body must be inlined into each function that selects an instruction set"
)]

use tenuis_linalg::Real;
use tenuis_quant::Grid;

/// Rows that are handled together: four registers of AVX2 in f32.
const LANES: usize = 32;

/// How the mask of a block is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// By its scores: those above a key are kept; `None` keeps all.
    Above(Option<u64>),
    /// It is written down.
    Made,
    /// In groups of columns, when the first of them comes up.
    Groups {
        /// Columns that stay.
        keep: usize,
        /// Columns of a group.
        of: usize,
    },
}

/// A block of a panel and what is needed to prune it.
pub(super) struct Block<'a, T> {
    /// `[width, rows]`: weights, corrected for all columns before the block on entry, and for all on return.
    pub(super) corrected: &'a mut [T],
    /// `[width, rows]`: original weights on entry, `w − ŵ` on return.
    pub(super) weights: &'a mut [T],
    /// `[width, rows]`: `ŵ` on return.
    pub(super) result: &'a mut [T],
    /// `[width, rows]`: 1 = kept; under [`Choice::Groups`] what may be kept on entry.
    pub(super) kept: &'a mut [u8],
    /// `[width, rows]`: unsigned codes on return; empty where nothing is rounded.
    pub(super) codes: &'a mut [u8],
    /// `[rows]`: `Σ e²`.
    pub(super) damped: &'a mut [T],
    /// `[width, width]`, row-major: the diagonal block of `U`.
    pub(super) factor: &'a [T],
    /// `[rows]`, or empty where nothing is rounded.
    pub(super) grids: &'a [Grid<T>],
    /// `[width, rows]`: scratch.
    pub(super) scores: &'a mut [T],
    /// Rows of the panel.
    pub(super) rows: usize,
    /// Columns of the block.
    pub(super) width: usize,
    /// The largest code.
    pub(super) max_code: T,
    /// How the mask is chosen.
    pub(super) choice: Choice,
}

/// Prunes the columns of a block, correcting all later ones of the block.
pub(super) fn prune_columns<T: Real>(block: &mut Block<'_, T>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has both features.
        #[expect(unsafe_code, reason = "calls code compiled for a newer instruction set")]
        unsafe {
            return with_avx2(block);
        }
    }
    // A fused operation is a function call on x86 without FMA, and one instruction on every 64-bit ARM.
    if cfg!(target_arch = "aarch64") {
        body::<T, true>(block);
    } else {
        body::<T, false>(block);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<T: Real>(block: &mut Block<'_, T>) {
    body::<T, true>(block);
}

#[inline(always)]
fn body<T: Real, const FUSED: bool>(block: &mut Block<'_, T>) {
    let rows = block.rows;
    let mut first = 0;
    while first + LANES <= rows {
        strip::<T, LANES, FUSED>(block, first);
        first += LANES;
    }
    while first + 8 <= rows {
        strip::<T, 8, FUSED>(block, first);
        first += 8;
    }
    while first < rows {
        strip::<T, 1, FUSED>(block, first);
        first += 1;
    }
}

#[inline(always)]
fn strip<T: Real, const N: usize, const FUSED: bool>(block: &mut Block<'_, T>, first: usize) {
    let (rows, width) = (block.rows, block.width);
    let mut damped = [T::ZERO; N];
    for i in 0..width {
        if let Choice::Groups { keep, of } = block.choice
            && i.is_multiple_of(of)
        {
            choose::<T, N>(block, first, i, keep, of);
        }
        let factor = &block.factor[i * width..(i + 1) * width];
        let diagonal = factor[i];
        let (now, later) = block.corrected.split_at_mut((i + 1) * rows);
        let now = &now[i * rows + first..][..N];
        let kept = &block.kept[i * rows + first..][..N];
        let mut values = [T::ZERO; N];
        for lane in 0..N {
            values[lane] = if kept[lane] == 0 { T::ZERO } else { now[lane] };
        }
        if !block.grids.is_empty() {
            let grids = &block.grids[first..first + N];
            let codes = &mut block.codes[i * rows + first..][..N];
            for lane in 0..N {
                let code = grids[lane].code(values[lane], block.max_code);
                values[lane] = grids[lane].value(code);
                // Through i32, which has a vector instruction where u8 has none.
                codes[lane] = code.as_f32() as i32 as u8;
            }
        }
        let weights = &mut block.weights[i * rows + first..][..N];
        let result = &mut block.result[i * rows + first..][..N];
        let mut errors = [T::ZERO; N];
        for lane in 0..N {
            let error = (now[lane] - values[lane]) / diagonal;
            errors[lane] = error;
            weights[lane] -= values[lane];
            result[lane] = values[lane];
            damped[lane] += error * error;
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

/// Chooses the mask of the group of columns that begins at `start`; what may not be kept scores lowest.
#[inline(always)]
fn choose<T: Real, const N: usize>(
    block: &mut Block<'_, T>,
    first: usize,
    start: usize,
    keep: usize,
    of: usize,
) {
    let (rows, width) = (block.rows, block.width);
    for i in start..start + of {
        let diagonal = block.factor[i * width + i] * block.factor[i * width + i];
        let at = i * rows + first;
        let (weights, kept) = (&block.corrected[at..at + N], &block.kept[at..at + N]);
        let scores = &mut block.scores[at..at + N];
        for lane in 0..N {
            let score = weights[lane] * weights[lane] / diagonal;
            scores[lane] = if kept[lane] == 0 { -T::ONE } else { score };
        }
    }
    for i in start..start + of {
        // How many of the group go before this one; of equal scores the first.
        let mut smaller = [0u32; N];
        let own: [T; N] = std::array::from_fn(|lane| block.scores[i * rows + first + lane]);
        for j in start..start + of {
            let other = &block.scores[j * rows + first..][..N];
            for lane in 0..N {
                let before = if j < i { other[lane] <= own[lane] } else { other[lane] < own[lane] };
                smaller[lane] += u32::from(before);
            }
        }
        let kept = &mut block.kept[i * rows + first..][..N];
        for lane in 0..N {
            kept[lane] &= u8::from(smaller[lane] as usize >= of - keep);
        }
    }
}
