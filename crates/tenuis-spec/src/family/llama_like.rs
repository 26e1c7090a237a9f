//! What Llama, Mistral, Qwen2, Qwen3, SmolLM3, Gemma, Phi-3 and Granite have in common: root-mean-square norms and a gated
//! feed-forward part. They differ in a few values; what one of them alone has is changed in the spec that this gives.

use super::dimensions::{Dimensions, Usual};
use super::{Context, rms_norm};
use crate::config::Config;
use crate::decoder::{DecoderSpec, Embedding, Positions};
use crate::error::SpecError;
use crate::layer::{Activation, AttentionSpec, LayerNorms, LayerSpec, MlpSpec, QkNorm, QkvSpec, Residual};
use crate::linear::{LinearSpec, Role};
use crate::rope::{RopeFields, RopeSpec};
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
    /// How the rotary positions of a layer are read.
    pub(super) rope: fn(&RopeSite<'_>) -> Result<RopeSpec, SpecError>,
    /// The field of the activation, and the usual one.
    pub(super) activation: (&'static str, Activation),
    /// What is added to a mean square where the configuration does not say.
    pub(super) eps: f64,
    /// The longest sequence where the configuration does not say.
    pub(super) max_positions: usize,
    /// Whether the head is the embedding where the configuration does not say.
    pub(super) tied: bool,
    /// The attention window of every layer.
    pub(super) windows: Vec<Option<usize>>,
    /// Which layers have rotary positions; all of them where empty.
    pub(super) rotary: Vec<bool>,
    /// The experts of layers that have some.
    pub(super) experts: Option<Experts>,
}

/// Experts in place of one feed-forward part.
pub(super) struct Experts {
    /// Which layers have them.
    pub(super) layers: Vec<bool>,
    /// How many each has.
    pub(super) count: Vec<usize>,
    /// How many a token is given to.
    pub(super) top_k: usize,
    /// Whether their probabilities are made to add up to one.
    pub(super) renormalise: bool,
    /// The inner width of one, by layer.
    pub(super) d_ff: Vec<usize>,
    /// The module that holds router and experts, within a layer.
    pub(super) module: &'static str,
    /// The names of gate, up and down.
    pub(super) linears: [&'static str; 3],
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
            rope: |site| site.read(&RopeFields::usual(site.theta)),
            activation: ("hidden_act", Activation::Silu),
            eps: 1e-6,
            max_positions: 2048,
            tied: false,
            windows: vec![None; layers],
            rotary: Vec::new(),
            experts: None,
        }
    }
}

/// The layer that rotary positions are read for.
pub(super) struct RopeSite<'a> {
    pub(super) config: Config<'a>,
    pub(super) head_dim: usize,
    pub(super) max_positions: usize,
    /// The base where the configuration does not say.
    pub(super) theta: f64,
    pub(super) window: Option<usize>,
}

impl RopeSite<'_> {
    pub(super) fn read(&self, fields: &RopeFields) -> Result<RopeSpec, SpecError> {
        RopeSpec::from_config(self.config, fields, self.head_dim, self.max_positions)
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
    let dimensions = Dimensions::read(cx, Usual { n_kv: traits.n_kv, head_dim: traits.head_dim })?;
    let Dimensions { layers, d_model, head_dim, .. } = dimensions;
    let eps = config.positive("rms_norm_eps", traits.eps)?;
    let activation = config.activation(traits.activation.0, traits.activation.1)?;
    let max_positions = config.usize_or("max_position_embeddings", traits.max_positions)?;
    let build_layer = |index: usize| {
        let (n_q, n_kv, d_ff) = dimensions.of_layer(index);
        let name = format!("{}layers.{index}", cx.prefix);
        let linear = |module: &str, role, shape, bias| LinearSpec {
            name: format!("{name}.{module}"),
            role,
            shape,
            layout: Layout::OutIn,
            bias,
        };
        let gated = |module: &str, [gate, up, down]: [&str; 3], d_ff: usize| MlpSpec::Gated {
            activation,
            gate: linear(&format!("{module}.{gate}"), Role::Gate, [d_ff, d_model], traits.mlp_bias),
            up: linear(&format!("{module}.{up}"), Role::Up, [d_ff, d_model], traits.mlp_bias),
            down: linear(&format!("{module}.{down}"), Role::Down, [d_model, d_ff], traits.mlp_bias),
        };
        let (q_dim, kv_dim) = (n_q * head_dim, n_kv * head_dim);
        let has_rope = traits.rotary.get(index).copied().unwrap_or(true);
        let window = traits.windows[index];
        let site = RopeSite { config, head_dim, max_positions, theta: traits.theta, window };
        let rope = has_rope.then(|| (traits.rope)(&site));
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
                window,
                rope: rope.transpose()?,
                qk_norm: traits.qk_norm.then(|| QkNorm { q: head_norm("q_norm"), k: head_norm("k_norm") }),
                qkv: QkvSpec::Separate {
                    q: linear("self_attn.q_proj", Role::Q, [q_dim, d_model], traits.qkv_bias),
                    k: linear("self_attn.k_proj", Role::K, [kv_dim, d_model], traits.qkv_bias),
                    v: linear("self_attn.v_proj", Role::V, [kv_dim, d_model], traits.qkv_bias),
                },
                o: linear("self_attn.o_proj", Role::O, [d_model, q_dim], traits.o_bias),
            },
            mlp: match traits.experts.as_ref().filter(|experts| experts.layers[index]) {
                Some(experts) => MlpSpec::Experts {
                    router: linear(
                        &format!("{}.gate", experts.module),
                        Role::Router,
                        [experts.count[index], d_model],
                        false,
                    ),
                    top_k: experts.top_k.min(experts.count[index]),
                    renormalise: experts.renormalise,
                    experts: (0..experts.count[index])
                        .map(|expert| {
                            gated(
                                &format!("{}.experts.{expert}", experts.module),
                                experts.linears,
                                experts.d_ff[index],
                            )
                        })
                        .collect(),
                },
                None => gated("mlp", ["gate_proj", "up_proj", "down_proj"], d_ff),
            },
            norms: LayerNorms {
                attention_pre: Some(rms_norm(format!("{name}.input_layernorm"), d_model, eps)),
                mlp_pre: Some(rms_norm(format!("{name}.post_attention_layernorm"), d_model, eps)),
                ..LayerNorms::default()
            },
            residual: Residual::Sequential,
            residual_scale: None,
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
