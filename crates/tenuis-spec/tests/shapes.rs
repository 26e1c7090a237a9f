//! Holding a spec against what a checkpoint stores.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::json;
use std::collections::BTreeMap;
use tenuis_spec::{DecoderSpec, HeadSource, SpecError};

type Shapes = BTreeMap<String, Vec<usize>>;

fn spec(tied: bool) -> DecoderSpec {
    let config = json!({
        "model_type": "llama", "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "tie_word_embeddings": tied,
    });
    DecoderSpec::from_config(&config).unwrap()
}

fn stored(spec: &DecoderSpec) -> Shapes {
    spec.tensors().into_iter().map(|t| (t.name, t.shape)).collect()
}

fn check(spec: &DecoderSpec, shapes: &Shapes) -> Result<(), SpecError> {
    spec.check_shapes(|name| shapes.get(name).cloned(), |_, _| None)
}

#[test]
fn the_right_shapes_pass() {
    let spec = spec(false);
    let mut shapes = stored(&spec);
    assert_eq!(shapes.len(), 2 * 9 + 3);
    shapes.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), vec![8]);
    check(&spec, &shapes).unwrap();
}

#[test]
fn another_shape_is_reported_with_both() {
    let spec = spec(false);
    let mut shapes = stored(&spec);
    shapes.insert("model.layers.1.mlp.up_proj.weight".into(), vec![64, 96]);
    assert_eq!(
        check(&spec, &shapes).unwrap_err().to_string(),
        "tensor \"model.layers.1.mlp.up_proj.weight\" has shape [64, 96], but config.json calls for [96, 64]"
    );
}

#[test]
fn all_missing_tensors_are_listed() {
    let spec = spec(false);
    let mut shapes = stored(&spec);
    shapes.remove("lm_head.weight");
    shapes.remove("model.norm.weight");
    let SpecError::MissingTensors { mut names } = check(&spec, &shapes).unwrap_err() else { panic!() };
    names.sort();
    assert_eq!(names, ["lm_head.weight", "model.norm.weight"]);
}

#[test]
fn compressed_modules_are_checked_by_logical_shape() {
    let spec = spec(false);
    let mut shapes = stored(&spec);
    let module = "model.layers.0.mlp.down_proj";
    shapes.remove(&format!("{module}.weight"));
    let check = |found: [usize; 2]| {
        spec.check_shapes(|name| shapes.get(name).cloned(), |name, _| (name == module).then_some(found))
    };
    check([64, 96]).unwrap();
    let wrong = SpecError::Shape { name: module.into(), expected: vec![64, 96], found: vec![96, 64] };
    assert_eq!(check([96, 64]).unwrap_err(), wrong);
}

#[test]
fn a_tied_head_is_settled_as_transformers_does() {
    let embedding = |m: &str| m == "model.embed_tokens";
    let both = |_: &str| true;
    let head = |m: &str| m == "lm_head";
    let never = || -> bool { panic!("there is nothing to compare") };

    let mut tied = spec(true);
    assert_eq!(tied.settle_head(embedding, never), HeadSource::Embedding);
    assert_eq!(tied.head().name, "model.embed_tokens");
    assert!(!stored(&tied).contains_key("lm_head.weight"));

    let mut equal = spec(true);
    assert_eq!(equal.settle_head(both, || true), HeadSource::Embedding);
    assert!(equal.tied);

    let mut unequal = spec(true);
    assert_eq!(unequal.settle_head(both, || false), HeadSource::OwnDespiteConfig);
    assert!(!unequal.tied);
    assert_eq!(unequal.head().name, "lm_head");

    // The embedding is read from the head where only that is stored.
    let mut swapped = spec(true);
    assert_eq!(swapped.settle_head(head, never), HeadSource::Embedding);
    assert!(stored(&swapped).contains_key("lm_head.weight"));
    assert!(!stored(&swapped).contains_key("model.embed_tokens.weight"));

    let mut untied = spec(false);
    assert_eq!(untied.settle_head(embedding, never), HeadSource::Own);
    let mut shapes = stored(&untied);
    shapes.remove("lm_head.weight");
    let missing = SpecError::MissingTensors { names: vec!["lm_head.weight".into()] };
    assert_eq!(check(&untied, &shapes).unwrap_err(), missing);
}
