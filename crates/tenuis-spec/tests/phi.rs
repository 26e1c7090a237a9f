//! What the configurations of Phi and Phi-3 mean.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::needless_pass_by_value, reason = "configurations are written where they are used")]

use serde_json::{Value, json};
use tenuis_spec::{
    Activation, DecoderSpec, FusedOrder, MlpSpec, NormKind, QkvSpec, Residual, RopeScaling, RopeSpec,
};

fn config(model_type: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn spec(model_type: &str, more: Value) -> DecoderSpec {
    DecoderSpec::from_config(&config(model_type, more)).unwrap()
}

fn error(model_type: &str, more: Value) -> String {
    DecoderSpec::from_config(&config(model_type, more)).unwrap_err().to_string()
}

fn rope(spec: &DecoderSpec) -> &RopeSpec {
    spec.layers[0].attention.rope.as_ref().unwrap()
}

#[test]
fn phi_shares_a_norm_and_has_biases_everywhere() {
    let spec = spec("phi", json!({}));
    let layer = &spec.layers[1];
    assert_eq!((layer.residual, layer.norms.mlp_pre.is_none()), (Residual::Parallel, true));
    assert!(layer.mlp_shares_attention_input());
    assert!(layer.linears().iter().all(|l| l.bias));
    assert_eq!(layer.attention.o.name, "model.layers.1.self_attn.dense");
    assert!(matches!(layer.mlp, MlpSpec::Plain { activation: Activation::GeluTanh, .. }));
    assert!(spec.lm_head.bias && !spec.tied);
    assert_eq!(spec.final_norm.as_ref().unwrap().name, "model.final_layernorm");
    assert_eq!(layer.norms.attention_pre.as_ref().unwrap().kind, NormKind::Layer);
    // A head's bias cannot be where the head is the embedding.
    assert!(error("phi", json!({"tie_word_embeddings": true})).contains("\"tie_word_embeddings\" is true"));
}

#[test]
fn phi_turns_half_a_head_unless_told() {
    let cases = [
        (json!({}), vec![1.0, 0.1, 0.01, 0.001]),
        (json!({"partial_rotary_factor": 0.25, "rope_theta": 5000.0}), vec![1.0, 0.014_142_136]),
        (json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), vec![0.5, 0.05, 0.005, 5e-4]),
        (json!({"rope_parameters": {"rope_theta": 100.0, "partial_rotary_factor": 0.25}}), vec![1.0, 0.1]),
    ];
    for (more, wanted) in cases {
        let found = rope(&spec("phi", more)).frequencies().inverse;
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(&wanted).all(|(f, w)| (f / w - 1.0f32).abs() < 1e-6), "{found:?}");
    }
}

#[test]
fn phi_may_norm_heads() {
    let spec = spec("phi", json!({"qk_layernorm": true}));
    let heads = spec.layers[2].attention.qk_norm.as_ref().unwrap();
    assert_eq!((heads.k.name.as_str(), heads.k.dim), ("model.layers.2.self_attn.k_layernorm", 16));
    assert_eq!((heads.k.kind, heads.k.bias), (NormKind::Layer, true));
}

#[test]
fn phi3_is_llama_in_fewer_pieces() {
    let spec = spec("phi3", json!({"sliding_window": 8}));
    let layer = &spec.layers[1];
    let QkvSpec::Fused { qkv, order: FusedOrder::Blocks } = &layer.attention.qkv else { panic!() };
    assert_eq!((qkv.name.as_str(), qkv.shape), ("model.layers.1.self_attn.qkv_proj", [128, 64]));
    let MlpSpec::FusedGated { activation: Activation::Silu, gate_up, down } = &layer.mlp else { panic!() };
    assert_eq!((gate_up.name.as_str(), gate_up.shape), ("model.layers.1.mlp.gate_up_proj", [192, 64]));
    assert_eq!(down.shape, [64, 96]);
    assert!(layer.linears().iter().all(|l| !l.bias));
    assert!(spec.layers.iter().all(|l| l.attention.window == Some(8)));
    assert_eq!(layer.norms.mlp_pre.as_ref().unwrap().eps, 1e-5);
    assert!(!spec.tied);
}

const SHORT: [f64; 8] = [1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0];
const LONG: [f64; 8] = [1.0, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 20.0];

