//! Mixtral and Qwen3-MoE: experts in place of one feed-forward part.

use super::Context;
use super::llama_like::{self, Experts, Traits};
use super::qwen;
use crate::decoder::DecoderSpec;
use crate::error::SpecError;

/// How many experts each layer has: one number, or a list (experts were dropped). Older files of Qwen name it
/// differently.
fn count(
    cx: &Context<'_>,
    layers: usize,
    fields: [&str; 2],
    default: usize,
) -> Result<Vec<usize>, SpecError> {
    for field in fields {
        if let Some(count) = cx.config.per_layer(field, layers)? {
            return Ok(count);
        }
    }
    Ok(vec![default; layers])
}

/// Mistral with experts `w1` (gate), `w3` (up) and `w2` (down) in every layer; the chosen probabilities add up to one.
pub(super) fn build_mixtral(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let layers = config.layers("num_hidden_layers")?;
    let width = config.per_layer("intermediate_size", layers)?;
    let window = config.opt_usize("sliding_window")?;
    let traits = Traits {
        n_kv: Some(8),
        theta: 1e6,
        max_positions: 131_072,
        windows: llama_like::windows(cx, layers, window, |_| true)?,
        experts: Some(Experts {
            layers: vec![true; layers],
            count: count(cx, layers, ["num_local_experts", "num_experts"], 8)?,
            top_k: config.usize_or("num_experts_per_tok", 2)?,
            renormalise: true,
            d_ff: width.ok_or_else(|| config.missing("intermediate_size"))?,
            module: "block_sparse_moe",
            linears: ["w1", "w3", "w2"],
        }),
        ..Traits::of_llama(layers)
    };
    llama_like::build(cx, &traits)
}

/// Qwen3 with experts in every `decoder_sparse_step`-th layer but those of `mlp_only_layers`.
pub(super) fn build_qwen3_moe(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let layers = config.layers("num_hidden_layers")?;
    let step = config.usize_or("decoder_sparse_step", 1)?;
    let dense = config.numbers("mlp_only_layers")?;
    let count = count(cx, layers, ["num_experts", "num_local_experts"], 128)?;
    let sparse = |index: usize| (index + 1).is_multiple_of(step) && !dense.contains(&index);
    let width = config.per_layer("moe_intermediate_size", layers)?.unwrap_or_else(|| vec![768; layers]);
    let traits = Traits {
        n_kv: Some(4),
        head_dim: None,
        experts: Some(Experts {
            layers: (0..layers).map(sparse).collect(),
            count,
            top_k: config.usize_or("num_experts_per_tok", 8)?,
            renormalise: config.bool_or("norm_topk_prob", false)?,
            d_ff: width,
            module: "mlp",
            linears: ["gate_proj", "up_proj", "down_proj"],
        }),
        ..qwen::of_qwen3(cx)?
    };
    llama_like::build(cx, &traits)
}
