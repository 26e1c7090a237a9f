//! From `tokenizer.json` to metadata.

use super::{PRE_TOKENIZERS, SPACE, Words, byte_piece, kind, refused};
use crate::gguf::{GgufError, GgufValue, Metadata};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Stated {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Value,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// Older files have both parts in one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Text(String),
}

impl Merge {
    fn parts(&self) -> Result<(&str, &str), GgufError> {
        match self {
            Self::Pair(left, right) => Ok((left, right)),
            Self::Text(text) => {
                text.split_once(' ').ok_or_else(|| refused(format!("merge {text:?} has no two parts")))
            }
        }
    }
}

/// A vocabulary by number, as the metadata list it.
struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<i32>,
}

/// The metadata of a tokenizer: what `tokenizer.ggml.*` says.
///
/// `config` is the model's configuration, which names the tokens at the beginning and end of a text; `vocab` is the number
/// of tokens that the model has, to which the list is filled up.
///
/// # Errors
/// [`GgufError::Tokenizer`] for one that llama.cpp would not read as it is meant.
pub fn to_metadata(tokenizer: &Value, config: &Value, vocab: usize) -> Result<Metadata, GgufError> {
    let parsed = Stated::deserialize(tokenizer).map_err(|e| refused(e.to_string()))?;
    match parsed.model.kind.as_deref() {
        Some("BPE") | None => {}
        Some(other) => return Err(refused(format!("model {other:?}, only BPE is known"))),
    }
    for (what, found) in [
        ("continuing_subword_prefix", &parsed.model.continuing_subword_prefix),
        ("end_of_word_suffix", &parsed.model.end_of_word_suffix),
    ] {
        if let Some(found) = found.as_deref().filter(|f| !f.is_empty()) {
            return Err(refused(format!("{what} {found:?}")));
        }
    }
    let list = vocabulary(&parsed, vocab)?;
    let mut metadata = Metadata::default();
    let mut put = |key: &str, value: GgufValue| metadata.push(format!("tokenizer.ggml.{key}"), value);
    if parsed.model.byte_fallback {
        put("model", "llama".into());
        put("pre", "default".into());
        put("scores", GgufValue::List(scores(&parsed, &list)?.into_iter().map(GgufValue::F32).collect()));
        put("add_space_prefix", GgufValue::Bool(adds_space(&parsed)?));
    } else {
        put("model", "gpt2".into());
        put("pre", pre_tokenizer(&parsed)?.into());
        let merges = parsed.model.merges.iter().map(|merge| {
            let (left, right) = merge.parts()?;
            Ok(GgufValue::Text(format!("{left} {right}")))
        });
        put("merges", GgufValue::List(merges.collect::<Result<_, GgufError>>()?));
    }
    let (first, last) = around(parsed.post_processor.as_ref())?;
    let id = |key: &str| match config.get(key) {
        // Models with several ends of a text list them.
        Some(Value::Array(ids)) => ids.first().and_then(Value::as_u64),
        value => value.and_then(Value::as_u64),
    };
    let unknown = parsed.model.unk_token.as_ref().and_then(|u| list.tokens.iter().position(|t| t == u));
    for (key, value) in [
        ("bos_token_id", first.or(id("bos_token_id"))),
        ("eos_token_id", id("eos_token_id").or(last)),
        ("unknown_token_id", unknown.map(|u| u as u64)),
        ("padding_token_id", id("pad_token_id")),
    ] {
        if let Some(value) = value.filter(|v| *v < list.tokens.len() as u64) {
            put(key, GgufValue::U32(value as u32));
        }
    }
    put("add_bos_token", GgufValue::Bool(first.is_some()));
    put("add_eos_token", GgufValue::Bool(last.is_some()));
    put("tokens", GgufValue::List(list.tokens.into_iter().map(GgufValue::Text).collect()));
    put("token_type", GgufValue::List(list.kinds.into_iter().map(GgufValue::I32).collect()));
    Ok(metadata)
}

