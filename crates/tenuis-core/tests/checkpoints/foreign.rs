//! GPTQ and AWQ: what others wrote is read, and written again as they wrote it; what contradicts itself is refused.

use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tenuis_core::storage::gptq::{self, GptqDeclaration, GptqScheme, GptqVersion};
use tenuis_core::storage::{Misfit, awq};
use tenuis_core::{
    Bits, Checkpoint, CheckpointWriter, CodecRegistry, DType, GroupSize, GroupedInt, GroupedIntSpec, Layout,
    Representation, StoredWeights, Tensor, Weight, WriterOptions,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn expected(dir: &Path) -> BTreeMap<String, ([usize; 2], Vec<f32>)> {
    let bytes = fs::read(dir.join("expected.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = file.iter().map(|(name, view)| {
        let shape = [view.shape()[0], view.shape()[1]];
        (name.to_owned(), (shape, bytemuck::pod_collect_to_vec(view.data())))
    });
    values.collect()
}

fn read(checkpoint: &Checkpoint, module: &str, shape: [usize; 2]) -> Weight {
    let stored = StoredWeights::from_checkpoint(checkpoint).unwrap();
    stored.weight(checkpoint, &CodecRegistry::builtin(), module, shape, Layout::OutIn).unwrap()
}

/// Every weight decodes to the very numbers of the formula, and its tensors come out as they went in.
#[test]
fn gptqmodels_files_are_read_and_written_again() {
    for name in ["gptq/sym", "gptq/sym_act", "gptq/asym"] {
        let checkpoint = Checkpoint::open(&data(name)).unwrap();
        let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
        assert_eq!((stored.method(), stored.has_components()), (Some("gptq"), false));
        for (module, (shape, values)) in expected(&data(name)) {
            assert_eq!(read(&checkpoint, &module, shape).to_dense().unwrap(), values, "{name}: {module}");
        }
        for (module, descriptor) in stored.descriptors() {
            let shape = stored.shape(&checkpoint, module).unwrap();
            let weight = read(&checkpoint, module, shape);
            assert_eq!(&weight.descriptor(), descriptor);
            let index = checkpoint.tensor(&format!("{module}.g_idx")).unwrap();
            let in_order = index.cast::<i32>().unwrap().is_sorted();
            assert_eq!(descriptor["g_idx"], json!(!in_order), "{name}: {module}");
            let scheme = GptqScheme { bits: Bits::FOUR, group_size: GroupSize::Columns(32) };
            let grouped = weight.downcast::<GroupedInt>().unwrap();
            let written = gptq::components(grouped, scheme, GptqVersion::V1).unwrap();
            assert_eq!(written.len(), stored.tensor_names(&checkpoint, module).len());
            for component in written {
                let original = checkpoint.tensor(&format!("{module}.{}", component.suffix)).unwrap();
                assert_eq!(component.tensor.dtype(), original.dtype());
                assert_eq!(component.tensor.shape(), original.shape());
                assert_eq!(
                    component.tensor.data()[..],
                    original.data()[..],
                    "{name}: {module}.{}",
                    component.suffix
                );
            }
        }
    }
}

#[test]
fn an_awq_file_is_read_and_written_again() {
    let checkpoint = Checkpoint::open(&data("awq")).unwrap();
    let (shape, values) = expected(&data("awq")).remove("m").unwrap();
    let weight = read(&checkpoint, "m", shape);
    assert_eq!(weight.to_dense().unwrap(), values);
    let grouped = weight.downcast::<GroupedInt>().unwrap();
    for component in awq::components(grouped, GroupSize::Columns(32)).unwrap() {
        let original = checkpoint.tensor(&format!("m.{}", component.suffix)).unwrap();
        assert_eq!(component.tensor.data()[..], original.data()[..], "{}", component.suffix);
    }
}

fn grouped(spec: GroupedIntSpec, shape: [usize; 2], least_zero: u8, seed: u32) -> GroupedInt {
    let groups = spec.group_size.groups(shape[1]).unwrap();
    let mut state = seed;
    let mut next = |from: u8| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 24) as u8 & spec.bits.max_code()).max(from)
    };
    let codes: Vec<u8> = (0..shape[0] * shape[1]).map(|_| next(0)).collect();
    let scales: Vec<f32> = (0..shape[0] * groups).map(|_| f32::from(next(0)) / 256.0 + 0.0625).collect();
    let zeros: Vec<u8> = (0..shape[0] * groups).map(|_| next(least_zero)).collect();
    let index: Vec<u32> = (0..shape[1]).map(|_| u32::from(next(0)) % groups as u32).collect();
    let zeros = (!spec.symmetric).then_some(&zeros[..]);
    GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, spec.group_index.then_some(&index)).unwrap()
}

