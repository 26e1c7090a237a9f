//! GPT-2: learned positions, layer norms, a fused `[in, out]` projection to q, k and v.

use super::{Context, layer_norm};
use crate::decoder::{DecoderSpec, Embedding, Positions};
use crate::error::SpecError;
use crate::layer::{
    Activation, AttentionSpec, FusedOrder, LayerNorms, LayerSpec, MlpSpec, QkvSpec, Residual,
};
use crate::linear::{LinearSpec, Role};
use serde_json::Value;
use tenuis_core::Layout;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let (layers, d_model, vocab) =
        (config.layers("n_layer")?, config.usize("n_embd")?, config.usize("vocab_size")?);
    let heads = config.per_layer("n_head", layers)?.ok_or_else(|| config.missing("n_head"))?;
    // Not a field of GPT-2 elsewhere: without some of its heads the width of one is not what n_embd says.
    let head_dim = match (config.opt_usize("head_dim")?, &heads[..]) {
        (Some(given), _) => given,
        (None, [first, rest @ ..]) if rest.iter().any(|heads| heads != first) => {
            return Err(config.missing("head_dim"));
        }
        (None, heads) => {
            let heads = heads.first().copied().unwrap_or(1);
            if !d_model.is_multiple_of(heads) {
                let expected = format!("a divisor of n_embd {d_model}, or head_dim to be given");
                return Err(config.wrong("n_head", &Value::from(heads), expected));
            }
            d_model / heads
        }
    };
    let max_positions = config.usize_or("n_positions", 1024)?;
    let eps = config.positive("layer_norm_epsilon", 1e-5)?;
    let activation = config.activation("activation_function", Activation::GeluTanh)?;
    let d_ff = config.per_layer("n_inner", layers)?.unwrap_or_else(|| vec![4 * d_model; layers]);
    let by_layer = config.bool_or("scale_attn_by_inverse_layer_idx", false)?;
    let by_width = config.bool_or("scale_attn_weights", true)?;
    let build_layer = |index: usize| {
        let (heads, d_ff) = (heads[index], d_ff[index]);
        let inner = heads * head_dim;
        let name = format!("{}h.{index}", cx.prefix);
        let linear = |module: &str, role, shape| LinearSpec {
            name: format!("{name}.{module}"),
            role,
            shape,
            layout: Layout::InOut,
            bias: true,
        };
        let width = if by_width { (head_dim as f64).powf(-0.5) } else { 1.0 };
        LayerSpec {
            index,
            d_model,
            attention: AttentionSpec {
                n_q: heads,
                n_kv: heads,
                head_dim,
                scale: if by_layer { width / (index + 1) as f64 } else { width },
                softcap: None,
                window: None,
                rope: None,
                qk_norm: None,
                qkv: QkvSpec::Fused {
                    qkv: linear("attn.c_attn", Role::Qkv, [3 * inner, d_model]),
                    order: FusedOrder::Blocks,
                },
                o: linear("attn.c_proj", Role::O, [d_model, inner]),
            },
            mlp: MlpSpec::Plain {
                activation,
                fc1: linear("mlp.c_fc", Role::Fc1, [d_ff, d_model]),
                fc2: linear("mlp.c_proj", Role::Fc2, [d_model, d_ff]),
            },
            norms: LayerNorms {
                attention_pre: Some(layer_norm(format!("{name}.ln_1"), d_model, eps)),
                mlp_pre: Some(layer_norm(format!("{name}.ln_2"), d_model, eps)),
                ..LayerNorms::default()
            },
            residual: Residual::Sequential,
            residual_scale: None,
        }
    };
    Ok(DecoderSpec {
        model_type: cx.model_type.to_owned(),
        vocab,
        d_model,
        max_positions,
        embedding: Embedding { name: format!("{}wte", cx.prefix), scale: None, norm: None },
        positions: Positions::Learned { name: format!("{}wpe", cx.prefix), rows: max_positions, offset: 0 },
        layers: (0..layers).map(build_layer).collect(),
        final_norm: Some(layer_norm(format!("{}ln_f", cx.prefix), d_model, eps)),
        tied: config.bool_or("tie_word_embeddings", true)?,
        lm_head: DecoderSpec::untied_head("lm_head", vocab, d_model, false),
        logit_scale: None,
        logit_softcap: None,
    })
}
