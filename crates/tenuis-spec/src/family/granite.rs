//! Granite: Llama with four factors.

use super::Context;
use super::llama_like::{self, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let bias = config.bool_or("attention_bias", false)?;
    let traits = Traits {
        qkv_bias: bias,
        o_bias: bias,
        mlp_bias: config.bool_or("mlp_bias", false)?,
        ..Traits::of_llama(config.layers("num_hidden_layers")?)
    };
    let mut spec = llama_like::build(cx, &traits)?;
    let factor = |field: &str| config.positive(field, 1.0);
    let other_than_one = |factor: f64| (factor != 1.0).then_some(factor);
    let (scale, added) = (factor("attention_multiplier")?, other_than_one(factor("residual_multiplier")?));
    for layer in &mut spec.layers {
        layer.attention.scale = scale;
        layer.residual_scale = added;
    }
    spec.embedding.scale = other_than_one(factor("embedding_multiplier")?);
    // Logits are divided by it.
    spec.logit_scale = other_than_one(1.0 / factor("logits_scaling")?);
    Ok(spec)
}
