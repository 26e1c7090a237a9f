//! A checkpoint appears whole or not at all, and reads back as it was put.

use crate::support::{bytes_file, checkpoint, entries, file, snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tenuis_core::{
    Bytes, Checkpoint, CheckpointError, CheckpointWriter, DType, StoredType, Tensor, WriterOptions, Written,
};

fn tensor(values: &[u8]) -> Tensor {
    Tensor::from_vec(DType::U8, vec![values.len()], values.to_vec()).unwrap()
}

fn writer(target: &Path) -> CheckpointWriter {
    CheckpointWriter::create(target, &[], WriterOptions::default()).unwrap()
}

fn write(target: &Path, options: WriterOptions, tensors: &[(&str, &[u8])]) -> Written {
    let mut writer = CheckpointWriter::create(target, &[], options).unwrap();
    for (name, values) in tensors {
        writer.put(name, &tensor(values)).unwrap();
    }
    writer.finish(&json!({ "model_type": "llama" }), json!({ "recipe": "test" })).unwrap()
}

fn refused(target: &Path, inputs: &[&Path], options: WriterOptions) -> CheckpointError {
    let error = CheckpointWriter::create(target, inputs, options).expect_err("the target must be refused");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn one_shard_is_one_file() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("out/model");
    let written = write(&target, WriterOptions::default(), &[("b", &[1, 2, 3]), ("a", &[4])]);
    assert_eq!(written.dir, target.canonicalize().unwrap());
    assert_eq!(entries(&target), ["config.json", "model.safetensors", "tenuis-manifest.json"]);
    assert_eq!(entries(target.parent().unwrap()), ["model"]);

    let bytes = fs::read(target.join("model.safetensors")).unwrap();
    assert_eq!((written.tensor_bytes, written.file_bytes), (4, bytes.len() as u64));
    assert_eq!(written.header_bytes % 8, 0);
    assert_eq!(written.header_bytes + written.tensor_bytes, written.file_bytes);
    // In the order they were put.
    assert_eq!(bytes[bytes.len() - 4..], [1, 2, 3, 4]);
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("b").unwrap().data(), [1, 2, 3]);

    let opened = Checkpoint::open(&target).unwrap();
    assert!(opened.warnings().is_empty(), "{:?}", opened.warnings());
    assert_eq!(opened.file_bytes(), written.file_bytes);
    assert_eq!(opened.header_bytes(), written.header_bytes);
    assert_eq!(opened.config()["model_type"], "llama");
    let manifest = opened.manifest().unwrap();
    assert_eq!(manifest.provenance["recipe"], "test");
    assert_eq!(manifest.tensors["a"].blake3, blake3::hash(&[4]).to_hex().as_str());
    assert_eq!(manifest.tensors["a"].shape, [1]);
    opened.verify().unwrap();
}

#[test]
fn a_checkpoint_without_tensors_is_read_back() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let written = write(&target, WriterOptions::default(), &[]);
    assert_eq!(written.tensor_bytes, 0);
    assert_eq!(Checkpoint::open(&target).unwrap().names().count(), 0);
}

