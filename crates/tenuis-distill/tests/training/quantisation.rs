//! Quantisation-aware training: what is trained is what is stored.

use crate::support::{
    FIXTURE_VOCAB, SEQ, VOCAB, fixture, integers, learn, loud, network_of, nll, options, sequences, texts,
    tiny, values, weights,
};
use tenuis_core::{Bits, Layout, Representation};
use tenuis_distill::{Extent, Network, TrainError};
use tenuis_quant::{GroupSizing, RtnConfig, rtn};

fn config(bits: u8, group_size: GroupSizing) -> RtnConfig {
    let mut config = RtnConfig::default();
    (config.bits, config.group_size) = (Bits::new(bits).unwrap(), group_size);
    config
}

fn round_all(network: &mut Network, config: &RtnConfig) -> Vec<(String, Layout)> {
    let linears: Vec<(String, Layout)> = network.spec().linears().map(|l| (l.name, l.layout)).collect();
    for (module, _) in &linears {
        network.round(module, config.clone());
    }
    linears
}

/// The integers, decoded and put into a network that rounds nothing, compute the same bits.
#[test]
fn exported_integers_are_those_of_the_forward_pass() {
    for name in ["gpt2", "llama_gqa_llama3rope"] {
        let model = fixture(name);
        let mut network = network_of(&model);
        let linears = round_all(&mut network, &config(4, GroupSizing::Columns(16)));
        let texts = tenuis_distill::Texts { train: sequences(4, SEQ, FIXTURE_VOCAB, 3), valid: None };
        learn(&mut network, &texts, &options(3)).unwrap();
        let mut plain = network_of(&model);
        for (tensor, values) in weights(&network) {
            let shape = network.params.tensor(&tensor).unwrap().dims().to_vec();
            plain.params.insert(&tensor, values, &shape).unwrap();
        }
        let (tokens, _) = texts.train.batch(&[0, 1]);
        let extent = Extent { batch: 2, seq: SEQ };
        let logits = |network: &Network| values(&network.logits(&tokens, extent).unwrap());
        assert!(logits(&plain) != logits(&network), "{name}: rounding matters");
        for (module, layout) in linears {
            let integers = network.quantized(&module).unwrap().unwrap();
            let [out, input] = integers.shape();
            let (_, mut dense) = self::integers(&integers);
            let shape = if layout == Layout::OutIn { [out, input] } else { [input, out] };
            if layout == Layout::InOut {
                dense = (0..input * out).map(|i| dense[(i % out) * input + i / out]).collect();
            }
            plain.params.insert(&format!("{module}.weight"), dense, &shape).unwrap();
        }
        assert_eq!(logits(&plain), logits(&network), "{name}");
    }
}

#[test]
fn beats_rounding_what_was_trained_without() {
    let texts = texts(6);
    let mut trained = loud(30.0);
    learn(&mut trained, &texts, &options(200)).unwrap();
    let f32 = nll(&trained, &texts.train);
    let mut network = trained;
    round_all(&mut network, &config(2, GroupSizing::Channel));
    let rounded = nll(&network, &texts.train);
    let mut options = options(80);
    options.learning_rate = 3e-3;
    learn(&mut network, &texts, &options).unwrap();
    let aware = nll(&network, &texts.train);
    // The tiny network has learned its text by heart, two bits lose much of it, and training takes most of that back.
    assert!(rounded > f32 + 0.1, "f32 {f32}, rounded {rounded}");
    assert!(aware < rounded - 0.5 * (rounded - f32), "f32 {f32}, rounded {rounded}, aware {aware}");
}

#[test]
fn an_embedding_is_rounded_where_it_is_read_and_where_it_is_the_head() {
    let mut network = network_of(&fixture("llama_gqa_llama3rope"));
    let name = network.spec().embedding.name.clone();
    network.round(&name, config(4, GroupSizing::Channel));
    let integers = network.quantized(&name).unwrap().unwrap();
    let (_, dense) = self::integers(&integers);
    let embedded = values(&network.embed(&[7, 150], Extent { batch: 1, seq: 2 }).unwrap());
    assert_eq!(embedded[..64], dense[7 * 64..8 * 64]);
    assert_eq!(embedded[64..], dense[150 * 64..151 * 64]);
    assert_eq!(values(&network.head().unwrap()), dense);
}

#[test]
fn what_cannot_be_rounded_is_refused_before_the_first_step() {
    let mut network = tiny(1);
    assert!(network.quantized("model.layers.0.mlp.up_proj").unwrap().is_none());
    network.round("model.layers.0.mlp.up_proj", config(4, GroupSizing::Columns(5)));
    match learn(&mut network, &texts(4), &options(1)) {
        Err(TrainError::Quantise { module, .. }) => assert_eq!(module, "model.layers.0.mlp.up_proj"),
        other => panic!("{other:?}"),
    }
    let mut network = tiny(1);
    network.round("model.layers.0.mlp.w1", config(4, GroupSizing::Auto));
    assert!(matches!(learn(&mut network, &texts(4), &options(1)), Err(TrainError::Shape { .. })));
}

/// The integers are those that rounding to nearest gives for the weights that were learned.
#[test]
fn integers_are_those_of_rounding_to_nearest() {
    let mut network = tiny(3);
    let config = config(3, GroupSizing::Columns(8));
    round_all(&mut network, &config);
    learn(&mut network, &texts(4), &options(3)).unwrap();
    let module = "model.layers.1.self_attn.o_proj";
    let values = network.params.values(&format!("{module}.weight")).unwrap();
    let wanted = rtn(&values, [16, 16], &config).unwrap().weight;
    assert!(integers(&network.quantized(module).unwrap().unwrap()) == integers(&wanted));
    assert_eq!(network.spec().vocab, VOCAB);
}
