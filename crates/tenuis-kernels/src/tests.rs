//! Every kind of weight on every instruction set against a naive product in f64.

use crate::dispatch::Isa;
use crate::linear_op_for;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use tenuis_core::{
    Bits, Bytes, Component, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, InputScaled, Layout,
    Representation, Sparse, SparsePattern, Tensor, Weight, WeightError,
};

/// Largest error of an output relative to `Σ |x·w| + |bias|`: 32 units in the last place. The `gemm` crate keeps one
/// running sum, whose error after the few hundred terms here stays within a dozen units; ours keep eight.
const TOLERANCE: f64 = 2e-6;

/// Rows of `x`: both sides of every switch between kernels.
const ROWS: [usize; 7] = [0, 1, 2, 3, 5, 17, 64];

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

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// Holds all kernels for `weight` against the decoded matrix.
fn check(weight: &Weight, rows: &[usize], seed: u32) {
    let [outs, ins] = weight.shape();
    let dense = weight.to_dense().unwrap();
    let mut random = Random(seed);
    for &rows in rows {
        let x = random.floats(rows * ins);
        let bias = random.floats(outs);
        for isa in Isa::all() {
            let op = linear_op_for(weight, isa).unwrap();
            assert_eq!(op.shape(), [outs, ins]);
            let bias = (rows != 2).then_some(&bias[..]);
            let mut y = vec![f32::NAN; rows * outs];
            op.forward(&x, rows, bias, &mut y);
            for (at, &found) in y.iter().enumerate() {
                let (row, out) = (at / outs, at % outs);
                let products =
                    (0..ins).map(|i| f64::from(x[row * ins + i]) * f64::from(dense[out * ins + i]));
                let bias = f64::from(bias.map_or(0.0, |b| b[out]));
                let (sum, size) = products.fold((bias, bias.abs()), |(s, a), p| (s + p, a + p.abs()));
                let error = (f64::from(found) - sum).abs();
                assert!(
                    error <= TOLERANCE * size,
                    "{} {:?}, rows {rows}, {isa:?}: y[{row}, {out}] = {found} instead of {sum}",
                    weight.descriptor(),
                    weight.shape(),
                );
            }
        }
    }
}

fn dense(dtype: DType, layout: Layout, [outs, ins]: [usize; 2], seed: u32) -> Weight {
    let values = Random(seed).floats(outs * ins);
    let shape = if layout == Layout::OutIn { vec![outs, ins] } else { vec![ins, outs] };
    Arc::new(Dense::with_layout(Tensor::from_f32(dtype, shape, &values).unwrap(), layout).unwrap())
}

fn grouped(
    spec: GroupedIntSpec,
    shape: [usize; 2],
    seed: u32,
    index: impl Fn(usize, usize) -> usize,
) -> Weight {
    let [outs, ins] = shape;
    let groups = spec.group_size.groups(ins).unwrap();
    let mut random = Random(seed);
    let mut codes =
        |n: usize| -> Vec<u8> { (0..n).map(|_| random.next() as u8 & spec.bits.max_code()).collect() };
    let (codes, zeros) = (codes(outs * ins), codes(outs * groups));
    let scales: Vec<f32> = random.floats(outs * groups).iter().map(|s| s.abs() + 0.01).collect();
    let index: Vec<u32> = (0..ins).map(|i| index(i, groups) as u32).collect();
    let zeros = (!spec.symmetric).then_some(&zeros[..]);
    let index = spec.group_index.then_some(&index[..]);
    Arc::new(GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, index).unwrap())
}

fn spec(width: u8, group_size: GroupSize, symmetric: bool) -> GroupedIntSpec {
    let bits = Bits::new(width).unwrap();
    GroupedIntSpec { bits, group_size, symmetric, scale_dtype: DType::F16, group_index: false }
}

#[test]
fn dense_of_every_type_and_layout() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64, DType::F8E4M3, DType::F8E5M2] {
        for layout in [Layout::OutIn, Layout::InOut] {
            for shape in [[70, 133], [1, 8], [9, 1], [280, 16]] {
                check(&dense(dtype, layout, shape, 1), &ROWS, 2);
            }
        }
    }
}

