//! The C plugin of `plugins/example-c`: compiled with the shipped header, loaded, run, decoded, reloaded.

use crate::support::{Site, dense, manifest_of};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{CodecRegistry, Components, DType, Tensor};
use tenuis_host::{GroupInput, LinearInput, NoEvents, OutputProblem, PluginError};

fn example() -> Site {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/example-c");
    let manifest = std::fs::read_to_string(home.join("example_binary.plugin.json")).unwrap();
    Site::new("example_binary").manifest(&manifest).c(&home.join("binary.c"))
}

#[test]
fn its_own_representation_survives_the_round_trip() {
    let site = example();
    let registry = site.discover();
    let technique = registry.require("example_binary").unwrap();
    let mut job = technique.start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    // 3 × 10: the last byte of a row is not full.
    let weight = dense(3, 10, |i| if i % 4 == 0 { -(i as f32) } else { i as f32 });
    let output = job.run(GroupInput::new(vec![LinearInput::new("w", weight.clone())])).unwrap();
    let binary = &output.weights["w"];
    assert_eq!(
        (binary.kind(), binary.shape(), binary.stored_bytes()),
        ("example_binary", [3, 10], 3 * (4 + 2))
    );
    let original = weight.to_dense().unwrap();
    let expected: Vec<f32> = original
        .chunks(10)
        .flat_map(|row| {
            let mean = row.iter().map(|w| w.abs()).sum::<f32>() / 10.0;
            row.iter().map(move |w| if *w < 0.0 { -mean } else { mean })
        })
        .collect();
    assert_eq!(binary.to_dense().unwrap(), expected);

    let mut codecs = CodecRegistry::builtin();
    registry.register_codecs(&mut codecs);
    let components: Components =
        binary.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
    let again = codecs.decode([3, 10], &binary.descriptor(), components.clone()).unwrap();
    let mut row = [0.0; 10];
    again.decode_rows(2..3, &mut row).unwrap();
    assert_eq!(row, expected[20..]);

    let mut damaged = components;
    damaged.insert("weight_rows".to_owned(), Tensor::from_f32(DType::F16, vec![3], &[1.0; 3]).unwrap());
    let error = codecs.decode([3, 10], &binary.descriptor(), damaged).unwrap_err().to_string();
    assert!(error.contains("weight_rows u8 [out, 4 + ceil(in/8)]"), "{error}");
}

#[test]
fn numbers_that_are_not_finite_are_not_kept() {
    let site = example();
    let registry = site.discover();
    let mut job =
        registry.require("example_binary").unwrap().start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    let weight = dense(2, 4, |i| if i == 5 { f32::INFINITY } else { 1.0 });
    let PluginError::Output { problem, .. } =
        job.run(GroupInput::new(vec![LinearInput::new("w", weight)])).unwrap_err()
    else {
        panic!("another error")
    };
    assert!(matches!(*problem, OutputProblem::NonFinite { row: 1, column: 0, .. }), "{problem}");
}

#[test]
fn a_write_behind_the_end_is_found() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/example-c");
    let code = std::fs::read_to_string(home.join("binary.c")).unwrap();
    let code = code.replace("memset(data, 0, rows * stride);", "memset(data, 0, rows * stride + 1);");
    let site = Site::new("overrun").manifest(&manifest_of(&["example_binary"])).c_code(&code);
    let registry = site.discover();
    let mut job =
        registry.require("example_binary").unwrap().start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    let group = GroupInput::new(vec![LinearInput::new("w", dense(2, 4, |_| 1.0))]);
    let error = job.run(group).unwrap_err().to_string();
    assert!(error.contains("component \"weight_rows\" was written past its end"), "{error}");
}

#[test]
fn weights_without_rows_or_columns_pass() {
    let site = example();
    let registry = site.discover();
    let mut job =
        registry.require("example_binary").unwrap().start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    for [rows, columns] in [[0, 8], [3, 0]] {
        let group = GroupInput::new(vec![LinearInput::new("w", dense(rows, columns, |_| 1.0))]);
        assert_eq!(job.run(group).unwrap().weights["w"].shape(), [rows, columns]);
    }
}
