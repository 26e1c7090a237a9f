//! One layer: attention, feed-forward part, norms and how they are joined.

use crate::linear::LinearSpec;
use crate::rope::RopeSpec;
use serde::{Deserialize, Serialize};

/// One decoder layer.
///
/// With pre-norms `N₁`, `N₂` and optional post-norms `P₁`, `P₂`:
///
/// sequential: `h = x + P₁(attn(N₁ x))`, `y = h + P₂(mlp(N₂ h))`; parallel: `y = x + attn(N₁ x) + mlp(N₂ x)`, and
/// where `N₂` is absent the feed-forward part shares the output of `N₁`. With a residual scale `r`, what either part adds
/// to the residual stream is `r` times that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// The position in the network, from 0.
    pub index: usize,
    /// The width of the residual stream.
    pub d_model: usize,
    /// The attention part.
    pub attention: AttentionSpec,
    /// The feed-forward part.
    pub mlp: MlpSpec,
    /// The norms around both parts.
    pub norms: LayerNorms,
    /// How the parts and the residual stream are joined.
    pub residual: Residual,
    /// A factor on what either part adds to the residual stream (Granite); 1 where absent.
    #[serde(default)]
    pub residual_scale: Option<f64>,
}

/// Causal self-attention with grouped key and value heads.
///
/// Query head `h` attends with `softmax(cap(scale · q·k))`, `cap(s) = softcap · tanh(s / softcap)` where there is a
/// soft cap, over the keys of head `h div (n_q / n_kv)` at positions `k ≤ q`, and `q − k < window` where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_q: usize,
    /// Key and value heads; a divisor of `n_q`.
    pub n_kv: usize,
    /// The width of a head.
    pub head_dim: usize,
    /// The factor on `q·k`.
    pub scale: f64,
    /// The bound of the scores, where they are capped.
    pub softcap: Option<f64>,
    /// The number of positions that a query sees, itself among them; all earlier ones where absent.
    pub window: Option<usize>,
    /// Rotary positions; absent where positions enter otherwise or not at all.
    pub rope: Option<RopeSpec>,
    /// Norms of every query and key head, before rotary positions.
    pub qk_norm: Option<QkNorm>,
    /// The projections to queries, keys and values.
    pub qkv: QkvSpec,
    /// The projection back, `[d_model, n_q · head_dim]`.
    pub o: LinearSpec,
}

/// The norms of query and key heads, each over `head_dim`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QkNorm {
    /// The norm of queries.
    pub q: NormSpec,
    /// The norm of keys.
    pub k: NormSpec,
}

/// How queries, keys and values are projected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QkvSpec {
    /// Three Linears.
    Separate {
        /// `[n_q · head_dim, d_model]`.
        q: LinearSpec,
        /// `[n_kv · head_dim, d_model]`.
        k: LinearSpec,
        /// `[n_kv · head_dim, d_model]`.
        v: LinearSpec,
    },
    /// One Linear, `[(n_q + 2·n_kv) · head_dim, d_model]`.
    Fused {
        /// The Linear.
        qkv: LinearSpec,
        /// The order of its output features.
        order: FusedOrder,
    },
}

/// The order of the output features of a fused projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusedOrder {
    /// All queries, then all keys, then all values (GPT-2, Phi-3).
    Blocks,
    /// For every key head: its queries, its key, its value (GPT-NeoX, Falcon).
    PerGroup,
}

