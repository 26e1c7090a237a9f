//! A small checkpoint with a tokenizer and a text, made from a parity fixture.

use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A checkpoint directory that a test may spoil, and texts for it.
#[derive(Debug)]
pub struct Fixture {
    /// Keeps the files until the test is over.
    pub root: tempfile::TempDir,
    /// The model's directory.
    pub model: PathBuf,
    /// A text for evaluation.
    pub data: PathBuf,
    /// A text for calibration.
    pub calib: PathBuf,
}

/// Every parity fixture that the repository ships, one of each family of decoders.
pub const FIXTURES: [&str; 17] = [
    "llama_gqa_llama3rope",
    "llama_linear_headdim",
    "llama_yarn",
    "mistral_window",
    "qwen2",
    "qwen3",
    "smollm3",
    "gpt2",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi",
    "phi3",
    "gpt_neox",
    "opt",
    "mixtral",
    "qwen3_moe",
];

/// Where they are.
pub fn parity_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join("parity")
}

impl Fixture {
    /// Copies a parity fixture and gives it a tokenizer whose words are `w0`, `w1`, ….
    ///
    /// # Panics
    /// If the files cannot be copied.
    pub fn new(name: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let model = root.path().join("model");
        std::fs::create_dir(&model).expect("writable");
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(parity_dir().join(name).join(file), model.join(file))
                .expect("the fixture is there");
        }
        let fixture =
            Self { data: root.path().join("val.txt"), calib: root.path().join("calib.txt"), model, root };
        let vocab = fixture.config()["vocab_size"].as_u64().expect("a vocabulary");
        fixture.write_tokenizer(vocab);
        std::fs::write(&fixture.data, words(vocab, 4000, 1)).expect("writable");
        std::fs::write(&fixture.calib, words(vocab, 6000, 2)).expect("writable");
        fixture
    }

    /// The configuration.
    ///
    /// # Panics
    /// If it is no JSON.
    pub fn config(&self) -> Value {
        let text = std::fs::read(self.model.join("config.json")).expect("readable");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Writes a tokenizer of `vocab` words.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_tokenizer(&self, vocab: u64) {
        let words: serde_json::Map<String, Value> = (0..vocab).map(|i| (format!("w{i}"), json!(i))).collect();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": words, "unk_token": "w0" },
        });
        std::fs::write(self.model.join("tokenizer.json"), tokenizer.to_string()).expect("writable");
    }

    /// The path of something beside the model.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

/// Pseudo-random words with some structure: half of them follow from the one before.
fn words(vocab: u64, count: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = 1;
    let mut text = String::new();
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word = if state & 1 == 0 { (word * 7 + 3) % vocab } else { (state >> 8) % vocab };
        // Writing to a string cannot fail.
        let _ = write!(text, "w{word} ");
    }
    text
}
