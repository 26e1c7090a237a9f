//! Which representation a checkpoint's weights have: read from the ecosystem's files, written and read back.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tenuis_core::{
    Bits, Checkpoint, CheckpointWriter, CodecRegistry, DType, Dense, GroupSize, GroupedInt, GroupedIntSpec,
    Layout, LowRank, Representation, StorageError, StoredWeights, Sum, Tensor, WriterOptions, convert,
    quantization_config_for,
};

/// Checkpoints written by compressed-tensors 0.20; `generate.py` beside them says how.
const GOLDEN: [&str; 4] = ["w4_g32_asym", "w8_channel", "w3_g16_asym", "mixed_w2_w5"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/compressed_tensors").join(name)
}

fn expected(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(golden(name).join("expected.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(n, view)| (n.to_owned(), (view.shape().to_vec(), view.data().to_vec()))).collect()
}

/// Every packed weight of the reference library decodes to the very f16 values that it decodes itself.
#[test]
fn reads_what_compressed_tensors_wrote() {
    let codecs = CodecRegistry::builtin();
    for name in GOLDEN {
        let checkpoint = Checkpoint::open(&golden(name)).unwrap();
        let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
        assert_eq!(stored.method(), Some("compressed-tensors"));
        let expected = expected(name);
        assert_eq!(stored.descriptors().count(), expected.len(), "{name}");
        for (tensor, (shape, data)) in expected {
            let module = tensor.strip_suffix(".weight").unwrap();
            let shape = [shape[0], shape[1]];
            let weight = stored.weight(&checkpoint, &codecs, module, shape, Layout::OutIn).unwrap();
            assert_eq!(weight.kind(), "grouped_int");
            // f16 scales times integers are exact in f32, so that one rounding gives the library's value.
            let decoded = convert::from_f32(DType::F16, &weight.to_dense().unwrap()).unwrap();
            assert_eq!(&decoded[..], data, "{name}: {module}");
            let names = stored.tensor_names(&checkpoint, module);
            let bytes: u64 = names.iter().map(|n| checkpoint.info(n).unwrap().bytes()).sum();
            assert_eq!(bytes, weight.stored_bytes(), "{name}: {module}");
        }
        let head = stored.weight(&checkpoint, &codecs, "lm_head", [32, 32], Layout::OutIn).unwrap();
        assert_eq!((head.kind(), stored.descriptor("lm_head")), ("dense", None));
    }
}

/// From the descriptors that were read, we write the configuration that the library wrote.
#[test]
fn writes_the_configuration_of_compressed_tensors() {
    for name in ["w4_g32_asym", "w8_channel", "w3_g16_asym"] {
        let checkpoint = Checkpoint::open(&golden(name)).unwrap();
        let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
        let weights = stored.descriptors().map(|(m, d)| (m.to_owned(), d.clone())).collect();
        let written = quantization_config_for(&weights, &["lm_head".to_owned()]).unwrap().unwrap();
        assert_eq!(written, checkpoint.config()["quantization_config"], "{name}");
    }
}

/// Several schemes are told apart by exact module names, as the library accepts them.
#[test]
fn several_schemes_name_their_modules() {
    let checkpoint = Checkpoint::open(&golden("mixed_w2_w5")).unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let weights = stored.descriptors().map(|(m, d)| (m.to_owned(), d.clone())).collect();
    let written = quantization_config_for(&weights, &["lm_head".to_owned()]).unwrap().unwrap();
    let groups = written["config_groups"].as_object().unwrap();
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["group_0", "group_1"]);
    let targets = |group: &str| groups[group]["targets"].as_array().unwrap().len();
    assert_eq!((targets("group_0"), targets("group_1")), (4, 3));
    assert_eq!(groups["group_0"]["targets"][0], "model.layers.0.self_attn.k_proj");
    let original = &checkpoint.config()["quantization_config"]["config_groups"];
    for group in ["group_0", "group_1"] {
        assert_eq!(groups[group]["weights"], original[group]["weights"]);
    }
}

fn spec(bits: u8, group_size: GroupSize, symmetric: bool, group_index: bool) -> GroupedIntSpec {
    GroupedIntSpec {
        bits: Bits::new(bits).unwrap(),
        group_size,
        symmetric,
        scale_dtype: DType::F16,
        group_index,
    }
}

fn grouped(spec: GroupedIntSpec, shape: [usize; 2]) -> GroupedInt {
    let groups = spec.group_size.groups(shape[1]).unwrap();
    let code = |i: usize| (i * 7 % spec.bits.levels() as usize) as u8;
    let codes: Vec<u8> = (0..shape[0] * shape[1]).map(code).collect();
    let scales: Vec<f32> = (0..shape[0] * groups).map(|i| 0.5 + i as f32 / 64.0).collect();
    let zeros: Vec<u8> = (0..shape[0] * groups).map(|i| code(i + 3)).collect();
    let index: Vec<u32> = (0..shape[1]).map(|i| (i % groups) as u32).collect();
    let zeros = (!spec.symmetric).then_some(&zeros[..]);
    GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, spec.group_index.then_some(&index)).unwrap()
}

