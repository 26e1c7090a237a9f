//! Every instruction set, bit for bit, against the definition in integers.

use super::*;
use proptest::prelude::*;
use tenuis_core::DType;

struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    /// Within −1 and 1.
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}

fn weight([outs, ins]: [usize; 2], seed: u32) -> Int8Dynamic {
    let mut random = Random(seed);
    // −128 as well: other programs write it.
    let codes = (0..outs * ins).map(|_| random.next() as u8 as i8).collect();
    let scales: Vec<f32> = (0..outs).map(|_| random.float().abs() + 0.01).collect();
    Int8Dynamic::from_codes([outs, ins], codes, &scales, DType::F32).unwrap()
}

/// The definition, one product after the other.
fn reference(weight: &Int8Dynamic, x: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let [outs, ins] = weight.shape();
    let scales = weight.scales().unwrap();
    let mut y = Vec::new();
    for x in x.chunks(ins) {
        let largest = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let inverse = 127.0 / largest;
        let code = |x: f32| if largest == 0.0 { 0 } else { (x * inverse).round_ties_even() as i64 };
        for out in 0..outs {
            let sum: i64 = weight.codes_row(out).iter().zip(x).map(|(&w, &x)| i64::from(w) * code(x)).sum();
            let scale = largest / 127.0 * scales[out];
            y.push(sum as f32 * scale + bias.map_or(0.0, |b| b[out]));
        }
    }
    y
}

fn check(shape: [usize; 2], rows: usize, seed: u32) {
    let [outs, ins] = shape;
    let weight = weight(shape, seed);
    let mut random = Random(seed ^ 0x5555);
    let mut x: Vec<f32> = (0..rows * ins).map(|_| random.float()).collect();
    if rows > 1 {
        x[..ins].fill(0.0);
    }
    let bias: Vec<f32> = (0..outs).map(|_| random.float()).collect();
    for bias in [None, Some(&bias[..])] {
        let expected = reference(&weight, &x, bias);
        for isa in IntIsa::all() {
            let mut y = vec![f32::NAN; rows * outs];
            Int8Op::with(&weight, isa).unwrap().forward(&x, rows, bias, &mut y);
            let same = y.iter().zip(&expected).all(|(y, e)| y.to_bits() == e.to_bits());
            assert!(same, "{shape:?}, rows {rows}, {isa:?}");
        }
    }
}

#[test]
fn equals_the_definition_bit_for_bit() {
    for shape in [[67, 133], [64, 64], [1, 1], [5, 63], [9, 65], [130, 320], [4, 1000]] {
        for rows in [1, 2, 3, 4, 5, 17, 70] {
            check(shape, rows, 1);
        }
    }
}

/// Beyond 2¹⁶ columns a sum of products may not fit 32 bits.
#[test]
fn long_rows_do_not_overflow() {
    let ins = 3 * CHUNK + 17;
    let weight = Int8Dynamic::from_codes([2, ins], vec![-128; 2 * ins], &[1.0, 1.0], DType::F32).unwrap();
    let x = vec![-2.0; ins];
    let exact = (ins as i64 * 128 * 127) as f32 * (2.0f32 / 127.0 * 1.0);
    for isa in IntIsa::all() {
        let mut y = [0.0; 2];
        Int8Op::with(&weight, isa).unwrap().forward(&x, 1, None, &mut y);
        assert_eq!(y, [exact; 2], "{isa:?}");
    }
}

/// One bad token must not pass for a number, nor harm its neighbours.
#[test]
fn tokens_that_are_not_finite_stay_visible() {
    let weight = weight([3, 40], 3);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = vec![0.5; 3 * 40];
        x[40 + 7] = bad;
        let mut y = vec![0.0; 9];
        Int8Op::with(&weight, IntIsa::Portable).unwrap().forward(&x, 3, None, &mut y);
        assert!(y[3..6].iter().all(|v| v.is_nan()), "{bad}: {y:?}");
        assert!(y[..3].iter().chain(&y[6..]).all(|v| v.is_finite()));
    }
}

#[test]
fn the_smallest_numbers_are_rounded_too() {
    let tiny = f32::from_bits(254);
    let mut codes = [0; 4];
    let scale = round_token(&[tiny, -tiny, 0.0, f32::from_bits(127)], &mut codes);
    assert_eq!(codes[..3], [127, -127, 0]);
    assert!(scale > 0.0);
}

/// The error beside the exact product is what rounding activations to 127 steps costs.
#[test]
fn is_close_to_the_exact_product() {
    let weight = weight([40, 512], 4);
    let dense = (&weight as &dyn Representation).to_dense().unwrap();
    let mut random = Random(5);
    let x: Vec<f32> = (0..512).map(|_| random.float()).collect();
    let mut y = vec![0.0; 40];
    Int8Op::with(&weight, IntIsa::Portable).unwrap().forward(&x, 1, None, &mut y);
    for (row, y) in dense.chunks(512).zip(&y) {
        let (exact, size) =
            row.iter().zip(&x).fold((0.0, 0.0), |(sum, size), (w, x)| (sum + w * x, size + (w * w)));
        // Independent roundings of ±½ step, seven standard deviations.
        let step: f32 = 1.0 / 127.0;
        assert!((y - exact).abs() < 7.0 * step / 12f32.sqrt() * size.sqrt(), "{y} {exact}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_shape(outs in 1usize..90, ins in 1usize..300, rows in 1usize..40, seed: u32) {
        check([outs, ins], rows, seed);
    }
}