fn vocabulary(parsed: &Stated, vocab: usize) -> Result<Vocabulary, GgufError> {
    let mut tokens: Vec<Option<(&str, i32)>> = vec![None; vocab];
    let mut put = |id: u64, token, kind| {
        let slot = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
        let slot = slot.ok_or_else(|| {
            refused(format!("token {token:?} has number {id}, the model has {vocab} tokens"))
        })?;
        *slot = Some((token, kind));
        Ok(())
    };
    let listed = parsed.model.vocab.as_object().ok_or_else(|| refused("it has no vocabulary"))?;
    for (token, id) in listed {
        let id = id.as_u64().ok_or_else(|| refused(format!("token {token:?} has number {id}")))?;
        let is_unknown = parsed.model.unk_token.as_deref() == Some(token);
        let kind = match () {
            () if is_unknown => kind::UNKNOWN,
            () if parsed.model.byte_fallback && byte_piece(token) => kind::BYTE,
            () => kind::NORMAL,
        };
        put(id, token.as_str(), kind)?;
    }
    for added in &parsed.added_tokens {
        let is_unknown = parsed.model.unk_token.as_deref() == Some(&added.content);
        let kind = match (is_unknown, added.special) {
            (true, _) => kind::UNKNOWN,
            (false, true) => kind::CONTROL,
            (false, false) => kind::USER_DEFINED,
        };
        put(u64::from(added.id), &added.content, kind)?;
    }
    let filled = tokens.into_iter().enumerate().map(|(id, token)| match token {
        Some((token, kind)) => (token.to_owned(), kind),
        None => (format!("[PAD{id}]"), kind::UNUSED),
    });
    let (tokens, kinds): (Vec<_>, Vec<_>) = filled.unzip();
    let different: BTreeSet<&String> = tokens.iter().collect();
    if different.len() != tokens.len() {
        return Err(refused("two tokens have the same text"));
    }
    Ok(Vocabulary { tokens, kinds })
}

/// The score of every piece: the earlier it is merged, the higher.
///
/// llama.cpp joins whichever neighbours make a piece, best score first. That is what the merges say if, and only if, they
/// list every way to make a piece, one piece after the other.
fn scores(parsed: &Stated, list: &Vocabulary) -> Result<Vec<f32>, GgufError> {
    let ids: BTreeMap<&str, usize> = list.tokens.iter().enumerate().map(|(id, t)| (t.as_str(), id)).collect();
    let mut ranks: BTreeMap<usize, f32> = BTreeMap::new();
    let mut listed: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut last = None;
    for merge in &parsed.model.merges {
        let (left, right) = merge.parts()?;
        let piece = format!("{left}{right}");
        let id = *ids
            .get(piece.as_str())
            .ok_or_else(|| refused(format!("merge into {piece:?}, which is no token")))?;
        listed.insert((left, right));
        if last == Some(id) {
            continue;
        }
        if ranks.contains_key(&id) {
            return Err(refused(format!(
                "the merges into {piece:?} are not listed in order, one after the other"
            )));
        }
        ranks.insert(id, -(ranks.len() as f32) - 1.0);
        last = Some(id);
    }
    for (token, _) in list.tokens.iter().zip(&list.kinds).filter(|(_, kind)| **kind == kind::NORMAL) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            let is_piece = |piece: &str| ids.get(piece).is_some_and(|id| list.kinds[*id] == kind::NORMAL);
            if is_piece(left) && is_piece(right) && !listed.contains(&(left, right)) {
                return Err(refused(format!(
                    "{left:?} and {right:?} make token {token:?} but are not merged"
                )));
            }
        }
    }
    // Pieces that nothing is merged into are single characters; their score is never compared.
    let least = -(ranks.len() as f32) - 1.0;
    let score = |id: usize| match list.kinds[id] {
        kind::NORMAL => ranks.get(&id).copied().unwrap_or(least),
        _ => 0.0,
    };
    Ok((0..list.tokens.len()).map(score).collect())
}

/// Whether a space is put before a text.
fn adds_space(parsed: &Stated) -> Result<bool, GgufError> {
    let is_replace = |step: &Value| {
        step["type"] == "Replace" && step["pattern"]["String"] == " " && step["content"] == SPACE
    };
    let is_prepend = |step: &Value| step["type"] == "Prepend" && step["prepend"] == SPACE;
    let steps: Vec<&Value> = match &parsed.normalizer {
        None | Some(Value::Null) => Vec::new(),
        Some(step) if step["type"] == "Sequence" => {
            step["normalizers"].as_array().into_iter().flatten().collect()
        }
        Some(step) => vec![step],
    };
    let before = parsed.pre_tokenizer.as_ref().filter(|p| !p.is_null());
    match (&steps[..], before) {
        ([first, second], None) if is_prepend(first) && is_replace(second) => Ok(true),
        ([only], None) if is_replace(only) => Ok(false),
        ([], Some(before)) if before["type"] == "Metaspace" && before["replacement"] == SPACE => {
            match before["prepend_scheme"].as_str() {
                Some("never") => Ok(false),
                Some("always" | "first") => Ok(true),
                _ => Ok(before["add_prefix_space"].as_bool().unwrap_or(true)),
            }
        }
        _ => Err(refused(format!(
            "a normalizer {} with a pre-tokenizer {} that are not SentencePiece's",
            parsed.normalizer.clone().unwrap_or_default(),
            parsed.pre_tokenizer.clone().unwrap_or_default()
        ))),
    }
}