/// Frequencies that transformers 5.24 computes for sequences of the trained length, and for one that is longer by one.
#[test]
fn long_rope_has_frequencies_of_two_kinds() {
    let short: [f32; 8] = [
        1.0,
        0.301_169_3,
        0.090_909_09,
        0.026_352_312,
        0.007_692_307_7,
        0.002_108_185_3,
        5.882_352_7e-4,
        1.581_139e-4,
    ];
    let long: [f32; 8] = [
        1.0,
        0.210_818_5,
        0.04,
        0.007_905_695,
        0.001_666_666_7,
        3.513_642e-4,
        7.692_307_6e-5,
        1.581_138_9e-5,
    ];
    let parameters = |more: Value| {
        let mut parameters = json!({"rope_theta": 10_000.0, "rope_type": "longrope", "short_factor": SHORT,
            "long_factor": LONG});
        for (key, value) in more.as_object().unwrap() {
            parameters[key] = value.clone();
        }
        parameters
    };
    let old = |kind: &str| {
        json!({"original_max_position_embeddings": 32, "rope_theta": 10_000.0,
            "rope_scaling": {"type": kind, "short_factor": SHORT, "long_factor": LONG}})
    };
    let partial = parameters(json!({"rope_theta": 250_000.0, "partial_rotary_factor": 0.75, "factor": 8.0,
        "short_factor": SHORT[..6], "long_factor": LONG[..6]}));
    let cases = [
        (old("longrope"), 32, 1.183_216, &short[..], &long[..]),
        (old("su"), 32, 1.183_216, &short[..], &long[..]),
        (
            json!({"original_max_position_embeddings": 32,
                "rope_parameters": parameters(json!({"attention_factor": 1.25}))}),
            32,
            1.25,
            &short[..],
            &long[..],
        ),
        (
            json!({"original_max_position_embeddings": 32, "rope_parameters": partial}),
            32,
            1.264_911,
            &[1.0, 0.119_992_48, 0.014_430_916, 0.001_666_666_7, 1.938_339_6e-4, 2.116_535_3e-5],
            &[1.0, 0.083_994_74, 0.006_349_603_6, 5e-4, 4.199_736e-5, 3.527_558_9e-6],
        ),
        // A trained length within the parameters is overruled by the usual one.
        (
            json!({"max_position_embeddings": 8192,
                "rope_parameters": parameters(json!({"original_max_position_embeddings": 32}))}),
            4096,
            1.040_833,
            &short[..],
            &long[..],
        ),
    ];
    for (more, trained, factor, short, long) in cases {
        let spec = spec("phi3", more.clone());
        let rope = rope(&spec);
        assert_eq!(rope.long_after(), Some(trained));
        assert_eq!(rope.frequencies(), rope.frequencies_for(trained));
        for (positions, wanted) in [(trained, short), (trained + 1, long)] {
            let found = rope.frequencies_for(positions);
            assert_eq!(found.inverse.len(), wanted.len());
            for (f, w) in found.inverse.iter().zip(wanted) {
                assert!((f / w - 1.0).abs() < 1e-6, "{more}: {f}, not {w}");
            }
            assert!((found.attention_factor / factor - 1.0).abs() < 1e-6, "{more}");
        }
    }
}

#[test]
fn long_rope_is_read_of_other_families_too() {
    let parameters = json!({"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG,
        "original_max_position_embeddings": 64});
    let spec = spec("llama", json!({"rope_parameters": parameters}));
    let RopeScaling::LongRope { attention_factor, original_max_positions: 64, .. } = rope(&spec).scaling
    else {
        panic!()
    };
    assert!((attention_factor - (7.0f64 / 6.0).sqrt()).abs() < 1e-12);
    let value = serde_json::to_value(&spec).unwrap();
    assert_eq!(value["layers"][0]["attention"]["rope"]["scaling"]["kind"], "long_rope");
    assert_eq!(serde_json::from_value::<DecoderSpec>(value).unwrap(), spec);
}

#[test]
fn other_scalings_of_phi3_are_refused() {
    let scaling = |more: Value| error("phi3", json!({"rope_scaling": more}));
    assert!(scaling(json!({"type": "linear", "factor": 2.0})).contains("expected default or longrope"));
    let short = scaling(json!({"type": "longrope", "short_factor": SHORT[..7], "long_factor": LONG}));
    assert!(short.contains("\"rope_scaling.short_factor\"") && short.contains("a list of 8 numbers above 0"));
    let missing = scaling(json!({"type": "longrope", "short_factor": SHORT}));
    assert!(missing.contains("\"rope_scaling.long_factor\" is missing"), "{missing}");
}
