//! What Llama, Mistral, Qwen2, Qwen3 and SmolLM3 have in common; they differ in a few values.

use super::{Context, check_heads, rms_norm};
use crate::decoder::{DecoderSpec, Embedding, Positions};
use crate::error::SpecError;
use crate::layer::{Activation, AttentionSpec, LayerNorms, LayerSpec, MlpSpec, QkNorm, QkvSpec, Residual};
use crate::linear::{LinearSpec, Role};
use crate::rope::RopeSpec;
use serde_json::Value;
use tenuis_core::Layout;

/// In what a member of this kin differs from the others.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that configurations have by itself")]
pub(super) struct Traits {
    /// Key heads where the configuration does not say; as many as query heads where absent.
    pub(super) n_kv: Option<usize>,
    /// The width of a head where the configuration does not say; `d_model / heads` where absent.
    pub(super) head_dim: Option<usize>,
    /// Whether q, k and v have biases.
    pub(super) qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub(super) o_bias: bool,
    /// Whether the feed-forward part has biases.
    pub(super) mlp_bias: bool,
    /// Whether every head of q and k is normed.
    pub(super) qk_norm: bool,
    /// The base of the rotary positions where the configuration does not say.
    pub(super) theta: f64,
    /// The longest sequence where the configuration does not say.
    pub(super) max_positions: usize,
    /// Whether the head is the embedding where the configuration does not say.
    pub(super) tied: bool,
    /// The attention window of every layer.
    pub(super) windows: Vec<Option<usize>>,
    /// Which layers have rotary positions; all of them where empty.
    pub(super) rotary: Vec<bool>,
}

impl Traits {
    /// Llama's values, without windows.
    pub(super) fn of_llama(layers: usize) -> Self {
        Self {
            n_kv: None,
            head_dim: None,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            qk_norm: false,
            theta: 10_000.0,
            max_positions: 2048,
            tied: false,
            windows: vec![None; layers],
            rotary: Vec::new(),
        }
    }
}

/// The window of every layer from `layer_types`, or from the rule that the family has for files without it.
pub(super) fn windows(
    cx: &Context<'_>,
    layers: usize,
    window: Option<usize>,
    is_sliding: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, SpecError> {
    let Some(types) = cx.config.layer_list("layer_types", layers)? else {
        return Ok((0..layers).map(|i| window.filter(|_| is_sliding(i))).collect());
    };
    let parse = |value: &Value| match value.as_str() {
        Some("full_attention") => Ok(None),
        Some("sliding_attention") => Ok(window),
        _ => Err(cx.config.wrong("layer_types", value, "full_attention or sliding_attention in every entry")),
    };
    types.iter().map(parse).collect()
}

pub(super) fn build(cx: &Context<'_>, traits: &Traits) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let layers = config.layers("num_hidden_layers")?;
    let d_model = config.usize("hidden_size")?;
    let required = |field: &str| config.per_layer(field, layers)?.ok_or_else(|| config.missing(field));
    let n_q = required("num_attention_heads")?;
    let d_ff = required("intermediate_size")?;
    let n_kv = match (config.per_layer("num_key_value_heads", layers)?, traits.n_kv) {
        (Some(given), _) => given,
        (None, Some(usual)) if !config.has("num_key_value_heads") => vec![usual; layers],
        (None, _) => n_q.clone(),
    };
    let stated_head_dim = match config.opt_usize("head_dim")? {
        Some(given) => Some(given),
        None => traits.head_dim.filter(|_| !config.has("head_dim")),
    };
    if stated_head_dim.is_none() && n_q.iter().any(|&heads| heads != n_q[0]) {
        return Err(config.missing("head_dim"));
    }
    let eps = config.positive("rms_norm_eps", 1e-6)?;
    let activation = config.activation("hidden_act", Activation::Silu)?;
    let max_positions = config.usize_or("max_position_embeddings", traits.max_positions)?;
    let build_layer = |index: usize| {
        let (n_q, n_kv, d_ff) = (n_q[index], n_kv[index], d_ff[index]);
        check_heads(config, "num_key_value_heads", n_q, n_kv)?;
        let head_dim = match stated_head_dim {
            Some(given) => given,
            None if d_model.is_multiple_of(n_q) => d_model / n_q,
            None => {
                let expected = format!("a divisor of hidden_size {d_model}, or head_dim to be given");
                return Err(config.wrong("num_attention_heads", &Value::from(n_q), expected));
            }
        };
        let name = format!("{}layers.{index}", cx.prefix);
        let linear = |module: &str, role, shape, bias| LinearSpec {
            name: format!("{name}.{module}"),
            role,
            shape,
            layout: Layout::OutIn,
            bias,
        };
        let (q_dim, kv_dim) = (n_q * head_dim, n_kv * head_dim);
        let has_rope = traits.rotary.get(index).copied().unwrap_or(true);
        let rope = has_rope.then(|| RopeSpec::from_config(config, head_dim, traits.theta, max_positions));
        let head_norm = |module: &str| rms_norm(format!("{name}.self_attn.{module}"), head_dim, eps);
        Ok(LayerSpec {
            index,
            d_model,
            attention: AttentionSpec {
                n_q,
                n_kv,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                window: traits.windows[index],
                rope: rope.transpose()?,
                qk_norm: traits.qk_norm.then(|| QkNorm { q: head_norm("q_norm"), k: head_norm("k_norm") }),
                qkv: QkvSpec::Separate {
                    q: linear("self_attn.q_proj", Role::Q, [q_dim, d_model], traits.qkv_bias),
                    k: linear("self_attn.k_proj", Role::K, [kv_dim, d_model], traits.qkv_bias),
                    v: linear("self_attn.v_proj", Role::V, [kv_dim, d_model], traits.qkv_bias),
                },
                o: linear("self_attn.o_proj", Role::O, [d_model, q_dim], traits.o_bias),
            },
            mlp: MlpSpec::Gated {
                activation,
                gate: linear("mlp.gate_proj", Role::Gate, [d_ff, d_model], traits.mlp_bias),
                up: linear("mlp.up_proj", Role::Up, [d_ff, d_model], traits.mlp_bias),
                down: linear("mlp.down_proj", Role::Down, [d_model, d_ff], traits.mlp_bias),
            },
            norms: LayerNorms {
                attention_pre: Some(rms_norm(format!("{name}.input_layernorm"), d_model, eps)),
                mlp_pre: Some(rms_norm(format!("{name}.post_attention_layernorm"), d_model, eps)),
                ..LayerNorms::default()
            },
            residual: Residual::Sequential,
        })
    };
    let vocab = config.usize("vocab_size")?;
    Ok(DecoderSpec {
        model_type: cx.model_type.to_owned(),
        vocab,
        d_model,
        max_positions,
        embedding: Embedding { name: format!("{}embed_tokens", cx.prefix), scale: None, norm: None },
        positions: Positions::None,
        layers: (0..layers).map(build_layer).collect::<Result<_, _>>()?,
        final_norm: Some(rms_norm(format!("{}norm", cx.prefix), d_model, eps)),
        tied: config.bool_or("tie_word_embeddings", traits.tied)?,
        lm_head: DecoderSpec::untied_head("lm_head", vocab, d_model, false),
        logit_scale: None,
        logit_softcap: None,
    })
}
