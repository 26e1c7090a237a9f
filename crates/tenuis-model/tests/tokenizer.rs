//! Tokenizers that fit their model and some that do not.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::{Value, json};
use std::path::Path;
use tenuis_model::{Tokenizer, TokenizerError};

/// Words and bytes, much like a Llama tokenizer.
fn write(dir: &Path, largest: u32) {
    let vocab: Value =
        json!({"<unk>": 0, "▁hello": 1, "▁wor": 2, "ld": 3, "<0xC3>": 4, "<0xA9>": 5, "▁": largest});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": null,
        "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": "▁"}, "behavior": "MergedWithNext", "invert": false},
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "",
            "max_input_chars_per_word": 100, "vocab": vocab},
    });
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

#[test]
fn text_to_tokens_and_back() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 6);
    let tokenizer = Tokenizer::from_dir(dir.path(), 7).unwrap();
    assert_eq!(tokenizer.vocab_size(), 7);
    assert_eq!(tokenizer.token("ld"), Some(3));
    // The file asks for a cut after two tokens; it is not followed.
    let tokens = tokenizer.encode(" hello world world", false).unwrap();
    assert_eq!(tokens, [1, 2, 3, 2, 3]);
    assert_eq!(tokenizer.decode(&tokens).unwrap(), " hello world world");
}

#[test]
fn a_stream_waits_for_whole_characters() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 6);
    let tokenizer = Tokenizer::from_dir(dir.path(), 7).unwrap();
    let mut stream = tokenizer.decode_stream();
    let pieces: Vec<_> = [1, 4, 5, 3].into_iter().map(|t| stream.push(t).unwrap()).collect();
    assert_eq!(pieces, [Some(" hello".to_owned()), None, Some("é".to_owned()), Some("ld".to_owned())]);
}

#[test]
fn a_padded_vocabulary_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 6);
    assert!(Tokenizer::from_dir(dir.path(), 1000).is_ok());
}

#[test]
fn misfits_are_refused_before_work() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Tokenizer::from_dir(dir.path(), 7).unwrap_err();
    assert!(matches!(missing, TokenizerError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("there is no tokenizer.json; copy it"));

    write(dir.path(), 6);
    let larger = Tokenizer::from_dir(dir.path(), 6).unwrap_err();
    assert!(matches!(larger, TokenizerError::Vocabulary { number: 6, vocab: 6, .. }), "{larger}");
    // A gap in the numbers: few tokens, but one beyond the model's.
    write(dir.path(), 600);
    assert!(matches!(
        Tokenizer::from_dir(dir.path(), 7).unwrap_err(),
        TokenizerError::Vocabulary { number: 600, .. }
    ));

    std::fs::write(dir.path().join("tokenizer.json"), "{\"version\": 7}").unwrap();
    assert!(matches!(Tokenizer::from_dir(dir.path(), 7).unwrap_err(), TokenizerError::Malformed { .. }));
}
