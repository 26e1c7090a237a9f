//! SparseGPT, Wanda and magnitude pruning of a square matrix, beside loops as they are usually written.
//!
//! SparseGPT takes `⅓n³` FLOPs for the factor and `n³` for the corrections, nearly all of them in matrix products, so
//! the bound is the machine's FMA rate; the throughput counts these FLOPs. The yardstick applies every correction
//! column by column to the whole rest of a row and sorts the scores of every block. Wanda and magnitude pruning are
//! bound by reading the weight a few times; their yardstick sorts.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tenuis_linalg::{Gram, factor_hessian};
use tenuis_prune::{
    MagnitudeConfig, SparseGptConfig, SparsityTarget, WandaConfig, magnitude, sparsegpt, wanda,
};

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn problem(n: usize) -> (Vec<f32>, Gram, u64) {
    let rows = n + n / 4;
    let mut gram = Gram::zeros(n);
    gram.accumulate(&noise(rows * n, 1));
    (noise(n * n, 2), gram, rows as u64)
}

/// The loop as it is usually written: blocks of 128 columns, scores sorted, every correction at once.
fn textbook(weight: &[f32], n: usize, hessian: &Gram) -> f32 {
    let Ok(factor) = factor_hessian::<f32>(hessian.view(), None, 0.01) else { return f32::NAN };
    let u = factor.inverse_block(0..n);
    let mut weight = weight.to_vec();
    let mut loss = 0.0;
    for start in (0..n).step_by(128) {
        let end = n.min(start + 128);
        let score = |row: &[f32], i: usize| (row[i] / u[i * n + i]).powi(2);
        let mut scores: Vec<f32> = Vec::new();
        for row in weight.chunks_exact(n) {
            scores.extend((start..end).map(|i| score(row, i)));
        }
        scores.sort_by(f32::total_cmp);
        let threshold = scores[scores.len() / 2];
        for row in weight.chunks_exact_mut(n) {
            let pruned: Vec<bool> = (start..end).map(|i| score(row, i) <= threshold).collect();
            for i in (start..end).filter(|i| pruned[i - start]) {
                let error = row[i] / u[i * n + i];
                loss += error * error;
                for j in i..n {
                    row[j] -= error * u[i * n + j];
                }
            }
        }
    }
    loss
}

fn by_sparsegpt(c: &mut Criterion) {
    let mut group = c.benchmark_group("sparsegpt");
    group.sample_size(10);
    for n in [512, 4096] {
        let (weight, gram, rows) = problem(n);
        group.throughput(Throughput::Elements((n * n * n * 4 / 3) as u64));
        for (name, sparsity) in [
            ("50", SparsityTarget::Share(0.5)),
            ("2:4", SparsityTarget::NofM(tenuis_prune::NofM::TWO_OF_FOUR)),
        ] {
            let mut config = SparseGptConfig::default();
            config.sparsity = sparsity;
            group.bench_function(BenchmarkId::new(name, n), |b| {
                b.iter(|| sparsegpt(black_box(&weight), [n, n], gram.view(), rows, &config));
            });
        }
        if n <= 512 {
            group.bench_function(BenchmarkId::new("yardstick_textbook", n), |b| {
                b.iter(|| textbook(black_box(&weight), n, &gram));
            });
        }
    }
    group.finish();
}

fn without_updates(c: &mut Criterion) {
    let n = 4096;
    let weight = noise(n * n, 2);
    let squares: Vec<f32> = noise(n, 3).iter().map(|v| v * v + 0.1).collect();
    let mut group = c.benchmark_group("mask_only");
    group.sample_size(10).throughput(Throughput::Bytes((4 * n * n) as u64));
    group.bench_function(BenchmarkId::new("wanda_50", n), |b| {
        b.iter(|| wanda(black_box(&weight), [n, n], &squares, &WandaConfig::default()));
    });
    let mut config = WandaConfig::default();
    config.sparsity = SparsityTarget::NofM(tenuis_prune::NofM::TWO_OF_FOUR);
    group.bench_function(BenchmarkId::new("wanda_2:4", n), |b| {
        b.iter(|| wanda(black_box(&weight), [n, n], &squares, &config));
    });
    group.bench_function(BenchmarkId::new("magnitude_50", n), |b| {
        b.iter(|| magnitude(black_box(&weight), [n, n], &MagnitudeConfig::default()));
    });
    group.bench_function(BenchmarkId::new("yardstick_sorted_rows", n), |b| {
        b.iter(|| {
            let mut pruned = black_box(&weight).clone();
            for row in pruned.chunks_exact_mut(n) {
                let score = |i: usize, row: &[f32]| row[i].abs() * squares[i].sqrt();
                let mut order: Vec<usize> = (0..n).collect();
                order.sort_by(|&a, &b| score(a, row).total_cmp(&score(b, row)));
                order[..n / 2].iter().for_each(|&i| row[i] = 0.0);
            }
            pruned
        });
    });
    group.finish();
}

criterion_group!(benches, by_sparsegpt, without_updates);
criterion_main!(benches);
