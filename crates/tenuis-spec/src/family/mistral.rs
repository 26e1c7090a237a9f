//! Mistral: Llama with a sliding window in every layer.

use super::Context;
use super::llama_like::{self, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;

/// The window of files that do not mention it; a null means none.
const WINDOW: usize = 4096;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let layers = cx.config.layers("num_hidden_layers")?;
    let absent = (!cx.config.has("sliding_window")).then_some(WINDOW);
    let window = cx.config.opt_usize("sliding_window")?.or(absent);
    let traits = Traits {
        n_kv: Some(8),
        max_positions: 4096 * 32,
        windows: vec![window; layers],
        ..Traits::of_llama(layers)
    };
    llama_like::build(cx, &traits)
}
