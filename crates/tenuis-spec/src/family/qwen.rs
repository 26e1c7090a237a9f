//! Qwen2: biases on q, k and v. Qwen3: a norm on every query and key head instead.

use super::Context;
use super::llama_like::{self, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;

/// What files that do not mention them stand for; a null window means none.
const WINDOW: usize = 4096;
const LAYERS_BEFORE_WINDOWS: usize = 28;

/// `sliding_window` counts only with `use_sliding_window`; without `layer_types` it holds from layer
/// `max_window_layers` on.
fn of_qwen(cx: &Context<'_>) -> Result<Traits, SpecError> {
    let config = cx.config;
    let layers = config.layers("num_hidden_layers")?;
    let absent = (!config.has("sliding_window")).then_some(WINDOW);
    let stated = config.opt_usize("sliding_window")?.or(absent);
    let window = stated.filter(|_| matches!(config.bool_or("use_sliding_window", false), Ok(true)));
    let full = match config.value("max_window_layers") {
        None => LAYERS_BEFORE_WINDOWS,
        // Zero is meant: every layer slides.
        Some(value) => {
            value.as_u64().ok_or_else(|| config.wrong("max_window_layers", value, "a whole number"))? as usize
        }
    };
    config.bool_or("use_sliding_window", false)?;
    Ok(Traits {
        n_kv: Some(32),
        max_positions: 32768,
        windows: llama_like::windows(cx, layers, window, |i| i >= full)?,
        ..Traits::of_llama(layers)
    })
}

pub(super) fn build_qwen2(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    llama_like::build(cx, &Traits { qkv_bias: true, ..of_qwen(cx)? })
}

pub(super) fn of_qwen3(cx: &Context<'_>) -> Result<Traits, SpecError> {
    let bias = cx.config.bool_or("attention_bias", false)?;
    Ok(Traits { qkv_bias: bias, o_bias: bias, qk_norm: true, head_dim: Some(128), ..of_qwen(cx)? })
}

pub(super) fn build_qwen3(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    llama_like::build(cx, &of_qwen3(cx)?)
}
