//! Directories that are not what they should be, and what reading them gives.

use crate::support::{bytes_file, checkpoint, file, index};
use std::fs;
use std::path::Path;
use tenuis_core::{Checkpoint, CheckpointError, DType, StoredType, TensorError};

fn refused(dir: &Path) -> CheckpointError {
    let error = Checkpoint::open(dir).unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn a_single_file_is_read_without_a_copy() {
    let temp = tempfile::tempdir().unwrap();
    let model = bytes_file(&[("b", &[1, 2, 3]), ("a", &[4, 5])]);
    let dir = checkpoint(temp.path(), &[("model.safetensors", &model)]);
    let opened = Checkpoint::open(&dir).unwrap();
    assert_eq!(opened.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(opened.tensor("a").unwrap().data()[..], [4, 5]);
    assert_eq!(opened.tensor("b").unwrap().data()[..], [1, 2, 3]);
    assert!(opened.contains("a") && !opened.contains("c"));
    assert_eq!(opened.info("a").unwrap().dtype, StoredType::Known(DType::U8));
    assert_eq!(opened.info("a").unwrap().shape, [2]);
    assert_eq!((opened.tensor_bytes(), opened.file_bytes()), (5, model.len() as u64));
    assert_eq!(opened.header_bytes() + opened.tensor_bytes(), opened.file_bytes());
    assert_eq!(opened.config()["model_type"], "llama");
    assert!(opened.warnings().is_empty() && opened.manifest().is_none());
    assert!(matches!(opened.tensor("c"), Err(CheckpointError::NoTensor { tensor, .. }) if tensor == "c"));
    // The same mapping serves every tensor, and outlives the checkpoint.
    let (one, two) = (opened.tensor("a").unwrap(), opened.tensor("a").unwrap());
    drop(opened);
    assert_eq!(one.data().as_ptr(), two.data().as_ptr());
    assert_eq!(one.data()[..], [4, 5]);
}

/// Data behind a header of odd length are read all the same.
#[test]
fn unaligned_data_are_read() {
    let temp = tempfile::tempdir().unwrap();
    for padding in 0..8 {
        let header =
            format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}{}"#, " ".repeat(padding));
        let data = [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat();
        let dir = checkpoint(temp.path(), &[("model.safetensors", &file(&header, &data))]);
        let opened = Checkpoint::open(&dir).unwrap();
        assert_eq!(opened.tensor("a").unwrap().to_f32().unwrap()[..], [1.5, -2.0]);
    }
}

#[test]
fn names_that_look_like_paths_are_names() {
    let temp = tempfile::tempdir().unwrap();
    let names = ["../../x", "/etc/passwd", "a/b", "c:\\d", "\u{0}", ""];
    let tensors = names.map(|name| (name, &[1u8][..]));
    let dir = checkpoint(&temp.path().join("m"), &[("model.safetensors", &bytes_file(&tensors))]);
    let opened = Checkpoint::open(&dir).unwrap();
    for name in names {
        assert_eq!(opened.tensor(name).unwrap().data()[..], [1], "{name:?}");
    }
    assert_eq!(crate::support::entries(temp.path()), ["m"]);
}

#[test]
fn malformed_files_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let mut truncated = bytes_file(&[("a", &[1, 2, 3])]);
    truncated.pop();
    for bytes in [&b""[..], &[1, 2], &truncated] {
        let dir = checkpoint(temp.path(), &[("model.safetensors", bytes)]);
        let error = refused(&dir);
        assert!(
            matches!(&error, CheckpointError::Header { file, .. } if *file == dir.join("model.safetensors"))
        );
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}

/// A file that is cut while it is mapped is noticed before its pages are touched.
#[test]
fn truncation_after_opening_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = checkpoint(temp.path(), &[("model.safetensors", &bytes_file(&[("a", &[7; 100])]))]);
    let opened = Checkpoint::open(&dir).unwrap();
    fs::OpenOptions::new().write(true).open(dir.join("model.safetensors")).unwrap().set_len(20).unwrap();
    assert!(matches!(opened.tensor("a"), Err(CheckpointError::Changed { now: 20, .. })));
}

#[test]
fn unknown_types_can_be_copied_and_not_read() {
    let temp = tempfile::tempdir().unwrap();
    let header = r#"{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}"#;
    let dir = checkpoint(temp.path(), &[("model.safetensors", &file(header, &[1, 2]))]);
    let tensor = Checkpoint::open(&dir).unwrap().tensor("a").unwrap();
    assert_eq!(tensor.data()[..], [1, 2]);
    let error = tensor.to_f32().unwrap_err();
    assert!(matches!(&error, TensorError::Type { .. }) && error.to_string().contains("F4"), "{error}");
}

#[test]
fn an_index_joins_its_shards() {
    let temp = tempfile::tempdir().unwrap();
    let dir = checkpoint(
        temp.path(),
        &[
            ("one.safetensors", &bytes_file(&[("a", &[1]), ("orphan", &[9])])),
            ("two.safetensors", &bytes_file(&[("b", &[2])])),
            ("unused.safetensors", &bytes_file(&[("c", &[3])])),
            ("model.safetensors.index.json", &index(&[("a", "one.safetensors"), ("b", "two.safetensors")])),
        ],
    );
    let opened = Checkpoint::open(&dir).unwrap();
    assert_eq!(opened.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(opened.tensor("b").unwrap().data()[..], [2]);
    assert_eq!(opened.file_of("b").unwrap(), dir.join("two.safetensors"));
    assert_eq!(opened.shard_files().count(), 2);
    let warnings = opened.warnings().join("\n");
    assert_eq!(opened.warnings().len(), 2, "{warnings}");
    assert!(warnings.contains("\"orphan\"") && warnings.contains("unused.safetensors"), "{warnings}");
}

#[test]
fn everything_missing_is_listed() {
    let temp = tempfile::tempdir().unwrap();
    let map = [
        ("a", "one.safetensors"),
        ("b", "one.safetensors"),
        ("c", "two.safetensors"),
        ("d", "three.safetensors"),
    ];
    let dir = checkpoint(
        temp.path(),
        &[("one.safetensors", &bytes_file(&[("a", &[1])])), ("model.safetensors.index.json", &index(&map))],
    );
    match refused(&dir) {
        CheckpointError::Missing { missing, .. } => assert_eq!(
            missing,
            [
                "shard \"three.safetensors\"",
                "shard \"two.safetensors\"",
                "tensor \"b\" in \"one.safetensors\""
            ]
        ),
        other => panic!("{other}"),
    }
    // A tensor that lies in another shard than the index says is missing from its own.
    let dir = checkpoint(
        temp.path(),
        &[
            ("two.safetensors", &bytes_file(&[("b", &[1])])),
            (
                "model.safetensors.index.json",
                &index(&[("a", "one.safetensors"), ("b", "one.safetensors"), ("c", "two.safetensors")]),
            ),
        ],
    );
    let error = refused(&dir).to_string();
    assert!(
        error.contains("tensor \"b\" in \"one.safetensors\", tensor \"c\" in \"two.safetensors\""),
        "{error}"
    );
}

#[test]
fn a_tensor_in_two_shards() {
    let temp = tempfile::tempdir().unwrap();
    let dir = checkpoint(
        temp.path(),
        &[
            ("one.safetensors", &bytes_file(&[("a", &[1]), ("b", &[2])])),
            ("two.safetensors", &bytes_file(&[("a", &[1]), ("c", &[2])])),
            (
                "model.safetensors.index.json",
                &index(&[("a", "one.safetensors"), ("b", "one.safetensors"), ("c", "two.safetensors")]),
            ),
        ],
    );
    let error = refused(&dir);
    assert!(matches!(&error, CheckpointError::TwoShards { tensor, .. } if tensor == "a"), "{error}");
    let twice = br#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#;
    let dir = checkpoint(&temp.path().join("twice"), &[("model.safetensors.index.json", twice)]);
    let error = refused(&dir).to_string();
    assert!(error.contains("\"a\" occurs twice"), "{error}");
}

#[test]
fn shards_must_be_plain_names() {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside.safetensors");
    fs::write(&outside, bytes_file(&[("a", &[1])])).unwrap();
    let absolute = outside.to_str().unwrap();
    for name in ["../outside.safetensors", absolute, "sub/x.safetensors", "./x.safetensors", "..", "", "a\\b"]
    {
        let dir =
            checkpoint(&temp.path().join("m"), &[("model.safetensors.index.json", &index(&[("a", name)]))]);
        let error = refused(&dir);
        assert!(matches!(&error, CheckpointError::ShardName { name: found, .. } if found == name), "{error}");
    }
}

#[cfg(unix)]
mod links {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn out_of_the_directory_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside.safetensors");
        fs::write(&outside, bytes_file(&[("a", &[1])])).unwrap();
        let dir = checkpoint(&temp.path().join("m"), &[]);
        symlink(&outside, dir.join("model.safetensors")).unwrap();
        assert!(matches!(refused(&dir), CheckpointError::Link { .. }));
        fs::remove_file(dir.join("model.safetensors")).unwrap();
        symlink(&outside, dir.join("one.safetensors")).unwrap();
        fs::write(dir.join("model.safetensors.index.json"), index(&[("a", "one.safetensors")])).unwrap();
        assert!(matches!(refused(&dir), CheckpointError::Link { .. }));
        fs::remove_file(dir.join("one.safetensors")).unwrap();
        fs::create_dir(dir.join("one.safetensors")).unwrap();
        assert!(matches!(refused(&dir), CheckpointError::NotFile { .. }));
        fs::remove_dir(dir.join("one.safetensors")).unwrap();
        symlink("nowhere", dir.join("one.safetensors")).unwrap();
        assert!(matches!(refused(&dir), CheckpointError::Missing { .. }));
    }

    #[test]
    fn within_the_directory_are_followed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = checkpoint(temp.path(), &[("weights-v2", &bytes_file(&[("a", &[1])]))]);
        symlink("weights-v2", dir.join("model.safetensors")).unwrap();
        assert_eq!(Checkpoint::open(&dir).unwrap().tensor("a").unwrap().data()[..], [1]);
    }

    /// The layout in which Hugging Face's hub keeps downloads, opened directly and through a link to the snapshot.
    #[test]
    fn of_the_hugging_face_cache_are_followed() {
        let temp = tempfile::tempdir().unwrap();
        let repository = temp.path().join("models--org--name");
        let (blobs, snapshot) = (repository.join("blobs"), repository.join("snapshots/0123abc"));
        fs::create_dir_all(&blobs).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        for (blob, name, content) in [
            ("1111", "config.json", b"{}".to_vec()),
            ("2222", "model.safetensors", bytes_file(&[("a", &[1])])),
            ("3333", "tokenizer.json", b"{}".to_vec()),
        ] {
            fs::write(blobs.join(blob), content).unwrap();
            symlink(format!("../../blobs/{blob}"), snapshot.join(name)).unwrap();
        }
        let link = temp.path().join("link");
        symlink(&snapshot, &link).unwrap();
        for dir in [&snapshot, &link] {
            let opened = Checkpoint::open(dir).unwrap();
            assert_eq!(opened.tensor("a").unwrap().data()[..], [1]);
            assert_eq!(opened.side_files(), [dir.join("tokenizer.json")]);
            assert!(opened.warnings().is_empty());
        }
        // Elsewhere in the repository, or out of it, is not the cache's layout.
        fs::write(repository.join("secret"), b"x").unwrap();
        symlink("../../secret", snapshot.join("README.md")).unwrap();
        symlink("../../../elsewhere", snapshot.join("LICENSE")).unwrap();
        fs::write(temp.path().join("elsewhere"), b"x").unwrap();
        let opened = Checkpoint::open(&snapshot).unwrap();
        assert_eq!(opened.side_files(), [snapshot.join("tokenizer.json")]);
        assert_eq!(opened.warnings().len(), 2);
        fs::remove_file(snapshot.join("model.safetensors")).unwrap();
        fs::rename(blobs.join("2222"), temp.path().join("2222")).unwrap();
        symlink("../../../2222", snapshot.join("model.safetensors")).unwrap();
        assert!(matches!(refused(&snapshot), CheckpointError::Link { .. }));
    }
}