/// The feed-forward part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MlpSpec {
    /// `down(act(gate x) ∘ up x)`.
    Gated {
        /// The activation.
        activation: Activation,
        /// `[d_ff, d_model]`.
        gate: LinearSpec,
        /// `[d_ff, d_model]`.
        up: LinearSpec,
        /// `[d_model, d_ff]`.
        down: LinearSpec,
    },
    /// As `Gated`, with gate and up as the first and second half of one Linear (Phi-3).
    FusedGated {
        /// The activation.
        activation: Activation,
        /// `[2 · d_ff, d_model]`.
        gate_up: LinearSpec,
        /// `[d_model, d_ff]`.
        down: LinearSpec,
    },
    /// `fc2(act(fc1 x))`.
    Plain {
        /// The activation.
        activation: Activation,
        /// `[d_ff, d_model]`.
        fc1: LinearSpec,
        /// `[d_model, d_ff]`.
        fc2: LinearSpec,
    },
    /// `Σ_e p_e · expert_e(x)` over the `top_k` experts of each token with the largest `p = softmax(router x)` (Shazeer et
    /// al. 2017, arXiv 1701.06538). All experts have the same shape.
    Experts {
        /// `[experts, d_model]`. No technique's target: it is small, and what it decides is not a matter of degree.
        router: LinearSpec,
        /// How many experts a token is given to.
        top_k: usize,
        /// Whether the chosen `p_e` are divided by their sum.
        renormalise: bool,
        /// The experts, none of which has experts itself.
        experts: Vec<MlpSpec>,
    },
}

impl MlpSpec {
    /// The parts that are made of Linears: itself, or its experts.
    pub const fn parts(&self) -> &[Self] {
        match self {
            Self::Experts { experts, .. } => experts.as_slice(),
            _ => std::slice::from_ref(self),
        }
    }

    pub(crate) const fn parts_mut(&mut self) -> &mut [Self] {
        match self {
            Self::Experts { experts, .. } => experts.as_mut_slice(),
            _ => std::slice::from_mut(self),
        }
    }

    /// The router, where there are experts.
    pub const fn router(&self) -> Option<&LinearSpec> {
        match self {
            Self::Experts { router, .. } => Some(router),
            _ => None,
        }
    }

    /// The inner width; that of one expert.
    pub fn d_ff(&self) -> usize {
        match self {
            Self::Gated { down, .. } | Self::FusedGated { down, .. } => down.shape[1],
            Self::Plain { fc2, .. } => fc2.shape[1],
            Self::Experts { experts, .. } => experts.first().map_or(0, Self::d_ff),
        }
    }

    /// The activation.
    pub fn activation(&self) -> Activation {
        match self {
            Self::Gated { activation, .. }
            | Self::FusedGated { activation, .. }
            | Self::Plain { activation, .. } => *activation,
            Self::Experts { experts, .. } => experts.first().map_or(Activation::Silu, Self::activation),
        }
    }
}

/// The nonlinearity of a feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · σ(x)`.
    Silu,
    /// `x · Φ(x)`, with the error function.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// The names that configurations use.
    pub(crate) const NAMES: [(&'static str, Self); 8] = [
        ("silu", Self::Silu),
        ("swish", Self::Silu),
        ("gelu", Self::Gelu),
        ("gelu_new", Self::GeluTanh),
        ("gelu_fast", Self::GeluTanh),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("quick_gelu", Self::QuickGelu),
        ("relu", Self::Relu),
    ];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, activation)| activation)
    }
}

/// The norms of a layer by place; see [`LayerSpec`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerNorms {
    /// On the input of attention.
    pub attention_pre: Option<NormSpec>,
    /// On the output of attention, before the residual stream takes it (Gemma 2 and 3).
    pub attention_post: Option<NormSpec>,
    /// On the input of the feed-forward part.
    pub mlp_pre: Option<NormSpec>,
    /// On the output of the feed-forward part.
    pub mlp_post: Option<NormSpec>,
}

/// One norm over the last dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormSpec {
    /// The module; the tensors are `{name}.weight` and, with a bias, `{name}.bias`.
    pub name: String,
    /// The formula.
    pub kind: NormKind,
    /// The length of the weight.
    pub dim: usize,
    /// What is added to the mean square or variance.
    pub eps: f64,
    /// Whether the stored weight is an offset from one (Gemma).
    pub plus_one: bool,
    /// Whether a bias is stored.
    pub bias: bool,
}

/// The formula of a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// `w · x / √(mean(x²) + ε)`.
    Rms,
    /// `w · (x − mean(x)) / √(var(x) + ε) + b`.
    Layer,
}

/// How the two parts of a layer are joined; see [`LayerSpec`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residual {
    /// The feed-forward part reads what attention has added.
    #[default]
    Sequential,
    /// Both parts read the layer's input.
    Parallel,
}
