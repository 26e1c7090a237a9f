//! StarCoder2: layer norms and biases, grouped heads, a window in every layer.
//!
//! A family that resembles another is its names, its values and a row in the table of families; this is one to copy.

use super::Context;
use super::plain_like::{self, Names, QKV, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{Activation, Residual};
use crate::rope::RopeFields;

const NAMES: Names = Names {
    embedding: "embed_tokens",
    attention_norm: "input_layernorm",
    qkv: QKV,
    o: "self_attn.o_proj",
    mlp_norm: Some("post_attention_layernorm"),
    fc1: "mlp.c_fc",
    fc2: "mlp.c_proj",
    final_norm: "norm",
    head: "lm_head",
};

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let bias = config.bool_or("use_bias", true)?;
    let traits = Traits {
        names: NAMES,
        n_kv: Some(2),
        attention_bias: bias,
        mlp_bias: bias,
        eps: config.positive("norm_epsilon", 1e-5)?,
        activation: config.activation("hidden_act", Activation::GeluTanh)?,
        window: config.opt_usize("sliding_window")?,
        rope: Some(RopeFields::usual(10_000.0)),
        residual: Residual::Sequential,
        max_positions: config.usize_or("max_position_embeddings", 4096)?,
        tied: config.bool_or("tie_word_embeddings", true)?,
    };
    plain_like::build(cx, &traits)
}
