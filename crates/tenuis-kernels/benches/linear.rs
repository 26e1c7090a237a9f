//! `y = x Wᵀ` at 4096 × 4096, beside the bounds it can approach: the bytes that this machine reads in a second for
//! one row, the products that the `gemm` crate makes in a second for 128.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up stops")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::Arc;
use tenuis_core::{
    Bits, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec, Int8Dynamic, Layout, Sparse, SparsePattern,
    Tensor, Weight,
};

const SIZE: usize = 4096;

fn values(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

fn dense(dtype: DType, layout: Layout) -> Weight {
    let tensor = Tensor::from_f32(dtype, vec![SIZE, SIZE], &values(SIZE * SIZE)).unwrap();
    Arc::new(Dense::with_layout(tensor, layout).unwrap())
}

fn grouped(width: u8, symmetric: bool, group_index: bool) -> Weight {
    let bits = Bits::new(width).unwrap();
    let group_size = GroupSize::Columns(128);
    let spec = GroupedIntSpec { bits, group_size, symmetric, scale_dtype: DType::F16, group_index };
    let groups = SIZE / 128;
    let codes: Vec<u8> = (0..SIZE * SIZE).map(|i| (i * 7 + i / 31) as u8 & bits.max_code()).collect();
    let scales: Vec<f32> = values(SIZE * groups).iter().map(|v| v.abs() + 0.1).collect();
    let zeros = vec![bits.mid_code() - 1; SIZE * groups];
    let index: Vec<u32> = (0..SIZE).map(|i| (i * 31 % groups) as u32).collect();
    let zeros = (!symmetric).then_some(&zeros[..]);
    let index = group_index.then_some(&index[..]);
    Arc::new(GroupedInt::from_codes(spec, [SIZE, SIZE], &codes, &scales, zeros, index).unwrap())
}

/// W8A8: activations are rounded per token, and the sums are integers.
fn int8_dynamic() -> Weight {
    let codes = (0..SIZE * SIZE).map(|i| (i * 7 + i / 31) as u8 as i8).collect();
    let scales: Vec<f32> = values(SIZE).iter().map(|v| v.abs() + 0.1).collect();
    Arc::new(Int8Dynamic::from_codes([SIZE, SIZE], codes, &scales, DType::F16).unwrap())
}

/// Of every four entries two are zero under 2:4, else a share of all in no order.
fn sparse(pattern: SparsePattern, share: f32) -> Weight {
    let mut values = values(SIZE * SIZE);
    for (i, value) in values.iter_mut().enumerate() {
        let zero = match pattern {
            SparsePattern::TwoOfFour => (i + i / 4) % 4 < 2,
            SparsePattern::Bitmask => value.abs() < share,
        };
        if zero {
            *value = 0.0;
        }
    }
    Arc::new(Sparse::from_dense(pattern, DType::F16, [SIZE, SIZE], &values).unwrap())
}

fn sparse_int4() -> Weight {
    let spec = GroupedIntSpec {
        bits: Bits::FOUR,
        group_size: GroupSize::Columns(128),
        symmetric: true,
        scale_dtype: DType::F16,
        group_index: false,
    };
    let codes: Vec<u8> =
        (0..SIZE * SIZE).map(|i| if (i + i / 4) % 4 < 2 { 8 } else { (i % 15) as u8 }).collect();
    let scales: Vec<f32> = values(SIZE * SIZE / 128).iter().map(|v| v.abs() + 0.1).collect();
    let dense = GroupedInt::from_codes(spec, [SIZE, SIZE], &codes, &scales, None, None).unwrap();
    Arc::new(Sparse::from_grouped_int(SparsePattern::TwoOfFour, &dense).unwrap())
}

fn kinds() -> Vec<(&'static str, Weight)> {
    vec![
        ("f32", dense(DType::F32, Layout::OutIn)),
        ("f16", dense(DType::F16, Layout::OutIn)),
        ("bf16", dense(DType::BF16, Layout::OutIn)),
        ("f32_in_out", dense(DType::F32, Layout::InOut)),
        ("f16_in_out", dense(DType::F16, Layout::InOut)),
        ("f8_e4m3", dense(DType::F8E4M3, Layout::OutIn)),
        ("int8", grouped(8, true, false)),
        ("int8_dynamic", int8_dynamic()),
        ("int4", grouped(4, true, false)),
        ("int4_asymmetric", grouped(4, false, false)),
        ("int4_g_idx", grouped(4, true, true)),
        ("int3", grouped(3, true, false)),
        ("int2", grouped(2, true, false)),
        ("sparse_50_f16", sparse(SparsePattern::Bitmask, 0.5)),
        ("sparse_70_f16", sparse(SparsePattern::Bitmask, 0.7)),
        ("sparse_2:4_f16", sparse(SparsePattern::TwoOfFour, 0.5)),
        ("sparse_2:4_int4", sparse_int4()),
    ]
}

/// Sums 256 MiB on all threads, eight times what caches hold: the bandwidth that one row can reach at most.
fn bandwidth(criterion: &mut Criterion) {
    let data = vec![1u64; 1 << 25];
    let mut group = criterion.benchmark_group("yardstick");
    group.sample_size(20).throughput(Throughput::Bytes(8 * data.len() as u64));
    group.bench_function("read_bandwidth", |b| {
        b.iter(|| -> u64 {
            let sum = |part: &[u64]| {
                let (eights, _) = part.as_chunks::<8>();
                let mut sums = [0u64; 8];
                for eight in eights {
                    for (sum, value) in sums.iter_mut().zip(eight) {
                        *sum = sum.wrapping_add(*value);
                    }
                }
                sums.into_iter().fold(0, u64::wrapping_add)
            };
            black_box(&data).par_chunks(1 << 16).map(sum).sum()
        });
    });
    group.finish();
}

fn one_row(criterion: &mut Criterion) {
    let (x, weight) = (values(SIZE), values(SIZE * SIZE));
    let mut y = vec![0.0; SIZE];
    let mut group = criterion.benchmark_group("rows_1");
    group.sample_size(30).throughput(Throughput::Bytes(4 * weight.len() as u64));
    group.bench_function("yardstick_naive_f32", |b| {
        b.iter(|| {
            for (y, row) in y.iter_mut().zip(black_box(&weight).chunks_exact(SIZE)) {
                *y = row.iter().zip(&x).map(|(w, x)| w * x).sum();
            }
        });
    });
    for (name, weight) in kinds() {
        let op = tenuis_kernels::linear_op(&weight).unwrap();
        group.throughput(Throughput::Bytes(weight.stored_bytes()));
        group.bench_function(name, |b| b.iter(|| op.forward(black_box(&x), 1, None, &mut y)));
    }
    group.finish();
}

fn many_rows(criterion: &mut Criterion) {
    for rows in [4, 8, 16, 32, 128] {
        let (x, mut y) = (values(rows * SIZE), vec![0.0; rows * SIZE]);
        let mut group = criterion.benchmark_group(format!("rows_{rows}"));
        // Two operations for each product: the figure printed is GFLOP/s where it says Gelem/s.
        group.sample_size(10).throughput(Throughput::Elements((2 * rows * SIZE * SIZE) as u64));
        let weight = values(SIZE * SIZE);
        group.bench_function(BenchmarkId::from_parameter("yardstick_gemm_f32"), |b| {
            b.iter(|| gemm_f32(rows, black_box(&x), &weight, &mut y));
        });
        for (name, weight) in kinds() {
            let op = tenuis_kernels::linear_op(&weight).unwrap();
            group.bench_function(name, |b| b.iter(|| op.forward(black_box(&x), rows, None, &mut y)));
        }
        group.finish();
    }
}

/// The `gemm` crate on all threads.
#[expect(unsafe_code, reason = "the gemm crate takes raw pointers")]
fn gemm_f32(rows: usize, x: &[f32], weight: &[f32], y: &mut [f32]) {
    assert_eq!([x.len(), weight.len(), y.len()], [rows * SIZE, SIZE * SIZE, rows * SIZE]);
    let threads = gemm::Parallelism::Rayon(0);
    let (x, weight, y, stride) = (x.as_ptr(), weight.as_ptr(), y.as_mut_ptr(), SIZE as isize);
    // SAFETY: the slices hold the matrices that the strides describe (asserted).
    unsafe {
        gemm::gemm(
            rows, SIZE, SIZE, y, 1, stride, false, x, 1, stride, weight, stride, 1, 0.0, 1.0, false, false,
            false, threads,
        );
    }
}

criterion_group!(benches, bandwidth, one_row, many_rows);
criterion_main!(benches);
