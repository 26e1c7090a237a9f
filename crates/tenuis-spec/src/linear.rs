//! The Linears of a layer: what they are called, which share an input, and what produces that input.

use crate::layer::{Activation, AttentionSpec, FusedOrder, LayerSpec, MlpSpec, QkvSpec, Residual};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tenuis_core::Layout;

/// What a Linear does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Projection to queries.
    Q,
    /// Projection to keys.
    K,
    /// Projection to values.
    V,
    /// Fused projection to queries, keys and values.
    Qkv,
    /// Projection of the attention's output.
    O,
    /// Gate of a gated feed-forward part.
    Gate,
    /// Up projection of a gated feed-forward part.
    Up,
    /// Gate and up as one.
    GateUp,
    /// Down projection of a gated feed-forward part.
    Down,
    /// First Linear of a plain feed-forward part.
    Fc1,
    /// Second Linear of a plain feed-forward part.
    Fc2,
    /// Projection to the logits of experts.
    Router,
    /// Projection to logits.
    Head,
}

/// One Linear, `y = W x + b`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearSpec {
    /// The module, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// `[out_features, in_features]`, however it is stored.
    pub shape: [usize; 2],
    /// Which dimension of a dense stored weight comes first.
    #[serde(with = "LayoutName")]
    pub layout: Layout,
    /// Whether `{name}.bias`, `[out_features]`, is stored.
    pub bias: bool,
}

impl LinearSpec {
    /// The name of the weight where it is stored dense.
    pub fn weight_name(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// The name of the bias, where there is one.
    pub fn bias_name(&self) -> Option<String> {
        self.bias.then(|| format!("{}.bias", self.name))
    }

    /// The shape of the dense tensor in its stored layout.
    pub fn stored_shape(&self) -> [usize; 2] {
        let [out_features, in_features] = self.shape;
        match self.layout {
            Layout::OutIn => [out_features, in_features],
            Layout::InOut => [in_features, out_features],
        }
    }
}

/// Gives [`Layout`] its names in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Layout", rename_all = "snake_case")]
enum LayoutName {
    OutIn,
    InOut,
}

/// Linears that read the same input, so that one set of statistics serves all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputGroup {
    /// The Linears, in the order of the forward pass.
    pub linears: Vec<LinearSpec>,
    /// What the input comes from.
    pub producer: Producer,
}

impl InputGroup {
    /// The width of the shared input.
    pub fn in_features(&self) -> usize {
        self.linears.first().map_or(0, |l| l.shape[1])
    }
}

/// What a group's input comes from, as far as a positive scale per input channel can be folded into it exactly: every
/// input channel is one output channel of the producer times something that does not depend on its scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Producer {
    /// A norm's weight (and bias): input channel `i` is its channel `i`.
    Norm {
        /// The module.
        name: String,
    },
    /// A Linear's rows (and bias).
    Linear {
        /// The module.
        name: String,
        /// Which row each input channel comes from.
        rows: ProducerRows,
    },
    /// Nothing that takes a scale: a curved nonlinearity stands between, or it is the residual stream itself.
    None,
}

/// The row of a producing Linear that an input channel comes from:
/// `row(i) = first + (i div (width · repeat)) · stride + i mod width`.
///
/// The value rows of attention are `width = head_dim` wide and each serves `repeat` query heads, so that a scale can be
/// folded where it is the same for all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerRows {
    /// The first row that matters.
    pub first: usize,
    /// Rows that lie together.
    pub width: usize,
    /// How often these are used one after the other.
    pub repeat: usize,
    /// The distance from one such run to the next.
    pub stride: usize,
}

impl ProducerRows {
    /// `count` rows from `first` on, each used once.
    const fn run(first: usize, count: usize) -> Self {
        Self { first, width: count, repeat: 1, stride: count }
    }

    /// The row that input channel `channel` comes from.
    ///
    /// ```
    /// use tenuis_spec::ProducerRows;
    /// // Two value heads of three, each serving two query heads.
    /// let rows = ProducerRows { first: 0, width: 3, repeat: 2, stride: 3 };
    /// let found: Vec<usize> = (0..12).map(|channel| rows.row(channel)).collect();
    /// assert_eq!(found, [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
    /// ```
    pub const fn row(self, channel: usize) -> usize {
        self.first + channel / (self.width * self.repeat) * self.stride + channel % self.width
    }
}

impl LayerSpec {
    /// The Linears that hold the layer's weights, part by part in the order of the forward pass; not the router.
    pub fn linears(&self) -> Vec<LinearSpec> {
        let mut linears = self.attention_inputs();
        linears.push(self.attention.o.clone());
        for part in self.mlp.parts() {
            linears.extend(part.inputs());
            linears.extend(part.output());
        }
        linears
    }

