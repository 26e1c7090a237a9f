//! What a model refuses, and what it makes of odd checkpoints. The checkpoints are written here, tiny and random.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{
    Bits, Checkpoint, CodecRegistry, DType, GroupSize, GroupedInt, GroupedIntSpec, Representation, Tensor,
    quantization_config_for,
};
use tenuis_model::{GenerateOptions, Model, ModelError, Session};
use tenuis_spec::{DecoderSpec, SpecError};

fn config(tied: bool) -> Value {
    json!({
        "model_type": "llama", "vocab_size": 40, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": tied,
    })
}

/// Numbers that look random and are the same every time.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u32 * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24) - 0.5
    };
    (0..count).map(|_| next() as f32 * 0.5).collect()
}

fn random_tensors(config: &Value) -> BTreeMap<String, Tensor> {
    let spec = DecoderSpec::from_config(config).unwrap();
    let tensors = spec.tensors().into_iter().enumerate();
    tensors
        .map(|(seed, t)| {
            let values = numbers(t.shape.iter().product(), seed);
            (t.name, Tensor::from_f32(DType::F32, t.shape, &values).unwrap())
        })
        .collect()
}

/// Writes a checkpoint by hand, so that broken ones can be written too.
fn write(dir: &Path, config: &Value, tensors: &BTreeMap<String, Tensor>) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in tensors {
        let start = data.len();
        data.extend_from_slice(tensor.data());
        let entry = json!({"dtype": tensor.dtype().safetensors_name(), "shape": tensor.shape(),
            "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat((8 - header.len() % 8) % 8));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

fn open(
    config: &Value,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<(tempfile::TempDir, Model), ModelError> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), config, tensors);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    Ok((dir, Model::open(Arc::new(checkpoint), &CodecRegistry::builtin())?))
}

fn logits(config: &Value, tensors: &BTreeMap<String, Tensor>) -> Vec<f32> {
    open(config, tensors).unwrap().1.logits_vec(&[1, 2, 3, 4], 1, 4).unwrap()
}

#[test]
fn another_shape_than_the_configuration_is_refused() {
    let mut tensors = random_tensors(&config(false));
    let name = "model.layers.1.mlp.up_proj.weight";
    tensors.insert(name.into(), Tensor::from_f32(DType::F32, vec![32, 64], &numbers(32 * 64, 0)).unwrap());
    let error = open(&config(false), &tensors).unwrap_err();
    assert!(matches!(&error, ModelError::Spec(SpecError::Shape { name: n, .. }) if n == name), "{error}");
}

#[test]
fn a_missing_head_is_refused_unless_it_is_tied() {
    let mut tensors = random_tensors(&config(false));
    tensors.remove("lm_head.weight");
    let error = open(&config(false), &tensors).unwrap_err();
    assert_eq!(error.to_string(), "the checkpoint lacks a tensor: lm_head.weight");
    let (_dir, model) = open(&config(true), &tensors).unwrap();
    assert!(model.spec().tied && model.warnings().is_empty());
}

#[test]
fn tied_and_stored_heads() {
    let mut tensors = random_tensors(&config(false));
    let (_dir, unequal) = open(&config(true), &tensors).unwrap();
    assert!(!unequal.spec().tied);
    assert!(unequal.warnings()[0].contains("hold different numbers"));
    assert_eq!(logits(&config(true), &tensors), logits(&config(false), &tensors));

    tensors.insert("lm_head.weight".into(), tensors["model.embed_tokens.weight"].clone());
    let (_dir, equal) = open(&config(true), &tensors).unwrap();
    assert!(equal.spec().tied && equal.warnings().is_empty());
    let both = logits(&config(true), &tensors);

    // Only the head is stored: the embedding is read from it.
    tensors.remove("model.embed_tokens.weight");
    assert_eq!(logits(&config(true), &tensors), both);
}

#[test]
fn stored_types_are_read_as_they_are() {
    let tensors = random_tensors(&config(false));
    let exact = logits(&config(false), &tensors);
    // The same values in f64 are decoded tile by tile, and f32 sums of a tile come in another order.
    for (dtype, tolerance) in [(DType::F64, 1e-6), (DType::F16, 0.01), (DType::BF16, 0.05)] {
        let cast = tensors.iter().map(|(name, t)| {
            let values = t.to_f32().unwrap();
            (name.clone(), Tensor::from_f32(dtype, t.shape().to_vec(), &values).unwrap())
        });
        let found = logits(&config(false), &cast.collect());
        for (a, b) in exact.iter().zip(found) {
            assert!((a - b).abs() <= tolerance, "{dtype}: {a} became {b}");
        }
    }
}

/// A packed checkpoint runs on the packed weights and gives what their dense form gives.
#[test]
fn packed_weights_run() {
    let mut config = config(false);
    let mut tensors = random_tensors(&config);
    let spec = DecoderSpec::from_config(&config).unwrap();
    let (mut packed, mut descriptors) = (tensors.clone(), BTreeMap::new());
    for linear in spec.linears() {
        let [out, input] = linear.shape;
        let groups = input / 32;
        let form = GroupedIntSpec {
            bits: Bits::new(4).unwrap(),
            group_size: GroupSize::Columns(32),
            symmetric: true,
            scale_dtype: DType::F32,
            group_index: false,
        };
        let codes: Vec<u8> = numbers(out * input, out).iter().map(|v| ((v + 0.25) * 30.0) as u8).collect();
        let scales: Vec<f32> = numbers(out * groups, input).iter().map(|v| v.abs() * 0.1).collect();
        let weight = GroupedInt::from_codes(form, linear.shape, &codes, &scales, None, None).unwrap();
        let dense = (&weight as &dyn Representation).to_dense().unwrap();
        tensors.insert(linear.weight_name(), Tensor::from_f32(DType::F32, vec![out, input], &dense).unwrap());
        packed.remove(&linear.weight_name());
        for component in weight.components() {
            packed.insert(format!("{}.{}", linear.name, component.suffix), component.tensor);
        }
        descriptors.insert(linear.name.clone(), weight.descriptor());
    }
    let wanted = logits(&config, &tensors);
    config["quantization_config"] = quantization_config_for(&descriptors, &[]).unwrap().unwrap();
    let (_dir, model) = open(&config, &packed).unwrap();
    let block = model.load_block(0).unwrap();
    assert_eq!(block.weight("model.layers.0.mlp.up_proj").unwrap().kind(), "grouped_int");
    let found = model.logits_vec(&[1, 2, 3, 4], 1, 4).unwrap();
    let largest = wanted.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    for (a, b) in wanted.iter().zip(&found) {
        assert!((a - b).abs() < 1e-5 * largest, "{a} became {b}");
    }

    // The logical shape is checked although the tensor has another name.
    config["intermediate_size"] = json!(96);
    let error = open(&config, &packed).unwrap_err();
    assert!(matches!(&error, ModelError::Spec(SpecError::Shape { .. })), "{error}");
}

#[test]
fn a_slot_takes_its_shape_only() {
    let (_dir, model) = open(&config(false), &random_tensors(&config(false))).unwrap();
    let mut block = model.load_block(0).unwrap();
    let up = Arc::clone(block.weight("model.layers.0.mlp.up_proj").unwrap());
    block.set_weight("model.layers.0.mlp.gate_proj", Arc::clone(&up)).unwrap();
    assert!(Arc::ptr_eq(block.weight("model.layers.0.mlp.gate_proj").unwrap(), &up));
    let down = block.set_weight("model.layers.0.mlp.down_proj", Arc::clone(&up)).unwrap_err();
    assert!(matches!(down, ModelError::Slot { expected: [32, 64], found: [64, 32], .. }), "{down}");
    let none = block.set_weight("model.layers.1.mlp.up_proj", up).unwrap_err();
    assert!(matches!(none, ModelError::NoModule { block: 0, .. }), "{none}");
    assert!(matches!(model.load_block(2).unwrap_err(), ModelError::NoBlock { index: 2, blocks: 2 }));
}

#[test]
fn tokens_and_positions_out_of_range() {
    let (_dir, model) = open(&config(false), &random_tensors(&config(false))).unwrap();
    let error = model.logits(&[1, 40], 1, 2).unwrap_err();
    assert!(matches!(error, ModelError::Token { token: 40, index: 1, vocab: 40 }), "{error}");
    assert!(matches!(model.logits(&[1, 2, 3], 2, 2).unwrap_err(), ModelError::Tokens { .. }));
    assert!(matches!(model.logits(&[], 0, 0).unwrap_err(), ModelError::Tokens { .. }));
    let mut session = Session::new(&model, 2, 3).unwrap();
    for sequences in [&[2][..], &[1, 0], &[0, 0]] {
        let other = session.forward_of(sequences, &vec![1; sequences.len()]).unwrap_err();
        assert!(matches!(other, ModelError::Sequences { batch: 2, .. }), "{other}");
    }
    assert!(matches!(session.forward_of(&[], &[]).unwrap_err(), ModelError::Tokens { .. }));
    assert!(matches!(session.forward(&[1, 2, 3]).unwrap_err(), ModelError::Tokens { .. }));
    session.forward(&[1, 2]).unwrap();
    let full = session.forward(&[1; 6]).unwrap_err();
    assert!(matches!(full, ModelError::Positions { wanted: 4, room: 3 }), "{full}");

    let config = json!({"model_type": "gpt2", "vocab_size": 40, "n_embd": 32, "n_head": 4, "n_layer": 1,
        "n_positions": 8});
    let (_dir, model) = open(&config, &random_tensors(&config)).unwrap();
    let learned = model.logits(&[1; 9], 1, 9).unwrap_err();
    assert!(matches!(learned, ModelError::Positions { wanted: 9, room: 8 }), "{learned}");
}

/// Sequences of a session stand where they stand, and none sees another. Learned positions too.
#[test]
fn sequences_of_a_session_are_apart() {
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": 40, "n_embd": 32, "n_head": 4, "n_layer": 2,
        "n_positions": 16});
    for config in [config(false), gpt2] {
        let (_dir, model) = open(&config, &random_tensors(&config)).unwrap();
        let values = |logits: candle_core::Tensor| logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let texts: [&[u32]; 3] = [&[1, 2, 3, 4, 5], &[9, 8], &[7, 7, 30]];
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .flat_map(|text| {
                let mut session = Session::new(&model, 1, 8).unwrap();
                [values(session.forward(text).unwrap()), values(session.forward(&[6]).unwrap())]
            })
            .collect();

        let mut session = Session::new(&model, 3, 8).unwrap();
        let mut first: Vec<Vec<f32>> =
            texts.iter().enumerate().map(|(i, t)| values(session.forward_of(&[i], t).unwrap())).collect();
        let together = values(session.forward_of(&[0, 2], &[6, 6]).unwrap());
        assert_eq!((session.position(0), session.position(1), session.position(2)), (6, 2, 4));
        let last = values(session.forward_of(&[1], &[6]).unwrap());
        first.insert(1, together[..40].to_vec());
        first.insert(3, last);
        first.push(together[40..].to_vec());
        assert_eq!(first, alone, "bit for bit: few rows are computed each by itself");

        // Back to a shared beginning.
        session.spread(0, 2).unwrap();
        let spread = values(session.forward_all_of(&[1, 2], &[3, 4, 3, 4]).unwrap());
        let whole = model.logits_vec(&[1, 2, 3, 4], 1, 4).unwrap();
        // Attention to one position and to several is summed in another order.
        for (a, b) in whole[80..].iter().chain(&whole[80..]).zip(&spread) {
            assert!((a - b).abs() < 1e-5, "{a} became {b}");
        }
        assert!(matches!(session.spread(0, 9).unwrap_err(), ModelError::Positions { wanted: 9, room: 2 }));
    }
}

