use super::*;
use crate::matmul::multiply_add_parallel;
use proptest::prelude::*;

fn noise(n: usize, seed: u32) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn rebuilt(svd: &Svd<f64>, [rows, columns]: [usize; 2]) -> Vec<f64> {
    let mut out = vec![0.0; rows * columns];
    let scaled: Vec<f64> = svd.left.iter().enumerate().map(|(at, v)| v * svd.values[at / rows]).collect();
    let rank = svd.rank();
    multiply_add_parallel(
        crate::MatMut::new(&mut out, [rows, columns], [columns, 1]),
        1.0,
        crate::MatRef::new(&scaled, [rank, rows], [rows, 1]).transposed(),
        crate::MatRef::new(&svd.right, [rank, columns], [columns, 1]),
    );
    out
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn check_orthonormal(vectors: &[f64], length: usize, tolerance: f64) {
    for (j, v) in vectors.chunks(length).enumerate() {
        for (k, w) in vectors.chunks(length).take(j + 1).enumerate() {
            let dot: f64 = v.iter().zip(w).map(|(a, b)| a * b).sum();
            assert!((dot - f64::from(u8::from(j == k))).abs() < tolerance, "{j}·{k} = {dot}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The factors multiply to the matrix, whatever its shape, and are orthonormal.
    #[test]
    fn exact_rebuilds_the_matrix(rows in 1usize..40, columns in 1usize..40, seed: u32) {
        let shape = [rows, columns];
        let a = noise(rows * columns, seed);
        let svd = svd(&a, shape).unwrap();
        prop_assert!(svd.values.is_sorted_by(|a, b| a >= b));
        prop_assert!(distance(&rebuilt(&svd, shape), &a) < 1e-12 * (rows * columns) as f64);
        check_orthonormal(&svd.left, rows, 1e-12);
        check_orthonormal(&svd.right, columns, 1e-12);
        let values = singular_values(&a, shape).unwrap();
        prop_assert!(values.iter().zip(&svd.values).all(|(a, b)| (a - b).abs() < 1e-12 * svd.values[0].max(1.0)));
    }

    /// A matrix of low rank is found whole, even where more is asked for than it has.
    #[test]
    fn randomized_finds_what_is_there(rows in 8usize..60, columns in 8usize..60, rank in 1usize..4, seed: u32) {
        let shape = [rows, columns];
        let (b, a) = (noise(rows * rank, seed), noise(rank * columns, seed ^ 1));
        let product: Vec<f64> = (0..rows * columns)
            .map(|at| (0..rank).map(|k| b[at / columns * rank + k] * a[k * columns + at % columns]).sum())
            .collect();
        let found = svd_randomized(&product, shape, RandomizedSvd::new(rank + 3).seed(u64::from(seed))).unwrap();
        prop_assert!(distance(&rebuilt(&found, shape), &product) < 1e-10);
        check_orthonormal(&found.left, rows, 1e-10);
        check_orthonormal(&found.right, columns, 1e-10);
    }
}

/// On a spectrum that falls slowly, as those of weights do, the error stays within a percent of the best possible.
#[test]
fn randomized_is_close_to_the_optimum() {
    let shape = [300, 220];
    let mut parts = svd(&noise(shape[0] * shape[1], 5), shape).unwrap();
    for (k, value) in parts.values.iter_mut().enumerate() {
        *value = (1.0 + k as f64).powf(-0.5);
    }
    let a = rebuilt(&parts, shape);
    let rank = 40;
    let best: f64 = parts.values[rank..].iter().map(|v| v * v).sum::<f64>().sqrt();
    let found = svd_randomized(&a, shape, RandomizedSvd::new(rank)).unwrap();
    let error = distance(&rebuilt(&found, shape), &a);
    assert!(error >= best * (1.0 - 1e-12) && error < 1.01 * best, "{error} instead of {best}");
    let narrow: Vec<f32> = a.iter().map(|&v| v as f32).collect();
    let single = svd_randomized(&narrow, shape, RandomizedSvd::new(rank)).unwrap();
    for (single, double) in single.values.iter().zip(&found.values) {
        assert!((f64::from(*single) - double).abs() < 1e-5);
    }
}

#[test]
fn same_bits_on_any_number_of_threads() {
    let shape = [310, 270];
    let a: Vec<f32> = noise(shape[0] * shape[1], 7).iter().map(|&v| v as f32).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            (svd(&a, shape).unwrap(), svd_randomized(&a, shape, RandomizedSvd::new(20).seed(3)).unwrap())
        })
    };
    let (one, three) = (run(1), run(3));
    for (one, three) in [(&one.0, &three.0), (&one.1, &three.1)] {
        assert!(one.left == three.left && one.values == three.values && one.right == three.right);
    }
    let other = svd_randomized(&a, shape, RandomizedSvd::new(20).seed(4)).unwrap();
    assert!(other.left != one.1.left, "the seed matters");
}

#[test]
fn what_cannot_be_decomposed_is_refused() {
    let mut a = vec![1.0f32; 12];
    for rank in [0, 4] {
        let error = svd_randomized(&a, [4, 3], RandomizedSvd::new(rank)).unwrap_err();
        assert_eq!(error, SvdError::Rank { rank, most: 3 });
    }
    a[7] = f32::NAN;
    assert_eq!(svd(&a, [4, 3]).unwrap_err(), SvdError::NonFinite { row: 2, column: 1 });
    assert_eq!(svd::<f64>(&[], [0, 3]).unwrap().rank(), 0);
}