#[test]
fn shards_are_split_and_indexed() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let options = WriterOptions::default().max_shard_bytes(4);
    let tensors: [(&str, &[u8]); 5] =
        [("a", &[1, 1]), ("b", &[2, 2]), ("c", &[3]), ("d", &[4; 9]), ("e", &[])];
    let written = write(&target, options, &tensors);
    let shard = |n| format!("model-0000{n}-of-00003.safetensors");
    assert_eq!(
        entries(&target),
        [
            "config.json",
            &shard(1),
            &shard(2),
            &shard(3),
            "model.safetensors.index.json",
            "tenuis-manifest.json"
        ]
    );
    let index: Value =
        serde_json::from_slice(&fs::read(target.join("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], 14);
    assert_eq!(
        index["weight_map"],
        json!({ "a": shard(1), "b": shard(1), "c": shard(2), "d": shard(3), "e": shard(3) })
    );
    let opened = Checkpoint::open(&target).unwrap();
    opened.verify().unwrap();
    assert_eq!((opened.file_bytes(), opened.header_bytes()), (written.file_bytes, written.header_bytes));
    assert_eq!(opened.hash(), {
        let single = temp.path().join("single");
        write(&single, WriterOptions::default(), &tensors);
        fs::remove_file(single.join("tenuis-manifest.json")).unwrap();
        let single = Checkpoint::open(&single).unwrap();
        assert!(single.manifest().is_none());
        single.hash()
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put, in whatever types and shard sizes, comes back bit for bit, for us and for the reference reader.
    #[test]
    fn round_trip(
        tensors in prop::collection::btree_map(
            "[ -~]{0,10}",
            (prop::sample::select(&DType::ALL[..]), prop::collection::vec(0usize..4, 0..4), any::<u8>()),
            0..12,
        ),
        max_shard_bytes in 1u64..300,
    ) {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("m");
        let options = WriterOptions::default().max_shard_bytes(max_shard_bytes);
        let mut writer = CheckpointWriter::create(&target, &[], options).unwrap();
        let mut put = Vec::new();
        for (name, (dtype, shape, fill)) in tensors {
            let bytes = shape.iter().product::<usize>() * dtype.size();
            let data: Vec<u8> = (0..bytes).map(|i| fill.wrapping_add(i as u8)).collect();
            let tensor = Tensor::new(dtype, shape, Bytes::from_vec(data)).unwrap();
            writer.put(&name, &tensor).unwrap();
            put.push((name, tensor));
        }
        let written = writer.finish(&json!({}), Value::Null).unwrap();
        let opened = Checkpoint::open(&target).unwrap();
        prop_assert_eq!(opened.names().count(), put.len());
        for (name, tensor) in &put {
            let again = opened.tensor(name).unwrap();
            prop_assert_eq!(again.dtype(), tensor.dtype());
            prop_assert_eq!(again.shape(), tensor.shape());
            prop_assert_eq!(&again.data()[..], &tensor.data()[..]);
        }
        let mut total = 0;
        for shard in opened.shard_files() {
            let bytes = fs::read(shard).unwrap();
            let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            for (name, view) in reference.iter() {
                let held = opened.tensor(name).unwrap();
                prop_assert_eq!(view.data(), &held.data()[..]);
            }
            total += bytes.len() as u64;
        }
        prop_assert_eq!(total, written.file_bytes);
        opened.verify().unwrap();
    }
}

#[test]
fn unknown_types_are_copied_through() {
    let temp = tempfile::tempdir().unwrap();
    let header = r#"{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}"#;
    let input = checkpoint(&temp.path().join("in"), &[("model.safetensors", &file(header, &[1, 2]))]);
    let input = Checkpoint::open(&input).unwrap();
    let mut writer = writer(&temp.path().join("out"));
    writer.put("a", &input.tensor("a").unwrap()).unwrap();
    let written = writer.finish(input.config(), Value::Null).unwrap();
    let opened = Checkpoint::open(&written.dir).unwrap();
    assert_eq!(opened.info("a").unwrap().dtype, StoredType::Unknown("F4".into()));
    assert_eq!(opened.tensor("a").unwrap().data()[..], [1, 2]);
}

#[test]
fn side_files_are_copied_untouched() {
    let temp = tempfile::tempdir().unwrap();
    let crlf = b"{\r\n \"a\" : 1.0 }\r\n\0";
    let input = checkpoint(
        &temp.path().join("in"),
        &[
            ("model.safetensors", &bytes_file(&[("a", &[1])])),
            ("tokenizer.json", crlf),
            ("README.md", b"input"),
            ("pytorch_model.bin", b"pickle"),
        ],
    );
    let before = snapshot(&input);
    let opened = Checkpoint::open(&input).unwrap();
    let target = temp.path().join("out");
    let mut writer = CheckpointWriter::create(&target, &[&input], WriterOptions::default()).unwrap();
    writer.put_file("README.md", b"ours").unwrap();
    for name in
        ["config.json", "model.safetensors", "x.bin", "../x", "a/b", "tenuis-manifest.json", ".hidden"]
    {
        let refused = writer.put_file(name, b"");
        assert!(matches!(refused, Err(CheckpointError::FileName { .. })), "{name}");
    }
    assert!(matches!(writer.put_file("README.md", b""), Err(CheckpointError::Duplicate { .. })));
    writer.copy_side_files(&opened).unwrap();
    for name in opened.names() {
        writer.put(name, &opened.tensor(name).unwrap()).unwrap();
    }
    let written = writer.finish(opened.config(), Value::Null).unwrap();
    let copy = Checkpoint::open(&written.dir).unwrap();
    assert_eq!(
        entries(&target),
        ["README.md", "config.json", "model.safetensors", "tenuis-manifest.json", "tokenizer.json"]
    );
    assert_eq!(fs::read(target.join("tokenizer.json")).unwrap(), crlf);
    assert_eq!(fs::read(target.join("README.md")).unwrap(), b"ours");
    copy.verify().unwrap();
    assert_eq!(copy.hash(), opened.hash());
    assert_eq!(snapshot(&input), before);
}

#[test]
fn names_are_put_once() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = writer(&temp.path().join("m"));
    writer.put("a", &tensor(&[1])).unwrap();
    for name in ["a", "__metadata__"] {
        let error = writer.put(name, &tensor(&[2])).unwrap_err();
        assert!(matches!(&error, CheckpointError::Duplicate { name: n, .. } if n == name), "{error}");
    }
    let written = writer.finish(&json!({}), Value::Null).unwrap();
    assert_eq!(Checkpoint::open(&written.dir).unwrap().tensor("a").unwrap().data()[..], [1]);
}

#[test]
fn nothing_is_left_of_a_dropped_writer() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let mut writer = writer(&target);
    writer.put("a", &tensor(&[1])).unwrap();
    assert_eq!(entries(temp.path()).len(), 2, "a temporary directory and a lock");
    drop(writer);
    assert!(entries(temp.path()).is_empty());
}

/// Whoever reads while another checkpoint replaces it sees the old one; afterwards the new one.
#[test]
fn overwriting_replaces_what_tenuis_wrote() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    write(&target, WriterOptions::default(), &[("a", &[1])]);
    assert!(matches!(refused(&target, &[], WriterOptions::default()), CheckpointError::TargetExists { .. }));

    let overwrite = WriterOptions::default().overwrite(true);
    let old = Checkpoint::open(&target).unwrap();
    let mut writer = CheckpointWriter::create(&target, &[], overwrite.clone()).unwrap();
    writer.put("a", &tensor(&[2, 2])).unwrap();
    assert_eq!(Checkpoint::open(&target).unwrap().tensor("a").unwrap().data()[..], [1]);
    writer.finish(&json!({}), Value::Null).unwrap();
    assert_eq!(Checkpoint::open(&target).unwrap().tensor("a").unwrap().data()[..], [2, 2]);
    assert_eq!(old.tensor("a").unwrap().data()[..], [1]);
    assert_eq!(entries(temp.path()), ["m"]);

    // Something was added by somebody else: it would be lost.
    fs::write(target.join("notes.txt"), b"mine").unwrap();
    let error = refused(&target, &[], overwrite.clone());
    assert!(
        matches!(&error, CheckpointError::TargetForeign { what, .. } if what.contains("notes.txt")),
        "{error}"
    );
    fs::remove_file(target.join("notes.txt")).unwrap();
    fs::remove_file(target.join("tenuis-manifest.json")).unwrap();
    assert!(matches!(refused(&target, &[], overwrite.clone()), CheckpointError::TargetForeign { .. }));
    fs::write(target.join("tenuis-manifest.json"), b"{}").unwrap();
    assert!(matches!(refused(&target, &[], overwrite.clone()), CheckpointError::TargetForeign { .. }));
    fs::remove_dir_all(&target).unwrap();
    fs::write(&target, b"a file").unwrap();
    assert!(matches!(refused(&target, &[], overwrite), CheckpointError::TargetForeign { .. }));
}

/// Something that appears at the target while we write is not replaced.
#[test]
fn a_target_that_appears_meanwhile_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let writer = writer(&target);
    fs::create_dir(&target).unwrap();
    fs::write(target.join("theirs"), b"x").unwrap();
    let error = writer.finish(&json!({}), Value::Null).unwrap_err();
    assert!(matches!(error, CheckpointError::TargetExists { .. }), "{error}");
    assert_eq!(entries(temp.path()), ["m"]);
    assert_eq!(entries(&target), ["theirs"]);
}

