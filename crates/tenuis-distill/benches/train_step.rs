//! A training step of the stories15M shape: forward, backward and AdamW in f32, 8 sequences of 256 tokens.
//!
//! The bound is the FMA rate: the products take 6 FLOPs per weight and token (embedding apart), 187 GFLOP a step.
//! PyTorch's step on the same machine is measured by `docs/training.md`'s script; candle as it comes reaches a quarter
//! of it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use std::time::{Duration, Instant};
use tenuis_distill::{
    Network, Objective, Observer, Params, Precision, Selection, Sequences, StepRecord, Texts, TrainOptions,
    train,
};
use tenuis_spec::DecoderSpec;

/// Pages that are given back are faulted in again at every step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 8;
const SEQ: usize = 256;
const VOCAB: usize = 32_000;

struct Clock {
    last: Instant,
    total: Duration,
    steps: u32,
}

impl Observer for Clock {
    fn step(&mut self, _record: &StepRecord) {
        // The first step makes the pages that all others use.
        if self.steps > 0 {
            self.total += self.last.elapsed();
        }
        (self.steps, self.last) = (self.steps + 1, Instant::now());
    }
}

fn run(steps: usize, precision: Precision, checkpoint_blocks: bool) -> Duration {
    let config = json!({
        "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 288, "num_hidden_layers": 6,
        "num_attention_heads": 6, "num_key_value_heads": 6, "intermediate_size": 768, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 256, "tie_word_embeddings": false
    });
    let spec = DecoderSpec::from_config(&config).expect("a Llama");
    let mut params = Params::random(&spec, 1).expect("room");
    params.train(&Selection::all()).expect("parameters");
    let mut network = Network::new(spec, params);
    let tokens: Vec<u32> = (0..60_000u32).map(|i| i.wrapping_mul(2_654_435_761) % VOCAB as u32).collect();
    let texts =
        Texts { train: Sequences::new("training", tokens.into(), SEQ, VOCAB).expect("tokens"), valid: None };
    let mut options = TrainOptions::default();
    (options.steps, options.batch_size, options.seq_len) = (steps + 1, BATCH, SEQ);
    (options.precision, options.checkpoint_blocks) = (precision, checkpoint_blocks);
    let mut clock = Clock { last: Instant::now(), total: Duration::ZERO, steps: 0 };
    train(&mut network, None, &texts, &Objective::cross_entropy(), &options, None, &mut clock)
        .expect("a step");
    clock.total
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("train_step_15m");
    group.sample_size(10).throughput(Throughput::Elements((BATCH * SEQ) as u64));
    for (name, precision, checkpoint_blocks) in [
        ("f32", Precision::F32, false),
        ("f32_checkpointed", Precision::F32, true),
        ("bf16", Precision::Bf16, false),
        ("f16", Precision::F16, false),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|iters| run(iters as usize, precision, checkpoint_blocks))
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
