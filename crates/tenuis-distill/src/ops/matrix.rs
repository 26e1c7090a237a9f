//! Matrix products in f32 on strided slices.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers")]

use gemm::Parallelism;

/// A matrix in a slice: element `(row, column)` lies at `row · strides[0] + column · strides[1]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// A row-major matrix that fills the slice from its start.
    pub(crate) fn new(values: &'a [f32], shape: [usize; 2]) -> Self {
        Self::strided(values, shape, [shape[1], 1])
    }

    pub(crate) fn strided(values: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        if shape[0] > 0 && shape[1] > 0 {
            let last = (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1];
            assert!(last < values.len(), "a matrix of {shape:?} reaches {last} of {}", values.len());
        }
        Self { values, shape, strides }
    }

    pub(crate) fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [column, row], ..self }
    }
}

/// How many threads a product may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling one: the caller spreads its work itself.
    One,
    /// Those of the rayon pool.
    All,
}

/// `out = keep · out + factor · a b`, where `keep` is 0 or 1.
///
/// # Shapes
/// `a`: `[m, k]`, `b`: `[k, n]`, `out`: `[m, n]` row-major.
pub(crate) fn multiply(
    a: Matrix<'_>,
    b: Matrix<'_>,
    factor: f32,
    keep: bool,
    out: &mut [f32],
    threads: Threads,
) {
    let ([m, k], [k_too, n]) = (a.shape, b.shape);
    assert!(k == k_too && out.len() == m * n, "[{m}, {k}] by [{k_too}, {n}] into {}", out.len());
    // SAFETY: every element of both factors lies within its slice (checked when they were made), `out` holds m·n
    // values and is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            keep,
            a.values.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.values.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            if keep { 1.0 } else { 0.0 },
            factor,
            false,
            false,
            false,
            if threads == Threads::All { Parallelism::Rayon(0) } else { Parallelism::None },
        );
    }
}
