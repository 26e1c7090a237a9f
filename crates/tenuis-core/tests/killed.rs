//! A writer that is killed leaves the old checkpoint or none, and the next one cleans up.
//!
//! Not a harness of test functions but a program that starts itself as the process to be killed.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tenuis_core::{Checkpoint, CheckpointError, CheckpointWriter, DType, Tensor, WriterOptions};

fn writer(target: &Path) -> Result<CheckpointWriter, CheckpointError> {
    CheckpointWriter::create(target, &[], WriterOptions::default().max_shard_bytes(8).overwrite(true))
}

fn tensor(value: f32) -> Tensor {
    Tensor::from_vec(DType::F32, vec![2], vec![value; 2]).unwrap()
}

/// Writes two shards, says so, and waits to be killed.
fn child(target: &Path) {
    let mut writer = writer(target).unwrap();
    writer.put("a", &tensor(7.0)).unwrap();
    writer.put("b", &tensor(8.0)).unwrap();
    std::io::stdout().write_all(b"written\n").unwrap();
    std::io::stdout().flush().unwrap();
    std::thread::park();
    drop(writer);
}

fn kill_while_writing(target: &Path) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .arg(target)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "written\n");
    // While it lives it holds the lock, from another process too.
    assert!(matches!(writer(target), Err(CheckpointError::Locked { .. })));
    process.kill().unwrap();
    process.wait().unwrap();
}

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|a| a == "child") {
        return child(Path::new(&arguments[2]));
    }
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("m");
    let entries = || fs::read_dir(temp.path()).unwrap().count();

    kill_while_writing(&target);
    assert!(!target.exists(), "nothing partial at the final path");
    assert_eq!(entries(), 2, "the lock file and the temporary directory of the killed process");

    let mut first = writer(&target).unwrap();
    first.put("a", &tensor(1.0)).unwrap();
    first.finish(&json!({}), json!(null)).unwrap();
    assert_eq!(entries(), 1, "only the checkpoint");

    kill_while_writing(&target);
    let old = Checkpoint::open(&target).unwrap();
    old.verify().unwrap();
    assert_eq!(old.tensor("a").unwrap().to_f32().unwrap()[..], [1.0, 1.0]);

    let mut second = writer(&target).unwrap();
    second.put("a", &tensor(2.0)).unwrap();
    second.finish(&json!({}), json!(null)).unwrap();
    assert_eq!(entries(), 1, "only the checkpoint");
    let new = Checkpoint::open(&target).unwrap();
    assert_eq!(new.tensor("a").unwrap().to_f32().unwrap()[..], [2.0, 2.0]);
}
