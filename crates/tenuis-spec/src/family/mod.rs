//! Families of models: each a function from a configuration to a spec.

mod gpt2;
mod llama;
mod llama_like;
mod mistral;
mod qwen;
mod smollm3;

use crate::config::Config;
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{NormKind, NormSpec};

/// What a family's function works with.
struct Context<'a> {
    config: Config<'a>,
    model_type: &'a str,
    /// What the names of all tensors but the head begin with.
    prefix: &'a str,
}

/// The fields of a configuration that pruning changes. Each may be one number, or a list with a number for each layer.
pub(crate) struct DimensionFields {
    /// Inner channels of the feed-forward part.
    pub(crate) channels: &'static str,
    /// Query heads.
    pub(crate) heads: &'static str,
    /// Key and value heads, where they have a field of their own.
    pub(crate) kv_heads: Option<&'static str>,
    /// The width of a head; always one number.
    pub(crate) head_dim: &'static str,
    /// Whether other readers of the family know no such field.
    pub(crate) own_head_dim: bool,
    /// Whether other readers insist that the heads divide the hidden size, even beside a width of heads.
    pub(crate) heads_divide_width: bool,
}

const LLAMA_LIKE: DimensionFields = DimensionFields {
    channels: "intermediate_size",
    heads: "num_attention_heads",
    kv_heads: Some("num_key_value_heads"),
    head_dim: "head_dim",
    own_head_dim: false,
    heads_divide_width: false,
};
const LLAMA: DimensionFields = DimensionFields { heads_divide_width: true, ..LLAMA_LIKE };
const GPT2: DimensionFields = DimensionFields {
    channels: "n_inner",
    heads: "n_head",
    kv_heads: None,
    own_head_dim: true,
    ..LLAMA_LIKE
};

/// A row of the table of families.
struct Family {
    model_type: &'static str,
    /// What a full checkpoint's names begin with.
    prefix: &'static str,
    fields: DimensionFields,
    build: fn(&Context<'_>) -> Result<DecoderSpec, SpecError>,
}

/// Every family; a new one is a function and a row here.
static FAMILIES: [Family; 6] = [
    Family { model_type: "gpt2", prefix: "transformer.", fields: GPT2, build: gpt2::build },
    Family { model_type: "llama", prefix: "model.", fields: LLAMA, build: llama::build },
    Family { model_type: "mistral", prefix: "model.", fields: LLAMA_LIKE, build: mistral::build },
    Family { model_type: "qwen2", prefix: "model.", fields: LLAMA_LIKE, build: qwen::build_qwen2 },
    Family { model_type: "qwen3", prefix: "model.", fields: LLAMA_LIKE, build: qwen::build_qwen3 },
    Family { model_type: "smollm3", prefix: "model.", fields: LLAMA_LIKE, build: smollm3::build },
];

/// The values of `model_type` that have a family.
///
/// ```
/// assert!(tenuis_spec::families().any(|name| name == "qwen3"));
/// ```
pub fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.model_type)
}

/// Builds the spec with the family's usual prefix of names or another one.
pub(crate) fn build(config: Config<'_>, prefix: Option<&str>) -> Result<DecoderSpec, SpecError> {
    let model_type = config.opt_str("model_type")?.ok_or_else(|| config.missing("model_type"))?;
    let family = family(model_type)?;
    (family.build)(&Context { config, model_type, prefix: prefix.unwrap_or(family.prefix) })
}

/// The fields of a family's configuration that pruning changes.
pub(crate) fn fields(model_type: &str) -> Result<&'static DimensionFields, SpecError> {
    Ok(&family(model_type)?.fields)
}

fn family(model_type: &str) -> Result<&'static Family, SpecError> {
    FAMILIES.iter().find(|f| f.model_type == model_type).ok_or_else(|| {
        let known = families().collect::<Vec<_>>().join(", ");
        SpecError::UnknownModelType { found: model_type.to_owned(), known }
    })
}

fn rms_norm(name: String, dim: usize, eps: f64) -> NormSpec {
    NormSpec { name, kind: NormKind::Rms, dim, eps, plus_one: false, bias: false }
}

fn layer_norm(name: String, dim: usize, eps: f64) -> NormSpec {
    NormSpec { name, kind: NormKind::Layer, dim, eps, plus_one: false, bias: true }
}

/// Checks that every key head serves a whole number of query heads.
fn check_heads(config: Config<'_>, field: &str, n_q: usize, n_kv: usize) -> Result<(), SpecError> {
    if n_q.is_multiple_of(n_kv) {
        return Ok(());
    }
    Err(config.wrong(field, &serde_json::Value::from(n_kv), format!("a divisor of {n_q} query heads")))
}
