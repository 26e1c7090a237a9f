//! What a file's metadata say about the network, as `config.json` says it.

use super::{GgmlType, GgufError, GgufTensor, GgufValue, Metadata};
use serde_json::{Map, Value, json};

/// The architectures whose tensors and settings are translated, with transformers' name of the class.
const ARCHITECTURES: [(&str, &str); 2] = [("llama", "LlamaForCausalLM"), ("qwen2", "Qwen2ForCausalLM")];

/// The factors that llama.cpp divides rotary frequencies by, one per pair of a head; Llama 3.1 brought them.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The settings that such factors were computed from, as `config.json` has them: a key of Tenuis' own, because llama.cpp needs
/// none. Where it is missing, the published ones are tried.
pub const ROPE_SETTINGS: &str = "tenuis.rope_scaling";

/// The published settings of such factors: factor, low and high frequency factor, trained length.
const LLAMA3: [(f64, f64, f64, f64); 2] = [(8.0, 1.0, 4.0, 8192.0), (32.0, 1.0, 4.0, 8192.0)];
/// How far stored factors may be from computed ones: they are f32.
const FACTOR_TOLERANCE: f64 = 1e-5;

/// The architecture of a file and, where rows of queries and keys lie in llama.cpp's order, the width of a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// `config.json`.
    pub config: Value,
    /// The width of a head whose rows are reordered.
    pub reordered: Option<usize>,
}

struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn count(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.metadata.optional(&self.name(key), "a whole number", GgufValue::as_u64)
    }

    fn required(&self, key: &str) -> Result<u64, GgufError> {
        self.metadata.require(&self.name(key), "a whole number", GgufValue::as_u64)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        // Single-precision in the file: printed as short as f32 are, so that 1e-6 stays 1e-6.
        let read = |value: &GgufValue| match value {
            GgufValue::F32(v) => v.to_string().parse().ok(),
            value => value.as_f64(),
        };
        self.metadata.optional(&self.name(key), "a number", read)
    }

    /// One number for all layers, or a list of one for each.
    fn per_layer(&self, key: &str) -> Result<Option<Value>, GgufError> {
        let read = |value: &GgufValue| match value.as_list() {
            Some(items) => items.iter().map(GgufValue::as_u64).collect::<Option<Vec<_>>>().map(|v| json!(v)),
            None => value.as_u64().map(|v| json!(v)),
        };
        self.metadata.optional(&self.name(key), "a whole number or a list of them", read)
    }

    fn wrong(&self, key: &str, problem: impl Into<String>) -> GgufError {
        GgufError::Key { key: self.name(key), problem: problem.into() }
    }
}

/// The configuration of a file.
///
/// `rope_factors` are the values of [`ROPE_FACTORS`], where that tensor is there.
///
/// # Errors
/// [`GgufError::Architecture`] for networks that are not known, [`GgufError::Key`] for settings that are missing or have no
/// counterpart.
pub fn network(
    metadata: &Metadata,
    tensors: &[GgufTensor],
    rope_factors: Option<&[f32]>,
) -> Result<Network, GgufError> {
    let architecture = metadata.require("general.architecture", "a text", GgufValue::as_text)?;
    let Some((_, class)) = ARCHITECTURES.iter().find(|(name, _)| *name == architecture) else {
        return Err(GgufError::Architecture { found: architecture.to_owned() });
    };
    if metadata.find("split.count").and_then(GgufValue::as_u64).is_some_and(|n| n > 1) {
        let problem =
            "the model is split over several files; merge them with llama-gguf-split --merge".to_owned();
        return Err(GgufError::Key { key: "split.count".to_owned(), problem });
    }
    let keys = Keys { metadata, architecture };
    if keys.count("expert_count")?.is_some_and(|n| n > 0) {
        return Err(keys.wrong("expert_count", "mixtures of experts are not read"));
    }
    let tensor = |name: &str| tensors.iter().find(|t| t.name == name);
    let embedding = tensor("token_embd.weight").filter(|t| t.shape.len() == 2).ok_or(GgufError::Tensor {
        tensor: "token_embd.weight".to_owned(),
        problem: "is missing or no matrix",
    })?;
    let missing = |key: &str| keys.wrong(key, "is missing");
    let heads = keys.per_layer("attention.head_count")?.ok_or_else(|| missing("attention.head_count"))?;
    let d_model = keys.required("embedding_length")?;
    let head_dim = match (keys.count("attention.key_length")?, heads.as_u64()) {
        (Some(stated), _) => stated,
        (None, Some(heads)) if heads > 0 && d_model % heads == 0 => d_model / heads,
        (None, _) => return Err(missing("attention.key_length")),
    };
    for key in ["attention.value_length", "rope.dimension_count"] {
        if let Some(found) = keys.count(key)?.filter(|n| *n != head_dim) {
            return Err(keys.wrong(key, format!("{found} is not the {head_dim} of attention.key_length")));
        }
    }
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(keys.wrong("attention.key_length", format!("{head_dim} is no even number")));
    }
    let mut config = Map::from_iter([
        ("architectures".to_owned(), json!([class])),
        ("model_type".to_owned(), json!(architecture)),
        ("vocab_size".to_owned(), json!(embedding.shape[0])),
        ("hidden_size".to_owned(), json!(d_model)),
        ("num_hidden_layers".to_owned(), json!(keys.required("block_count")?)),
        ("num_attention_heads".to_owned(), heads.clone()),
        ("num_key_value_heads".to_owned(), keys.per_layer("attention.head_count_kv")?.unwrap_or(heads)),
        ("head_dim".to_owned(), json!(head_dim)),
        ("hidden_act".to_owned(), json!("silu")),
        ("max_position_embeddings".to_owned(), json!(keys.required("context_length")?)),
        ("rope_theta".to_owned(), json!(keys.number("rope.freq_base")?.unwrap_or(10_000.0))),
        ("tie_word_embeddings".to_owned(), json!(tensor("output.weight").is_none())),
        ("torch_dtype".to_owned(), json!("float16")),
    ]);
    let width = keys.per_layer("feed_forward_length")?.ok_or_else(|| missing("feed_forward_length"))?;
    config.insert("intermediate_size".to_owned(), width);
    let eps = "attention.layer_norm_rms_epsilon";
    config.insert("rms_norm_eps".to_owned(), json!(keys.number(eps)?.ok_or_else(|| missing(eps))?));
    if architecture == "llama" {
        config.insert("attention_bias".to_owned(), json!(tensor("blk.0.attn_q.bias").is_some()));
        config.insert("mlp_bias".to_owned(), json!(tensor("blk.0.ffn_up.bias").is_some()));
    }
    if let Some(scaling) = rope_scaling(&keys, rope_factors, head_dim)? {
        config.insert("rope_scaling".to_owned(), scaling);
    }
    for (key, name) in [
        ("bos_token_id", "bos_token_id"),
        ("eos_token_id", "eos_token_id"),
        ("padding_token_id", "pad_token_id"),
    ] {
        if let Some(id) = metadata.find(&format!("tokenizer.ggml.{key}")).and_then(GgufValue::as_u64) {
            config.insert(name.to_owned(), json!(id));
        }
    }
    let quantized = tensors.iter().any(|t| !matches!(t.kind, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16));
    if quantized {
        config.insert("quantization_config".to_owned(), json!({ "quant_method": "gguf" }));
    }
    let reordered = (architecture == "llama").then_some(head_dim as usize);
    Ok(Network { config: Value::Object(config), reordered })
}

