use super::*;
use crate::gram::Gram;
use crate::matmul::{MatMut, MatRef, multiply_add};

fn gram(features: usize, rows: usize) -> Gram {
    let mut state = 11u32;
    let x: Vec<f32> = (0..rows * features)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 20) as f32 / 2048.0 - 1.0) * (1.0 + (i % features) as f32 / features as f32)
        })
        .collect();
    let mut gram = Gram::zeros(features);
    gram.accumulate(&x);
    gram
}

/// The largest deviation of `U·(H + λI)·Uᵀ` from the identity.
fn deviation<T: Real>(factor: &HessianFactor<T>, hessian: GramView<'_>, order: &[u32]) -> f64 {
    let n = factor.features();
    let u: Vec<f64> = factor.inverse_block(0..n).iter().map(|v| v.as_f64()).collect();
    let mut h = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            h[i * n + j] = f64::from(hessian.get(order[i] as usize, order[j] as usize));
            let below = [factor.column_major()[j * n + i].as_f64(), u[i * n + j]];
            assert!(j >= i || below == [0.0; 2], "below the diagonal at {i},{j}");
        }
        let live = h[i * n + i] != 0.0;
        h[i * n + i] = if live { h[i * n + i] } else { factor.mean_diagonal() } + factor.damp();
    }
    let (mut uh, mut uhu) = (vec![0.0; n * n], vec![0.0; n * n]);
    let u = MatRef::new(&u, [n, n], [n, 1]);
    multiply_add(MatMut::new(&mut uh, [n, n], [n, 1]), 1.0, u, MatRef::new(&h, [n, n], [n, 1]));
    multiply_add(
        MatMut::new(&mut uhu, [n, n], [n, 1]),
        1.0,
        MatRef::new(&uh, [n, n], [n, 1]),
        u.transposed(),
    );
    let wanted = |at: usize| f64::from(u8::from(at.is_multiple_of(n + 1)));
    uhu.iter().enumerate().map(|(at, v)| (v - wanted(at)).abs()).fold(0.0, f64::max)
}

/// Sizes below, at and beside the block size, and one that takes several tiles of rows.
#[test]
fn whitens_the_hessian() {
    for n in [1, 2, 127, 128, 129, 300, 420] {
        let gram = gram(n, 2 * n + 3);
        let keep: Vec<u32> = (0..n as u32).collect();
        let reverse: Vec<u32> = keep.iter().rev().copied().collect();
        let wide = factor_hessian::<f64>(gram.view(), None, 0.01).unwrap();
        // f64 rounding times a condition number below 1e4.
        assert!(deviation(&wide, gram.view(), &keep) < 1e-11, "f64, n = {n}");
        let single = factor_hessian::<f32>(gram.view(), Some(&reverse), 0.01).unwrap();
        assert!(deviation(&single, gram.view(), &reverse) < 2e-3, "f32, n = {n}");
    }
}

/// Fewer rows than columns: only the damping makes it definite.
#[test]
fn a_rank_deficient_hessian_is_damped() {
    let gram = gram(200, 20);
    let order: Vec<u32> = (0..200).collect();
    let factor = factor_hessian::<f32>(gram.view(), None, 0.01).unwrap();
    assert!(deviation(&factor, gram.view(), &order) < 2e-3);
    assert!(matches!(
        factor_hessian::<f32>(gram.view(), None, -0.1),
        Err(FactorError::NotPositiveDefinite { pivot, .. }) if pivot < 200
    ));
}

#[test]
fn a_dead_column_stays_alone() {
    let n = 140;
    let mut upper = gram(n, 400).into_upper();
    for k in 0..n {
        upper[5 * n + k] = 0.0;
        upper[k * n + 5] = 0.0;
    }
    let gram = Gram::from_upper(n, upper).unwrap();
    let factor = factor_hessian::<f32>(gram.view(), None, 0.01).unwrap();
    let r = |i: usize, j: usize| factor.column_major()[j * n + i];
    assert!(r(5, 5) > 0.0);
    assert!((0..n).filter(|&k| k != 5).all(|k| r(5, k) == 0.0 && r(k, 5) == 0.0));
}

#[test]
fn what_cannot_be_factored_is_named() {
    let n = 3;
    let of = |values: [f32; 9]| Gram::from_upper(n, values.to_vec()).unwrap();
    let zero = of([0.0; 9]);
    assert_eq!(factor_hessian::<f32>(zero.view(), None, 0.01).unwrap_err(), FactorError::Zero);
    let nan = of([1.0, 0.0, f32::NAN, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let error = factor_hessian::<f32>(nan.view(), None, 0.01).unwrap_err();
    assert_eq!(error, FactorError::NonFinite { row: 0, column: 2 });
    let indefinite = of([1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let error = factor_hessian::<f32>(indefinite.view(), None, 0.01).unwrap_err();
    assert!(matches!(error, FactorError::NotPositiveDefinite { pivot: 0, .. }), "{error}");
    let good = of([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    for order in [&[0u32, 1, 1][..], &[0, 1], &[0, 1, 3]] {
        let error = factor_hessian::<f32>(good.view(), Some(order), 0.01).unwrap_err();
        assert_eq!(error, FactorError::Order { features: 3 });
    }
}

#[test]
fn same_bits_on_any_number_of_threads() {
    let gram = gram(700, 900);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| factor_hessian::<f32>(gram.view(), None, 0.01).unwrap())
    };
    assert!(run(1).column_major() == run(3).column_major());
}

/// A diagonal block of the inverse is the inverse of the diagonal block.
#[test]
fn blocks_of_the_inverse() {
    let gram = gram(60, 200);
    let factor = factor_hessian::<f64>(gram.view(), None, 0.01).unwrap();
    let (whole, part) = (factor.inverse_block(0..60), factor.inverse_block(20..45));
    for i in 0..25 {
        for j in 0..25 {
            assert!((part[i * 25 + j] - whole[(i + 20) * 60 + j + 20]).abs() < 1e-12);
        }
    }
}
