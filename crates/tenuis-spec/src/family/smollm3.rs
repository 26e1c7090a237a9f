//! SmolLM3: Llama in which every fourth layer has no positions.

use super::Context;
use super::llama_like::{self, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let layers = config.layers("num_hidden_layers")?;
    let interval = config.usize_or("no_rope_layer_interval", 4)?;
    let rotary: Vec<bool> = match config.layer_list("no_rope_layers", layers)? {
        // Despite the name a 1 marks a layer that has rotary positions.
        Some(list) => list.iter().map(|v| v.as_u64().is_some_and(|n| n != 0)).collect(),
        None => (1..=layers).map(|nth| nth % interval != 0).collect(),
    };
    let slides = config.bool_or("use_sliding_window", false)?;
    let window = config.opt_usize("sliding_window")?.filter(|_| slides);
    let bias = config.bool_or("attention_bias", false)?;
    let traits = Traits {
        n_kv: Some(4),
        qkv_bias: bias,
        o_bias: bias,
        mlp_bias: config.bool_or("mlp_bias", false)?,
        theta: 2_000_000.0,
        max_positions: 32768,
        tied: true,
        windows: llama_like::windows(cx, layers, window, |i| !rotary[i])?,
        rotary: rotary.clone(),
        ..Traits::of_llama(layers)
    };
    llama_like::build(cx, &traits)
}
