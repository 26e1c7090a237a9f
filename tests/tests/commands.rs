//! `inspect`, `generate` and `logits`.

use candle_core::{Device, Tensor, safetensors};
use std::collections::HashMap;
use tenuis_tests::cli::tenuis;
use tenuis_tests::fixture::{Fixture, parity_dir};

/// The published tolerance of the parity fixtures, relative to the largest expected value.
const TOLERANCE: f32 = 1e-4;

#[test]
fn logits_hold_against_transformers() {
    for name in ["qwen2", "gpt2"] {
        let fixture = parity_dir().join(name);
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.safetensors");
        let expected = fixture.join("expected.safetensors");
        let run = tenuis(&[
            "logits",
            "--model",
            fixture.to_str().unwrap(),
            "--ids",
            expected.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ])
        .succeeded();
        assert_eq!(run.stdout, "", "the result is the file");
        let expected = safetensors::load(&expected, &Device::Cpu).unwrap();
        let found: HashMap<String, Tensor> = safetensors::load(&out, &Device::Cpu).unwrap();
        for (key, expected) in expected.iter().filter(|(k, _)| *k != "input_ids") {
            let found = &found[key];
            assert_eq!(found.dims(), expected.dims(), "{name} {key}");
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (found, expected) = (values(found), values(expected));
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() <= TOLERANCE * largest, "{name} {key}: {f} instead of {e}");
            }
        }
    }
}

#[test]
fn generation_is_repeatable() {
    let fixture = Fixture::new("mistral_window");
    let generate = |more: &[&str]| {
        let model = fixture.model.to_str().unwrap();
        let mut args = vec!["generate", "--model", model, "--prompt", "w1 w2 w3", "--max-new-tokens", "12"];
        args.extend(more);
        tenuis(&args).succeeded().stdout
    };
    let greedy = generate(&[]);
    assert!(greedy.starts_with("w1 w2 w3"), "{greedy}");
    assert_eq!(greedy, generate(&[]));
    let sampled = generate(&["--temperature", "2", "--seed", "1"]);
    assert_eq!(sampled, generate(&["--temperature", "2", "--seed", "1"]));
    assert_ne!(sampled, generate(&["--temperature", "2", "--seed", "2"]));
}

#[test]
fn inspect_tells_the_architecture() {
    let fixture = Fixture::new("qwen3");
    let run = tenuis(&["inspect", "--tensors", fixture.model.to_str().unwrap()]).succeeded();
    for part in
        ["qwen3", "3 layers", "4 heads, 2 key/value heads", "model.layers.0.self_attn.q_norm.weight", "32.00"]
    {
        assert!(run.stdout.contains(part), "{part:?} is not in {}", run.stdout);
    }
    tenuis(&["inspect", "--verify", fixture.model.to_str().unwrap()]).failed_with(3, &["manifest"]);
}
