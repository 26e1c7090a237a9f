//! From metadata to `tokenizer.json`.

use super::{PRE_TOKENIZERS, PreTokenizer, SPACE, Words, kind, refused};
use crate::gguf::{GgufError, GgufValue, Metadata};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The content of `tokenizer.json` for the tokenizer of a file.
///
/// # Errors
/// [`GgufError::Tokenizer`] for a kind that is not known, or one that is incomplete.
pub fn to_json(metadata: &Metadata) -> Result<Value, GgufError> {
    let find = |key: &str| metadata.find(&format!("tokenizer.ggml.{key}"));
    let texts = |key: &str| {
        let list = find(key).and_then(GgufValue::as_list);
        let list = list.ok_or_else(|| refused(format!("tokenizer.ggml.{key} is missing")))?;
        let texts: Option<Vec<&str>> = list.iter().map(GgufValue::as_text).collect();
        texts.ok_or_else(|| refused(format!("tokenizer.ggml.{key} is no list of texts")))
    };
    let tokens = texts("tokens")?;
    let kinds: Vec<i32> = match find("token_type").and_then(GgufValue::as_list) {
        Some(list) => list.iter().map(|v| v.as_u64().map_or(kind::NORMAL, |v| v as i32)).collect(),
        None => vec![kind::NORMAL; tokens.len()],
    };
    if kinds.len() != tokens.len() {
        return Err(refused(format!("{} tokens have {} types", tokens.len(), kinds.len())));
    }
    let id = |key: &str| find(key).and_then(GgufValue::as_u64).filter(|id| *id < tokens.len() as u64);
    let flag = |key: &str, usual| find(key).and_then(GgufValue::as_bool).unwrap_or(usual);
    let (model, parts) = match find("model").and_then(GgufValue::as_text) {
        Some("gpt2") => {
            let pre = find("pre").and_then(GgufValue::as_text).unwrap_or("gpt-2");
            let pre = named(pre)?;
            (byte_level(&tokens, &kinds, &texts("merges")?, pre.whole_words)?, byte_level_parts(pre))
        }
        Some("llama") => {
            let scores = find("scores").and_then(GgufValue::as_list).unwrap_or_default();
            let scores: Vec<f64> = scores.iter().map(|s| s.as_f64().unwrap_or_default()).collect();
            if scores.len() != tokens.len() {
                return Err(refused(format!("{} tokens have {} scores", tokens.len(), scores.len())));
            }
            (pieces(&tokens, &kinds, &scores), piece_parts(flag("add_space_prefix", true)))
        }
        other => {
            return Err(refused(format!("tokenizer.ggml.model {other:?}, only gpt2 and llama are known")));
        }
    };
    let is_llama = model.get("byte_fallback") == Some(&json!(true));
    let first = id("bos_token_id").filter(|_| flag("add_bos_token", is_llama));
    let last = id("eos_token_id").filter(|_| flag("add_eos_token", false));
    let added = tokens.iter().zip(&kinds).enumerate().filter_map(|(id, (token, kind))| {
        let special = matches!(*kind, kind::CONTROL | kind::UNKNOWN);
        (special || *kind == kind::USER_DEFINED).then(|| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            })
        })
    });
    let [normalizer, pre_tokenizer, decoder] = parts;
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": template(first, last, &tokens),
        "decoder": decoder,
        "model": model,
    }))
}

/// Every token but the filling of the model's vocabulary.
fn vocabulary(tokens: &[&str], kinds: &[i32]) -> Map<String, Value> {
    let kept = tokens.iter().zip(kinds).enumerate().filter(|(_, (_, kind))| **kind != kind::UNUSED);
    kept.map(|(id, (token, _))| ((*token).to_owned(), json!(id))).collect()
}

