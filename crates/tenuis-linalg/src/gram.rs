//! The Gram matrix `XᵀX` of a layer's input, one triangle of it.

use crate::matmul::{MatRef, multiply_add_at};
use rayon::prelude::*;
use thiserror::Error;

/// What can be wrong with a Gram matrix that is handed in.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GramError {
    /// The buffer is not square.
    #[error("a Gram matrix of {features} features has {expected} values, found {found}")]
    Length {
        /// Number of input features.
        features: usize,
        /// Their square.
        expected: usize,
        /// Values in the buffer.
        found: usize,
    },
}

/// The sum of `xᵀx` over the rows `x` of an input: `G = XᵀX`, symmetric and positive semi-definite.
///
/// GPTQ's Hessian of a Linear's squared output error is `2XᵀX`; no result depends on the factor.
///
/// # Shapes
/// `[features, features]` f32, row-major, of which the upper triangle (column ≥ row) is valid; what lies below the
/// diagonal is undefined. The same convention holds across the plugin ABI.
#[derive(Clone, Debug)]
pub struct Gram {
    features: usize,
    data: Vec<f32>,
}

/// A borrowed [`Gram`].
#[derive(Clone, Copy, Debug)]
pub struct GramView<'a> {
    features: usize,
    data: &'a [f32],
}

impl Gram {
    /// The Gram matrix of no rows.
    pub fn zeros(features: usize) -> Self {
        Self { features, data: vec![0.0; features * features] }
    }

    /// Takes over a row-major square whose upper triangle is valid.
    ///
    /// # Errors
    /// [`GramError::Length`] where `data` is not `features²` long.
    pub fn from_upper(features: usize, data: Vec<f32>) -> Result<Self, GramError> {
        GramView::new(features, &data)?;
        Ok(Self { features, data })
    }

    /// As [`Gram::from_upper`], where the length is known to be right.
    pub(crate) fn of_upper(features: usize, data: Vec<f32>) -> Self {
        debug_assert_eq!(data.len(), features * features);
        Self { features, data }
    }

    /// Number of input features.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// This matrix, borrowed.
    pub fn view(&self) -> GramView<'_> {
        GramView { features: self.features, data: &self.data }
    }

    /// The row-major square; only its upper triangle is valid.
    pub fn into_upper(self) -> Vec<f32> {
        self.data
    }

    /// Adds `xᵀx` for `x` `[rows, features]`, row-major, in f32 on all threads of the rayon pool.
    ///
    /// Only tiles that touch the upper triangle are computed, about `rows·features²` FLOPs instead of twice that; the
    /// bound is the machine's FMA rate. The result does not depend on the number of threads.
    ///
    /// # Panics
    /// If `x` is not a whole number of rows.
    pub fn accumulate(&mut self, x: &[f32]) {
        let n = self.features;
        if n == 0 {
            return;
        }
        assert_eq!(x.len() % n, 0, "{} values are no whole number of rows of {n}", x.len());
        let pieces = pieces(n);
        for chunk in x.chunks(ROWS_PER_PASS * n) {
            let dst = Destination(self.data.as_mut_ptr());
            let rows = chunk.len() / n;
            pieces.par_iter().for_each(|piece| {
                let block = |first: usize, width: usize| MatRef::new(&chunk[first..], [rows, width], [n, 1]);
                let lhs = block(piece.row, piece.height).transposed();
                let rhs = block(piece.column, piece.width);
                // SAFETY: the piece lies inside the n × n buffer, no two pieces overlap, and the buffer is borrowed
                // uniquely for the whole loop.
                #[expect(unsafe_code, reason = "tiles of one row-major matrix cannot be split into slices")]
                unsafe {
                    multiply_add_at(dst.at(piece.row * n + piece.column), [n, 1], 1.0, lhs, rhs);
                }
            });
        }
    }
}

/// Rows of the input per sweep over the triangle: the chunk stays in a last-level cache for the usual widths.
const ROWS_PER_PASS: usize = 1024;

/// Rows of a strip on the diagonal; half of its first square is computed in vain.
const STRIP: usize = 128;

/// A rectangle of the result.
struct Piece {
    row: usize,
    column: usize,
    height: usize,
    width: usize,
}