#[test]
fn pickles_are_refused_with_the_way_to_convert() {
    for name in ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"] {
        let temp = tempfile::tempdir().unwrap();
        let dir = checkpoint(temp.path(), &[(name, b"\x80\x04")]);
        let error = refused(&dir);
        assert!(matches!(&error, CheckpointError::Pickle { file } if *file == dir.join(name)));
        assert!(error.to_string().contains("save_pretrained"), "{error}");
        // Beside safetensors they are passed over.
        fs::write(dir.join("model.safetensors"), bytes_file(&[("a", &[1])])).unwrap();
        assert!(Checkpoint::open(&dir).unwrap().side_files().is_empty());
    }
}

#[test]
fn directories_that_are_no_checkpoints() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path();
    assert!(matches!(refused(&path.join("nowhere")), CheckpointError::Io { .. }));
    fs::write(path.join("file"), b"").unwrap();
    assert!(matches!(refused(&path.join("file")), CheckpointError::NotDirectory { .. }));
    assert!(matches!(refused(path), CheckpointError::NoFile { name: "config.json", .. }));
    let dir = checkpoint(path, &[]);
    assert!(matches!(refused(&dir), CheckpointError::NoFile { name: "model.safetensors", .. }));
    for config in ["", "{", "[]", "3"] {
        fs::write(path.join("config.json"), config).unwrap();
        let error = refused(path);
        assert!(
            matches!(&error, CheckpointError::Json { file, .. } if *file == path.join("config.json")),
            "{error}"
        );
    }
}