/// Writes one weight of a foreign convention and reads it back.
fn through(
    config: &Value,
    weight: &GroupedInt,
    components: Vec<tenuis_core::Component>,
) -> Result<Weight, tenuis_core::StorageError> {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m");
    let mut writer = CheckpointWriter::create(&target, &[], WriterOptions::default()).unwrap();
    for component in components {
        writer.put(&format!("a.b.{}", component.suffix), &component.tensor).unwrap();
    }
    writer.finish(&json!({ "quantization_config": config }), Value::Null).unwrap();
    let checkpoint = Checkpoint::open(&target).unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint)?;
    stored.weight(&checkpoint, &CodecRegistry::builtin(), "a.b", weight.shape(), Layout::OutIn)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any width, group, symmetry and order survives both versions of GPTQ, code for code.
    #[test]
    fn gptq_round_trip(
        width in prop::sample::select(&gptq::BITS[..]), symmetric: bool, group_index: bool,
        v2: bool, channel: bool, rows in 1usize..4, times in 1usize..4, seed: u32,
    ) {
        let group_size = if channel { GroupSize::Channel } else { GroupSize::Columns(32) };
        let spec = GroupedIntSpec {
            bits: Bits::new(width).unwrap(), group_size, symmetric, scale_dtype: DType::F16,
            group_index: group_index && !channel && times > 1,
        };
        let weight = grouped(spec, [rows * 32, times * 32], 1, seed);
        let version = if v2 { GptqVersion::V2 } else { GptqVersion::V1 };
        let scheme = GptqScheme { bits: spec.bits, group_size };
        let declared = GptqDeclaration {
            scheme, version, symmetric, act_order: spec.group_index, head: false, dense: vec!["c.d".to_owned()],
        };
        let written = gptq::components(&weight, scheme, version).unwrap();
        let again = through(&declared.to_json(), &weight, written).unwrap();
        prop_assert_eq!(again.to_dense().unwrap(), (&weight as &dyn Representation).to_dense().unwrap());
        let again = again.downcast::<GroupedInt>().unwrap();
        prop_assert_eq!(&again.packed().data()[..], &weight.packed().data()[..]);
        prop_assert_eq!(&again.scales().data()[..], &weight.scales().data()[..]);
        for row in 0..weight.shape()[0] {
            prop_assert_eq!(again.zeros_row(row), weight.zeros_row(row));
        }
    }

    /// Larger groups are split, and the numbers stay.
    #[test]
    fn groups_are_split(symmetric: bool, times in 1usize..4, seed: u32) {
        let spec = GroupedIntSpec {
            bits: Bits::FOUR, group_size: GroupSize::Columns(times * 32), symmetric, scale_dtype: DType::F16,
            group_index: false,
        };
        let weight = grouped(spec, [32, times * 64], 1, seed);
        let dense = (&weight as &dyn Representation).to_dense().unwrap();
        let group_size = GroupSize::Columns(32);
        let written = awq::components(&weight, group_size).unwrap();
        let again = through(&awq::config(group_size, &[]), &weight, written).unwrap();
        prop_assert_eq!(again.to_dense().unwrap(), dense.clone());
        let scheme = GptqScheme { bits: Bits::FOUR, group_size };
        let declared = GptqDeclaration {
            scheme, version: GptqVersion::V1, symmetric, act_order: false, head: false, dense: Vec::new(),
        };
        let written = gptq::components(&weight, scheme, GptqVersion::V1).unwrap();
        prop_assert_eq!(through(&declared.to_json(), &weight, written).unwrap().to_dense().unwrap(), dense);
    }
}

