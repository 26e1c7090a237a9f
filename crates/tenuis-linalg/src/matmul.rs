//! A safe door to the `gemm` crate: strided views whose bounds are checked once per product.

use crate::real::Real;
use gemm::Parallelism;

/// A strided view of a matrix: element `(i, j)` is `data[i·row_stride + j·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    shape: [usize; 2],
    strides: [usize; 2],
}

/// A strided view of a matrix that is written.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    shape: [usize; 2],
    strides: [usize; 2],
}

fn check(len: usize, shape: [usize; 2], strides: [usize; 2]) {
    if shape.contains(&0) {
        return;
    }
    let last = (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1];
    assert!(last < len, "a view of {shape:?} with strides {strides:?} reaches {last} of {len}");
}

impl<'a, T> MatRef<'a, T> {
    /// Views `data` as `[rows, columns]` with strides `[row, column]`.
    ///
    /// # Panics
    /// If the last element lies outside `data`.
    pub fn new(data: &'a [T], shape: [usize; 2], strides: [usize; 2]) -> Self {
        check(data.len(), shape, strides);
        Self { data, shape, strides }
    }

    /// The transposed view.
    #[must_use]
    pub const fn transposed(self) -> Self {
        let ([rows, columns], [row_stride, col_stride]) = (self.shape, self.strides);
        Self { data: self.data, shape: [columns, rows], strides: [col_stride, row_stride] }
    }

    /// The first rows.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn first_rows(self, rows: usize) -> Self {
        assert!(rows <= self.shape[0], "{rows} rows of {:?}", self.shape);
        Self { shape: [rows, self.shape[1]], ..self }
    }
}

impl<'a, T> MatMut<'a, T> {
    /// Views `data` as `[rows, columns]` with strides `[row, column]`.
    ///
    /// # Panics
    /// If the last element lies outside `data`, or two elements could share a place.
    pub fn new(data: &'a mut [T], shape: [usize; 2], strides: [usize; 2]) -> Self {
        check(data.len(), shape, strides);
        let (rows_inside, columns_inside) =
            (shape[0] * strides[0] <= strides[1], shape[1] * strides[1] <= strides[0]);
        assert!(
            shape.contains(&0) || shape.contains(&1) || rows_inside || columns_inside,
            "strides {strides:?} overlap in {shape:?}"
        );
        Self { data, shape, strides }
    }
}

/// Adds a scaled product, `dst += alpha · lhs · rhs`, on the calling thread.
///
/// Each element is summed in an order that depends on the shapes alone, so a caller that splits its work the same way
/// every time gets the same bits on any number of threads.
///
/// ```
/// use tenuis_linalg::{MatMut, MatRef, multiply_add};
/// let mut product = [1.0f32; 1];
/// let row = MatRef::new(&[1.0, 2.0], [1, 2], [2, 1]);
/// multiply_add(MatMut::new(&mut product, [1, 1], [1, 1]), 2.0, row, row.transposed());
/// assert_eq!(product, [11.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit.
pub fn multiply_add<T: Real>(dst: MatMut<'_, T>, alpha: T, lhs: MatRef<'_, T>, rhs: MatRef<'_, T>) {
    let MatMut { data, shape, strides } = dst;
    assert_eq!(shape[0], lhs.shape[0], "rows of the product");
    assert_eq!(shape[1], rhs.shape[1], "columns of the product");
    // SAFETY: the view was checked to lie inside a slice that it borrows uniquely.
    #[expect(unsafe_code, reason = "the unchecked form serves callers that share a matrix between threads")]
    unsafe {
        multiply_add_at(data.as_mut_ptr(), strides, alpha, lhs, rhs);
    }
}