fn rope_scaling(keys: &Keys<'_>, factors: Option<&[f32]>, head_dim: u64) -> Result<Option<Value>, GgufError> {
    const KIND: &str = "rope.scaling.type";
    let factor = match keys.number("rope.scaling.factor")? {
        // As older files say it.
        None => keys.number("rope.scale_linear")?,
        stated => stated,
    };
    let kind = keys.metadata.optional(&keys.name(KIND), "a text", GgufValue::as_text)?;
    let trained = keys.count("rope.scaling.original_context_length")?;
    if let Some(factors) = factors.filter(|f| f.iter().any(|f| *f != 1.0)) {
        let theta = keys.number("rope.freq_base")?.unwrap_or(10_000.0);
        let stated = stated_settings(keys.metadata)?;
        let found = stated.iter().chain(&LLAMA3).find(|settings| {
            let computed = llama3_factors(**settings, theta, head_dim as usize);
            let near = |(a, b): (&f64, &f32)| (a - f64::from(*b)).abs() <= FACTOR_TOLERANCE * a;
            computed.len() == factors.len() && computed.iter().zip(factors).all(near)
        });
        let (factor, low, high, trained) = found.ok_or(GgufError::Tensor {
            tensor: ROPE_FACTORS.to_owned(),
            problem: "holds factors of the rotary frequencies that are not those of Llama 3.1 or 3.2",
        })?;
        return Ok(Some(json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": *trained as u64,
        })));
    }
    match (kind, factor) {
        (None | Some("none"), None | Some(1.0)) => Ok(None),
        (None | Some("linear"), Some(factor)) => Ok(Some(json!({ "rope_type": "linear", "factor": factor }))),
        (Some("yarn"), Some(factor)) => {
            let trained =
                trained.ok_or_else(|| keys.wrong("rope.scaling.original_context_length", "is missing"))?;
            Ok(Some(json!({
                "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained,
            })))
        }
        (kind, factor) => {
            Err(keys.wrong(KIND, format!("{kind:?} with factor {factor:?} is not linear, yarn or none")))
        }
    }
}

fn stated_settings(metadata: &Metadata) -> Result<Option<(f64, f64, f64, f64)>, GgufError> {
    let read = |value: &GgufValue| {
        let settings: Value = serde_json::from_str(value.as_text()?).ok()?;
        let number = |key: &str| settings.get(key)?.as_f64();
        Some((
            number("factor")?,
            number("low_freq_factor")?,
            number("high_freq_factor")?,
            number("original_max_position_embeddings")?,
        ))
    };
    metadata.optional(ROPE_SETTINGS, "the JSON of a rope_scaling of type llama3", read)
}

/// What each rotary frequency is divided by, as Llama 3.1 published it: long waves by `factor`, short ones by nothing, those
/// between by an interpolation.
///
/// `settings`: factor, low and high frequency factor, trained length.
pub fn llama3_factors(settings: (f64, f64, f64, f64), theta: f64, head_dim: usize) -> Vec<f64> {
    let (factor, low, high, trained) = settings;
    let pairs = head_dim / 2;
    let one = |pair: usize| {
        let frequency = theta.powf(-2.0 * pair as f64 / head_dim as f64);
        let turns = trained * frequency / (2.0 * std::f64::consts::PI);
        if turns < low {
            return factor;
        }
        if turns > high {
            return 1.0;
        }
        let smooth = (turns - low) / (high - low);
        1.0 / ((1.0 - smooth) / factor + smooth)
    };
    (0..pairs).map(one).collect()
}