    /// The Linears grouped by shared input, in true-sequential order: `q,k,v` → `o` → `gate,up` → `down`.
    ///
    /// In a parallel layer without a second norm the first Linears of the feed-forward part read what `q,k,v` read,
    /// so they stand in the first group. Each expert has groups of its own, as each sees other tokens: first the inputs of
    /// all of them, then their last Linears.
    pub fn groups(&self) -> Vec<InputGroup> {
        let norm = |norm: &Option<crate::NormSpec>| {
            norm.as_ref().map_or(Producer::None, |n| Producer::Norm { name: n.name.clone() })
        };
        let attention = &self.attention;
        let mut groups = vec![
            InputGroup { linears: self.attention_inputs(), producer: norm(&self.norms.attention_pre) },
            InputGroup { linears: vec![attention.o.clone()], producer: attention.values() },
        ];
        let parts = self.mlp.parts();
        if self.mlp_shares_attention_input() {
            groups[0].linears.extend(parts.iter().flat_map(MlpSpec::inputs));
        } else {
            // The router and all experts read what the norm makes: no expert may have a scale of its own in it.
            let producer = match self.mlp.router() {
                Some(_) => Producer::None,
                None => norm(&self.norms.mlp_pre),
            };
            let of = |part: &MlpSpec| InputGroup { linears: part.inputs(), producer: producer.clone() };
            groups.extend(parts.iter().map(of));
        }
        let of = |part: &MlpSpec| InputGroup {
            linears: part.output().into_iter().collect(),
            producer: part.inner_producer(),
        };
        groups.extend(parts.iter().map(of));
        groups
    }

    /// The groups of [`groups`](Self::groups) whose inputs do not depend on each other's weights, as ranges, each of which
    /// depends on those before it.
    pub fn rounds(&self) -> Vec<Range<usize>> {
        let parts = self.mlp.parts().len();
        let first = if self.mlp_shares_attention_input() { 2 } else { 2 + parts };
        let mut rounds = vec![0..1, 1..2, 2..first, first..first + parts];
        rounds.retain(|round| !round.is_empty());
        rounds
    }

    /// Whether the feed-forward part reads the very input of attention.
    pub fn mlp_shares_attention_input(&self) -> bool {
        self.residual == Residual::Parallel && self.norms.mlp_pre.is_none()
    }

    fn attention_inputs(&self) -> Vec<LinearSpec> {
        match &self.attention.qkv {
            QkvSpec::Separate { q, k, v } => vec![q.clone(), k.clone(), v.clone()],
            QkvSpec::Fused { qkv, .. } => vec![qkv.clone()],
        }
    }
}

impl AttentionSpec {
    /// The rows that produce the values. Attention only mixes values over positions, so a factor on a row passes
    /// through it; a row that serves several query heads has one factor for all of them.
    fn values(&self) -> Producer {
        let (width, repeat) = (self.head_dim, self.n_q / self.n_kv);
        let (linear, first, stride) = match &self.qkv {
            QkvSpec::Separate { v, .. } => (v, 0, width),
            QkvSpec::Fused { qkv, order: FusedOrder::Blocks } => (qkv, (self.n_q + self.n_kv) * width, width),
            QkvSpec::Fused { qkv, order: FusedOrder::PerGroup } => {
                (qkv, (repeat + 1) * width, (repeat + 2) * width)
            }
        };
        Producer::Linear { name: linear.name.clone(), rows: ProducerRows { first, width, repeat, stride } }
    }
}

impl MlpSpec {
    /// The Linears that read the part's input; none where there are experts, each of which has its own.
    pub fn inputs(&self) -> Vec<LinearSpec> {
        match self {
            Self::Gated { gate, up, .. } => vec![gate.clone(), up.clone()],
            Self::FusedGated { gate_up, .. } => vec![gate_up.clone()],
            Self::Plain { fc1, .. } => vec![fc1.clone()],
            Self::Experts { .. } => Vec::new(),
        }
    }

    /// The Linear that makes the part's output; none where there are experts.
    pub fn output(&self) -> Option<LinearSpec> {
        match self {
            Self::Gated { down, .. } | Self::FusedGated { down, .. } => Some(down.clone()),
            Self::Plain { fc2, .. } => Some(fc2.clone()),
            Self::Experts { .. } => None,
        }
    }

    /// The rows that the last Linear's input is a multiple of: those of `up` in a gated part, and in a plain one those
    /// of `fc1` where the activation is positively homogeneous, `relu(a x) = a relu(x)` for `a > 0`.
    fn inner_producer(&self) -> Producer {
        let d_ff = self.d_ff();
        let (linear, first) = match self {
            Self::Gated { up, .. } => (up, 0),
            Self::FusedGated { gate_up, .. } => (gate_up, d_ff),
            Self::Plain { activation: Activation::Relu, fc1, .. } => (fc1, 0),
            Self::Plain { .. } | Self::Experts { .. } => return Producer::None,
        };
        Producer::Linear { name: linear.name.clone(), rows: ProducerRows::run(first, d_ff) }
    }
}
