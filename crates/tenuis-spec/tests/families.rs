//! What the families read from configurations.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::needless_pass_by_value, reason = "configurations are written where they are used")]

use serde_json::{Value, json};
use tenuis_core::Layout;
use tenuis_spec::{
    Activation, DecoderSpec, FusedOrder, MlpSpec, NormKind, Positions, Producer, ProducerRows, QkvSpec, Role,
    RopeScaling, SpecError,
};

/// A small configuration with more fields.
fn config(model_type: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "rope_theta": 10000.0,
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

fn scaling(spec: &DecoderSpec) -> &RopeScaling {
    &spec.layers[0].attention.rope.as_ref().unwrap().scaling
}

#[test]
fn an_unknown_family_is_named_beside_the_known_ones() {
    // Encoders are none of these either.
    for model_type in ["mamba", "bert", "vit"] {
        assert_eq!(
            error(model_type, json!({})),
            format!(
                "config.json: field \"model_type\" decides the family and is \"{model_type}\"; known model types: \
                 gemma, gemma2, gemma3_text, gpt2, gpt_neox, granite, llama, mistral, mixtral, opt, phi, phi3, qwen2, \
                 qwen3, qwen3_moe, smollm3, starcoder2"
            )
        );
    }
    let none = DecoderSpec::from_config(&json!({})).unwrap_err();
    assert_eq!(none, SpecError::MissingField { field: "model_type".into() });
    assert_eq!(DecoderSpec::from_config(&json!([])).unwrap_err(), SpecError::NotAnObject);
}

#[test]
fn errors_name_the_field_and_what_is_allowed() {
    for (more, wanted) in [
        (json!({"hidden_size": null}), "field \"hidden_size\" is missing"),
        (json!({"hidden_size": -3}), "field \"hidden_size\" is -3, expected a whole number from 1"),
        (json!({"vocab_size": "many"}), "field \"vocab_size\" is \"many\""),
        (json!({"num_hidden_layers": 100_000_000}), "expected at most 100000"),
        (
            json!({"num_key_value_heads": 3}),
            "\"num_key_value_heads\" is 3, expected a divisor of 4 query heads",
        ),
        (json!({"num_attention_heads": 5, "num_key_value_heads": 5}), "expected a divisor of hidden_size 64"),
        (json!({"hidden_act": "mish"}), "expected one of silu, swish, gelu"),
        (json!({"intermediate_size": [96, 96]}), "expected a number or a list of 3 numbers"),
        (json!({"rope_scaling": {"type": "ntk", "factor": 2}}), "\"rope_scaling.rope_type\" is \"ntk\""),
        (json!({"rope_parameters": {"rope_type": "linear"}}), "field \"rope_parameters.factor\" is missing"),
        (json!({"rope_theta": 0}), "expected a number above 0"),
        (json!({"tie_word_embeddings": 1}), "expected true or false"),
        (json!({"head_dim": 15}), "an even number of them"),
    ] {
        let message = error("llama", more);
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn old_and_new_fields_of_rotary_positions_mean_the_same() {
    let llama3 = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32, "rope_type": "llama3"});
    let mut new = llama3.clone();
    new["rope_theta"] = json!(500_000.0);
    let old = spec("llama", json!({"rope_theta": 500_000.0, "rope_scaling": llama3}));
    let new = spec("llama", json!({"rope_theta": null, "rope_parameters": new}));
    assert_eq!(old, new);
    assert!(matches!(scaling(&old), RopeScaling::Llama3 { original_max_positions: 32, .. }));

    let old = spec("llama", json!({"rope_scaling": {"type": "linear", "factor": 2.0}}));
    assert_eq!(scaling(&old), &RopeScaling::Linear { factor: 2.0 });
    assert_eq!(scaling(&spec("llama", json!({"rope_scaling": null}))), &RopeScaling::Default);
    let part = spec("llama", json!({"partial_rotary_factor": 0.5}));
    assert_eq!(part.layers[0].attention.rope.as_ref().unwrap().rotary_dim, 8);
}

/// Frequencies that transformers 5.23 computes.
#[test]
fn frequencies_of_the_reference() {
    let yarn = |more: Value| {
        let mut rope = json!({"rope_type": "yarn", "rope_theta": 10000.0});
        for (key, value) in more.as_object().unwrap() {
            rope[key] = value.clone();
        }
        rope
    };
    let cases: [(Value, usize, [f32; 4], f32); 4] = [
        (
            yarn(json!({"factor": 4.0, "original_max_position_embeddings": 32})),
            128,
            [1.0, 0.197_642_36, 0.025, 0.007_905_695],
            1.138_629_4,
        ),
        (
            yarn(
                json!({"factor": 8.0, "original_max_position_embeddings": 64, "beta_fast": 16, "beta_slow": 2,
                "mscale": 1.0, "mscale_all_dim": 0.8, "truncate": false}),
            ),
            512,
            [1.0, 0.120_533_99, 0.0125, 0.003_952_847_3],
            1.035_657,
        ),
        (
            yarn(json!({"rope_theta": 500_000.0, "original_max_position_embeddings": 64,
                "attention_factor": 1.5})),
            512,
            [1.0, 0.109_081_55, 0.004_700_754, 9.115_831e-4],
            1.5,
        ),
        (
            json!({"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
            128,
            [1.0, 0.095_839_98, 0.0125, 0.003_952_847_3],
            1.0,
        ),
    ];
    for (rope, positions, wanted, factor) in cases {
        let spec = spec("llama", json!({"rope_parameters": rope, "max_position_embeddings": positions}));
        let found = spec.layers[0].attention.rope.as_ref().unwrap().frequencies();
        assert_eq!(found.inverse.len(), 8);
        for (f, w) in found.inverse.iter().zip(wanted) {
            assert!((f / w - 1.0).abs() < 1e-6, "{rope}: {f}, not {w}");
        }
        assert!((found.attention_factor / factor - 1.0).abs() < 1e-6, "{rope}");
    }
}

#[test]
fn llama_biases_heads_and_defaults() {
    let plain = spec("llama", json!({"num_key_value_heads": null}));
    let layer = &plain.layers[2];
    assert_eq!((layer.attention.n_q, layer.attention.n_kv, layer.attention.head_dim), (4, 4, 16));
    assert!(layer.linears().iter().all(|l| !l.bias && l.layout == Layout::OutIn));
    assert!(!plain.tied);
    assert_eq!(layer.attention.scale, 0.25);

    let wide = spec("llama", json!({"head_dim": 32, "attention_bias": true, "mlp_bias": true}));
    let layer = &wide.layers[0];
    assert!(layer.linears().iter().all(|l| l.bias));
    assert_eq!(layer.attention.o.shape, [64, 128]);
    assert_eq!(layer.attention.o.bias_name().as_deref(), Some("model.layers.0.self_attn.o_proj.bias"));
}

/// Heads and widths that differ from layer to layer, as pruning leaves them.
#[test]
fn layers_may_differ() {
    let spec = spec(
        "llama",
        json!({"num_attention_heads": [4, 2, 4], "num_key_value_heads": [2, 2, 1], "head_dim": 16,
            "intermediate_size": [96, 64, 32]}),
    );
    let shapes: Vec<_> =
        spec.layers.iter().map(|l| (l.attention.n_q, l.attention.n_kv, l.mlp.d_ff())).collect();
    assert_eq!(shapes, [(4, 2, 96), (2, 2, 64), (4, 1, 32)]);
    assert_eq!(spec.layers[1].attention.o.shape, [64, 32]);
}

#[test]
fn mistral_slides_everywhere() {
    assert_eq!(windows(&spec("mistral", json!({"sliding_window": 8}))), [Some(8); 3]);
    assert_eq!(windows(&spec("mistral", json!({"sliding_window": null}))), [None; 3]);
    // What the published configuration class fills in.
    assert_eq!(windows(&spec("mistral", json!({}))), [Some(4096); 3]);
}

#[test]
fn qwen_slides_where_it_is_told() {
    let off = json!({"sliding_window": 8, "max_window_layers": 0});
    assert_eq!(windows(&spec("qwen2", off)), [None; 3]);
    let from = json!({"sliding_window": 8, "use_sliding_window": true, "max_window_layers": 1});
    assert_eq!(windows(&spec("qwen2", from)), [None, Some(8), Some(8)]);
    let types = json!({"sliding_window": 8, "use_sliding_window": true, "max_window_layers": 0,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"]});
    assert_eq!(windows(&spec("qwen3", types)), [None, Some(8), None]);
    assert!(
        error("qwen2", json!({"layer_types": ["chunked_attention", "full_attention", "full_attention"]}))
            .contains("full_attention or sliding_attention")
    );
    assert!(error("qwen2", json!({"layer_types": ["full_attention"]})).contains("at least 3 entries"));
}

#[test]
fn qwen2_has_biases_and_qwen3_norms() {
    let biases =
        |spec: &DecoderSpec| -> Vec<bool> { spec.layers[0].linears().iter().map(|l| l.bias).collect() };
    let qwen2 = spec("qwen2", json!({}));
    assert_eq!(biases(&qwen2), [true, true, true, false, false, false, false]);
    assert!(qwen2.layers[0].attention.qk_norm.is_none());
    let qwen3 = spec("qwen3", json!({}));
    assert_eq!(biases(&qwen3), [false; 7]);
    let norms = qwen3.layers[0].attention.qk_norm.as_ref().unwrap();
    assert_eq!((norms.q.name.as_str(), norms.q.dim), ("model.layers.0.self_attn.q_norm", 128));
}

#[test]
fn smollm3_leaves_positions_out() {
    let rotary = |more| -> Vec<bool> {
        spec("smollm3", more).layers.iter().map(|l| l.attention.rope.is_some()).collect()
    };
    assert_eq!(rotary(json!({"no_rope_layers": [1, 0, 1]})), [true, false, true]);
    assert_eq!(rotary(json!({"no_rope_layer_interval": 2})), [true, false, true]);
    assert_eq!(rotary(json!({})), [true, true, true]);
    let slides = json!({"no_rope_layers": [1, 0, 1], "use_sliding_window": true, "sliding_window": 8});
    assert_eq!(windows(&spec("smollm3", slides)), [None, Some(8), None]);
    assert!(spec("smollm3", json!({})).tied);
}

fn gpt2() -> Value {
    json!({"model_type": "gpt2", "vocab_size": 160, "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128,
        "activation_function": "gelu_new", "n_inner": null})
}

#[test]
fn gpt2_is_stored_the_other_way_round() {
    let spec = DecoderSpec::from_config(&gpt2()).unwrap();
    let layer = &spec.layers[1];
    let linears = layer.linears();
    let roles: Vec<_> = linears.iter().map(|l| l.role).collect();
    assert_eq!(roles, [Role::Qkv, Role::O, Role::Fc1, Role::Fc2]);
    assert!(linears.iter().all(|l| l.bias && l.layout == Layout::InOut));
    assert_eq!((linears[0].shape, linears[0].stored_shape()), ([192, 64], [64, 192]));
    assert!(matches!(layer.attention.qkv, QkvSpec::Fused { order: FusedOrder::Blocks, .. }));
    assert!(matches!(layer.mlp, MlpSpec::Plain { activation: Activation::GeluTanh, .. }));
    assert_eq!(spec.final_norm.as_ref().unwrap().kind, NormKind::Layer);
    assert!(matches!(&spec.positions, Positions::Learned { rows: 128, offset: 0, .. }));
    assert!(spec.tied);

    let mut by_layer = gpt2();
    by_layer["scale_attn_by_inverse_layer_idx"] = json!(true);
    assert_eq!(DecoderSpec::from_config(&by_layer).unwrap().layers[1].attention.scale, 0.125);
}

/// GPT-2 was published without the prefix that transformers writes today.
#[test]
fn bare_names_are_found_out() {
    let bare = DecoderSpec::for_modules(&gpt2(), |module| module == "wte").unwrap();
    assert_eq!(bare.layers[0].attention.o.name, "h.0.attn.c_proj");
    let usual = DecoderSpec::for_modules(&gpt2(), |module| module == "transformer.wte").unwrap();
    assert_eq!(usual.layers[0].attention.o.name, "transformer.h.0.attn.c_proj");
}

#[test]
fn groups_share_an_input_and_know_its_producer() {
    let groups = spec("llama", json!({"num_key_value_heads": 4})).layers[0].groups();
    let producers: Vec<_> = groups.into_iter().map(|g| g.producer).collect();
    let name = |module: &str| format!("model.layers.0.{module}");
    let rows = |first, width, repeat, stride| ProducerRows { first, width, repeat, stride };
    assert_eq!(
        producers,
        [
            Producer::Norm { name: name("input_layernorm") },
            Producer::Linear { name: name("self_attn.v_proj"), rows: rows(0, 16, 1, 16) },
            Producer::Norm { name: name("post_attention_layernorm") },
            Producer::Linear { name: name("mlp.up_proj"), rows: rows(0, 96, 1, 96) },
        ]
    );
    // A value head that serves several query heads has one scale for all of them.
    let shared = Producer::Linear { name: name("self_attn.v_proj"), rows: rows(0, 16, 2, 16) };
    assert_eq!(spec("llama", json!({})).layers[0].groups()[1].producer, shared);
    let gpt2 = DecoderSpec::from_config(&gpt2()).unwrap().layers.remove(0);
    let (heads, width) = (gpt2.attention.n_q, gpt2.attention.head_dim);
    let Producer::Linear { rows: values, .. } = gpt2.groups().remove(1).producer else { panic!() };
    assert_eq!(values, rows(2 * heads * width, width, 1, width), "values come last");
    // GELU is no multiple of what it is given; ReLU is.
    assert_eq!(gpt2.groups()[3].producer, Producer::None);
    let mut relu = gpt2;
    let MlpSpec::Plain { activation, .. } = &mut relu.mlp else { panic!() };
    *activation = Activation::Relu;
    assert!(matches!(relu.groups()[3].producer, Producer::Linear { .. }));
}

#[test]
fn a_parallel_layer_without_a_second_norm_has_three_groups() {
    let mut layer = spec("llama", json!({})).layers.remove(0);
    layer.residual = tenuis_spec::Residual::Parallel;
    assert_eq!(layer.groups().len(), 4);
    layer.norms.mlp_pre = None;
    let sizes: Vec<_> = layer.groups().iter().map(|g| g.linears.len()).collect();
    assert_eq!(sizes, [5, 1, 1]);
}

#[test]
fn json_and_back() {
    for spec in [spec("qwen3", json!({})), DecoderSpec::from_config(&gpt2()).unwrap()] {
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<DecoderSpec>(&text).unwrap(), spec);
    }
    let value = serde_json::to_value(DecoderSpec::from_config(&gpt2()).unwrap()).unwrap();
    assert_eq!(value["layers"][0]["attention"]["o"]["layout"], "in_out");
    assert_eq!(value["layers"][0]["mlp"]["kind"], "plain");
}
