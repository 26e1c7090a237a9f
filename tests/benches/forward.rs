//! The forward pass of an evaluation: logits of windows of 512 tokens, stories15M's shape, f32.
//!
//! The bound is the FMA rate: `2·(6·(4·288² + 3·288·768) + 288·32000)` FLOPs of products per token, three fifths of them in the
//! head. `products` is these products alone by candle, without norms, attention, activations and what becomes of the logits.
#![expect(clippy::expect_used, reason = "a benchmark may panic")]

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::json;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// Pages that are given back are faulted in again at every pass; the program has this allocator too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEQ: usize = 512;
const BATCH: usize = 4;
const WIDTH: usize = 288;
const FFN: usize = 768;
const LAYERS: usize = 6;
const VOCAB: usize = 32_000;

fn checkpoint(dir: &Path) -> Model {
    let config = json!({
        "model_type": "llama", "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": 6, "num_key_value_heads": 6, "intermediate_size": FFN, "rms_norm_eps": 1e-5,
        "max_position_embeddings": SEQ, "tie_word_embeddings": false
    });
    let spec = DecoderSpec::from_config(&config).expect("a Llama");
    // Small, and of both signs; a norm's values of about one.
    let values = |length: usize, centre: f32| -> Vec<u8> {
        let value = |i: usize| centre + ((i.wrapping_mul(2_654_435_761) >> 7) % 2001) as f32 / 1e5 - 0.01;
        (0..length).flat_map(|i| value(i).to_le_bytes()).collect()
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = spec
        .tensors()
        .into_iter()
        .map(|t| {
            let centre = if t.shape.len() == 1 { 1.0 } else { 0.0 };
            (t.name.clone(), t.shape.clone(), values(t.shape.iter().product(), centre))
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
        })
        .collect();
    serialize_to_file(views, None, &dir.join("model.safetensors")).expect("room for the weights");
    std::fs::write(dir.join("config.json"), config.to_string()).expect("room for the configuration");
    let checkpoint = Arc::new(Checkpoint::open(dir).expect("a checkpoint"));
    Model::open(checkpoint, &CodecRegistry::builtin()).expect("a model")
}

fn bench(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let model = checkpoint(dir.path());
    let tokens: Vec<u32> = (0..BATCH * SEQ).map(|i| (i * 7919 % VOCAB) as u32).collect();
    let mut group = c.benchmark_group("forward_stories15m_512");
    group.sample_size(10);
    group.throughput(Throughput::Elements((BATCH * SEQ) as u64));
    group.bench_function("ours", |b| {
        b.iter(|| model.logits_vec(black_box(&tokens), BATCH, SEQ).expect("logits"));
    });
    let matrix =
        |rows: usize, columns: usize| Tensor::rand(-1f32, 1.0, (rows, columns), &Device::Cpu).expect("room");
    let layer = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * FFN), (FFN, WIDTH)];
    let shapes = std::iter::repeat_n(layer, LAYERS).flatten().chain([(WIDTH, VOCAB)]);
    let products: Vec<(Tensor, Tensor)> =
        shapes.map(|(ins, outs)| (matrix(BATCH * SEQ, ins), matrix(ins, outs))).collect();
    group.bench_function("products", |b| {
        b.iter(|| {
            for (x, w) in &products {
                black_box(x.matmul(w).expect("a product"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
