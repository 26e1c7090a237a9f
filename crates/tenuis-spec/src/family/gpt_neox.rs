//! GPT-NeoX and Pythia: q, k and v of a head stand together in one Linear; both parts of a layer read its input, each
//! through a norm of its own; part of a head is turned.

use super::Context;
use super::plain_like::{self, Names, QkvNames, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{Activation, Residual};
use crate::rope::RopeFields;

const NAMES: Names = Names {
    embedding: "embed_in",
    attention_norm: "input_layernorm",
    qkv: QkvNames::PerGroup("attention.query_key_value"),
    o: "attention.dense",
    mlp_norm: Some("post_attention_layernorm"),
    fc1: "mlp.dense_h_to_4h",
    fc2: "mlp.dense_4h_to_h",
    final_norm: "final_layer_norm",
    head: "embed_out",
};

/// The names of rotary fields that this family alone has.
const ROPE: RopeFields = RopeFields {
    theta: ("rotary_emb_base", 10_000.0),
    part: ("rotary_pct", 0.25),
    ..RopeFields::usual(10_000.0)
};

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let parallel = config.bool_or("use_parallel_residual", true)?;
    let traits = Traits {
        names: NAMES,
        n_kv: None,
        attention_bias: config.bool_or("attention_bias", true)?,
        mlp_bias: true,
        eps: config.positive("layer_norm_eps", 1e-5)?,
        activation: config.activation("hidden_act", Activation::Gelu)?,
        window: None,
        rope: Some(ROPE),
        residual: if parallel { Residual::Parallel } else { Residual::Sequential },
        max_positions: config.usize_or("max_position_embeddings", 2048)?,
        tied: config.bool_or("tie_word_embeddings", false)?,
    };
    plain_like::build(cx, &traits)
}
