//! The Gram matrix of what a matrix makes of its input.

use crate::gram::{Gram, GramView};
use crate::matmul::{MatMut, MatRef, multiply_add_parallel};
use rayon::prelude::*;

/// `A·H·Aᵀ`: with `H = XᵀX`, the Gram matrix of `X·Aᵀ`, which is the input of whatever comes behind `A`.
///
/// Computed in f64 on all threads.
///
/// # Shapes
/// `a`: `[rows, features]`, row-major, `features` those of the Hessian; the result has `rows` features.
///
/// ```
/// use tenuis_linalg::{Gram, project};
/// let gram = Gram::from_upper(2, vec![1.0, 2.0, 0.0, 5.0])?;
/// let projected = project(gram.view(), &[1.0, 1.0], 1);
/// assert_eq!(projected.view().get(0, 0), 10.0);
/// # Ok::<(), tenuis_linalg::GramError>(())
/// ```
///
/// # Panics
/// If `a` has another length.
pub fn project(hessian: GramView<'_>, a: &[f32], rows: usize) -> Gram {
    let n = hessian.features();
    assert_eq!(a.len(), rows * n, "a matrix of {rows} rows and {n} columns");
    let mut square = vec![0.0; n * n];
    square.par_chunks_mut(n.max(1)).enumerate().for_each(|(row, values)| {
        for (column, value) in values.iter_mut().enumerate() {
            *value = f64::from(hessian.get(row, column));
        }
    });
    let a: Vec<f64> = a.par_iter().map(|&v| f64::from(v)).collect();
    let a = MatRef::new(&a, [rows, n], [n, 1]);
    let mut half = vec![0.0; rows * n];
    let square = MatRef::new(&square, [n, n], [n, 1]);
    multiply_add_parallel(MatMut::new(&mut half, [rows, n], [n, 1]), 1.0, a, square);
    let mut whole = vec![0.0; rows * rows];
    let half = MatRef::new(&half, [rows, n], [n, 1]);
    multiply_add_parallel(MatMut::new(&mut whole, [rows, rows], [rows, 1]), 1.0, half, a.transposed());
    Gram::of_upper(rows, whole.par_iter().map(|&v| v as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_gram_matrix_of_the_output() {
        let (samples, n, rows) = (50, 24, 7);
        let wave = |i: usize, f: f32| (i as f32 * f).sin() + (i as f32 * i as f32 * 0.003).cos();
        let x: Vec<f32> = (0..samples * n).map(|i| wave(i, 0.7)).collect();
        let a: Vec<f32> = (0..rows * n).map(|i| wave(i, 1.1)).collect();
        let mut gram = Gram::zeros(n);
        gram.accumulate(&x);
        let y: Vec<f32> = x
            .chunks(n)
            .flat_map(|x| {
                a.chunks(n).map(|a| x.iter().zip(a).map(|(x, a)| x * a).sum::<f32>()).collect::<Vec<_>>()
            })
            .collect();
        let mut expected = Gram::zeros(rows);
        expected.accumulate(&y);
        let projected = project(gram.view(), &a, rows);
        let scale = expected.view().diagonal().fold(0.0, f32::max);
        for i in 0..rows {
            for j in i..rows {
                // Two sums of fifty products in f32.
                let off = (projected.view().get(i, j) - expected.view().get(i, j)).abs();
                assert!(off < 1e-5 * scale, "{i},{j}: off by {off}");
            }
        }
    }
}
