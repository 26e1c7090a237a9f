use crate::dispatch::Isa;
use crate::linear_op_for;
use proptest::prelude::*;
use std::sync::Arc;
use tenuis_core::{Bits, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, LowRank, Sum, Tensor, Weight};

/// Two sums of at most a few hundred f32 products each, relative to the sum of their magnitudes.
const TOLERANCE: f64 = 2e-6;

fn floats(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn dense(dtype: DType, shape: [usize; 2], seed: u32) -> Weight {
    let values = floats(seed, shape[0] * shape[1]);
    Arc::new(Dense::new(Tensor::from_f32(dtype, shape.to_vec(), &values).unwrap()).unwrap())
}

fn int(width: u8, shape: [usize; 2], seed: u32) -> Weight {
    let spec = GroupedIntSpec {
        bits: Bits::new(width).unwrap(),
        group_size: GroupSize::Channel,
        symmetric: true,
        scale_dtype: DType::F16,
        group_index: false,
    };
    let max = f32::from(spec.bits.max_code());
    let codes: Vec<u8> =
        floats(seed, shape[0] * shape[1]).iter().map(|v| ((v * 0.5 + 0.5) * max) as u8).collect();
    let scales = vec![1.0 / 64.0; shape[0]];
    Arc::new(GroupedInt::from_codes(spec, shape, &codes, &scales, None, None).unwrap())
}

/// `(Σ of products, Σ of their magnitudes)` for one input and one output, part by part in f64.
fn exact(weight: &Weight, x: &[f32], out: usize) -> (f64, f64) {
    if let Some(product) = weight.downcast::<LowRank>() {
        let rank = product.rank();
        let b = product.b().to_dense().unwrap();
        let parts = (0..rank).map(|k| {
            let (sum, size) = exact(product.a(), x, k);
            let b = f64::from(b[out * rank + k]);
            (b * sum, b.abs() * size)
        });
        return parts.fold((0.0, 0.0), |(s, a), (ps, pa)| (s + ps, a + pa));
    }
    if let Some(sum) = weight.downcast::<Sum>() {
        let parts = sum.terms().iter().map(|term| exact(term, x, out));
        return parts.fold((0.0, 0.0), |(s, a), (ps, pa)| (s + ps, a + pa));
    }
    let row = weight.to_dense().unwrap();
    let products = x.iter().zip(&row[out * x.len()..]).map(|(&x, &w)| f64::from(x) * f64::from(w));
    products.fold((0.0, 0.0), |(s, a), p| (s + p, a + p.abs()))
}

fn check(weight: &Weight, rows: usize, seed: u32) {
    let [outs, ins] = weight.shape();
    let (x, bias) = (floats(seed, rows * ins), floats(seed ^ 1, outs));
    for isa in Isa::all() {
        let op = linear_op_for(weight, isa).unwrap();
        assert_eq!(op.shape(), [outs, ins]);
        let mut y = vec![f32::NAN; rows * outs];
        op.forward(&x, rows, Some(&bias), &mut y);
        for (at, &found) in y.iter().enumerate().step_by(7) {
            let (row, out) = (at / outs, at % outs);
            let (sum, size) = exact(weight, &x[row * ins..(row + 1) * ins], out);
            let (sum, size) = (sum + f64::from(bias[out]), size + f64::from(bias[out].abs()));
            assert!(
                (f64::from(found) - sum).abs() <= TOLERANCE * size,
                "{} rows {rows}, {isa:?}: y[{row}, {out}] = {found} instead of {sum}",
                weight.descriptor(),
            );
        }
    }
}

fn product(b: Weight, a: Weight) -> Weight {
    Arc::new(LowRank::new(b, a).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_of_any_shape(
        outs in 1usize..70, rank in 1usize..40, ins in 1usize..90, rows in 1usize..40, packed: [bool; 2], seed: u32,
    ) {
        let factor = |packed: bool, shape, seed| {
            if packed { int(4, shape, seed) } else { dense(DType::F16, shape, seed) }
        };
        let weight = product(factor(packed[0], [outs, rank], seed), factor(packed[1], [rank, ins], seed ^ 2));
        check(&weight, rows, seed);
        let sum: Weight = Arc::new(Sum::new(vec![int(4, [outs, ins], seed ^ 3), weight]).unwrap());
        check(&sum, rows, seed);
    }
}

/// Rows beyond those that go through at once.
#[test]
fn many_rows() {
    let shape = [1100, 24];
    let weight = product(dense(DType::F32, [shape[0], 2], 1), dense(DType::F32, [2, shape[1]], 2));
    let sum: Weight =
        Arc::new(Sum::new(vec![int(8, shape, 3), weight, dense(DType::BF16, shape, 4)]).unwrap());
    check(&sum, 300, 5);
    let wide = product(dense(DType::F32, [9, 1030], 6), dense(DType::F32, [1030, 5], 7));
    check(&wide, 600, 8);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shape = [390, 704];
    let weight = product(dense(DType::F16, [shape[0], 64], 1), int(4, [64, shape[1]], 2));
    let weight: Weight = Arc::new(Sum::new(vec![int(4, shape, 3), weight]).unwrap());
    let op = crate::linear_op(&weight).unwrap();
    assert_eq!(op.resident_bytes(), weight.stored_bytes());
    for rows in [1, 5, 300] {
        let x = floats(15, rows * shape[1]);
        let on = |threads: usize| {
            let mut y = vec![0.0; rows * shape[0]];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| op.forward(&x, rows, None, &mut y));
            y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert!(on(1) == on(3), "rows {rows}");
    }
}