/// A mapped file aligns nothing.
#[test]
fn dense_from_misaligned_bytes() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let stored = Tensor::from_f32(dtype, vec![33, 40], &Random(3).floats(33 * 40)).unwrap();
        let mut bytes = vec![0u8];
        bytes.extend_from_slice(stored.data());
        let bytes = Bytes::from_vec(bytes);
        let tensor = Tensor::new(dtype, vec![33, 40], bytes.slice(1..bytes.len())).unwrap();
        check(&(Arc::new(Dense::new(tensor).unwrap()) as Weight), &ROWS, 4);
    }
}

#[test]
fn grouped_int_of_every_width() {
    for width in Bits::ALLOWED {
        for symmetric in [true, false] {
            for (group_size, ins) in [
                (GroupSize::Channel, 133),
                (GroupSize::Channel, 320),
                (GroupSize::Columns(128), 256),
                (GroupSize::Columns(32), 160),
                (GroupSize::Columns(48), 192),
                (GroupSize::Columns(7), 91),
            ] {
                check(&grouped(spec(width, group_size, symmetric), [67, ins], 5, |_, _| 0), &ROWS, 6);
            }
        }
    }
}

#[test]
fn grouped_int_with_an_index() {
    let columns = GroupSize::Columns(32);
    for width in Bits::ALLOWED {
        for symmetric in [true, false] {
            let spec = GroupedIntSpec { group_index: true, ..spec(width, columns, symmetric) };
            check(&grouped(spec, [19, 128], 7, |i, groups| i * 31 % groups), &ROWS, 8);
            // Static groups: the index is there, but says nothing new.
            check(&grouped(spec, [19, 128], 7, |i, _| i / 32), &ROWS, 8);
            // Groups of different sizes, which no order of columns makes runs.
            check(&grouped(spec, [19, 128], 7, |i, groups| i * i % groups), &ROWS, 8);
        }
    }
}

#[test]
fn scales_of_every_type() {
    for scale_dtype in [DType::F32, DType::F16, DType::BF16] {
        let spec = GroupedIntSpec { scale_dtype, ..spec(4, GroupSize::Columns(64), true) };
        check(&grouped(spec, [40, 128], 9, |_, _| 0), &ROWS, 10);
    }
}

#[test]
fn scales_of_the_input() {
    let scale: Vec<f32> = Random(20).floats(96).iter().map(|s| s.abs() + 0.1).collect();
    for inner in [
        dense(DType::F16, Layout::InOut, [50, 96], 16),
        grouped(spec(4, GroupSize::Columns(24), false), [50, 96], 17, |_, _| 0),
    ] {
        check(&(Arc::new(InputScaled::new(inner, &scale).unwrap()) as Weight), &ROWS, 21);
    }
}

/// Values with zeros: two of four where the pattern asks for that, else about as many as `eighths` say.
fn sparse(pattern: SparsePattern, dtype: DType, [outs, ins]: [usize; 2], eighths: u32, seed: u32) -> Weight {
    let mut random = Random(seed);
    let mut values = random.floats(outs * ins);
    match pattern {
        SparsePattern::TwoOfFour => values.chunks_mut(4).for_each(|four| {
            let at = random.next() as usize;
            four[at % 4] = 0.0;
            four[(at + 1 + at / 4 % 3) % 4] = 0.0;
        }),
        SparsePattern::Bitmask => values.iter_mut().for_each(|v| {
            if random.next() % 8 < eighths {
                *v = 0.0;
            }
        }),
    }
    Arc::new(Sparse::from_dense(pattern, dtype, [outs, ins], &values).unwrap())
}

