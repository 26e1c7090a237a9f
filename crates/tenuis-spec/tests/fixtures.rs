//! Specs against checkpoints that the reference implementation wrote.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use tenuis_core::Checkpoint;
use tenuis_spec::{DecoderSpec, HeadSource};

/// The spec calls for all tensors of a checkpoint in their shapes, and for no others.
fn check(name: &str) {
    let Some(shared) = std::env::var_os("TENUIS_SHARED").map(PathBuf::from) else {
        let _ =
            writeln!(std::io::stderr(), "skipped: TENUIS_SHARED does not name the directory of checkpoints");
        return;
    };
    let checkpoint = Checkpoint::open(&shared.join("golden/parity").join(name)).unwrap();
    let stored: BTreeSet<String> = checkpoint.names().map(ToString::to_string).collect();
    let has = |module: &str| stored.contains(&format!("{module}.weight"));
    let mut spec = DecoderSpec::for_modules(checkpoint.config(), has).unwrap();
    let tied = spec.tied;
    let source =
        spec.settle_head(has, || panic!("head and embedding are never both stored where they are tied"));
    assert_eq!(source, if tied { HeadSource::Embedding } else { HeadSource::Own });
    spec.check_shapes(|tensor| checkpoint.info(tensor).map(|info| info.shape.clone()), |_, _| None).unwrap();
    let wanted: BTreeSet<String> = spec.tensors().into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(wanted, stored);
}

#[test]
fn mixtral() {
    check("mixtral");
}

#[test]
fn qwen3_moe() {
    check("qwen3_moe");
}

#[test]
fn gemma() {
    check("gemma");
}

#[test]
fn gemma2() {
    check("gemma2");
}

#[test]
fn gemma3_text() {
    check("gemma3_text");
}

#[test]
fn phi() {
    check("phi");
}

#[test]
fn phi3() {
    check("phi3");
}

#[test]
fn gpt_neox() {
    check("gpt_neox");
}

#[test]
fn opt() {
    check("opt");
}

/// The older ones, which the reference stores in the same ways.
#[test]
fn others() {
    for name in [
        "gpt2",
        "llama_gqa_llama3rope",
        "llama_linear_headdim",
        "llama_yarn",
        "mistral_window",
        "qwen2",
        "qwen3",
        "smollm3",
    ] {
        check(name);
    }
}