/// The name of the rule by which text is cut into words.
fn pre_tokenizer(parsed: &Stated) -> Result<&'static str, GgufError> {
    let stated = parsed.pre_tokenizer.as_ref().unwrap_or(&Value::Null);
    let steps: Vec<&Value> = match stated["type"].as_str() {
        Some("Sequence") => stated["pretokenizers"].as_array().into_iter().flatten().collect(),
        _ => vec![stated],
    };
    let byte_level = |step: &Value, regex: bool| {
        step["type"] == "ByteLevel"
            && step["add_prefix_space"] == false
            && step.get("use_regex").and_then(Value::as_bool).unwrap_or(true) == regex
    };
    let fits = |words: &Words| match (words, &steps[..]) {
        (Words::Gpt2, [only]) => byte_level(only, true),
        (Words::DigitsThenGpt2, [digits, bytes]) => {
            digits["type"] == "Digits" && digits["individual_digits"] == true && byte_level(bytes, true)
        }
        (Words::Regex(regex), [split, bytes]) => {
            split["type"] == "Split"
                && split["pattern"]["Regex"] == *regex
                && split["behavior"] == "Isolated"
                && split["invert"] != true
                && byte_level(bytes, false)
        }
        _ => false,
    };
    let found = PRE_TOKENIZERS.iter().find(|pre| fits(&pre.words));
    let found = found
        .ok_or_else(|| refused(format!("pre-tokenizer {stated} is none that llama.cpp has a name for")))?;
    if parsed.model.ignore_merges != found.whole_words {
        return Err(refused(format!(
            "ignore_merges is {}, which llama.cpp does not do with rule {:?}",
            parsed.model.ignore_merges, found.name
        )));
    }
    match parsed.normalizer.as_ref().and_then(|n| n["type"].as_str()) {
        None => {}
        // llama.cpp leaves it out; text that is in that form already, as nearly all is, gives the same tokens.
        Some("NFC") if found.nfc => {}
        Some(other) => return Err(refused(format!("normalizer {other:?} with rule {:?}", found.name))),
    }
    Ok(found.name)
}

/// The tokens that are put before and after a text.
fn around(post_processor: Option<&Value>) -> Result<(Option<u64>, Option<u64>), GgufError> {
    let Some(step) = post_processor.filter(|p| !p.is_null()) else { return Ok((None, None)) };
    match step["type"].as_str() {
        Some("ByteLevel") => Ok((None, None)),
        Some("Sequence") => {
            let steps = step["processors"].as_array().into_iter().flatten();
            let found = steps.map(|step| around(Some(step))).collect::<Result<Vec<_>, _>>()?;
            Ok(found.into_iter().find(|around| *around != (None, None)).unwrap_or_default())
        }
        Some("TemplateProcessing") => {
            let id = |item: &Value| {
                let name = item["SpecialToken"]["id"].as_str()?;
                step["special_tokens"][name]["ids"].as_array()?.first()?.as_u64()
            };
            let is_text = |item: &Value| item.get("Sequence").is_some();
            match step["single"].as_array().map_or(&[][..], Vec::as_slice) {
                [text] if is_text(text) => Ok((None, None)),
                [first, text] if is_text(text) && id(first).is_some() => Ok((id(first), None)),
                [text, last] if is_text(text) && id(last).is_some() => Ok((None, id(last))),
                [first, text, last] if is_text(text) && id(first).is_some() && id(last).is_some() => {
                    Ok((id(first), id(last)))
                }
                _ => Err(refused("its post-processor puts more than one token before or after a text")),
            }
        }
        other => Err(refused(format!("post-processor {other:?}"))),
    }
}
