//! What GPT-NeoX, OPT, Phi and StarCoder2 have in common: layer norms and a feed-forward part without a gate. They differ
//! in names and a few values.

use super::dimensions::{Dimensions, Usual};
use super::{Context, layer_norm};
use crate::decoder::{DecoderSpec, Embedding, Positions};
use crate::error::SpecError;
use crate::layer::{
    Activation, AttentionSpec, FusedOrder, LayerNorms, LayerSpec, MlpSpec, QkvSpec, Residual,
};
use crate::linear::{LinearSpec, Role};
use crate::rope::{RopeFields, RopeSpec};
use tenuis_core::Layout;

/// What the modules are called: those of a layer within it, the others within the network; the head by itself.
pub(super) struct Names {
    pub(super) embedding: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) qkv: QkvNames,
    pub(super) o: &'static str,
    /// Absent where both parts of a layer share one norm.
    pub(super) mlp_norm: Option<&'static str>,
    pub(super) fc1: &'static str,
    pub(super) fc2: &'static str,
    pub(super) final_norm: &'static str,
    pub(super) head: &'static str,
}

/// The projections to queries, keys and values.
pub(super) enum QkvNames {
    /// Three Linears.
    Separate([&'static str; 3]),
    /// One, in which those of a head stand together.
    PerGroup(&'static str),
}

/// Three projections as most families call them.
pub(super) const QKV: QkvNames =
    QkvNames::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]);

/// In what a member of this kin differs from the others.
pub(super) struct Traits {
    pub(super) names: Names,
    /// Key heads where the configuration does not say; as many as query heads where absent.
    pub(super) n_kv: Option<usize>,
    pub(super) attention_bias: bool,
    pub(super) mlp_bias: bool,
    pub(super) eps: f64,
    pub(super) activation: Activation,
    /// The attention window of all layers.
    pub(super) window: Option<usize>,
    /// Rotary positions.
    pub(super) rope: Option<RopeFields>,
    pub(super) residual: Residual,
    /// The longest sequence.
    pub(super) max_positions: usize,
    /// Whether the head is the embedding.
    pub(super) tied: bool,
}

pub(super) fn build(cx: &Context<'_>, traits: &Traits) -> Result<DecoderSpec, SpecError> {
    let (config, names) = (cx.config, &traits.names);
    let dimensions = Dimensions::read(cx, Usual { n_kv: traits.n_kv, head_dim: None })?;
    let Dimensions { layers, d_model, head_dim, .. } = dimensions;
    let (max_positions, eps) = (traits.max_positions, traits.eps);
    let read_rope = |fields| RopeSpec::from_config(config, fields, head_dim, max_positions);
    let rope = traits.rope.as_ref().map(read_rope).transpose()?;
    let build_layer = |index: usize| {
        let (n_q, n_kv, d_ff) = dimensions.of_layer(index);
        let (q_dim, kv_dim) = (n_q * head_dim, n_kv * head_dim);
        let name = |module: &str| format!("{}layers.{index}.{module}", cx.prefix);
        let linear = |module: &str, role, shape, bias| LinearSpec {
            name: name(module),
            role,
            shape,
            layout: Layout::OutIn,
            bias,
        };
        let projection =
            |module: &str, role, rows| linear(module, role, [rows, d_model], traits.attention_bias);
        let qkv = match names.qkv {
            QkvNames::Separate([q, k, v]) => QkvSpec::Separate {
                q: projection(q, Role::Q, q_dim),
                k: projection(k, Role::K, kv_dim),
                v: projection(v, Role::V, kv_dim),
            },
            QkvNames::PerGroup(module) => QkvSpec::Fused {
                qkv: projection(module, Role::Qkv, q_dim + 2 * kv_dim),
                order: FusedOrder::PerGroup,
            },
        };
        LayerSpec {
            index,
            d_model,
            attention: AttentionSpec {
                n_q,
                n_kv,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                window: traits.window,
                rope: rope.clone(),
                qk_norm: None,
                qkv,
                o: linear(names.o, Role::O, [d_model, q_dim], traits.attention_bias),
            },
            mlp: MlpSpec::Plain {
                activation: traits.activation,
                fc1: linear(names.fc1, Role::Fc1, [d_ff, d_model], traits.mlp_bias),
                fc2: linear(names.fc2, Role::Fc2, [d_model, d_ff], traits.mlp_bias),
            },
            norms: LayerNorms {
                attention_pre: Some(layer_norm(name(names.attention_norm), d_model, eps)),
                mlp_pre: names.mlp_norm.map(|module| layer_norm(name(module), d_model, eps)),
                ..LayerNorms::default()
            },
            residual: traits.residual,
            residual_scale: None,
        }
    };
    let vocab = config.usize("vocab_size")?;
    let name = |module: &str| format!("{}{module}", cx.prefix);
    Ok(DecoderSpec {
        model_type: cx.model_type.to_owned(),
        vocab,
        d_model,
        max_positions,
        embedding: Embedding { name: name(names.embedding), scale: None, norm: None },
        positions: Positions::None,
        layers: (0..layers).map(build_layer).collect(),
        final_norm: Some(layer_norm(name(names.final_norm), d_model, eps)),
        tied: traits.tied,
        lm_head: DecoderSpec::untied_head(names.head, vocab, d_model, false),
        logit_scale: None,
        logit_softcap: None,
    })
}
