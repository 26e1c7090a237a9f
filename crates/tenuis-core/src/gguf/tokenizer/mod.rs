//! A tokenizer as `tokenizer.json` has it and as GGUF metadata have it.
//!
//! Two kinds are translated. `gpt2`: byte-level BPE, whose rule for cutting text into words llama.cpp knows by a name
//! (`tokenizer.ggml.pre`). `llama`: SentencePiece's BPE with a fallback to bytes, where llama.cpp ranks pieces by score and
//! `tokenizer.json` by the order of its merges. Whatever would give other tokens there than here is refused.

mod read;
mod write;

pub use read::to_json;
pub use write::to_metadata;

use super::GgufError;

/// The character that stands for a space in SentencePiece.
const SPACE: &str = "\u{2581}";

/// What `tokenizer.ggml.token_type` says of a token.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// How a byte-level tokenizer cuts text into words.
enum Words {
    /// GPT-2's rule.
    Gpt2,
    /// Every digit alone, then GPT-2's rule.
    DigitsThenGpt2,
    /// A regular expression.
    Regex(&'static str),
}

/// A rule by the name that llama.cpp gives it.
struct PreTokenizer {
    name: &'static str,
    words: Words,
    /// Whether a word that is a token is not cut further.
    whole_words: bool,
    /// Whether text is normalised to NFC before.
    nfc: bool,
}

/// The rules that are translated.
const PRE_TOKENIZERS: [PreTokenizer; 4] = [
    PreTokenizer { name: "gpt-2", words: Words::Gpt2, whole_words: false, nfc: false },
    PreTokenizer { name: "smollm", words: Words::DigitsThenGpt2, whole_words: false, nfc: false },
    PreTokenizer {
        name: "llama-bpe",
        words: Words::Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        whole_words: true,
        nfc: false,
    },
    PreTokenizer {
        name: "qwen2",
        words: Words::Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        whole_words: false,
        nfc: true,
    },
];

fn refused(problem: impl Into<String>) -> GgufError {
    GgufError::Tokenizer { problem: problem.into() }
}

/// The byte that a piece such as `<0x0A>` stands for.
fn byte_piece(piece: &str) -> bool {
    let digits = piece.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|d| d.len() == 2 && u8::from_str_radix(d, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{GgufValue, Metadata};
    use serde_json::{Value, json};

    fn added(id: u32, content: &str) -> Value {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    }

    fn byte_level() -> Value {
        json!({
            "added_tokens": [added(0, "<end>")],
            "normalizer": null,
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "post_processor": null,
            "model": { "type": "BPE", "vocab": { "<end>": 0, "a": 1, "b": 2, "ab": 3 }, "merges": [["a", "b"]] },
        })
    }

    fn pieces() -> Value {
        json!({
            "added_tokens": [added(0, "<unk>"), added(1, "<s>")],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "Prepend", "prepend": SPACE },
                { "type": "Replace", "pattern": { "String": " " }, "content": SPACE } ] },
            "pre_tokenizer": null,
            "post_processor": { "type": "TemplateProcessing", "single": [
                { "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } } ],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
            "model": { "type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>",
                "vocab": { "<unk>": 0, "<s>": 1, "<0x41>": 2, "a": 3, "b": 4, "ab": 5, "abb": 6, "bb": 7 },
                "merges": [["b", "b"], ["a", "b"], ["a", "bb"], ["ab", "b"]] },
        })
    }

    fn text(metadata: &Metadata, key: &str) -> String {
        metadata.find(&format!("tokenizer.ggml.{key}")).and_then(GgufValue::as_text).unwrap().to_owned()
    }

    #[test]
    fn byte_level_there_and_back() {
        let there = to_metadata(&byte_level(), &json!({ "eos_token_id": 0 }), 6).unwrap();
        assert_eq!((text(&there, "model"), text(&there, "pre")), ("gpt2".to_owned(), "gpt-2".to_owned()));
        let tokens = there.find("tokenizer.ggml.tokens").and_then(GgufValue::as_list).unwrap();
        assert_eq!(tokens.len(), 6, "the model's padded vocabulary");
        let back = to_json(&there).unwrap();
        assert_eq!(back["model"]["vocab"]["ab"], 3);
        assert_eq!(back["model"]["merges"], json!([["a", "b"]]));
        assert_eq!(back["pre_tokenizer"], byte_level()["pre_tokenizer"]);
        assert_eq!(back["added_tokens"][0]["content"], "<end>");
        assert!(back["model"]["vocab"].get("[PAD4]").is_none(), "no token of the tokenizer");
    }

    #[test]
    fn pieces_there_and_back() {
        let there = to_metadata(&pieces(), &json!({ "bos_token_id": 1 }), 8).unwrap();
        assert_eq!(text(&there, "model"), "llama");
        assert_eq!(there.find("tokenizer.ggml.add_bos_token"), Some(&GgufValue::Bool(true)));
        let back = to_json(&there).unwrap();
        assert_eq!(back["model"]["vocab"], pieces()["model"]["vocab"]);
        assert_eq!(back["model"]["merges"], pieces()["model"]["merges"]);
        assert_eq!(back["post_processor"]["single"], pieces()["post_processor"]["single"]);
        assert_eq!(back["normalizer"], pieces()["normalizer"]);
    }

    #[test]
    fn what_would_give_other_tokens_is_refused() {
        let refuse = |change: &dyn Fn(&mut Value), original: Value, part: &str| {
            let mut json = original;
            change(&mut json);
            let error = to_metadata(&json, &json!({}), 8).unwrap_err().to_string();
            assert!(error.contains(part), "{part:?} is not in {error}");
        };
        refuse(&|j| j["model"]["type"] = json!("Unigram"), byte_level(), "Unigram");
        refuse(&|j| j["pre_tokenizer"] = json!({ "type": "Whitespace" }), byte_level(), "Whitespace");
        refuse(&|j| j["normalizer"] = json!({ "type": "Lowercase" }), byte_level(), "Lowercase");
        refuse(&|j| j["model"]["ignore_merges"] = json!(true), byte_level(), "ignore_merges");
        refuse(&|j| j["model"]["vocab"]["far"] = json!(9), byte_level(), "9");
        refuse(&|j| drop(j["model"]["merges"].as_array_mut().unwrap().pop()), pieces(), "abb");
        refuse(&|j| j["model"]["merges"].as_array_mut().unwrap().swap(0, 2), pieces(), "order");
    }
}