#[test]
fn what_a_format_cannot_hold_is_named() {
    let spec = |bits, group_size, symmetric, group_index| GroupedIntSpec {
        bits: Bits::new(bits).unwrap(),
        group_size,
        symmetric,
        scale_dtype: DType::F16,
        group_index,
    };
    let columns = GroupSize::Columns(32);
    let scheme = GptqScheme { bits: Bits::FOUR, group_size: columns };
    let put = |weight: &GroupedInt| gptq::components(weight, scheme, GptqVersion::V1).unwrap_err();
    let weight = grouped(spec(3, columns, true, false), [32, 64], 0, 1);
    assert_eq!(put(&weight), Misfit::Bits { found: 3, expected: 4 });
    let weight = grouped(spec(4, GroupSize::Columns(16), true, false), [32, 64], 0, 1);
    assert_eq!(put(&weight), Misfit::Groups { found: 16, expected: 32 });
    let weight = grouped(spec(4, columns, true, false), [28, 64], 0, 1);
    assert!(
        gptq::components(&weight, scheme, GptqVersion::V1).is_err(),
        "28 outputs of 4 bits are 3.5 words"
    );
    let zero = vec![0; 32 * 2];
    let weight = GroupedInt::from_codes(
        spec(4, columns, false, false),
        [32, 64],
        &[0; 2048],
        &[1.0; 64],
        Some(&zero),
        None,
    )
    .unwrap();
    assert_eq!(put(&weight), Misfit::ZeroPointZero);
    assert!(gptq::components(&weight, scheme, GptqVersion::V2).is_ok());
    let weight = grouped(spec(4, columns, true, true), [32, 64], 0, 1);
    assert_eq!(awq::components(&weight, columns).unwrap_err(), Misfit::GroupIndex);
    let weight = grouped(spec(4, GroupSize::Columns(64), true, true), [32, 128], 0, 1);
    assert_eq!(put(&weight), Misfit::SplitIndex);
    let wide = GroupedIntSpec { scale_dtype: DType::F32, ..spec(4, columns, true, false) };
    let weight = GroupedInt::from_codes(wide, [8, 32], &[0; 256], &[1e6; 8], None, None).unwrap();
    assert_eq!(put(&weight), Misfit::Range { what: "scale", value: 1e6 });
}

