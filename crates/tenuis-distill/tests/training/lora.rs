//! Adapters: from the model's function, on their own, and back into the weights.

use crate::support::{
    FIXTURE_VOCAB, FIXTURES, fixture, integers, learn, network_of, nll, options, sequences, texts, tiny,
    values, weights,
};
use serde_json::json;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, DType, WriterOptions};
use tenuis_distill::{Extent, LoraConfig, Network, Selection, Texts, TrainError};
use tenuis_model::Model;
use tenuis_quant::{GroupSizing, RtnConfig};

/// A product that is added to the weight instead of to the output: sums of f32 in another order, as a share of the largest
/// logit.
const ROUNDING: f32 = 2e-5;
const EXTENT: Extent = Extent { batch: 1, seq: 8 };
const TOKENS: [u32; 8] = [3, 1, 4, 1, 5, 9, 2, 6];

fn logits(network: &Network) -> Vec<f32> {
    values(&network.logits(&TOKENS, EXTENT).unwrap())
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn config(rank: usize, targets: &[&str]) -> LoraConfig {
    let mut config = LoraConfig::default();
    config.rank = rank;
    config.targets = targets.iter().map(|&t| t.to_owned()).collect();
    config
}

/// A network with adapters that have learned something.
fn adapted(name: &str) -> (Network, Vec<f32>) {
    let mut network = network_of(&fixture(name));
    let start = logits(&network);
    network.add_adapters(&LoraConfig::default(), 1).unwrap();
    assert_eq!(logits(&network), start, "{name}: training starts at the model");
    let texts = Texts { train: sequences(4, 12, FIXTURE_VOCAB, 7), valid: None };
    learn(&mut network, &texts, &options(4)).unwrap();
    (network, start)
}

#[test]
fn starts_at_the_model_and_merges_to_what_was_learned() {
    for name in FIXTURES {
        let (mut network, start) = adapted(name);
        let before = logits(&network);
        assert!(apart(&start, &before) > 0.01, "{name}: something was learned");
        let names: Vec<String> = network.params.names().map(str::to_owned).collect();
        network.merge_adapters().unwrap();
        let off = apart(&before, &logits(&network));
        assert!(off < ROUNDING, "{name}: off by {off:.1e}");
        assert!(network.params.names().count() < names.len());
        assert!(network.params.names().all(|n| !n.contains("lora_")));
    }
}

#[test]
fn trains_only_the_adapters() {
    let mut network = tiny(2);
    network.add_adapters(&config(2, &["*q_proj", "*.1.mlp.down_proj"]), 1).unwrap();
    let names: Vec<&str> = network.params.trained().map(|(n, _)| n).collect();
    // Factors of two q_proj and one down_proj.
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(network.params.counts().0, 2 * 2 * (16 + 16) + 2 * (32 + 16));
    let before = weights(&network);
    let (texts, start) = (texts(8), logits(&network));
    let loss = nll(&network, &texts.train);
    learn(&mut network, &texts, &options(30)).unwrap();
    assert!(logits(&network) != start && nll(&network, &texts.train) < loss);
    for (name, values) in weights(&network) {
        assert_eq!(values != before[&name], name.contains(".lora_"), "{name}");
    }
}

/// What is written without merging first is the merged network.
#[test]
fn a_written_checkpoint_has_the_adapters_in_it() {
    for name in ["gpt2", "qwen2"] {
        let (mut network, _) = adapted(name);
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let config = fixture(name).checkpoint().config().clone();
        network.write(&target, &config, DType::F32, &[], WriterOptions::default(), json!({})).unwrap();
        let checkpoint = Arc::new(Checkpoint::open(&target).unwrap());
        let model = Model::open(checkpoint, &CodecRegistry::builtin()).unwrap();
        network.merge_adapters().unwrap();
        assert_eq!(logits(&Network::from_model(&model).unwrap()), logits(&network), "{name}");
    }
}

/// With rounding, the sum of weight and adapter is what is rounded: merging changes nothing at all.
#[test]
fn rounded_weights_merge_to_the_same_integers() {
    for (name, module) in [("gpt2", "transformer.h.0.mlp.c_fc"), ("qwen2", "model.layers.0.mlp.up_proj")] {
        let mut network = network_of(&fixture(name));
        let module = network.spec().linears().map(|l| l.name).find(|n| module.ends_with(n.as_str())).unwrap();
        let mut rounding = RtnConfig::default();
        rounding.group_size = GroupSizing::Columns(32);
        network.round(&module, rounding);
        network.add_adapters(&LoraConfig::default(), 1).unwrap();
        let start = integers(&network.quantized(&module).unwrap().unwrap());
        let texts = Texts { train: sequences(4, 12, FIXTURE_VOCAB, 7), valid: None };
        learn(&mut network, &texts, &options(4)).unwrap();
        let learned = integers(&network.quantized(&module).unwrap().unwrap());
        assert!(learned.0 != start.0, "{name}: the adapters move the integers");
        let merged_elsewhere = logits(&network);
        network.merge_adapters().unwrap();
        assert!(integers(&network.quantized(&module).unwrap().unwrap()) == learned, "{name}");
        assert!(apart(&merged_elsewhere, &logits(&network)) < ROUNDING, "{name}");
    }
}

#[test]
fn senseless_settings_are_refused() {
    let mut network = tiny(1);
    assert!(matches!(
        network.add_adapters(&config(0, &["*"]), 1),
        Err(TrainError::Option { option: "lora.rank", .. })
    ));
    assert!(matches!(network.add_adapters(&config(2, &["["]), 1), Err(TrainError::Pattern { .. })));
    assert!(matches!(network.add_adapters(&config(2, &["*w1"]), 1), Err(TrainError::NothingToTrain { .. })));
    assert!(matches!(
        network.params.train(&Selection(vec!["nothing".to_owned()])),
        Err(TrainError::NothingToTrain { .. })
    ));
}