/// Writes weights with the configuration for them and opens the result.
fn write(dir: &Path, weights: &[(&str, &dyn Representation)], config: &Value) -> Checkpoint {
    let mut writer = CheckpointWriter::create(dir, &[], WriterOptions::default()).unwrap();
    for (module, weight) in weights {
        writer.put_weight(module, *weight).unwrap();
    }
    writer.finish(config, Value::Null).unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn round_trip_of_grouped_integers_and_dense() {
    let dir = tempfile::tempdir().unwrap();
    let shape = [6, 64];
    let specs = [
        ("a.q", spec(4, GroupSize::Columns(32), true, false)),
        ("a.k", spec(3, GroupSize::Columns(16), false, false)),
        ("a.v", spec(6, GroupSize::Channel, false, false)),
        ("a.o", spec(4, GroupSize::Columns(8), true, true)),
        ("b.q", spec(4, GroupSize::Columns(32), true, false)),
    ];
    let weights: Vec<_> = specs.map(|(module, spec)| (module, grouped(spec, shape))).into();
    let values: Vec<f32> = (0..6 * 64).map(|i| i as f32).collect();
    // As GPT-2 stores it: [in, out].
    let conv = Dense::with_layout(Tensor::from_f32(DType::F32, vec![64, 6], &values).unwrap(), Layout::InOut)
        .unwrap();
    let mut descriptors: BTreeMap<_, _> =
        weights.iter().map(|(m, w)| ((*m).to_owned(), w.descriptor())).collect();
    descriptors.insert("c".to_owned(), conv.descriptor());
    let quantization = quantization_config_for(&descriptors, &[]).unwrap().unwrap();
    assert_eq!(quantization["ignore"], json!(["c"]));
    assert_eq!(quantization["config_groups"].as_object().unwrap().len(), 4);

    let mut all: Vec<(&str, &dyn Representation)> = weights.iter().map(|(m, w)| (*m, w as _)).collect();
    all.push(("c", &conv));
    let checkpoint = write(&dir.path().join("m"), &all, &json!({ "quantization_config": quantization }));
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let codecs = CodecRegistry::builtin();
    for (module, weight) in all {
        let again = stored.weight(&checkpoint, &codecs, module, shape, Layout::InOut).unwrap();
        assert_eq!(again.descriptor(), weight.descriptor(), "{module}");
        assert_eq!(again.to_dense().unwrap(), weight.to_dense().unwrap(), "{module}");
    }
    let bytes: u64 = weights.iter().map(|(_, w)| w.stored_bytes()).sum::<u64>() + conv.stored_bytes();
    assert_eq!(checkpoint.tensor_bytes(), bytes);
}

/// A kind that the ecosystem has no form for: two numbers, their outer product.
#[derive(Debug)]
struct Outer(Tensor, Tensor);

impl Representation for Outer {
    fn kind(&self) -> &'static str {
        "outer"
    }
    fn descriptor(&self) -> Value {
        json!({ "kind": "outer" })
    }
    fn shape(&self) -> [usize; 2] {
        [self.0.elements(), self.1.elements()]
    }
    fn components(&self) -> Vec<tenuis_core::Component> {
        vec![
            tenuis_core::Component::new("left", self.0.clone()),
            tenuis_core::Component::new("right", self.1.clone()),
        ]
    }
    fn stored_bytes(&self) -> u64 {
        4 * (self.0.elements() + self.1.elements()) as u64
    }
    fn decode_rows(
        &self,
        rows: std::ops::Range<usize>,
        out: &mut [f32],
    ) -> Result<(), tenuis_core::WeightError> {
        let (left, right) = (self.0.to_f32()?, self.1.to_f32()?);
        for (row, out) in rows.zip(out.chunks_exact_mut(right.len())) {
            for (value, r) in out.iter_mut().zip(right.iter()) {
                *value = left[row] * r;
            }
        }
        Ok(())
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

struct OuterCodec;

impl tenuis_core::Codec for OuterCodec {
    fn kind(&self) -> &'static str {
        "outer"
    }
    fn decode(
        &self,
        _shape: [usize; 2],
        _descriptor: &Value,
        mut components: tenuis_core::Components,
    ) -> Result<tenuis_core::Weight, tenuis_core::WeightError> {
        let mut take = |suffix: &str| {
            let missing = tenuis_core::WeightError::MissingComponent { component: suffix.to_owned() };
            components.remove(suffix).ok_or(missing)
        };
        Ok(std::sync::Arc::new(Outer(take("left")?, take("right")?)))
    }
}

/// Any registered kind travels under the method `tenuis`, beside grouped integers; a bias is no component.
#[test]
fn round_trip_of_a_foreign_kind() {
    let dir = tempfile::tempdir().unwrap();
    let vector = |values: &[f32]| Tensor::from_f32(DType::F32, vec![values.len()], values).unwrap();
    let outer = Outer(vector(&[1.0, 2.0]), vector(&[3.0, 4.0, 5.0, 6.0]));
    let int = grouped(spec(8, GroupSize::Channel, true, false), [2, 4]);
    let bias = Dense::new(vector(&[9.0, 9.0])).unwrap();
    let descriptors = BTreeMap::from([
        ("m.outer".to_owned(), outer.descriptor()),
        ("m.int".to_owned(), int.descriptor()),
        ("m.kept".to_owned(), json!({ "kind": "dense" })),
    ]);
    let quantization = quantization_config_for(&descriptors, &[]).unwrap().unwrap();
    assert_eq!(quantization["quant_method"], "tenuis");
    assert_eq!(quantization["weights"].as_object().unwrap().len(), 2);

    let target = dir.path().join("m");
    let mut writer = CheckpointWriter::create(&target, &[], WriterOptions::default()).unwrap();
    writer.put_weight("m.outer", &outer).unwrap();
    writer.put_weight("m.int", &int).unwrap();
    writer.put("m.outer.bias", bias.tensor()).unwrap();
    writer.finish(&json!({ "quantization_config": quantization }), Value::Null).unwrap();

    let checkpoint = Checkpoint::open(&target).unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    assert_eq!(stored.method(), Some("tenuis"));
    let mut codecs = CodecRegistry::builtin();
    let unknown =
        stored.weight(&checkpoint, &codecs, "m.outer", [2, 4], Layout::OutIn).unwrap_err().to_string();
    assert!(unknown.contains("m.outer") && unknown.contains("dense, grouped_int"), "{unknown}");
    codecs.register(std::sync::Arc::new(OuterCodec));
    let again = stored.weight(&checkpoint, &codecs, "m.outer", [2, 4], Layout::OutIn).unwrap();
    assert_eq!(again.to_dense().unwrap(), [3.0, 4.0, 5.0, 6.0, 6.0, 8.0, 10.0, 12.0]);
    let again = stored.weight(&checkpoint, &codecs, "m.int", [2, 4], Layout::OutIn).unwrap();
    assert_eq!(again.to_dense().unwrap(), (&int as &dyn Representation).to_dense().unwrap());
}

#[test]
fn nothing_compressed_needs_no_configuration() {
    let dense = BTreeMap::from([("a".to_owned(), json!({ "kind": "dense", "dtype": "f16" }))]);
    assert_eq!(quantization_config_for(&dense, &[]).unwrap(), None);
    let broken = BTreeMap::from([("a".to_owned(), json!({ "kind": "grouped_int", "bits": 7 }))]);
    assert!(
        matches!(quantization_config_for(&broken, &[]), Err(StorageError::Descriptor { module, .. }) if module == "a")
    );
}

/// A dense weight of another shape than the model expects is refused with both shapes.
#[test]
fn shape_of_a_dense_weight_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let dense = Dense::new(Tensor::from_f32(DType::F32, vec![2, 3], &[0.0; 6]).unwrap()).unwrap();
    let checkpoint = write(&dir.path().join("m"), &[("a", &dense)], &json!({}));
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let codecs = CodecRegistry::builtin();
    let error = stored.weight(&checkpoint, &codecs, "a", [3, 2], Layout::OutIn).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[3, 2]"), "{error}");
    assert!(stored.weight(&checkpoint, &codecs, "a", [3, 2], Layout::InOut).is_ok());
    let error = stored.weight(&checkpoint, &codecs, "b", [3, 2], Layout::OutIn).unwrap_err().to_string();
    assert!(error.contains("\"b.weight\""), "{error}");
}

