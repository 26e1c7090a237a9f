//! The Linears of a layer: what they are called, which share an input, and what produces that input.

use crate::layer::{LayerSpec, MlpSpec, QkvSpec, Residual};
use serde::{Deserialize, Serialize};
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

/// What a group's input comes from, as far as a scale per input channel can be folded into it exactly: input channel
/// `i` is output channel `i` of the producer times something that does not depend on its scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Producer {
    /// A norm's weight (and bias).
    Norm(String),
    /// A Linear's rows (and bias).
    Linear(String),
    /// Nothing that takes a scale: a nonlinearity or repeated heads stand between, or the residual stream itself.
    None,
}

impl LayerSpec {
    /// The Linears in the order of the forward pass.
    pub fn linears(&self) -> Vec<LinearSpec> {
        let mut linears = self.attention_inputs();
        linears.push(self.attention.o.clone());
        let (first, last) = self.mlp_linears();
        linears.extend(first);
        linears.push(last);
        linears
    }

    /// The Linears grouped by shared input, in true-sequential order: `q,k,v` → `o` → `gate,up` → `down`.
    ///
    /// In a parallel layer without a second norm the first Linears of the feed-forward part read what `q,k,v` read,
    /// so they stand in the first group.
    pub fn groups(&self) -> Vec<InputGroup> {
        let norm = |norm: &Option<crate::NormSpec>| {
            norm.as_ref().map_or(Producer::None, |n| Producer::Norm(n.name.clone()))
        };
        let (mlp_first, mlp_last) = self.mlp_linears();
        let attention = &self.attention;
        let mut first =
            InputGroup { linears: self.attention_inputs(), producer: norm(&self.norms.attention_pre) };
        let o = InputGroup {
            linears: vec![attention.o.clone()],
            producer: match &attention.qkv {
                QkvSpec::Separate { v, .. } if attention.n_q == attention.n_kv => {
                    Producer::Linear(v.name.clone())
                }
                QkvSpec::Separate { .. } | QkvSpec::Fused { .. } => Producer::None,
            },
        };
        let last = InputGroup {
            linears: vec![mlp_last],
            producer: match &self.mlp {
                MlpSpec::Gated { up, .. } => Producer::Linear(up.name.clone()),
                MlpSpec::FusedGated { .. } | MlpSpec::Plain { .. } => Producer::None,
            },
        };
        if self.mlp_shares_attention_input() {
            first.linears.extend(mlp_first);
            return vec![first, o, last];
        }
        let mlp = InputGroup { linears: mlp_first, producer: norm(&self.norms.mlp_pre) };
        vec![first, o, mlp, last]
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

    fn mlp_linears(&self) -> (Vec<LinearSpec>, LinearSpec) {
        match &self.mlp {
            MlpSpec::Gated { gate, up, down, .. } => (vec![gate.clone(), up.clone()], down.clone()),
            MlpSpec::FusedGated { gate_up, down, .. } => (vec![gate_up.clone()], down.clone()),
            MlpSpec::Plain { fc1, fc2, .. } => (vec![fc1.clone()], fc2.clone()),
        }
    }
}