fn byte_level(
    tokens: &[&str],
    kinds: &[i32],
    merges: &[&str],
    whole_words: bool,
) -> Result<Value, GgufError> {
    let pairs = merges.iter().map(|merge| {
        // A part may begin with a space only in theory: spaces are mapped to another character.
        let (left, right) =
            merge.split_once(' ').ok_or_else(|| refused(format!("merge {merge:?} has no two parts")))?;
        Ok(json!([left, right]))
    });
    Ok(json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": null,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": false,
        "byte_fallback": false,
        "ignore_merges": whole_words,
        "vocab": vocabulary(tokens, kinds),
        "merges": pairs.collect::<Result<Vec<_>, GgufError>>()?,
    }))
}

fn named(pre: &str) -> Result<&'static PreTokenizer, GgufError> {
    PRE_TOKENIZERS.iter().find(|known| known.name == pre).ok_or_else(|| {
        let known: Vec<&str> = PRE_TOKENIZERS.iter().map(|known| known.name).collect();
        refused(format!("tokenizer.ggml.pre {pre:?}, only {} are known", known.join(", ")))
    })
}

/// Normalizer, pre-tokenizer and decoder of a byte-level tokenizer.
fn byte_level_parts(found: &PreTokenizer) -> [Value; 3] {
    let bytes = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex });
    let words = match found.words {
        Words::Gpt2 => bytes(true),
        Words::DigitsThenGpt2 => json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Digits", "individual_digits": true }, bytes(true) ] }),
        Words::Regex(regex) => json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false },
            bytes(false) ] }),
    };
    let normalizer = if found.nfc { json!({ "type": "NFC" }) } else { Value::Null };
    [normalizer, words, bytes(true)]
}

/// Merges of pieces by their scores: every way to make a piece of two others, best piece first.
fn pieces(tokens: &[&str], kinds: &[i32], scores: &[f64]) -> Value {
    let ids: BTreeMap<&str, usize> = tokens.iter().enumerate().map(|(id, t)| (*t, id)).collect();
    let is_piece = |piece: &str| ids.get(piece).is_some_and(|id| kinds[*id] == kind::NORMAL);
    let mut order: Vec<usize> = (0..tokens.len()).filter(|id| kinds[*id] == kind::NORMAL).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let mut merges = Vec::new();
    for token in order.into_iter().map(|id| tokens[id]) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if is_piece(left) && is_piece(right) {
                merges.push(json!([left, right]));
            }
        }
    }
    let unknown = kinds.iter().position(|kind| *kind == kind::UNKNOWN).map(|id| tokens[id]);
    json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": true,
        "byte_fallback": true,
        "ignore_merges": false,
        "vocab": vocabulary(tokens, kinds),
        "merges": merges,
    })
}

/// Normalizer, pre-tokenizer and decoder of a tokenizer of pieces.
fn piece_parts(adds_space: bool) -> [Value; 3] {
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let back = json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " });
    let mut decoders = vec![back, json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
    let normalizer = if adds_space {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": SPACE }, replace] })
    } else {
        replace
    };
    [normalizer, Value::Null, json!({ "type": "Sequence", "decoders": decoders })]
}

/// What puts the tokens around a text.
fn template(first: Option<u64>, last: Option<u64>, tokens: &[&str]) -> Value {
    if (first, last) == (None, None) {
        return Value::Null;
    }
    let name = |id: u64| tokens[id as usize];
    let special = |id: Option<u64>| id.map(|id| json!({ "SpecialToken": { "id": name(id), "type_id": 0 } }));
    let around = |sequence: &str| {
        let text = json!({ "Sequence": { "id": sequence, "type_id": 0 } });
        special(first).into_iter().chain([text]).chain(special(last)).collect::<Vec<_>>()
    };
    let specials: Map<String, Value> = first
        .into_iter()
        .chain(last)
        .map(|id| (name(id).to_owned(), json!({ "id": name(id), "ids": [id], "tokens": [name(id)] })))
        .collect();
    json!({
        "type": "TemplateProcessing",
        "single": around("A"),
        "pair": around("A").into_iter().chain(around("B")).collect::<Vec<_>>(),
        "special_tokens": specials,
    })
}
