//! Families of models: each a function from a configuration to a spec.

mod dimensions;
mod experts;
mod gemma;
mod gpt2;
mod gpt_neox;
mod granite;
mod llama;
mod llama_like;
mod mistral;
mod opt;
mod phi;
mod phi3;
mod plain_like;
mod qwen;
mod smollm3;
mod starcoder2;

use crate::config::Config;
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{NormKind, NormSpec};
use serde_json::Value;

/// What a family's function works with.
struct Context<'a> {
    config: Config<'a>,
    model_type: &'a str,
    fields: &'a DimensionFields,
    /// What the names of all tensors but the head begin with.
    prefix: &'a str,
}

/// The fields of a configuration that pruning changes. Each may be one number, or a list with a number for each layer.
pub(crate) struct DimensionFields {
    /// Inner channels of the feed-forward part.
    pub(crate) channels: &'static str,
    /// Inner channels of an expert, where they have a field of their own.
    pub(crate) expert_channels: Option<&'static str>,
    /// Experts, in families that have some.
    pub(crate) experts: Option<&'static str>,
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
    expert_channels: None,
    experts: None,
    heads: "num_attention_heads",
    kv_heads: Some("num_key_value_heads"),
    head_dim: "head_dim",
    own_head_dim: false,
    heads_divide_width: false,
};
const LLAMA: DimensionFields = DimensionFields { heads_divide_width: true, ..LLAMA_LIKE };
const MIXTRAL: DimensionFields = DimensionFields { experts: Some("num_local_experts"), ..LLAMA_LIKE };
const QWEN3_MOE: DimensionFields = DimensionFields {
    expert_channels: Some("moe_intermediate_size"),
    experts: Some("num_experts"),
    ..LLAMA_LIKE
};
const GPT2: DimensionFields = DimensionFields {
    channels: "n_inner",
    heads: "n_head",
    kv_heads: None,
    own_head_dim: true,
    ..LLAMA_LIKE
};
const GPT_NEOX: DimensionFields = DimensionFields { kv_heads: None, own_head_dim: true, ..LLAMA_LIKE };
const OPT: DimensionFields = DimensionFields { channels: "ffn_dim", ..GPT_NEOX };

/// A row of the table of families.
struct Family {
    model_type: &'static str,
    /// What a full checkpoint's names begin with, and those of a bare model without its head.
    prefixes: [&'static str; 2],
    fields: DimensionFields,
    build: fn(&Context<'_>) -> Result<DecoderSpec, SpecError>,
}

impl Family {
    const fn new(
        model_type: &'static str,
        prefixes: [&'static str; 2],
        fields: DimensionFields,
        build: fn(&Context<'_>) -> Result<DecoderSpec, SpecError>,
    ) -> Self {
        Self { model_type, prefixes, fields, build }
    }
}

/// What most checkpoints' names begin with.
const MODEL: [&str; 2] = ["model.", ""];

/// Every family; a new one is a function and a row here.
static FAMILIES: [Family; 17] = [
    Family::new("gemma", MODEL, LLAMA_LIKE, gemma::build_gemma),
    Family::new("gemma2", MODEL, LLAMA, gemma::build_gemma2),
    Family::new("gemma3_text", MODEL, LLAMA, gemma::build_gemma3),
    Family::new("gpt2", ["transformer.", ""], GPT2, gpt2::build),
    Family::new("gpt_neox", ["gpt_neox.", ""], GPT_NEOX, gpt_neox::build),
    Family::new("granite", MODEL, LLAMA_LIKE, granite::build),
    Family::new("llama", MODEL, LLAMA, llama::build),
    Family::new("mistral", MODEL, LLAMA_LIKE, mistral::build),
    Family::new("mixtral", MODEL, MIXTRAL, experts::build_mixtral),
    Family::new("opt", ["model.decoder.", "decoder."], OPT, opt::build),
    Family::new("phi", MODEL, LLAMA_LIKE, phi::build),
    Family::new("phi3", MODEL, LLAMA_LIKE, phi3::build),
    Family::new("qwen2", MODEL, LLAMA_LIKE, qwen::build_qwen2),
    Family::new("qwen3", MODEL, LLAMA_LIKE, qwen::build_qwen3),
    Family::new("qwen3_moe", MODEL, QWEN3_MOE, experts::build_qwen3_moe),
    Family::new("smollm3", MODEL, LLAMA_LIKE, smollm3::build),
    Family::new("starcoder2", MODEL, LLAMA_LIKE, starcoder2::build),
];

/// The values of `model_type` that have a family.
///
/// ```
/// assert!(tenuis_spec::families().any(|name| name == "qwen3"));
/// ```
pub fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.model_type)
}

/// Builds the spec with the names of a full checkpoint, or those of a bare model without its head.
pub(crate) fn build(config: Config<'_>, bare: bool) -> Result<DecoderSpec, SpecError> {
    let model_type = config.opt_str("model_type")?.ok_or_else(|| config.missing("model_type"))?;
    let family = family(model_type)?;
    let prefix = family.prefixes[usize::from(bare)];
    (family.build)(&Context { config, model_type, fields: &family.fields, prefix })
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

/// Refuses a position of a switch that asks for something that no spec can say; the other one is the usual.
fn refuse(config: Config<'_>, field: &str, refused: bool, why: &str) -> Result<(), SpecError> {
    if config.bool_or(field, !refused)? != refused {
        return Ok(());
    }
    Err(config.wrong(field, &Value::from(refused), format!("{}: {why}", !refused)))
}
