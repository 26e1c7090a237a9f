//! Llama 1 to 3 and everything that was published in their clothes.

use super::Context;
use super::llama_like::{self, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let bias = cx.config.bool_or("attention_bias", false)?;
    let traits = Traits {
        qkv_bias: bias,
        o_bias: bias,
        mlp_bias: cx.config.bool_or("mlp_bias", false)?,
        ..Traits::of_llama(cx.config.layers("num_hidden_layers")?)
    };
    llama_like::build(cx, &traits)
}