/// Names without the family's prefix, as GPT-2 was published.
#[test]
fn bare_checkpoints_run() {
    let config = json!({"model_type": "gpt2", "vocab_size": 40, "n_embd": 32, "n_head": 4, "n_layer": 1,
        "n_positions": 8});
    let tensors = random_tensors(&config);
    let bare = tensors.iter().map(|(n, t)| (n.trim_start_matches("transformer.").to_owned(), t.clone()));
    assert_eq!(logits(&config, &bare.collect()), logits(&config, &tensors));
}

#[test]
fn a_seed_fixes_the_sample() {
    let (_dir, model) = open(&config(false), &random_tensors(&config(false))).unwrap();
    let sample = |seed| {
        let mut options = GenerateOptions::default();
        options.max_new_tokens = 20;
        options.temperature = 1.5;
        options.seed = seed;
        model.generate(&[1, 2], &options, |_| std::ops::ControlFlow::Continue(())).unwrap()
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
    assert_eq!(sample(1).len(), 20);
}

/// A model is shared between threads, which load its blocks at once and see the same numbers.
#[test]
fn threads_share_a_model() {
    let (_dir, model) = open(&config(false), &random_tensors(&config(false))).unwrap();
    let run = || model.logits_vec(&[1, 2, 3, 4], 1, 4).unwrap();
    let first = std::thread::scope(|scope| {
        let results: Vec<_> = (0..4).map(|_| scope.spawn(run)).map(|t| t.join().unwrap()).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        results.into_iter().next().unwrap()
    });
    assert_eq!(first, run());
}
