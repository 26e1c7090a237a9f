//! What Gemma's configurations mean.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::needless_pass_by_value, reason = "configurations are written where they are used")]

use serde_json::{Value, json};
use tenuis_spec::{Activation, DecoderSpec, RopeScaling};

fn config(model_type: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
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

fn windows(spec: &DecoderSpec) -> Vec<Option<usize>> {
    spec.layers.iter().map(|l| l.attention.window).collect()
}

#[test]
fn all_of_them_scale_embeddings_and_count_norms_from_one() {
    for model_type in ["gemma", "gemma2", "gemma3_text"] {
        let spec = spec(model_type, json!({}));
        assert_eq!(spec.embedding.scale, Some(8.0));
        assert!(spec.tied);
        let layers = spec.layers.iter().flat_map(tenuis_spec::LayerSpec::norms);
        let norms: Vec<_> = layers.chain(&spec.final_norm).collect();
        let expected = match model_type {
            "gemma" => 2,
            "gemma2" => 4,
            _ => 6,
        };
        assert_eq!(norms.len(), 6 * expected + 1);
        assert!(norms.iter().all(|norm| norm.plus_one && norm.eps == 1e-6));
        assert_eq!(spec.layers[0].mlp.activation(), Activation::GeluTanh);
    }
    // What the configuration classes fill in.
    let absent = json!({"head_dim": null, "num_key_value_heads": null});
    let mut gemma = config("gemma", absent);
    for field in ["head_dim", "num_key_value_heads"] {
        gemma.as_object_mut().unwrap().remove(field);
    }
    gemma["num_attention_heads"] = json!(32);
    let attention = DecoderSpec::from_config(&gemma).unwrap().layers.remove(0).attention;
    assert_eq!((attention.n_kv, attention.head_dim), (16, 256));
}

#[test]
fn gemma_is_llama_otherwise() {
    let spec = spec("gemma", json!({"num_key_value_heads": 1}));
    let attention = &spec.layers[0].attention;
    assert_eq!((attention.n_kv, attention.scale), (1, 0.25));
    assert_eq!((attention.softcap, spec.logit_softcap), (None, None));
    assert_eq!(windows(&spec), [None; 6]);
    let names: Vec<_> = spec.layers[0].norms().map(|norm| norm.name.as_str()).collect();
    assert_eq!(names, ["model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"]);
}

/// The first files of Gemma 1 say gelu and mean its approximation.
#[test]
fn gelu_is_exact_in_gemma2_alone() {
    let activation = |model_type, more| spec(model_type, more).layers[0].mlp.activation();
    assert_eq!(activation("gemma", json!({"hidden_act": "gelu"})), Activation::GeluTanh);
    assert_eq!(
        activation("gemma", json!({"hidden_act": "gelu", "hidden_activation": "gelu"})),
        Activation::GeluTanh
    );
    assert_eq!(activation("gemma2", json!({"hidden_activation": "gelu"})), Activation::Gelu);
    assert_eq!(activation("gemma2", json!({"hidden_act": "relu"})), Activation::GeluTanh);
}

#[test]
fn gemma2_has_four_norms_caps_and_windows() {
    let usual = spec("gemma2", json!({}));
    let layer = &usual.layers[1];
    let names: Vec<_> =
        layer.norms().map(|norm| norm.name.strip_prefix("model.layers.1.").unwrap()).collect();
    assert_eq!(
        names,
        [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm"
        ]
    );
    assert_eq!(layer.norms.attention_post.as_ref().unwrap().name, "model.layers.1.post_attention_layernorm");
    assert_eq!(layer.norms.mlp_pre.as_ref().unwrap().name, "model.layers.1.pre_feedforward_layernorm");
    assert_eq!((layer.attention.scale, layer.attention.softcap), (1.0 / 16.0, Some(50.0)));
    assert_eq!(usual.logit_softcap, Some(30.0));
    let slides = Some(4096);
    assert_eq!(windows(&usual), [slides, None, slides, None, slides, None]);

    let stated = spec(
        "gemma2",
        json!({"attn_logit_softcapping": null, "final_logit_softcapping": 10.0, "query_pre_attn_scalar": 64,
            "sliding_window": 8, "layer_types": ["full_attention", "full_attention", "sliding_attention",
            "full_attention", "full_attention", "full_attention"]}),
    );
    assert_eq!((stated.layers[0].attention.softcap, stated.logit_softcap), (None, Some(10.0)));
    assert_eq!(stated.layers[0].attention.scale, 0.125);
    assert_eq!(windows(&stated), [None, None, Some(8), None, None, None]);
    assert!(error("gemma2", json!({"sliding_window": null})).contains("as some layers slide"));
}

#[test]
fn gemma3_slides_by_a_pattern() {
    let slides = Some(4096);
    assert_eq!(windows(&spec("gemma3_text", json!({}))), [slides, slides, slides, slides, slides, None]);
    let third = spec("gemma3_text", json!({"sliding_window_pattern": 3, "sliding_window": 8}));
    assert_eq!(windows(&third), [Some(8), Some(8), None, Some(8), Some(8), None]);
    let layer = &third.layers[0];
    let heads = layer.attention.qk_norm.as_ref().unwrap();
    assert_eq!((heads.q.name.as_str(), heads.q.dim), ("model.layers.0.self_attn.q_norm", 16));
    // The cap of scores is read by nobody.
    let capped =
        spec("gemma3_text", json!({"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}));
    assert_eq!((capped.layers[0].attention.softcap, capped.logit_softcap), (None, Some(30.0)));
    assert_eq!(third.logit_softcap, None);
}

/// Frequencies that transformers 5.24 computes for layers that see everything, and for those with a window.
#[test]
fn gemma3_has_positions_of_two_kinds() {
    let linear = |theta: Option<f64>| {
        let mut full = json!({"rope_type": "linear", "factor": 8.0});
        if let Some(theta) = theta {
            full["rope_theta"] = json!(theta);
        }
        full
    };
    let local = [1.0, 0.316_227_76, 0.1, 0.031_622_78, 0.01, 0.003_162_277_9, 0.001, 3.162_278e-4];
    let cases = [
        (
            json!({"rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0, "rope_scaling": linear(None)}),
            [
                0.125,
                0.022_228_492,
                0.003_952_847_3,
                7.029_267e-4,
                1.25e-4,
                2.222_849_3e-5,
                3.952_847e-6,
                7.029_267e-7,
            ],
            local,
        ),
        (
            json!({"rope_parameters": {"full_attention": linear(Some(500_000.0)),
                "sliding_attention": {"rope_type": "default", "rope_theta": 20_000.0}}}),
            [
                0.125,
                0.024_240_345,
                0.004_700_754,
                9.115_831e-4,
                1.767_766_8e-4,
                3.428_102_4e-5,
                6.647_869_7e-6,
                1.289_173_2e-6,
            ],
            [
                1.0,
                0.289_982_14,
                0.084_089_644,
                0.024_384_495,
                0.007_071_068,
                0.002_050_483_4,
                5.946_035_4e-4,
                1.724_244_2e-4,
            ],
        ),
        (
            json!({}),
            [
                1.0,
                0.177_827_94,
                0.031_622_78,
                0.005_623_413,
                0.001,
                1.778_279_4e-4,
                3.162_277_4e-5,
                5.623_413_5e-6,
            ],
            local,
        ),
    ];
    for (more, full, local) in cases {
        let spec = spec("gemma3_text", more.clone());
        for (layer, wanted) in [(5, full), (0, local)] {
            let found = spec.layers[layer].attention.rope.as_ref().unwrap().frequencies();
            assert_eq!((found.inverse.len(), found.attention_factor), (8, 1.0));
            for (f, w) in found.inverse.iter().zip(wanted) {
                assert!((f / w - 1.0).abs() < 1e-6, "{more}: layer {layer}: {f}, not {w}");
            }
        }
        assert_eq!(spec.layers[0].attention.rope.as_ref().unwrap().scaling, RopeScaling::Default);
    }
    let message = error("gemma3_text", json!({"rope_parameters": {"full_attention": {"rope_type": "ntk"}}}));
    assert!(message.contains("\"rope_parameters.full_attention.rope_type\" is \"ntk\""), "{message}");
}

#[test]
fn looking_ahead_is_refused() {
    for model_type in ["gemma", "gemma2", "gemma3_text"] {
        let message = error(model_type, json!({"use_bidirectional_attention": true}));
        assert!(
            message.contains("field \"use_bidirectional_attention\" is true, expected false"),
            "{message}"
        );
        spec(model_type, json!({"use_bidirectional_attention": null}));
    }
}