#[test]
fn targets_that_touch_an_input_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().join("base");
    let input = checkpoint(&base.join("in"), &[("model.safetensors", &bytes_file(&[("a", &[1])]))]);
    let before = snapshot(&base);
    let overwrite = || WriterOptions::default().overwrite(true);
    let other = temp.path().join("other");
    fs::create_dir(&other).unwrap();
    let targets = [
        (input.clone(), "is the same as"),
        (base.join("in/../in"), "is the same as"),
        (base.join("./in/"), "is the same as"),
        (input.join("out"), "lies inside"),
        (input.join("deep/er/out"), "lies inside"),
        (base.clone(), "contains"),
    ];
    for (target, relation) in targets {
        match refused(&target, &[&other, &input], overwrite()) {
            CheckpointError::TargetIsInput { relation: found, input: named, .. } => {
                assert_eq!((found, named), (relation, input.clone()), "{}", target.display());
            }
            other => panic!("{}: {other}", target.display()),
        }
    }
    // An input may be a single file, too.
    let text = base.join("in/config.json");
    let error = refused(&base, &[&text], overwrite());
    assert!(matches!(error, CheckpointError::TargetIsInput { relation: "contains", .. }), "{error}");
    for target in ["", "/", "..", "."] {
        let error = refused(Path::new(target), &[], overwrite());
        assert!(matches!(error, CheckpointError::TargetName { .. }), "{target:?}: {error}");
    }
    assert_eq!(snapshot(&base), before);
    assert_eq!(entries(&base), ["in"]);
    assert_eq!(entries(temp.path()), ["base", "other"]);
}

