//! OPT: learned positions whose table begins with two rows of padding, ReLU.

use super::plain_like::{self, Names, QKV, Traits};
use super::{Context, refuse};
use crate::decoder::{DecoderSpec, Positions};
use crate::error::SpecError;
use crate::layer::{Activation, Residual};
use serde_json::Value;

const NAMES: Names = Names {
    embedding: "embed_tokens",
    attention_norm: "self_attn_layer_norm",
    qkv: QKV,
    o: "self_attn.out_proj",
    mlp_norm: Some("final_layer_norm"),
    fc1: "fc1",
    fc2: "fc2",
    final_norm: "final_layer_norm",
    head: "lm_head",
};

/// The row of position 0.
const OFFSET: usize = 2;

/// The norms' epsilon, which no field gives.
const EPS: f64 = 1e-5;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    // Of the published models only that with 350 million parameters has these two.
    refuse(config, "do_layer_norm_before", false, "norms of the residual stream itself are not supported")?;
    refuse(config, "layer_norm_elementwise_affine", false, "norms without weights are not supported")?;
    let field = "word_embed_proj_dim";
    let d_model = config.usize("hidden_size")?;
    if let Some(width) = config.opt_usize(field)?.filter(|&width| width != d_model) {
        let expected = format!("hidden_size {d_model}: projections around the layers are not supported");
        return Err(config.wrong(field, &Value::from(width), expected));
    }
    let bias = config.bool_or("enable_bias", true)?;
    let max_positions = config.usize_or("max_position_embeddings", 2048)?;
    let traits = Traits {
        names: NAMES,
        n_kv: None,
        attention_bias: bias,
        mlp_bias: bias,
        eps: EPS,
        activation: config.activation("activation_function", Activation::Relu)?,
        window: None,
        rope: None,
        residual: Residual::Sequential,
        max_positions,
        tied: config.bool_or("tie_word_embeddings", true)?,
    };
    let mut spec = plain_like::build(cx, &traits)?;
    let name = format!("{}embed_positions", cx.prefix);
    spec.positions = Positions::Learned { name, rows: max_positions + OFFSET, offset: OFFSET };
    if config.bool_or("_remove_final_layer_norm", false)? {
        spec.final_norm = None;
    }
    Ok(spec)
}