/// Every way in which a configuration can ask for what cannot be read is refused by name.
#[test]
fn configurations_that_are_refused() {
    let base: Value =
        serde_json::from_slice(&fs::read(golden("w4_g32_asym").join("config.json")).unwrap()).unwrap();
    let model = fs::read(golden("w4_g32_asym").join("model.safetensors")).unwrap();
    let group = "/quantization_config/config_groups/group_0";
    let cases = [
        ("/quantization_config/quant_method".to_owned(), json!("hqq"), "\"hqq\""),
        ("/quantization_config/quant_method".to_owned(), json!("tenuis"), "unknown field"),
        (format!("{group}/format"), json!("int-quantized"), "int-quantized"),
        (format!("{group}/input_activations"), json!({ "num_bits": 8 }), "activations"),
        (format!("{group}/weights/num_bits"), json!(7), "7 bits"),
        (format!("{group}/weights/num_bits"), json!(3), "mlp.down_proj: no config group fits"),
        (format!("{group}/weights/symmetric"), json!(true), "no config group fits"),
        (format!("{group}/weights/type"), json!("float"), "static integers"),
        (format!("{group}/weights/strategy"), json!("block"), "block"),
        ("/quantization_config/kv_cache_scheme".to_owned(), json!({ "num_bits": 8 }), "kv_cache_scheme"),
        (
            "/quantization_config/transform_config".to_owned(),
            json!({ "config_groups": 1 }),
            "transform_config",
        ),
    ];
    for (pointer, value, fragment) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut config = base.clone();
        if let Some(slot) = config.pointer_mut(&pointer) {
            *slot = value.clone();
        }
        crate::support::checkpoint(
            dir.path(),
            &[("config.json", config.to_string().as_bytes()), ("model.safetensors", &model)],
        );
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let outcome = StoredWeights::from_checkpoint(&checkpoint);
        let error = outcome.expect_err(&format!("{pointer} = {value}")).to_string();
        assert!(error.contains(fragment) && !error.contains('\n'), "{pointer} = {value}: {error}");
    }
}