#[cfg(unix)]
#[test]
fn targets_that_are_linked_to_an_input_are_refused() {
    use std::os::unix::fs::symlink;
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { temp.path().join(name) };
    let input = checkpoint(&path("in"), &[("model.safetensors", &bytes_file(&[("a", &[1])]))]);
    let overwrite = || WriterOptions::default().overwrite(true);
    let relation = |target: &Path, input: &Path| match refused(target, &[input], overwrite()) {
        CheckpointError::TargetIsInput { relation, .. } => relation,
        other => panic!("{other}"),
    };
    symlink(&input, path("link")).unwrap();
    assert_eq!(relation(&path("link"), &input), "is a symbolic link, perhaps to");
    assert_eq!(relation(&path("link/out"), &input), "lies inside");
    assert_eq!(relation(&input, &path("link")), "is the same as");

    // An older output of ours one of whose files was hard-linked to the input's.
    write(&path("out"), WriterOptions::default(), &[("a", &[1])]);
    fs::remove_file(path("out/model.safetensors")).unwrap();
    fs::hard_link(input.join("model.safetensors"), path("out/model.safetensors")).unwrap();
    assert_eq!(relation(&path("out"), &input), "contains links to files of");

    // An input whose files are links into the target, as in a Hugging Face cache.
    fs::create_dir(path("linked")).unwrap();
    write(&path("blobs"), WriterOptions::default(), &[("a", &[1])]);
    symlink("../blobs/model.safetensors", path("linked/model.safetensors")).unwrap();
    assert_eq!(relation(&path("blobs"), &path("linked")), "contains files that are linked from");
}

/// What a killed run left is removed by the next one; what merely looks similar stays.
#[test]
fn stale_temporary_directories_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    fs::create_dir(path(".m.tenuis-tmp-4194305-0")).unwrap();
    fs::write(path(".m.tenuis-tmp-4194305-0/.data-0"), b"partial").unwrap();
    fs::write(path(".m.tenuis-lock"), b"").unwrap();
    for kept in [".m.tenuis-tmp-mine", ".m2.tenuis-tmp-1-0", "m.tenuis-tmp-1-0"] {
        fs::create_dir(path(kept)).unwrap();
    }
    write(&path("m"), WriterOptions::default(), &[("a", &[1])]);
    assert_eq!(entries(temp.path()), [".m.tenuis-tmp-mine", ".m2.tenuis-tmp-1-0", "m", "m.tenuis-tmp-1-0"]);
}

#[test]
fn a_second_writer_fails_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let mut first = writer(&target);
    first.put("a", &tensor(&[1])).unwrap();
    for _ in 0..2 {
        let error = refused(&target, &[], WriterOptions::default());
        assert!(matches!(error, CheckpointError::Locked { .. }), "{error}");
    }
    // Another target is free.
    drop(writer(&temp.path().join("n")));
    first.put("b", &tensor(&[2])).unwrap();
    first.finish(&json!({}), Value::Null).unwrap();
    Checkpoint::open(&target).unwrap().verify().unwrap();
    drop(CheckpointWriter::create(&target, &[], WriterOptions::default().overwrite(true)).unwrap());
}

/// Of many that start at once, exactly one writes.
#[test]
fn many_writers_race_and_one_wins() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let barrier = std::sync::Barrier::new(8);
    let wins: usize = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let outcome = CheckpointWriter::create(&target, &[], WriterOptions::default())
                        .and_then(|writer| writer.finish(&json!({}), Value::Null));
                    match outcome {
                        Ok(_) => 1,
                        Err(CheckpointError::Locked { .. } | CheckpointError::TargetExists { .. }) => 0,
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
    assert_eq!(entries(temp.path()), ["m"]);
    Checkpoint::open(&target).unwrap().verify().unwrap();
}

