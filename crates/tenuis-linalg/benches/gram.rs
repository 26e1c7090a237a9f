//! `XᵀX` beside two yardsticks: the whole product by plain `gemm`, and faer's triangular product.
//!
//! The bound is the FMA rate: the triangle takes `rows·features²` FLOPs, which is what the throughput counts for all
//! three, so that the plain product shows at half its true rate.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Par};
use std::hint::black_box;
use tenuis_linalg::{Gram, factor_hessian};

fn input(rows: usize, features: usize) -> Vec<f32> {
    let mut state = 3u32;
    (0..rows * features)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 20) as f32 / 2048.0 - 1.0
        })
        .collect()
}

/// The plain product on all threads, full square.
fn full(x: &[f32], [rows, n]: [usize; 2], out: &mut [f32]) {
    assert!(x.len() == rows * n && out.len() == n * n);
    // SAFETY: the lengths were checked, the strides are those of row-major matrices.
    #[expect(unsafe_code, reason = "gemm's entry point takes pointers")]
    unsafe {
        let n_stride = n as isize;
        gemm::gemm(
            n,
            n,
            rows,
            out.as_mut_ptr(),
            1,
            n_stride,
            true,
            x.as_ptr(),
            n_stride,
            1,
            x.as_ptr(),
            1,
            n_stride,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}

fn gram(c: &mut Criterion) {
    let mut group = c.benchmark_group("xtx");
    group.sample_size(10);
    for [rows, n] in [[2048, 1024], [16384, 4096]] {
        let x = input(rows, n);
        group.throughput(Throughput::Elements((rows * n * n) as u64));
        let size = format!("{rows}x{n}");
        let mut gram = Gram::zeros(n);
        group.bench_function(BenchmarkId::new("triangle", &size), |b| {
            b.iter(|| gram.accumulate(black_box(&x)));
        });
        let mut out = vec![0.0; n * n];
        group.bench_function(BenchmarkId::new("gemm_full", &size), |b| {
            b.iter(|| full(black_box(&x), [rows, n], &mut out));
        });
        group.bench_function(BenchmarkId::new("faer_triangular", &size), |b| {
            let x = faer::MatRef::from_row_major_slice(&x, rows, n);
            b.iter(|| {
                triangular::matmul(
                    faer::MatMut::from_row_major_slice_mut(&mut out, n, n),
                    BlockStructure::TriangularUpper,
                    Accum::Add,
                    x.transpose(),
                    BlockStructure::Rectangular,
                    x,
                    BlockStructure::Rectangular,
                    1.0,
                    Par::rayon(0),
                );
            });
        });
    }
    group.finish();
}

/// The factor that GPTQ needs; ⅓n³ FLOPs.
fn factor(c: &mut Criterion) {
    let mut group = c.benchmark_group("factor_hessian");
    group.sample_size(10);
    for n in [1024, 4096] {
        let mut gram = Gram::zeros(n);
        gram.accumulate(&input(n + n / 4, n));
        group.throughput(Throughput::Elements((n * n * n / 3) as u64));
        group.bench_function(BenchmarkId::new("f32", n), |b| {
            b.iter(|| factor_hessian::<f32>(black_box(gram.view()), None, 0.01));
        });
    }
    group.finish();
}

criterion_group!(benches, gram, factor);
criterion_main!(benches);