/// The same of a grouped integer weight: codes become their group's zero point.
fn sparse_codes(pattern: SparsePattern, spec: GroupedIntSpec, [outs, ins]: [usize; 2], seed: u32) -> Weight {
    let mask = sparse(pattern, DType::F32, [outs, ins], 4, seed).to_dense().unwrap();
    let groups = spec.group_size.groups(ins).unwrap();
    let columns = spec.group_size.columns(ins);
    let index: Vec<u32> = (0..ins).map(|i| (i * 31 % groups) as u32).collect();
    let mut random = Random(seed);
    let zeros: Vec<u8> = (0..outs * groups).map(|_| random.next() as u8 & spec.bits.max_code()).collect();
    let codes: Vec<u8> = (0..outs * ins)
        .map(|at| {
            let column = at % ins;
            let group = if spec.group_index { index[column] as usize } else { column / columns };
            let zero = if spec.symmetric { spec.bits.mid_code() } else { zeros[at / ins * groups + group] };
            if mask[at] == 0.0 { zero } else { random.next() as u8 & spec.bits.max_code() }
        })
        .collect();
    let scales: Vec<f32> = random.floats(outs * groups).iter().map(|s| s.abs() + 0.01).collect();
    let zeros = (!spec.symmetric).then_some(&zeros[..]);
    let index = spec.group_index.then_some(&index[..]);
    let grouped = GroupedInt::from_codes(spec, [outs, ins], &codes, &scales, zeros, index).unwrap();
    Arc::new(Sparse::from_grouped_int(pattern, &grouped).unwrap())
}

const PATTERNS: [SparsePattern; 2] = [SparsePattern::Bitmask, SparsePattern::TwoOfFour];

#[test]
fn sparse_of_every_type_and_density() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for shape in [[70, 132], [1, 8], [9, 4], [66, 320]] {
            check(&sparse(SparsePattern::TwoOfFour, dtype, shape, 0, 21), &ROWS, 22);
        }
        for eighths in [0, 4, 7, 8] {
            for shape in [[70, 133], [1, 8], [9, 1], [66, 320]] {
                check(&sparse(SparsePattern::Bitmask, dtype, shape, eighths, 23), &ROWS, 24);
            }
        }
    }
}

#[test]
fn sparse_integers_of_every_width() {
    for width in Bits::ALLOWED {
        for symmetric in [true, false] {
            for pattern in PATTERNS {
                for (group_size, ins) in [
                    (GroupSize::Channel, 132),
                    (GroupSize::Channel, 320),
                    (GroupSize::Columns(128), 256),
                    (GroupSize::Columns(32), 160),
                    // Groups that are no whole vectors are expanded.
                    (GroupSize::Columns(12), 48),
                ] {
                    check(
                        &sparse_codes(pattern, spec(width, group_size, symmetric), [35, ins], 25),
                        &ROWS,
                        26,
                    );
                }
                let indexed =
                    GroupedIntSpec { group_index: true, ..spec(width, GroupSize::Columns(32), symmetric) };
                check(&sparse_codes(pattern, indexed, [19, 128], 27), &ROWS, 28);
            }
        }
    }
}

/// A kind that nobody here has heard of: row `r` holds `r − i`. Decodes up to `good` rows.
#[derive(Debug)]
struct Foreign {
    shape: [usize; 2],
    good: usize,
}

impl Representation for Foreign {
    fn kind(&self) -> &'static str {
        "foreign"
    }
    fn descriptor(&self) -> Value {
        json!({ "kind": "foreign" })
    }
    fn shape(&self) -> [usize; 2] {
        self.shape
    }
    fn components(&self) -> Vec<Component> {
        Vec::new()
    }
    fn stored_bytes(&self) -> u64 {
        7
    }
    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        if rows.end > self.good {
            return Err(WeightError::MissingComponent { component: "rows".to_owned() });
        }
        let ins = self.shape[1];
        for (row, out) in rows.zip(out.chunks_exact_mut(ins)) {
            out.iter_mut().enumerate().for_each(|(i, value)| *value = row as f32 - i as f32);
        }
        Ok(())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_foreign_kind_runs_on_tiles() {
    let weight: Weight = Arc::new(Foreign { shape: [150, 37], good: 150 });
    check(&weight, &ROWS, 11);
    assert_eq!(crate::linear_op(&weight).unwrap().resident_bytes(), 7);
}

#[test]
fn a_kind_that_cannot_be_decoded_is_refused_when_the_operation_is_made() {
    let weight: Weight = Arc::new(Foreign { shape: [150, 37], good: 149 });
    assert!(matches!(crate::linear_op(&weight), Err(WeightError::MissingComponent { .. })));
}

#[test]
fn empty_shapes() {
    for shape in [[0, 5], [5, 0]] {
        check(&dense(DType::F32, Layout::OutIn, shape, 1), &ROWS, 12);
        check(&dense(DType::F16, Layout::InOut, shape, 1), &ROWS, 12);
        for width in [3, 4] {
            check(&grouped(spec(width, GroupSize::Channel, true), shape, 1, |_, _| 0), &ROWS, 12);
        }
        check(&sparse(SparsePattern::Bitmask, DType::F16, shape, 4, 1), &ROWS, 12);
    }
}