/// Products and sums travel under the method `tenuis`; the file holds exactly the bytes that they count.
#[test]
fn round_trip_of_products_and_sums() {
    let dir = tempfile::tempdir().unwrap();
    let factor = |shape: [usize; 2]| -> tenuis_core::Weight {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i % 13) as f32 / 8.0).collect();
        let tensor = Tensor::from_f32(DType::F16, shape.to_vec(), &values).unwrap();
        std::sync::Arc::new(Dense::new(tensor).unwrap())
    };
    let product = LowRank::new(factor([6, 3]), factor([3, 64])).unwrap();
    let int = grouped(spec(4, GroupSize::Columns(32), false, false), [6, 64]);
    let sum = Sum::new(vec![std::sync::Arc::new(int), std::sync::Arc::new(product.clone())]).unwrap();
    let weights: [(&str, &dyn Representation); 2] = [("m.0.product", &product), ("m.0.sum", &sum)];
    let descriptors = weights.iter().map(|(m, w)| ((*m).to_owned(), w.descriptor())).collect();
    let quantization = quantization_config_for(&descriptors, &[]).unwrap().unwrap();
    assert_eq!(quantization["quant_method"], "tenuis");

    let checkpoint = write(&dir.path().join("m"), &weights, &json!({ "quantization_config": quantization }));
    assert!(checkpoint.info("m.0.product.b.weight").is_some());
    assert!(checkpoint.info("m.0.sum.terms.1.a.weight").is_some());
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let codecs = CodecRegistry::builtin();
    for (module, weight) in weights {
        let again = stored.weight(&checkpoint, &codecs, module, [6, 64], Layout::OutIn).unwrap();
        assert_eq!(again.descriptor(), weight.descriptor());
        assert_eq!(again.to_dense().unwrap(), weight.to_dense().unwrap());
    }
    assert_eq!(checkpoint.tensor_bytes(), product.stored_bytes() + sum.stored_bytes());
    let error =
        stored.weight(&checkpoint, &codecs, "m.0.sum", [5, 64], Layout::OutIn).unwrap_err().to_string();
    assert!(error.contains("m.0.sum") && error.contains("terms.0"), "{error}");
}
