//! What the configurations of GPT-NeoX, OPT, StarCoder2 and Granite mean.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::needless_pass_by_value, reason = "configurations are written where they are used")]

use serde_json::{Value, json};
use tenuis_spec::{
    Activation, DecoderSpec, FusedOrder, MlpSpec, NormKind, Positions, Producer, ProducerRows, QkvSpec,
    Residual,
};

fn config(model_type: &str, more: Value) -> Value {
    let width = if model_type == "opt" { "ffn_dim" } else { "intermediate_size" };
    let mut config = json!({
        "model_type": model_type, "vocab_size": 160, "hidden_size": 64, width: 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "max_position_embeddings": 128,
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

#[test]
fn gpt_neox_keeps_heads_together() {
    let spec = spec("gpt_neox", json!({}));
    let layer = &spec.layers[1];
    let QkvSpec::Fused { qkv, order: FusedOrder::PerGroup } = &layer.attention.qkv else { panic!() };
    assert_eq!((qkv.name.as_str(), qkv.shape), ("gpt_neox.layers.1.attention.query_key_value", [192, 64]));
    assert!(layer.linears().iter().all(|l| l.bias));
    assert!(matches!(layer.mlp, MlpSpec::Plain { activation: Activation::Gelu, .. }));
    assert_eq!(
        (spec.embedding.name.as_str(), spec.lm_head.name.as_str()),
        ("gpt_neox.embed_in", "embed_out")
    );
    assert!(!spec.tied && !spec.lm_head.bias);
    // The values of a head follow its queries and keys.
    let rows = ProducerRows { first: 32, width: 16, repeat: 1, stride: 48 };
    let Producer::Linear { rows: found, .. } = layer.groups().remove(1).producer else { panic!() };
    assert_eq!(found, rows);

    let plain = self::spec("gpt_neox", json!({"attention_bias": false}));
    let biases: Vec<_> = plain.layers[0].linears().iter().map(|l| l.bias).collect();
    assert_eq!(biases, [false, false, true, true]);
}

/// Both parts have a norm of their own, whether they read the same or not.
#[test]
fn gpt_neox_is_parallel_unless_told() {
    let groups = |more| {
        let layer = spec("gpt_neox", more).layers.remove(0);
        (layer.residual, layer.mlp_shares_attention_input(), layer.groups().len())
    };
    assert_eq!(groups(json!({})), (Residual::Parallel, false, 4));
    assert_eq!(groups(json!({"use_parallel_residual": false})), (Residual::Sequential, false, 4));
}

/// Frequencies that transformers 5.24 computes.
#[test]
fn gpt_neox_turns_a_quarter_of_a_head_unless_told() {
    let cases: [(Value, &[f32]); 4] = [
        (json!({}), &[1.0, 0.01]),
        (
            json!({"rotary_pct": 0.5, "rotary_emb_base": 20_000}),
            &[1.0, 0.084_089_644, 0.007_071_068, 5.946_035_4e-4],
        ),
        // A field of other families.
        (json!({"rope_theta": 5000.0}), &[1.0, 0.01]),
        (
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 1.0}}),
            &[
                1.0,
                0.459_863_28,
                0.211_474_24,
                0.097_249_25,
                0.044_721_36,
                0.020_565_713,
                0.009_457_416,
                0.004_349_118_6,
            ],
        ),
    ];
    for (more, wanted) in cases {
        let found = spec("gpt_neox", more).layers[0].attention.rope.as_ref().unwrap().frequencies().inverse;
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(f, w)| (f / w - 1.0).abs() < 1e-6), "{found:?}");
    }
    assert!(error("gpt_neox", json!({"rotary_pct": 1.5})).contains("field \"rotary_pct\" is 1.5"));
}

#[test]
fn opt_has_positions_in_a_table() {
    let spec = spec("opt", json!({"word_embed_proj_dim": 64}));
    let table = Positions::Learned { name: "model.decoder.embed_positions".into(), rows: 130, offset: 2 };
    assert_eq!((&spec.positions, spec.max_positions), (&table, 128));
    let layer = &spec.layers[2];
    assert!(layer.attention.rope.is_none());
    assert!(layer.linears().iter().all(|l| l.bias));
    assert_eq!(layer.attention.o.name, "model.decoder.layers.2.self_attn.out_proj");
    assert_eq!(layer.norms.mlp_pre.as_ref().unwrap().name, "model.decoder.layers.2.final_layer_norm");
    assert_eq!(spec.final_norm.as_ref().unwrap().name, "model.decoder.final_layer_norm");
    assert_eq!((layer.mlp.activation(), spec.tied), (Activation::Relu, true));
    let bare = |more| self::spec("opt", more);
    assert!(bare(json!({"_remove_final_layer_norm": true})).final_norm.is_none());
    assert!(bare(json!({"enable_bias": false})).layers[0].linears().iter().all(|l| !l.bias));
}

/// The first files were written without the outermost module.
#[test]
fn opt_without_its_prefix_is_found_out() {
    let spec = DecoderSpec::for_modules(&config("opt", json!({})), |m| m == "decoder.embed_tokens").unwrap();
    assert_eq!(spec.layers[0].attention.o.name, "decoder.layers.0.self_attn.out_proj");
}

/// The model with 350 million parameters norms the residual stream itself and projects embeddings.
#[test]
fn what_no_spec_can_say_of_opt_is_refused() {
    for (more, wanted) in [
        (json!({"do_layer_norm_before": false}), "\"do_layer_norm_before\" is false, expected true"),
        (json!({"layer_norm_elementwise_affine": false}), "\"layer_norm_elementwise_affine\" is false"),
        (json!({"word_embed_proj_dim": 32}), "\"word_embed_proj_dim\" is 32, expected hidden_size 64"),
    ] {
        let message = error("opt", more);
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn starcoder2_is_its_values() {
    let spec = spec("starcoder2", json!({"sliding_window": 8, "norm_epsilon": 1e-6}));
    let layer = &spec.layers[0];
    assert_eq!((layer.attention.n_kv, layer.attention.window), (2, Some(8)));
    assert!(layer.linears().iter().all(|l| l.bias));
    let norm = layer.norms.mlp_pre.as_ref().unwrap();
    assert_eq!((norm.kind, norm.eps), (NormKind::Layer, 1e-6));
    assert!(matches!(&layer.mlp, MlpSpec::Plain { activation: Activation::GeluTanh, fc1, .. }
        if fc1.name == "model.layers.0.mlp.c_fc"));
    assert!(spec.tied);
    let bare = self::spec("starcoder2", json!({"use_bias": false, "tie_word_embeddings": false}));
    assert!(!bare.tied && bare.layers[0].linears().iter().all(|l| !l.bias));
}

#[test]
fn granite_has_four_factors() {
    let plain = spec("granite", json!({}));
    assert_eq!(
        (plain.embedding.scale, plain.logit_scale, plain.layers[0].residual_scale),
        (None, None, None)
    );
    assert_eq!(plain.layers[0].attention.scale, 1.0);
    let spec = spec(
        "granite",
        json!({"embedding_multiplier": 12.0, "attention_multiplier": 0.015_625, "residual_multiplier": 0.22,
            "logits_scaling": 8.0}),
    );
    assert_eq!((spec.embedding.scale, spec.logit_scale), (Some(12.0), Some(0.125)));
    assert!(spec.layers.iter().all(|l| l.residual_scale == Some(0.22) && l.attention.scale == 0.015_625));
}