/// The same bits on one thread as on many, for shapes large enough to be spread.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shape = [390, 704];
    let mut weights: Vec<Weight> = Vec::new();
    for layout in [Layout::OutIn, Layout::InOut] {
        weights.extend([DType::F32, DType::F16].map(|dtype| dense(dtype, layout, shape, 13)));
    }
    weights
        .extend([3, 4].map(|width| grouped(spec(width, GroupSize::Columns(32), false), shape, 14, |_, _| 0)));
    for pattern in PATTERNS {
        weights.push(sparse(pattern, DType::F16, shape, 4, 29));
        weights.push(sparse_codes(pattern, spec(4, GroupSize::Columns(32), false), shape, 30));
    }
    for weight in &weights {
        let op = crate::linear_op(weight).unwrap();
        for rows in [1, 3, 300] {
            let x = Random(15).floats(rows * shape[1]);
            let on = |threads: usize| {
                let mut y = vec![0.0; rows * shape[0]];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| op.forward(&x, rows, None, &mut y));
                y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let one = on(1);
            for threads in [2, 3, 7] {
                assert!(on(threads) == one, "{}, rows {rows}, {threads} threads", weight.descriptor());
            }
        }
    }
}

/// A row's result does not depend on the rows that are computed with it, while they are few.
#[test]
fn few_rows_do_not_influence_each_other() {
    for weight in [
        dense(DType::F32, Layout::OutIn, [50, 96], 16),
        dense(DType::BF16, Layout::InOut, [50, 96], 16),
        grouped(spec(4, GroupSize::Columns(24), false), [50, 96], 17, |_, _| 0),
        sparse(SparsePattern::Bitmask, DType::F16, [50, 96], 4, 17),
        sparse_codes(SparsePattern::TwoOfFour, spec(4, GroupSize::Columns(32), false), [50, 96], 17),
    ] {
        let op = crate::linear_op(&weight).unwrap();
        let x = Random(18).floats(4 * 96);
        let mut together = vec![0.0; 4 * 50];
        op.forward(&x, 4, None, &mut together);
        let mut alone = vec![0.0; 4 * 50];
        for (x, y) in x.chunks(96).zip(alone.chunks_mut(50)) {
            op.forward(x, 1, None, y);
        }
        assert_eq!(together, alone);
    }
}

#[test]
#[should_panic(expected = "x: [2, 3]")]
fn a_wrong_length_panics() {
    let op = crate::linear_op(&dense(DType::F32, Layout::OutIn, [4, 3], 1)).unwrap();
    op.forward(&[0.0; 5], 2, None, &mut [0.0; 8]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn dense_of_any_shape(
        dtype in prop::sample::select(&[DType::F32, DType::F16, DType::BF16, DType::F64][..]),
        transposed: bool, outs in 1usize..90, ins in 1usize..200, rows in 1usize..40, seed: u32,
    ) {
        let layout = if transposed { Layout::InOut } else { Layout::OutIn };
        check(&dense(dtype, layout, [outs, ins], seed), &[rows], seed);
    }

    #[test]
    fn sparse_of_any_shape(
        dtype in prop::sample::select(&[DType::F32, DType::F16, DType::BF16][..]),
        outs in 1usize..90, ins in 1usize..200, rows in 1usize..40, eighths in 0u32..9, seed: u32,
    ) {
        check(&sparse(SparsePattern::Bitmask, dtype, [outs, ins], eighths, seed), &[rows], seed);
    }

    #[test]
    fn grouped_int_of_any_shape(
        width in prop::sample::select(&Bits::ALLOWED[..]),
        columns in 1usize..140, groups in 1usize..5, symmetric: bool, group_index: bool,
        outs in 1usize..90, rows in 1usize..40, seed: u32,
    ) {
        let spec = GroupedIntSpec { group_index, ..spec(width, GroupSize::Columns(columns), symmetric) };
        check(&grouped(spec, [outs, columns * groups], seed, |i, groups| (i * 7 + 3) % groups), &[rows], seed);
    }
}
