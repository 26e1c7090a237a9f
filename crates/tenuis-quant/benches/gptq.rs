//! GPTQ and rounding to nearest, beside the textbook loop.
//!
//! GPTQ of a square matrix takes `⅓n³` FLOPs for the factor and `n²·out` for the corrections, nearly all of them in
//! matrix products, so the bound is the machine's FMA rate; the throughput counts these FLOPs. The yardstick applies
//! every correction column by column to the whole rest of a row and is bound by memory. Rounding to nearest is bound
//! by reading the weight once.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tenuis_linalg::{Gram, factor_hessian};
use tenuis_quant::{GptqConfig, GptqFactor, MseSearch, RtnConfig, gptq, rtn};

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

/// The loop as it is usually written, one row after the other, every column at once; symmetric, per row, 4 bits.
fn textbook(weight: &[f32], n: usize, hessian: &Gram) -> f32 {
    let Ok(factor) = factor_hessian::<f32>(hessian.view(), None, 0.01) else { return f32::NAN };
    let u = factor.inverse_block(0..n);
    let mut loss = 0.0;
    let mut row = vec![0.0; n];
    for weight in weight.chunks_exact(n) {
        row.copy_from_slice(weight);
        let scale = 2.0 * row.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 15.0;
        for i in 0..n {
            let value = scale * (row[i] / scale).round_ties_even().clamp(-8.0, 7.0);
            let error = (row[i] - value) / u[i * n + i];
            loss += error * error;
            for j in i + 1..n {
                row[j] -= error * u[i * n + j];
            }
        }
    }
    loss
}

fn quantize(c: &mut Criterion) {
    let mut group = c.benchmark_group("gptq_w4");
    group.sample_size(10);
    for n in [512, 1024, 4096] {
        let (weight, gram, rows) = problem(n);
        let config = GptqConfig::default();
        group.throughput(Throughput::Elements((n * n * n * 4 / 3) as u64));
        group.bench_function(BenchmarkId::new("whole", n), |b| {
            b.iter(|| gptq(black_box(&weight), [n, n], gram.view(), rows, &config));
        });
        group.throughput(Throughput::Elements((n * n * n) as u64));
        if let Ok(factor) = GptqFactor::new(gram.view(), rows, &config) {
            group.bench_function(BenchmarkId::new("given_the_factor", n), |b| {
                b.iter(|| factor.quantize(black_box(&weight), [n, n]));
            });
        }
        let mut searching = GptqConfig::default();
        searching.mse = Some(MseSearch::default());
        group.throughput(Throughput::Elements((n * n * n * 4 / 3) as u64));
        group.bench_function(BenchmarkId::new("mse", n), |b| {
            b.iter(|| gptq(black_box(&weight), [n, n], gram.view(), rows, &searching));
        });
        if n <= 512 {
            group.bench_function(BenchmarkId::new("textbook", n), |b| {
                b.iter(|| textbook(black_box(&weight), n, &gram));
            });
        }
    }
    group.finish();
}

fn round(c: &mut Criterion) {
    let mut group = c.benchmark_group("rtn_w4");
    group.sample_size(10);
    let n = 4096;
    let weight = noise(n * n, 2);
    group.throughput(Throughput::Bytes((4 * n * n) as u64));
    group.bench_function(BenchmarkId::new("plain", n), |b| {
        b.iter(|| rtn(black_box(&weight), [n, n], &RtnConfig::default()));
    });
    let mut searching = RtnConfig::default();
    searching.mse = Some(MseSearch::default());
    group.bench_function(BenchmarkId::new("mse", n), |b| {
        b.iter(|| rtn(black_box(&weight), [n, n], &searching));
    });
    group.finish();
}

criterion_group!(benches, quantize, round);
criterion_main!(benches);