#[test]
fn side_files_are_what_travels_with_the_weights() {
    let temp = tempfile::tempdir().unwrap();
    let dir = checkpoint(
        temp.path(),
        &[
            ("model.safetensors", &bytes_file(&[("a", &[1])])),
            ("tokenizer.json", b"{}"),
            ("generation_config.json", b"{}"),
            ("chat_template.jinja", b"x"),
            ("LICENSE", b"x"),
            ("training_args.bin", b"x"),
            ("optimizer.pt", b"x"),
            (".gitattributes", b"x"),
        ],
    );
    fs::create_dir(dir.join("onnx")).unwrap();
    let opened = Checkpoint::open(&dir).unwrap();
    let names: Vec<_> =
        opened.side_files().iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["LICENSE", "chat_template.jinja", "generation_config.json", "tokenizer.json"]);
}

/// The identity depends on configuration and tensors, not on how they are spread over files.
#[test]
fn hash_is_of_content() {
    let temp = tempfile::tempdir().unwrap();
    let one = checkpoint(
        &temp.path().join("one"),
        &[("model.safetensors", &bytes_file(&[("a", &[1]), ("b", &[2])])), ("tokenizer.json", b"{}")],
    );
    let two = checkpoint(
        &temp.path().join("two"),
        &[
            ("x.safetensors", &bytes_file(&[("b", &[2])])),
            ("y.safetensors", &bytes_file(&[("a", &[1])])),
            ("model.safetensors.index.json", &index(&[("a", "y.safetensors"), ("b", "x.safetensors")])),
        ],
    );
    let hash = |dir: &Path| Checkpoint::open(dir).unwrap().hash();
    assert_eq!(hash(&one), hash(&two));
    let mut seen = vec![hash(&one)];
    for tensors in
        [&[("a", &[1][..]), ("b", &[3])][..], &[("a", &[1]), ("c", &[2])], &[("a", &[1, 2]), ("b", &[])]]
    {
        fs::write(one.join("model.safetensors"), bytes_file(tensors)).unwrap();
        seen.push(hash(&one));
    }
    fs::write(two.join("config.json"), b"{}").unwrap();
    seen.push(hash(&two));
    seen.sort_by_key(|h| *h.as_bytes());
    seen.dedup();
    assert_eq!(seen.len(), 5);
}
