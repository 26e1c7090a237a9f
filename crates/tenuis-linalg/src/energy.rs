//! How much of an output a matrix makes.

use crate::gram::GramView;
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use rayon::prelude::*;

/// Rows that are multiplied at a time: few enough that the product stays small beside the Hessian.
const ROWS: usize = 512;

/// A Hessian, ready to be asked for `tr(A·H·Aᵀ)`: with `H = XᵀX` the squared Frobenius norm of `X·Aᵀ`. For the difference of
/// two weights it is the squared error of the output.
///
/// ```
/// use tenuis_linalg::{Energy, Gram};
/// let gram = Gram::from_upper(2, vec![1.0, 2.0, 0.0, 5.0])?;
/// assert_eq!(Energy::new(gram.view()).of(&[1.0, 1.0, 0.0, 2.0]), 10.0 + 20.0);
/// # Ok::<(), tenuis_linalg::GramError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Energy {
    features: usize,
    /// Both triangles.
    square: Vec<f32>,
}

impl Energy {
    /// Copies the Hessian: a product reads rows of both triangles.
    pub fn new(hessian: GramView<'_>) -> Self {
        let features = hessian.features();
        let mut square = vec![0.0f32; features * features];
        square.par_chunks_mut(features.max(1)).enumerate().for_each(|(row, values)| {
            for (column, value) in values.iter_mut().enumerate() {
                *value = hessian.get(row, column);
            }
        });
        Self { features, square }
    }

    /// `tr(A·H·Aᵀ)` of any number of rows `A`.
    ///
    /// The product is taken in f32, the sum in f64, on all threads: `rows · features²` multiplications.
    ///
    /// # Shapes
    /// `a`: `[rows, features]`, row-major.
    ///
    /// # Panics
    /// If `a` does not hold whole rows.
    pub fn of(&self, a: &[f32]) -> f64 {
        let n = self.features;
        if n == 0 {
            return 0.0;
        }
        assert_eq!(a.len() % n, 0, "whole rows of {n} columns");
        let square = MatRef::new(&self.square, [n, n], [n, 1]);
        let mut product = vec![0.0f32; ROWS.min(a.len() / n) * n];
        let chunk = |a: &[f32]| -> f64 {
            let rows = a.len() / n;
            let product = &mut product[..rows * n];
            product.fill(0.0);
            let (target, a_view) =
                (MatMut::new(product, [rows, n], [n, 1]), MatRef::new(a, [rows, n], [n, 1]));
            multiply_add_parallel(target, 1.0, a_view, square);
            // In order of the rows: the sum does not depend on the number of threads.
            let of_row = |(p, a): (&[f32], &[f32])| -> f64 {
                p.iter().zip(a).map(|(&p, &a)| f64::from(p) * f64::from(a)).sum()
            };
            let sums: Vec<f64> = product.par_chunks(n).zip(a.par_chunks(n)).map(of_row).collect();
            sums.iter().sum()
        };
        a.chunks(ROWS * n).map(chunk).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gram::Gram;

    #[test]
    fn is_the_squared_norm_of_the_output() {
        // More rows than are multiplied at a time.
        let (samples, n, rows) = (40, 24, ROWS + 3);
        let wave = |i: usize, f: f32| (i as f32 * f).sin() + (i as f32 * i as f32 * 0.003).cos();
        let x: Vec<f32> = (0..samples * n).map(|i| wave(i, 0.7)).collect();
        let a: Vec<f32> = (0..rows * n).map(|i| wave(i, 1.1)).collect();
        let mut gram = Gram::zeros(n);
        gram.accumulate(&x);
        let output = |x: &[f32], a: &[f32]| -> f64 {
            x.iter().zip(a).map(|(&x, &a)| f64::from(x) * f64::from(a)).sum()
        };
        let expected: f64 = x.chunks(n).map(|x| a.chunks(n).map(|a| output(x, a).powi(2)).sum::<f64>()).sum();
        // Sums of 24 products in f32.
        let off = (Energy::new(gram.view()).of(&a) / expected - 1.0).abs();
        assert!(off < 1e-5, "off by {off}");
    }
}
