//! A safe call of the `gemm` crate on strided matrices, on the calling thread.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers")]

use gemm::Parallelism;

/// A matrix in a slice: element `(row, column)` lies at `row · strides[0] + column · strides[1]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) shape: [usize; 2],
    pub(super) strides: [usize; 2],
}

impl Matrix<'_> {
    fn check(&self) {
        let [rows, columns] = self.shape;
        if rows > 0 && columns > 0 {
            assert!((rows - 1) * self.strides[0] + (columns - 1) * self.strides[1] < self.values.len());
        }
    }
}

/// `out = factor · a b`.
///
/// # Shapes
/// `a`: `[m, k]`, `b`: `[k, n]`, `out`: `[m, n]` row-major.
pub(super) fn multiply(a: Matrix<'_>, b: Matrix<'_>, factor: f32, out: &mut [f32]) {
    let ([m, k], [k_too, n]) = (a.shape, b.shape);
    assert!(k == k_too && out.len() == m * n);
    a.check();
    b.check();
    // SAFETY: every element of both factors lies within its slice (checked), `out` holds m·n values and is borrowed
    // exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.values.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.values.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            0.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