/// A GPTQ checkpoint whose configuration, or the tensor `damage` names, was changed.
fn damaged(name: &str, key: &str, value: &Value, damage: Option<&(&str, Tensor)>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m");
    let source = Checkpoint::open(&data(name)).unwrap();
    let mut config = source.config().clone();
    if !key.is_empty() {
        config["quantization_config"][key] = value.clone();
    }
    let mut writer = CheckpointWriter::create(&target, &[], WriterOptions::default()).unwrap();
    for tensor in source.names() {
        match damage {
            Some((suffix, new)) if tensor.ends_with(suffix) => writer.put(tensor, new).unwrap(),
            _ => writer.put(tensor, &source.tensor(tensor).unwrap()).unwrap(),
        }
    }
    writer.finish(&config, Value::Null).unwrap();
    let checkpoint = Checkpoint::open(&target).unwrap();
    let error = StoredWeights::from_checkpoint(&checkpoint).and_then(|stored| {
        let codecs = CodecRegistry::builtin();
        for (module, _) in stored.descriptors() {
            let shape = stored.shape(&checkpoint, module).unwrap();
            stored.weight(&checkpoint, &codecs, module, shape, Layout::OutIn)?;
        }
        Ok(())
    });
    let error = error.expect_err(&format!("{name} with {key} changed")).to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn a_configuration_that_contradicts_its_tensors_is_refused() {
    let zeros = |n: usize| Tensor::from_vec(DType::I32, vec![n], vec![9; n]).unwrap();
    let cases = [
        ("gptq/sym", "bits", json!(3), None, vec!["qweight", "3-bit", "model.safetensors", "config.json"]),
        ("gptq/sym", "bits", json!(7), None, vec!["7 bits"]),
        ("gptq/sym", "group_size", json!(64), None, vec!["scales", "group of 64"]),
        ("gptq/sym", "group_size", json!(-1), None, vec!["scales"]),
        ("gptq/sym", "group_size", json!(0), None, vec!["group_size 0"]),
        ("gptq/sym", "checkpoint_format", json!("gptq_v2"), None, vec!["qzeros", "zero point 7", "gptq_v2"]),
        ("gptq/sym", "checkpoint_format", json!("marlin"), None, vec!["marlin"]),
        ("gptq/sym", "pack_dtype", json!("int16"), None, vec!["int16"]),
        ("gptq/asym", "sym", json!(true), None, vec!["qzeros", "zero point", "\"sym\": true"]),
        ("gptq/sym_act", "desc_act", json!(false), None, vec!["g_idx", "desc_act"]),
        (
            "gptq/sym_act",
            "",
            json!(0),
            Some(("k_proj.g_idx", zeros(128))),
            vec!["k_proj.g_idx", "groups 0 to 3"],
        ),
        ("gptq/sym_act", "", json!(0), Some(("k_proj.g_idx", zeros(64))), vec!["k_proj.qweight", "64 input"]),
        ("gptq/sym", "", json!(0), Some(("k_proj.qzeros", zeros(32))), vec!["k_proj.qzeros", "i32"]),
        ("gptq/sym", "", json!(0), Some(("k_proj.scales", zeros(32))), vec!["k_proj.scales", "f16"]),
        ("awq", "bits", json!(8), None, vec!["8 bits"]),
        ("awq", "version", json!("gemv"), None, vec!["gemv"]),
        ("awq", "group_size", json!(16), None, vec!["m.scales", "group of 16"]),
        ("awq", "zero_point", json!(false), None, vec!["qzeros", "zero_point"]),
        ("awq", "", json!(0), Some(("m.qzeros", zeros(3))), vec!["m.qzeros"]),
    ];
    for (name, key, value, damage, parts) in cases {
        let error = damaged(name, key, &value, damage.as_ref());
        for part in parts {
            assert!(error.contains(part), "{name} {key}: {part:?} is not in {error}");
        }
    }
}

/// `quantize_config.json` stands in for a configuration that says nothing, and may not say something else.
#[test]
fn the_file_beside_the_configuration_counts() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "quantize_config.json"] {
        fs::copy(data("gptq/asym").join(file), dir.path().join(file)).unwrap();
    }
    let config: Value =
        serde_json::from_slice(&fs::read(data("gptq/asym").join("config.json")).unwrap()).unwrap();
    let mut old = config.clone();
    old.as_object_mut().unwrap().remove("quantization_config");
    fs::write(dir.path().join("config.json"), old.to_string()).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    assert_eq!((stored.method(), stored.descriptors().count()), (Some("gptq"), 2));
    assert!(checkpoint.side_files().is_empty(), "settings of the weights do not travel to other weights");

    let mut other = config;
    other["quantization_config"]["group_size"] = json!(128);
    fs::write(dir.path().join("config.json"), other.to_string()).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let error = StoredWeights::from_checkpoint(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("quantize_config.json") && error.contains("group_size is 32"), "{error}");
}