/// As [`multiply_add`], on all threads of the rayon pool.
///
/// The `gemm` crate splits rows and columns among threads, never a sum: the bits do not depend on their number.
///
/// # Panics
/// If the shapes do not fit.
pub fn multiply_add_parallel<T: Real>(dst: MatMut<'_, T>, alpha: T, lhs: MatRef<'_, T>, rhs: MatRef<'_, T>) {
    let MatMut { data, shape, strides } = dst;
    assert_eq!(shape[0], lhs.shape[0], "rows of the product");
    assert_eq!(shape[1], rhs.shape[1], "columns of the product");
    // SAFETY: the view was checked to lie inside a slice that it borrows uniquely. Zero means as many threads as there
    // are in the pool.
    #[expect(unsafe_code, reason = "one call behind both forms")]
    unsafe {
        multiply_add_with(data.as_mut_ptr(), strides, alpha, lhs, rhs, Parallelism::Rayon(0));
    }
}

/// [`multiply_add`] onto a raw destination.
///
/// # Safety
/// `dst` must be valid for reads and writes at `i·strides[0] + j·strides[1]` for every element of the product, and
/// nothing else may access these meanwhile.
#[expect(unsafe_code, reason = "writes through the caller's pointer")]
pub(crate) unsafe fn multiply_add_at<T: Real>(
    dst: *mut T,
    strides: [usize; 2],
    alpha: T,
    lhs: MatRef<'_, T>,
    rhs: MatRef<'_, T>,
) {
    // SAFETY: the caller's promise is the same.
    unsafe { multiply_add_with(dst, strides, alpha, lhs, rhs, Parallelism::None) }
}

/// # Safety
/// As [`multiply_add_at`].
#[expect(unsafe_code, reason = "gemm's entry point takes pointers")]
unsafe fn multiply_add_with<T: Real>(
    dst: *mut T,
    strides: [usize; 2],
    alpha: T,
    lhs: MatRef<'_, T>,
    rhs: MatRef<'_, T>,
    parallelism: Parallelism,
) {
    assert_eq!(lhs.shape[1], rhs.shape[0], "inner dimension");
    let ([rows, inner], columns) = (lhs.shape, rhs.shape[1]);
    if rows == 0 || columns == 0 || inner == 0 {
        return;
    }
    let [[dst_rs, dst_cs], [lhs_rs, lhs_cs], [rhs_rs, rhs_cs]] =
        [strides, lhs.strides, rhs.strides].map(|s| s.map(|v| v as isize));
    // SAFETY: both operands were checked to lie inside their slices; the destination is the caller's promise.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            dst,
            dst_cs,
            dst_rs,
            true,
            lhs.data.as_ptr(),
            lhs_cs,
            lhs_rs,
            rhs.data.as_ptr(),
            rhs_cs,
            rhs_rs,
            T::ONE,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any combination of layouts gives the product that the definition gives.
        #[test]
        fn equals_the_definition(
            [m, n, k] in [1usize..20, 1usize..20, 1usize..20].prop_map(|s| s),
            flips in any::<[bool; 3]>(), seed: u32,
        ) {
            let mut state = seed;
            let mut fill = |len: usize| -> Vec<f64> {
                (0..len).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f64::from(state >> 28)
                }).collect()
            };
            let (a, b, c) = (fill(m * k), fill(k * n), fill(m * n));
            let strides = |flip: bool, [r, c]: [usize; 2]| if flip { [1, r] } else { [c, 1] };
            let [sa, sb, sc] = [strides(flips[0], [m, k]), strides(flips[1], [k, n]), strides(flips[2], [m, n])];
            let mut out = c.clone();
            multiply_add(
                MatMut::new(&mut out, [m, n], sc), -2.0, MatRef::new(&a, [m, k], sa), MatRef::new(&b, [k, n], sb),
            );
            for i in 0..m {
                for j in 0..n {
                    let dot: f64 = (0..k).map(|p| a[i * sa[0] + p * sa[1]] * b[p * sb[0] + j * sb[1]]).sum();
                    // Small integers: every sum is exact.
                    prop_assert_eq!(out[i * sc[0] + j * sc[1]], c[i * sc[0] + j * sc[1]] - 2.0 * dot);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "reaches 4 of 4")]
    fn a_view_beyond_its_data_is_refused() {
        let _ = MatRef::new(&[0.0f32; 4], [2, 2], [3, 1]);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn a_destination_that_overlaps_itself_is_refused() {
        let _ = MatMut::new(&mut [0.0f32; 9], [3, 3], [1, 1]);
    }
}