#[cfg(unix)]
#[test]
fn too_little_space_is_noticed_first() {
    let temp = tempfile::tempdir().unwrap();
    let options = WriterOptions::default().expected_bytes(u64::MAX);
    let error = refused(&temp.path().join("m"), &[], options);
    assert!(matches!(error, CheckpointError::NoSpace { needed: u64::MAX, .. }), "{error}");
    assert!(entries(temp.path()).is_empty());
    let options = WriterOptions::default().expected_bytes(1);
    drop(CheckpointWriter::create(&temp.path().join("m"), &[], options).unwrap());
}

/// One flipped bit anywhere in the data or in a side file is found, and named.
#[test]
fn verification_finds_damage() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    write(&target, WriterOptions::default(), &[("a", &[1, 2]), ("b", &[3])]);
    let damage = |name: &str, position_from_end: usize| {
        let mut bytes = fs::read(target.join(name)).unwrap();
        let position = bytes.len() - position_from_end;
        bytes[position] ^= 1;
        fs::write(target.join(name), &bytes).unwrap();
    };
    let verify = || Checkpoint::open(&target).unwrap().verify();
    damage("model.safetensors", 2);
    assert!(matches!(verify(), Err(CheckpointError::Corrupt { what, .. }) if what == "tensor \"a\""));
    damage("model.safetensors", 2);
    verify().unwrap();
    // A trailing newline becomes another white space.
    let mut config = fs::read(target.join("config.json")).unwrap();
    *config.last_mut().unwrap() = b' ';
    fs::write(target.join("config.json"), &config).unwrap();
    let error = verify().unwrap_err();
    assert!(
        matches!(&error, CheckpointError::Corrupt { file, .. } if file.ends_with("config.json")),
        "{error}"
    );
}

/// A manifest that does not describe the tensors is not trusted: no hash comes from it.
#[test]
fn a_manifest_of_other_tensors_is_ignored() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    write(&target, WriterOptions::default(), &[("a", &[1, 2])]);
    for tensors in [&[("b", &[1u8, 2][..])][..], &[("a", &[1])], &[("a", &[1, 2]), ("b", &[3])], &[]] {
        fs::write(target.join("model.safetensors"), bytes_file(tensors)).unwrap();
        let opened = Checkpoint::open(&target).unwrap();
        assert!(opened.manifest().is_none());
        assert_eq!(opened.warnings().len(), 1);
        assert!(matches!(opened.verify(), Err(CheckpointError::Manifest { .. })));
    }
    fs::remove_file(target.join("tenuis-manifest.json")).unwrap();
    let opened = Checkpoint::open(&target).unwrap();
    assert!(opened.warnings().is_empty());
    assert!(matches!(opened.verify(), Err(CheckpointError::Manifest { .. })));
}

/// Real models survive a copy through our writer: same tensors for the reference reader, same identity, same input.
#[test]
fn real_checkpoints_are_copied_exactly() {
    let Some(shared) = std::env::var_os("TENUIS_SHARED").map(PathBuf::from) else {
        println!("skipped: TENUIS_SHARED does not name the directory of models");
        return;
    };
    for model in ["tiny1m", "stories260k"] {
        let input = shared.join("models").join(model);
        let before = snapshot(&input);
        let opened = Checkpoint::open(&input).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join(model);
        let options = WriterOptions::default().max_shard_bytes(300_000);
        let mut writer = CheckpointWriter::create(&target, &[&input], options).unwrap();
        for name in opened.names() {
            writer.put(name, &opened.tensor(name).unwrap()).unwrap();
        }
        writer.copy_side_files(&opened).unwrap();
        writer.finish(opened.config(), json!({ "copy of": model })).unwrap();

        let copy = Checkpoint::open(&target).unwrap();
        copy.verify().unwrap();
        assert_eq!(copy.hash(), opened.hash());
        assert!(copy.shard_files().count() > 1);
        assert_eq!(
            fs::read(target.join("tokenizer.json")).unwrap(),
            fs::read(input.join("tokenizer.json")).unwrap()
        );
        let original = fs::read(input.join("model.safetensors")).unwrap();
        for (name, view) in safetensors::SafeTensors::deserialize(&original).unwrap().iter() {
            assert_eq!(&copy.tensor(name).unwrap().data()[..], view.data(), "{model}: {name}");
        }
        assert_eq!(snapshot(&input), before);
    }
}
