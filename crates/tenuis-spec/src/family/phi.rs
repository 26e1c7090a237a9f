//! Phi 1 to 2: both parts of a layer read one norm and are added together; part of a head is turned.

use super::plain_like::{self, Names, QKV, Traits};
use super::{Context, layer_norm, refuse};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{Activation, QkNorm, Residual};
use crate::rope::RopeFields;

const NAMES: Names = Names {
    embedding: "embed_tokens",
    attention_norm: "input_layernorm",
    qkv: QKV,
    o: "self_attn.dense",
    mlp_norm: None,
    fc1: "mlp.fc1",
    fc2: "mlp.fc2",
    final_norm: "final_layernorm",
    head: "lm_head",
};

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    refuse(config, "tie_word_embeddings", true, "the head has a bias, which the embedding has not")?;
    let eps = config.positive("layer_norm_eps", 1e-5)?;
    let traits = Traits {
        names: NAMES,
        n_kv: None,
        attention_bias: true,
        mlp_bias: true,
        eps,
        activation: config.activation("hidden_act", Activation::GeluTanh)?,
        window: None,
        rope: Some(RopeFields { part: ("partial_rotary_factor", 0.5), ..RopeFields::usual(10_000.0) }),
        residual: Residual::Parallel,
        max_positions: config.usize_or("max_position_embeddings", 2048)?,
        tied: false,
    };
    let mut spec = plain_like::build(cx, &traits)?;
    spec.lm_head.bias = true;
    if config.bool_or("qk_layernorm", false)? {
        for layer in &mut spec.layers {
            let norm = |module: &str| {
                let name = format!("{}layers.{}.self_attn.{module}", cx.prefix, layer.index);
                layer_norm(name, layer.attention.head_dim, eps)
            };
            layer.attention.qk_norm = Some(QkNorm { q: norm("q_layernorm"), k: norm("k_layernorm") });
        }
    }
    Ok(spec)
}
