//! Networks with fewer channels and heads, of every family.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::{Value, json};
use tenuis_spec::{DecoderSpec, DimensionKind, SpecError};

const LLAMA_LIKE: [&str; 14] = [
    "gemma",
    "gemma2",
    "gemma3_text",
    "granite",
    "llama",
    "mistral",
    "mixtral",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "starcoder2",
];

fn llama_like(model_type: &str) -> Value {
    json!({"model_type": model_type, "vocab_size": 160, "hidden_size": 64, "intermediate_size": 24,
        "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 4})
}

fn gpt2() -> Value {
    json!({"model_type": "gpt2", "vocab_size": 160, "n_embd": 64, "n_head": 4, "n_layer": 3, "n_inner": null})
}

fn gpt_neox() -> Value {
    json!({"model_type": "gpt_neox", "vocab_size": 160, "hidden_size": 64, "intermediate_size": 24,
        "num_hidden_layers": 3, "num_attention_heads": 4, "rotary_pct": 0.25})
}

fn opt() -> Value {
    json!({"model_type": "opt", "vocab_size": 160, "hidden_size": 64, "ffn_dim": 24, "num_hidden_layers": 3,
        "num_attention_heads": 4, "word_embed_proj_dim": 64})
}

fn all() -> Vec<Value> {
    let configs: Vec<_> = LLAMA_LIKE
        .iter()
        .map(|model_type| llama_like(model_type))
        .chain([gpt2(), gpt_neox(), opt()])
        .collect();
    assert_eq!(configs.len(), tenuis_spec::families().count(), "every family");
    configs
}

fn spec(config: &Value) -> DecoderSpec {
    DecoderSpec::from_config(config).unwrap()
}

/// What is kept, by its count in each layer: the last units, of every expert where there are some.
fn last(spec: &DecoderSpec, kind: DimensionKind, counts: [usize; 3]) -> Vec<Vec<usize>> {
    let lists = spec.layers.iter().zip(counts).flat_map(|(layer, count)| {
        layer
            .dimensions(kind)
            .into_iter()
            .map(move |dimension| (dimension.units - count..dimension.units).collect())
    });
    lists.collect()
}

/// Reading the new configuration gives a network whose tensors have the shapes that are left.
#[test]
fn the_new_configuration_calls_for_what_is_left() {
    for config in all() {
        let spec = spec(&config);
        for kind in [DimensionKind::FfnChannels, DimensionKind::KvGroups, DimensionKind::QueryHeads] {
            let units = spec.layers[0].dimensions(kind)[0].units;
            for counts in [[2, 2, 2], [1, 2, 3], [units, 1, 2]] {
                let counts = counts.map(|count| count.min(units));
                let kept = spec.keep_units(kind, &config, &last(&spec, kind, counts)).unwrap();
                assert_eq!(DecoderSpec::from_config(&kept.config).unwrap(), kept.spec);
                let found: Vec<_> = kept.spec.layers.iter().map(|l| l.dimensions(kind)[0].units).collect();
                assert_eq!(found, counts);
                for tensor in spec.tensors() {
                    let cut = kept.cuts.iter().find(|cut| cut.tensor == tensor.name);
                    let left = cut.map_or(tensor.shape, tenuis_spec::TensorCut::new_shape);
                    let wanted = kept.spec.tensors().into_iter().find(|new| new.name == tensor.name).unwrap();
                    assert_eq!(left, wanted.shape, "{}", tensor.name);
                }
            }
        }
    }
}

#[test]
fn uniform_results_are_plain_numbers() {
    let config = llama_like("llama");
    let llama = spec(&config);
    let kept = llama.keep_kv_groups(&config, &last(&llama, DimensionKind::KvGroups, [2; 3])).unwrap();
    let fields = ["num_attention_heads", "num_key_value_heads", "head_dim"].map(|name| &kept.config[name]);
    assert_eq!(fields, [&json!(4), &json!(2), &json!(8)]);
    assert!(kept.remarks.is_empty(), "{:?}", kept.remarks);
    // 64 is no multiple of 6, which transformers insists on in Llama alone.
    let groups = last(&llama, DimensionKind::KvGroups, [3; 3]);
    assert_eq!(llama.keep_kv_groups(&config, &groups).unwrap().remarks.len(), 1);
    let config = llama_like("qwen3");
    assert!(spec(&config).keep_kv_groups(&config, &groups).unwrap().remarks.is_empty());

    let config = gpt2();
    let gpt2 = spec(&config);
    let kept = gpt2.keep_channels(&config, &last(&gpt2, DimensionKind::FfnChannels, [16; 3])).unwrap();
    assert_eq!((&kept.config["n_inner"], kept.remarks.len()), (&json!(16), 0));
    let kept = gpt2.keep_kv_groups(&config, &last(&gpt2, DimensionKind::KvGroups, [2; 3])).unwrap();
    assert_eq!((&kept.config["n_head"], &kept.config["head_dim"]), (&json!(2), &json!(16)));
    assert!(kept.remarks[0].contains("head_dim"), "{:?}", kept.remarks);
    assert_eq!(kept.spec.layers[0].attention.scale, 0.25);
}

/// What other readers make of fewer heads is said.
#[test]
fn remarks_name_what_others_do_not_read() {
    let remarks = |config: Value, heads: usize| {
        let spec = spec(&config);
        let keep = last(&spec, DimensionKind::KvGroups, [heads; 3]);
        spec.keep_kv_groups(&config, &keep).unwrap().remarks
    };
    for config in [gpt_neox(), opt()] {
        let remarks = remarks(config, 2);
        assert!(remarks.len() == 1 && remarks[0].starts_with("head_dim is no field of"), "{remarks:?}");
    }
    // 64 is no multiple of 6.
    assert!(remarks(llama_like("gemma"), 3).is_empty());
    assert_eq!(remarks(llama_like("gemma2"), 3).len(), 1);
    let mut long = llama_like("phi3");
    long["rope_scaling"] =
        json!({"type": "longrope", "short_factor": [1, 1, 1, 1], "long_factor": [1, 2, 3, 4]});
    let remarks = remarks(long, 2);
    assert!(remarks.len() == 1 && remarks[0].contains("the factors of LongRoPE"), "{remarks:?}");
}

#[test]
fn uneven_results_are_lists_and_layers_are_cut_with_them() {
    for config in all() {
        let spec = spec(&config);
        let kind = DimensionKind::FfnChannels;
        let kept = spec.keep_units(kind, &config, &last(&spec, kind, [3, 5, 3])).unwrap();
        assert_eq!(kept.remarks.len(), 1);
        let two = kept.spec.keep_layers(&kept.config, &[1, 2]).unwrap();
        let widths: Vec<_> = two.spec.layers.iter().map(|l| l.mlp.d_ff()).collect();
        assert_eq!(widths, [5, 3]);
        // Layers that are alike again need no list.
        let alike = kept.spec.keep_layers(&kept.config, &[0, 2]).unwrap();
        let field = match spec.model_type.as_str() {
            "gpt2" => "n_inner",
            "opt" => "ffn_dim",
            "qwen3_moe" => "moe_intermediate_size",
            _ => "intermediate_size",
        };
        assert_eq!(alike.config[field], json!(3));
        // What was cut may be cut again.
        let again = kept.spec.keep_units(kind, &kept.config, &last(&kept.spec, kind, [2, 2, 2])).unwrap();
        assert_eq!(again.config[field], json!(2));
    }
}

#[test]
fn impossible_wishes_are_refused() {
    let config = llama_like("llama");
    let spec = spec(&config);
    let heads = |keep: [&[usize]; 3]| spec.keep_kv_groups(&config, &keep.map(<[usize]>::to_vec));
    assert!(matches!(heads([&[0], &[], &[1]]), Err(SpecError::NoUnits { layer: 1, .. })));
    assert!(matches!(heads([&[0], &[0], &[4]]), Err(SpecError::NoUnit { layer: 2, unit: 4, units: 4, .. })));
    assert!(matches!(heads([&[1, 0], &[0], &[1]]), Err(SpecError::UnitOrder { layer: 0, .. })));
    assert!(matches!(heads([&[1, 1], &[0], &[1]]), Err(SpecError::UnitOrder { layer: 0, .. })));
    let short = spec.keep_channels(&config, &[vec![0]]);
    assert!(matches!(short, Err(SpecError::KeepLists { lists: 3, found: 1 })));
    let message = heads([&[0], &[], &[1]]).unwrap_err().to_string();
    assert_eq!(message, "layer 1: all key and value groups would be removed; keep at least one");
}

/// Lists of a wrong length, and heads that differ while nothing says how wide they are.
#[test]
fn lists_are_checked_strictly() {
    let error = |mut config: Value, field: &str, value: Value| {
        config[field] = value;
        DecoderSpec::from_config(&config).unwrap_err().to_string()
    };
    assert!(error(gpt2(), "n_inner", json!([8, 8])).contains("a list of 3 numbers"));
    assert!(error(gpt2(), "n_head", json!([4, 4, 0])).contains("from 1 to"));
    assert!(error(gpt2(), "n_head", json!([4, 2, 4])).contains("\"head_dim\" is missing"));
    let more = error(llama_like("llama"), "num_attention_heads", json!([8, 4, 8]));
    assert!(more.contains("\"head_dim\" is missing"), "{more}");
    let mut config = llama_like("llama");
    config["head_dim"] = json!(8);
    assert!(error(config, "num_attention_heads", json!([8, 6, 8])).contains("a divisor of 6 query heads"));
}
