//! Peak memory of compressing a synthetic Llama of 7B shape (four blocks of it) by GPTQ with 8,192 calibration tokens.
//!
//! `TENUIS_PLUGIN_DIR=$PWD/target/release/plugins cargo bench --workspace --bench seven_b_memory` after `cargo xtask build`.
//!
//! The checkpoint (2.1 GB of f16) is written by a child process, so that its memory does not count, into the
//! system's temporary directory or `TENUIS_BENCH_DIR`. The figure is the kernel's high-water mark of this process,
//! touched pages of mapped files included. Takes minutes; not part of CI.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints its figure and may panic")]

use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tenuis_core::{Checkpoint, CheckpointWriter, CodecRegistry, DType, Tensor, WriterOptions};
use tenuis_eval::memory::of_this_process;
use tenuis_eval::quality::TextData;
use tenuis_model::Model;
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{CompressOptions, LoadedRecipe, Silent, Text, Workshop};

const D_MODEL: usize = 4096;
const D_FF: usize = 11_008;
const VOCAB: usize = 32_000;
const BLOCKS: usize = 4;
const CALIBRATION_TOKENS: usize = 8192;
const SEQ_LEN: usize = 2048;
/// The bound that the design promises.
const LIMIT: u64 = 4 << 30;

const RECIPE: &str = r#"
name = "int4-gptq"
calibration = { samples = 4, seq_len = 2048 }
[[stages]]
technique = "gptq"
options = { bits = 4, group_size = 128 }
"#;

fn main() {
    let root = std::env::var_os("TENUIS_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = root.join("tenuis-bench-7b");
    if std::env::args().any(|a| a == "--write-checkpoint") {
        write_checkpoint(&dir);
        return;
    }
    if !dir.exists() {
        let program = std::env::current_exe().unwrap();
        let status = std::process::Command::new(program).arg("--write-checkpoint").status().unwrap();
        assert!(status.success());
    }
    let Some(plugins) = std::env::var_os("TENUIS_PLUGIN_DIR") else {
        println!("set TENUIS_PLUGIN_DIR to the directory of the built plugins (cargo xtask build makes it)");
        return;
    };
    let plugins = PluginRegistry::discover(&[PathBuf::from(plugins)]).unwrap();
    let codecs = CodecRegistry::builtin();
    let model = Model::open(Arc::new(Checkpoint::open(&dir).unwrap()), &codecs).unwrap();
    let tokens =
        (0..CALIBRATION_TOKENS as u32).map(|i| i.wrapping_mul(2_654_435_761) % VOCAB as u32).collect();
    let text = Text { path: "synthetic".into(), data: TextData { tokens, hash: "synthetic".to_owned() } };
    assert_eq!(CALIBRATION_TOKENS % SEQ_LEN, 0);
    let mut options = CompressOptions::default();
    options.fresh = true;
    let workshop = Workshop::new(&plugins, &codecs, Arc::new(Silent), options);
    let recipe = LoadedRecipe::parse("bench", RECIPE).unwrap();
    let started = Instant::now();
    let target = root.join("tenuis-bench-7b-int4");
    workshop.compress(&model, &recipe, Some(&text), &target).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let peak = of_this_process().unwrap().peak_bytes;
    println!(
        "7B shape, {BLOCKS} blocks, {CALIBRATION_TOKENS} calibration tokens: peak {:.2} GiB of {:.0} allowed, {seconds:.0} s",
        peak as f64 / (1u64 << 30) as f64,
        LIMIT as f64 / (1u64 << 30) as f64,
    );
    std::fs::remove_dir_all(&target).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(peak < LIMIT, "the bound does not hold");
}

fn write_checkpoint(dir: &Path) {
    let mut writer = CheckpointWriter::create(dir, &[], WriterOptions::default()).unwrap();
    let mut state = 1u64;
    let mut put = |name: &str, shape: &[usize], scale: f32| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                scale * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
            })
            .collect();
        writer.put(name, &Tensor::from_f32(DType::F16, shape.to_vec(), &values).unwrap()).unwrap();
    };
    put("model.embed_tokens.weight", &[VOCAB, D_MODEL], 1.0);
    for block in 0..BLOCKS {
        let p = format!("model.layers.{block}");
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            put(&format!("{p}.self_attn.{name}.weight"), &[D_MODEL, D_MODEL], 0.03);
        }
        for name in ["gate_proj", "up_proj"] {
            put(&format!("{p}.mlp.{name}.weight"), &[D_FF, D_MODEL], 0.03);
        }
        put(&format!("{p}.mlp.down_proj.weight"), &[D_MODEL, D_FF], 0.02);
        put(&format!("{p}.input_layernorm.weight"), &[D_MODEL], 1.0);
        put(&format!("{p}.post_attention_layernorm.weight"), &[D_MODEL], 1.0);
    }
    put("model.norm.weight", &[D_MODEL], 1.0);
    put("lm_head.weight", &[VOCAB, D_MODEL], 0.03);
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": D_MODEL,
        "intermediate_size": D_FF, "num_hidden_layers": BLOCKS, "num_attention_heads": 32, "num_key_value_heads": 32,
        "vocab_size": VOCAB, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "torch_dtype": "float16", "attention_bias": false, "mlp_bias": false,
    });
    writer.finish(&config, json!({})).unwrap();
}