/// Covers the upper triangle: square tiles, wide because packing the operands costs less the wider they are, and on
/// the diagonal strips. Their sizes depend on the matrix alone; some twenty pieces or more keep many threads busy.
fn pieces(n: usize) -> Vec<Piece> {
    let tile = (n / 6).next_multiple_of(STRIP).clamp(STRIP, 1024);
    let mut pieces = Vec::new();
    for row in (0..n).step_by(tile) {
        let height = tile.min(n - row);
        for column in (row + tile..n).step_by(tile) {
            pieces.push(Piece { row, column, height, width: tile.min(n - column) });
        }
        for strip in (row..row + height).step_by(STRIP) {
            let (height, width) = (STRIP.min(n - strip), row + height - strip);
            pieces.push(Piece { row: strip, column: strip, height: height.min(width), width });
        }
    }
    pieces
}

#[derive(Clone, Copy)]
struct Destination(*mut f32);

impl Destination {
    #[expect(unsafe_code, reason = "pointer arithmetic inside one buffer")]
    unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller keeps `offset` inside the buffer.
        unsafe { self.0.add(offset) }
    }
}

// SAFETY: threads write disjoint tiles only; see `Gram::accumulate`.
#[expect(unsafe_code, reason = "lets the tiles of one buffer go to several threads")]
unsafe impl Send for Destination {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "lets the tiles of one buffer go to several threads")]
unsafe impl Sync for Destination {}

impl<'a> GramView<'a> {
    /// Borrows a row-major square whose upper triangle is valid.
    ///
    /// # Errors
    /// [`GramError::Length`] where `data` is not `features²` long.
    pub fn new(features: usize, data: &'a [f32]) -> Result<Self, GramError> {
        let expected = features * features;
        if data.len() == expected {
            return Ok(Self { features, data });
        }
        Err(GramError::Length { features, expected, found: data.len() })
    }

    /// Number of input features.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// The row-major square, of which the upper triangle is valid.
    pub const fn values(&self) -> &'a [f32] {
        self.data
    }

    /// Element `(i, j)`, read from the upper triangle.
    ///
    /// # Panics
    /// If an index is out of range.
    #[inline]
    pub fn get(&self, i: usize, j: usize) -> f32 {
        let (row, column) = if i <= j { (i, j) } else { (j, i) };
        self.data[row * self.features + column]
    }

    /// The valid part of a row: columns `row..features`.
    pub fn upper_row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.features + row..(row + 1) * self.features]
    }

    /// The diagonal: per channel the sum of squares.
    pub fn diagonal(&self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        self.data.iter().step_by(self.features + 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(rows: usize, features: usize) -> Vec<f32> {
        let mut state = 7u32;
        (0..rows * features)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 20) as f32 / 2048.0 - 1.0
            })
            .collect()
    }

    /// Widths below, at and beside every tile width; rows beyond one pass.
    #[test]
    fn equals_the_definition_in_f64() {
        for (rows, n) in [(1, 1), (3, 5), (40, 64), (33, 130), (ROWS_PER_PASS + 5, 67), (9, 700)] {
            let x = input(rows, n);
            let mut gram = Gram::zeros(n);
            gram.accumulate(&x);
            for i in 0..n {
                for j in i..n {
                    let exact: f64 =
                        (0..rows).map(|r| f64::from(x[r * n + i]) * f64::from(x[r * n + j])).sum();
                    // Terms are at most 1, so a sum of `rows` of them is off by at most rows² · 2⁻²⁴ in f32,
                    // in practice by far less.
                    let tolerance = 1e-6 * (rows as f64).max(8.0);
                    assert!(
                        (f64::from(gram.view().get(i, j)) - exact).abs() < tolerance,
                        "{rows}×{n} at {i},{j}"
                    );
                }
            }
        }
    }

    #[test]
    fn accumulates() {
        let x = input(20, 12);
        let (mut once, mut twice) = (Gram::zeros(12), Gram::zeros(12));
        once.accumulate(&x);
        twice.accumulate(&x);
        twice.accumulate(&x);
        for (a, b) in once.view().upper_row(3).iter().zip(twice.view().upper_row(3)) {
            assert_eq!(2.0 * a, *b);
        }
    }

    #[test]
    fn same_bits_on_any_number_of_threads() {
        let x = input(1500, 300);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut gram = Gram::zeros(300);
                gram.accumulate(&x);
                gram
            })
        };
        let (one, four) = (run(1), run(4));
        assert!((0..300).all(|i| one.view().upper_row(i) == four.view().upper_row(i)));
    }

    #[test]
    fn a_buffer_of_another_size_is_refused() {
        let refused = GramView::new(3, &[0.0; 8]).unwrap_err();
        assert_eq!(refused, GramError::Length { features: 3, expected: 9, found: 8 });
    }
}
