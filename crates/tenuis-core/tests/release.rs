//! Giving memory back. Alone in its process, because the resident set is the process's.
#![cfg(target_os = "linux")]

use serde_json::json;
use std::fs;
use tenuis_core::{Checkpoint, CheckpointWriter, DType, Tensor, WriterOptions};

/// Released pages leave the resident set and come back with their content.
#[test]
fn released_tensors_stay_readable() {
    const BYTES: usize = 8 << 20;
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (vec![3u8; BYTES], vec![5u8; BYTES]);
    let mut writer = CheckpointWriter::create(&temp.path().join("m"), &[], WriterOptions::default()).unwrap();
    for (name, values) in [("a", a), ("b", b)] {
        writer.put(name, &Tensor::from_vec(DType::U8, vec![BYTES], values).unwrap()).unwrap();
    }
    let written = writer.finish(&json!({}), json!(null)).unwrap();
    let opened = Checkpoint::open(&written.dir).unwrap();
    let (first, second) = (opened.tensor("a").unwrap(), opened.tensor("b").unwrap());
    assert!(first.data().iter().all(|&x| x == 3) && second.data().iter().all(|&x| x == 5));
    let before = resident();
    opened.release(["a", "b", "unknown"]);
    let freed = before.saturating_sub(resident());
    assert!(freed > 2 * BYTES - (1 << 20), "freed {freed} of {}", 2 * BYTES);
    assert!(first.data().iter().all(|&x| x == 3) && second.data().iter().all(|&x| x == 5));
}
