//! The first 256 singular values and vectors of a 4096² matrix in f32.
//!
//! `textbook` is subspace iteration (two power iterations, no further directions, as `torch.svd_lowrank` does) with faer's
//! Householder QR and its decomposition of the small matrix: what the library beside it offers. The bound is the FMA rate:
//! five products of `2·4096²·112` FLOPs and two of `2·4096²·128`, which is what the throughput counts.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use faer::Mat;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use tenuis_linalg::{RandomizedSvd, svd_randomized};

const SIZE: usize = 4096;
const RANK: usize = 256;

/// Noise whose rows fade: its singular values fall slowly, as those of weights do.
fn matrix() -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    (0..SIZE * SIZE).map(|at| (random.random::<f32>() - 0.5) / (1.0 + (at / SIZE) as f32).sqrt()).collect()
}

fn textbook(a: &Mat<f32>) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let start = Mat::from_fn(SIZE, RANK, |_, _| random.random::<f32>() - 0.5);
    let mut q = (a * start).qr().compute_thin_Q();
    for _ in 0..2 {
        q = (a.transpose() * &q).qr().compute_thin_Q();
        q = (a * &q).qr().compute_thin_Q();
    }
    let small = q.transpose() * a;
    match small.thin_svd() {
        Ok(svd) => svd.S().column_vector().iter().copied().collect(),
        Err(_) => Vec::new(),
    }
}

fn bench(c: &mut Criterion) {
    let a = matrix();
    let mut group = c.benchmark_group("svd_rank_256_of_4096");
    group.sample_size(10);
    group.throughput(Throughput::Elements(2 * (SIZE * SIZE * (7 * 112 + 2 * 16)) as u64));
    group.bench_function("ours", |b| {
        b.iter(|| svd_randomized(black_box(&a), [SIZE, SIZE], RandomizedSvd::new(RANK)));
    });
    let matrix = Mat::from_fn(SIZE, SIZE, |i, j| a[i * SIZE + j]);
    group.bench_function("textbook", |b| b.iter(|| textbook(black_box(&matrix))));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
