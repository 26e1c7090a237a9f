//! Last-position logits against candle-transformers, where its models follow the published ones.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod parity_support;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma, llama, mistral, mixtral, phi, phi3, qwen2, qwen3, qwen3_moe};
use parity_support::{TOLERANCE, assert_close, data, open, values};
use serde_json::{Value, json};
use std::path::PathBuf;

struct Fixture {
    dir: PathBuf,
    config: Value,
    tokens: Vec<u32>,
}

impl Fixture {
    fn new(name: &str, length: u32) -> Self {
        let dir = data("parity").join(name);
        let text = std::fs::read(dir.join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        let tokens = (0..length).map(|i| (i * 37 + 11) % 160).collect();
        Self { dir, config, tokens }
    }

    fn weights(&self) -> VarBuilder<'static> {
        let bytes = std::fs::read(self.dir.join("model.safetensors")).unwrap();
        VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).unwrap()
    }

    fn input(&self) -> Tensor {
        Tensor::new(&self.tokens[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap()
    }

    /// The configuration with the fields that candle reads from their old place.
    fn old_style(&self, more: &Value) -> Value {
        let mut config = self.config.clone();
        config["rope_theta"] = self.config["rope_parameters"]["rope_theta"].clone();
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    fn assert_same(&self, theirs: &Tensor) {
        let model = open(&self.dir);
        let ours = model.logits(&self.tokens, 1, self.tokens.len()).unwrap();
        let last = ours.narrow(1, self.tokens.len() - 1, 1).unwrap();
        let theirs: Vec<f64> = values(theirs).into_iter().map(f64::from).collect();
        assert_close(&self.dir.display().to_string(), &theirs, &values(&last), TOLERANCE);
    }
}

#[test]
fn llama() {
    let fixture = Fixture::new("llama_gqa_llama3rope", 40);
    let rope = &fixture.config["rope_parameters"];
    let config = fixture.old_style(&json!({ "rope_scaling": rope }));
    let config: llama::LlamaConfig = serde_json::from_value(config).unwrap();
    let config = config.into_config(false);
    let model = llama::Llama::load(fixture.weights(), &config).unwrap();
    let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0, &mut cache).unwrap());
}

/// candle lets a query see one position more than the window of the published model, so only a sequence that fits
/// into the window (8) can be compared.
#[test]
fn mistral() {
    let fixture = Fixture::new("mistral_window", 8);
    let config: mistral::Config = serde_json::from_value(fixture.old_style(&json!({}))).unwrap();
    let mut model = mistral::Model::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}

#[test]
fn qwen2() {
    let fixture = Fixture::new("qwen2", 40);
    let config = fixture.old_style(&json!({ "sliding_window": 4096 }));
    let config: qwen2::Config = serde_json::from_value(config).unwrap();
    let mut model = qwen2::ModelForCausalLM::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}

#[test]
fn qwen3() {
    let fixture = Fixture::new("qwen3", 40);
    let config: qwen3::Config = serde_json::from_value(fixture.old_style(&json!({}))).unwrap();
    let mut model = qwen3::ModelForCausalLM::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}

/// Gemma 2 and 3 are not here: candle scales scores by the width of a head, not by `query_pre_attn_scalar`.
#[test]
fn gemma() {
    let fixture = Fixture::new("gemma", 40);
    let config = fixture.old_style(&json!({ "hidden_act": null, "hidden_activation": "gelu_pytorch_tanh" }));
    let config: gemma::Config = serde_json::from_value(config).unwrap();
    let mut model = gemma::Model::new(false, &config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}

#[test]
fn phi() {
    let fixture = Fixture::new("phi", 40);
    let part = &fixture.config["rope_parameters"]["partial_rotary_factor"];
    let config = fixture.old_style(&json!({ "partial_rotary_factor": part, "qk_layernorm": false }));
    let config: phi::Config = serde_json::from_value(config).unwrap();
    let mut model = phi::Model::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input()).unwrap());
}

#[test]
fn phi3() {
    let fixture = Fixture::new("phi3", 40);
    let config = fixture.old_style(&json!({ "rope_scaling": null }));
    let config: phi3::Config = serde_json::from_value(config).unwrap();
    let mut model = phi3::Model::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}

#[test]
fn mixtral() {
    let fixture = Fixture::new("mixtral", 40);
    let config = fixture.old_style(&json!({ "sliding_window": 4096, "use_flash_attn": false }));
    let config: mixtral::Config = serde_json::from_value(config).unwrap();
    let mut model = mixtral::Model::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}

#[test]
fn qwen3_moe() {
    let fixture = Fixture::new("qwen3_moe", 40);
    let experts = &fixture.config["num_local_experts"];
    let config = fixture.old_style(&json!({ "num_experts": experts, "max_window_layers": 28 }));
    let config: qwen3_moe::Config = serde_json::from_value(config).unwrap();
    let mut model = qwen3_moe::ModelForCausalLM::new(&config, fixture.weights()).unwrap();
    fixture.assert_same(&model.forward(&fixture.input(), 0).unwrap());
}
