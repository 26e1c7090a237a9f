//! GGUF: what the `gguf` package wrote is read to the bit, written again byte for byte, and refused where it is damaged.

use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use tenuis_core::gguf::blocks::BlockEncoder;
use tenuis_core::gguf::names::{HeadRows, rotated, to_gguf};
use tenuis_core::gguf::{GgmlType, GgufError, GgufValue, GgufWriter, Metadata, parse};
use tenuis_core::storage::Misfit;
use tenuis_core::{
    Bits, Checkpoint, CheckpointError, CodecRegistry, DType, GroupSize, GroupedInt, GroupedIntSpec, Layout,
    Representation, StoredWeights, Tensor,
};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gguf")
}

fn open(file: &Path) -> Checkpoint {
    Checkpoint::open(file).unwrap()
}

/// Names, order of rows and numbers are those of the checkpoint that the file was made of.
#[test]
fn the_packages_file_is_read_to_the_bit() {
    let checkpoint = open(&data().join("model.gguf"));
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    assert_eq!((stored.method(), stored.has_components()), (Some("gguf"), false));
    let bytes = fs::read(data().join("expected.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(expected.len(), checkpoint.names().count());
    for (name, view) in expected.iter() {
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
        let module = name.strip_suffix(".weight").unwrap();
        let found = match view.shape() {
            &[rows, columns] => {
                let shape = [rows, columns];
                assert!(
                    stored
                        .descriptor(module)
                        .is_none_or(|_| stored.shape(&checkpoint, module) == Some(shape))
                );
                let codecs = CodecRegistry::builtin();
                let weight = stored.weight(&checkpoint, &codecs, module, shape, Layout::OutIn).unwrap();
                weight.to_dense().unwrap()
            }
            _ => checkpoint.tensor(name).unwrap().to_f32().unwrap().into_owned(),
        };
        assert_eq!(found, values, "{name}");
    }
    let config = checkpoint.config();
    assert_eq!(config["model_type"], "llama");
    assert_eq!((&config["num_key_value_heads"], &config["head_dim"]), (&1.into(), &32.into()));
    assert_eq!(config["rms_norm_eps"], 1e-6);
    assert_eq!((&config["tie_word_embeddings"], &config["bos_token_id"]), (&false.into(), &1.into()));
    assert!(checkpoint.side_files().is_empty(), "files beside a file that was named are not its own");
    let tokenizer: serde_json::Value =
        serde_json::from_slice(&checkpoint.tokenizer_json().unwrap().unwrap()).unwrap();
    assert_eq!(tokenizer["model"]["merges"], serde_json::json!([["a", "b"], ["\u{2581}", "a"]]));
}

/// Blocks that were read come out as they went in.
#[test]
fn blocks_are_written_as_they_were() {
    let file = fs::read(data().join("model.gguf")).unwrap();
    let gguf = parse(&file).unwrap();
    let checkpoint = open(&data().join("model.gguf"));
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let mut compared = 0;
    for (module, descriptor) in stored.descriptors().filter(|(_, d)| d["kind"] == "grouped_int") {
        let shape = stored.shape(&checkpoint, module).unwrap();
        let weight =
            stored.weight(&checkpoint, &CodecRegistry::builtin(), module, shape, Layout::OutIn).unwrap();
        let encoder = BlockEncoder::new(weight.downcast::<GroupedInt>().unwrap()).unwrap();
        let name = format!("{module}.weight");
        let tensor = gguf.tensors.iter().find(|t| Some(&t.name) == to_gguf(&name).as_ref()).unwrap();
        assert_eq!(encoder.kind(), tensor.kind, "{descriptor}");
        assert!(!encoder.is_rounded());
        let mut blocks = Vec::new();
        for row in 0..shape[0] {
            let row =
                if rotated(&name).is_some() { HeadRows { head_dim: 32 }.in_checkpoint(row) } else { row };
            encoder.encode_row(row, &mut blocks);
        }
        assert_eq!(blocks, file[tensor.range.clone()], "{name}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}

fn grouped(spec: GroupedIntSpec, shape: [usize; 2], seed: u32) -> GroupedInt {
    let groups = spec.group_size.groups(shape[1]).unwrap();
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & spec.bits.max_code()
    };
    let codes: Vec<u8> = (0..shape[0] * shape[1]).map(|_| next()).collect();
    let scales: Vec<f32> = (0..shape[0] * groups).map(|_| f32::from(next()) / 256.0 + 0.0625).collect();
    let zeros: Vec<u8> = (0..shape[0] * groups).map(|_| next()).collect();
    let zeros = (!spec.symmetric).then_some(&zeros[..]);
    GroupedInt::from_codes(spec, shape, &codes, &scales, zeros, None).unwrap()
}

/// What a Q4_0 or Q8_0 block of the formula decodes to.
fn decode(kind: GgmlType, blocks: &[u8]) -> Vec<f32> {
    let mut values = Vec::new();
    for block in blocks.chunks_exact(kind.block_bytes()) {
        let half = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let nibble = |at: usize, j: usize| block[at + j % 16] >> (4 * (j / 16)) & 15;
        values.extend((0..32).map(|j| match kind {
            GgmlType::Q4_0 => (f32::from(nibble(2, j)) - 8.0) * half(0),
            GgmlType::Q4_1 => f32::from(nibble(4, j)) * half(0) + half(2),
            _ => f32::from(block[2 + j] as i8) * half(0),
        }));
    }
    values
}

proptest! {
    /// Symmetric weights of every width are exact, asymmetric ones of up to four bits but for the rounding of the offset.
    #[test]
    fn grouped_integers_become_blocks(
        width in prop::sample::select(&Bits::ALLOWED[..]), symmetric: bool, channel: bool, times in 1usize..4, seed: u32,
    ) {
        let group_size = if channel { GroupSize::Channel } else { GroupSize::Columns(64) };
        let bits = Bits::new(width).unwrap();
        let spec = GroupedIntSpec { bits, group_size, symmetric, scale_dtype: DType::F16, group_index: false };
        let weight = grouped(spec, [3, 64 * times], seed);
        let expected = (&weight as &dyn Representation).to_dense().unwrap();
        match BlockEncoder::new(&weight) {
            Ok(encoder) => {
                let mut blocks = Vec::new();
                for row in 0..3 {
                    encoder.encode_row(row, &mut blocks);
                }
                let found = decode(encoder.kind(), &blocks);
                if encoder.is_rounded() {
                    prop_assert_eq!(encoder.kind(), GgmlType::Q4_1);
                    // Half a unit in the last of eleven places of the offset, at most 15 scales of 1.06 each.
                    prop_assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 16.0 / 4096.0));
                } else {
                    prop_assert_eq!(found, expected);
                }
            }
            Err(misfit) => {
                let is_far = matches!(misfit, Misfit::Distance { .. });
                prop_assert!(is_far && !symmetric && width == 8);
            }
        }
    }
}

#[test]
fn weights_without_blocks_are_named() {
    let spec = |group_size, group_index| GroupedIntSpec {
        bits: Bits::FOUR,
        group_size,
        symmetric: true,
        scale_dtype: DType::F16,
        group_index,
    };
    let weight = grouped(spec(GroupSize::Columns(16), false), [2, 64], 1);
    assert_eq!(BlockEncoder::new(&weight).unwrap_err(), Misfit::Blocks { columns: 64, group: 16 });
    let index = vec![1; 64];
    let weight = GroupedInt::from_codes(
        spec(GroupSize::Columns(32), true),
        [1, 64],
        &[0; 64],
        &[1.0; 2],
        None,
        Some(&index),
    );
    assert_eq!(BlockEncoder::new(&weight.unwrap()).unwrap_err(), Misfit::GroupIndex);
}

fn written(metadata: &[(&str, GgufValue)], tensors: &[(&str, GgmlType, &[usize])]) -> Vec<u8> {
    let mut all = Metadata::default();
    for (key, value) in metadata {
        all.push(*key, value.clone());
    }
    let mut writer = GgufWriter::new(Vec::new(), &all, tensors.iter().copied()).unwrap();
    for (_, kind, shape) in tensors {
        let (columns, rows) = shape.split_last().unwrap();
        let bytes = kind.row_bytes(*columns).unwrap() * rows.iter().product::<usize>();
        writer.write(&vec![1; bytes]).unwrap();
    }
    writer.finish().unwrap()
}

/// Every kind of value survives, and so do types and places of tensors.
#[test]
fn what_is_written_is_read() {
    let values = [
        GgufValue::U8(1),
        GgufValue::I8(-1),
        GgufValue::U16(2),
        GgufValue::I16(-2),
        GgufValue::U32(3),
        GgufValue::I32(-3),
        GgufValue::F32(0.5),
        GgufValue::Bool(true),
        GgufValue::Text("ä".to_owned()),
        GgufValue::U64(1 << 40),
        GgufValue::I64(-5),
        GgufValue::F64(0.25),
        GgufValue::List(Vec::new()),
        GgufValue::List(vec![GgufValue::Text("a".to_owned()), GgufValue::Text(String::new())]),
    ];
    let keys: Vec<String> = (0..values.len()).map(|i| format!("key.{i}")).collect();
    let metadata: Vec<(&str, GgufValue)> = keys.iter().map(String::as_str).zip(values).collect();
    let tensors =
        [("a", GgmlType::F16, &[3usize, 5][..]), ("b", GgmlType::Q8_0, &[2, 64]), ("c", GgmlType::F32, &[1])];
    let file = written(&metadata, &tensors);
    let gguf = parse(&file).unwrap();
    for (key, value) in &metadata {
        assert_eq!(gguf.metadata.find(key), Some(value), "{key}");
    }
    let found: Vec<_> = gguf.tensors.iter().map(|t| (t.name.as_str(), t.kind, &t.shape[..])).collect();
    assert_eq!(found, tensors);
    assert!(gguf.tensors.iter().all(|t| t.range.start % 32 == 0));
}

/// A file that ends anywhere, or whose bytes are changed anywhere in the header, is refused or read; never more than that.
#[test]
fn damaged_headers_are_refused() {
    let file = fs::read(data().join("model.gguf")).unwrap();
    let header = parse(&file).unwrap().header_bytes;
    for end in (0..header).step_by(7).chain([file.len() - 1]) {
        assert!(parse(&file[..end]).is_err(), "cut at {end}");
    }
    let mut longer = file.clone();
    longer.extend([0; 64]);
    assert!(matches!(parse(&longer), Err(GgufError::Length { .. })));
    for at in (0..header).step_by(3) {
        for value in [0u8, 0xff] {
            let mut damaged = file.clone();
            damaged[at] = value;
            drop(parse(&damaged));
        }
    }
    let refused = |file: &[u8], part: &str| {
        let error = parse(file).unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is not in {error}");
    };
    refused(b"{\"a\"", "no GGUF file");
    refused(&[b"GGUF".as_slice(), &9u32.to_le_bytes()].concat(), "version 9");
    let many =
        [b"GGUF".as_slice(), &3u32.to_le_bytes(), &u64::MAX.to_le_bytes(), &0u64.to_le_bytes()].concat();
    refused(&many, "tensors");
    let twice = [("k", GgufValue::U8(1)), ("k", GgufValue::U8(2))];
    refused(&written(&twice, &[]), "\"k\" occurs twice");
    let aligned = [("general.alignment", GgufValue::U32(24))];
    refused(&written(&aligned, &[]), "general.alignment");
    let both = [("a", GgmlType::F32, &[2usize][..]), ("a", GgmlType::F32, &[2])];
    refused(&written(&[], &both), "\"a\" occurs twice");
    let mut kind = written(&[], &[("abc", GgmlType::F32, &[32])]);
    let at = kind.windows(3).position(|w| w == b"abc").unwrap() + 3 + 4 + 8;
    kind[at] = 12;
    refused(&kind, "Q4_K");
    kind[at] = 2;
    refused(&kind, "the tensors end");
}

/// A checkpoint around one file: a directory without safetensors, with several files, with an unknown network.
#[test]
fn files_in_directories() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str| fs::copy(data().join("model.gguf"), dir.path().join(name)).unwrap();
    copy("a.gguf");
    fs::write(dir.path().join("README.md"), "a model").unwrap();
    let checkpoint = open(dir.path());
    assert!(checkpoint.is_gguf() && checkpoint.contains("model.norm.weight"));
    assert_eq!(checkpoint.side_files().len(), 1, "a directory is a checkpoint with its files");
    copy("b.gguf");
    assert!(
        matches!(Checkpoint::open(dir.path()), Err(CheckpointError::SeveralGguf { names, .. }) if names.len() == 2)
    );
    assert!(open(&dir.path().join("b.gguf")).is_gguf());
    let network = |architecture: &str| {
        let file = written(
            &[("general.architecture", architecture.into())],
            &[("token_embd.weight", GgmlType::F32, &[2, 2])],
        );
        fs::write(dir.path().join("c.gguf"), file).unwrap();
        Checkpoint::open(&dir.path().join("c.gguf")).unwrap_err().to_string()
    };
    assert!(network("mamba").contains("\"mamba\""));
    assert!(network("llama").contains("llama.attention.head_count"));
}

/// A norm and a bias of a reordered projection are read as vectors, whatever their type.
#[test]
fn rows_of_vectors_are_reordered_too() {
    let shape = [4usize];
    let order = HeadRows { head_dim: 4 };
    let values: Vec<f32> = (0..4).map(|row| order.in_checkpoint(row) as f32).collect();
    let tensor = Tensor::from_vec(DType::F32, shape.to_vec(), values).unwrap();
    let back: Vec<f32> = (0..4).map(|row| tensor.to_f32().unwrap()[order.in_gguf(row)]).collect();
    assert_eq!(back, [0.0, 1.0, 2.0, 3.0]);
}
