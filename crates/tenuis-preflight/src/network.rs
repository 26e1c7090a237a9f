//! A network as sizes: what its blocks hold and compute.

use crate::form::Form;
use std::collections::BTreeSet;
use std::ops::Range;
use tenuis_spec::{DecoderSpec, LayerSpec, LinearSpec, MlpSpec};

/// Bytes of an f32, in which everything is computed.
pub(crate) const F32: u64 = 4;

/// A model as the estimate sees it: shapes, and the bytes that each weight takes where it is stored.
///
/// ```
/// use tenuis_preflight::Network;
/// use tenuis_spec::DecoderSpec;
/// let spec = DecoderSpec::from_config(&serde_json::json!({
///     "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 172,
///     "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 8, "tie_word_embeddings": true,
/// }))?;
/// let network = Network::dense(&spec, 2);
/// // Embedding, two blocks of four and three matrices, five norms; two bytes each.
/// assert_eq!(network.stored_bytes(), 2 * (512 * 64 + 2 * (4 * 64 * 64 + 3 * 172 * 64) + 5 * 64));
/// # Ok::<(), tenuis_spec::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub(crate) blocks: Vec<BlockShape>,
    pub(crate) d_model: u64,
    pub(crate) vocab: u64,
    /// The head, where it is stored by itself.
    pub(crate) head: Option<LinearShape>,
    /// Bytes of everything that is no Linear: embedding, norms, biases.
    pub(crate) other_bytes: u64,
    /// Bytes of a row of the embedding.
    pub(crate) embedding_row: u64,
}

/// A block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockShape {
    /// What it is, for what cuts units out of it.
    pub(crate) layer: LayerSpec,
    pub(crate) groups: Vec<GroupShape>,
    /// Groups whose inputs do not depend on each other's weights.
    pub(crate) rounds: Vec<Range<usize>>,
    /// f32 values that a forward pass holds at its fullest for each token, beside the hidden state that it is given.
    pub(crate) values_per_token: u64,
    /// Query heads times their width, and the positions that a query sees at most.
    pub(crate) attention: (u64, Option<u64>),
}

/// Linears that share an input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupShape {
    pub(crate) linears: Vec<LinearShape>,
    pub(crate) features: usize,
    /// The share of the tokens that reach it: below 1 where there are experts.
    pub(crate) share: f64,
}

/// One Linear.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearShape {
    pub(crate) name: String,
    pub(crate) shape: [usize; 2],
    /// Its bytes as it is stored.
    pub(crate) bytes: u64,
}

impl LinearShape {
    fn of(spec: &LinearSpec, stored: &impl Fn(&str, u64) -> Option<u64>, width: u64) -> Self {
        let weights = spec.shape[0] as u64 * spec.shape[1] as u64;
        let bytes = stored(&spec.name, weights).unwrap_or(weights * width);
        Self { name: spec.name.clone(), shape: spec.shape, bytes }
    }

    pub(crate) fn weights(&self) -> u64 {
        self.shape[0] as u64 * self.shape[1] as u64
    }

    /// Bytes of an f32 copy; none where the weight is stored like that and can be read where it lies.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        let dense = F32 * self.weights();
        if self.bytes == dense { 0 } else { dense }
    }
}

impl Network {
    /// Takes a spec and the stored bytes of its Linears by module; `width` is the bytes of a value of everything else, and
    /// of Linears that `stored` does not know.
    pub fn of(spec: &DecoderSpec, width: u64, stored: impl Fn(&str) -> Option<u64>) -> Self {
        let stored = |module: &str, _: u64| stored(module);
        let values = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        let head = (!spec.tied).then(|| LinearShape::of(&spec.lm_head, &stored, width));
        let linears: BTreeSet<String> = spec
            .linears()
            .chain((!spec.tied).then(|| spec.lm_head.clone()))
            .map(|linear| linear.weight_name())
            .collect();
        let other = spec.tensors().into_iter().filter(|tensor| !linears.contains(&tensor.name));
        Self {
            blocks: spec.layers.iter().map(|layer| BlockShape::of(layer.clone(), &stored, width)).collect(),
            d_model: spec.d_model as u64,
            vocab: spec.vocab as u64,
            head,
            other_bytes: width * other.map(|tensor| values(&tensor.shape)).sum::<u64>(),
            embedding_row: width * spec.d_model as u64,
        }
    }

    /// As [`Network::of`], for a model whose tensors are all floats of so many bytes.
    pub fn dense(spec: &DecoderSpec, width: u64) -> Self {
        Self::of(spec, width, |_| None)
    }

    /// The bytes of all tensors.
    pub fn stored_bytes(&self) -> u64 {
        let blocks: u64 = self.blocks.iter().map(BlockShape::bytes).sum();
        blocks + self.head.as_ref().map_or(0, |head| head.bytes) + self.other_bytes
    }

    /// The number of weights in Linears of blocks.
    pub(crate) fn block_weights(&self) -> u64 {
        self.blocks.iter().flat_map(BlockShape::linears).map(LinearShape::weights).sum()
    }

    /// Weights that multiply each token: those of the experts that it is given to, and the head's.
    pub(crate) fn active_weights(&self) -> f64 {
        let blocks: f64 = self.blocks.iter().map(BlockShape::active_weights).sum();
        blocks + (self.vocab * self.d_model) as f64
    }

    pub(crate) fn parameters(&self) -> u64 {
        let head = self.head.as_ref().map_or(0, LinearShape::weights);
        self.block_weights() + head + self.vocab * self.d_model
    }

    /// What a stage makes of it: `chosen` Linears in another form.
    pub(crate) fn compressed(&self, form: Form, chosen: impl Fn(&str) -> bool, any_tensor: bool) -> Self {
        let mut network = self.clone();
        let linears = network.blocks.iter_mut().flat_map(|block| &mut block.groups);
        for linear in linears.flat_map(|group| &mut group.linears).chain(&mut network.head) {
            if chosen(&linear.name) {
                linear.bytes = form.bytes(linear.shape, linear.bytes);
            }
        }
        if let (Form::Dense(dtype), true) = (form, any_tensor) {
            let width = (self.embedding_row / self.d_model.max(1)).max(1);
            network.other_bytes = self.other_bytes / width * dtype.size() as u64;
            network.embedding_row = self.d_model * dtype.size() as u64;
        }
        network
    }
}

impl BlockShape {
    /// Takes what is stored of a module of so many weights; `width` is the bytes of a weight of the others.
    pub(crate) fn of(layer: LayerSpec, stored: &impl Fn(&str, u64) -> Option<u64>, width: u64) -> Self {
        let experts = layer.mlp.parts().len();
        let share = match &layer.mlp {
            MlpSpec::Experts { top_k, .. } => *top_k as f64 / experts.max(1) as f64,
            _ => 1.0,
        };
        let first_expert = layer.rounds().iter().take(2).map(|round| round.end).max().unwrap_or(0);
        let groups = layer.groups().into_iter().enumerate().map(|(index, group)| GroupShape {
            features: group.in_features(),
            linears: group.linears.iter().map(|linear| LinearShape::of(linear, stored, width)).collect(),
            share: if index < first_expert { 1.0 } else { share },
        });
        let attention = &layer.attention;
        Self {
            groups: groups.collect(),
            rounds: layer.rounds(),
            values_per_token: values_per_token(&layer),
            attention: (
                (attention.n_q * attention.head_dim) as u64,
                attention.window.map(|window| window as u64),
            ),
            layer,
        }
    }

    pub(crate) fn linears(&self) -> impl Iterator<Item = &LinearShape> {
        self.groups.iter().flat_map(|group| &group.linears)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.linears().map(|linear| linear.bytes).sum()
    }

    pub(crate) fn active_weights(&self) -> f64 {
        let of = |group: &GroupShape| {
            group.share * group.linears.iter().map(LinearShape::weights).sum::<u64>() as f64
        };
        self.groups.iter().map(of).sum()
    }

    /// Operations of a forward pass over so many tokens in windows of `seq_len`: two for each weight and token, and four for
    /// each query, key and dimension.
    pub(crate) fn forward_flops(&self, tokens: u64, seq_len: u64) -> f64 {
        let (width, window) = self.attention;
        let seq = seq_len as f64;
        // A query sees itself and all before it, or as many of them as its window holds.
        let seen = match window.map(|window| window as f64).filter(|window| *window < seq) {
            Some(window) => window - window * (window - 1.0) / (2.0 * seq),
            None => f64::midpoint(seq, 1.0),
        };
        tokens as f64 * (2.0 * self.active_weights() + 4.0 * width as f64 * seen)
    }
}

/// The fullest moment of a forward pass: queries, keys, values, rotated ones and the result of attention, or what stands
/// between the Linears of the feed-forward part beside the residual stream.
fn values_per_token(layer: &LayerSpec) -> u64 {
    let attention = &layer.attention;
    let (queries, keys) = (attention.n_q * attention.head_dim, attention.n_kv * attention.head_dim);
    let d = layer.d_model;
    let attending = d + 3 * queries + 3 * keys;
    let parts = layer.mlp.parts();
    let first: usize = parts.first().map_or(0, |part| part.inputs().iter().map(|l| l.shape[0]).sum());
    let inner = match &layer.mlp {
        // The inner states of all experts are kept until the last Linears run.
        MlpSpec::Experts { top_k, .. } => top_k * layer.mlp.d_ff() + first + d,
        _ => first + layer.mlp.d_ff(),
    };
    attending.max(2 * d + inner) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mixtral() -> Network {
        let config = json!({
            "model_type": "mixtral", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8,
            "num_experts_per_tok": 2,
        });
        Network::dense(&DecoderSpec::from_config(&config).unwrap(), 2)
    }

    /// A token reaches two of eight experts: their weights count by a quarter.
    #[test]
    fn experts_take_their_share_of_the_tokens() {
        let block = &mixtral().blocks[0];
        let shares: Vec<f64> = block.groups.iter().map(|group| group.share).collect();
        assert_eq!(shares, [vec![1.0, 1.0], vec![0.25; 16]].concat());
        let attention = 64 * 64 * 2 + 32 * 64 * 2;
        assert_eq!(block.active_weights(), f64::from(attention + 2 * 3 * 64 * 128));
        assert_eq!(block.bytes(), 2 * (attention as u64 + 8 * 3 * 64 * 128));
    }

    /// Pairs of query and key counted one by one.
    #[test]
    fn attention_counts_what_each_query_sees() {
        let mut block = mixtral().blocks.remove(0);
        for (seq, window) in [(1_u64, None), (7, None), (7, Some(3)), (7, Some(9)), (7, Some(7))] {
            block.attention.1 = window;
            let pairs: u64 = (1..=seq).map(|position| position.min(window.unwrap_or(position))).sum();
            let expected = 4.0 * 64.0 * pairs as f64 + 2.0 * block.active_weights() * seq as f64;
            assert!((block.forward_flops(seq, seq) - expected).abs() < 1e-6 * expected, "{seq} {window:?}");
        }
    }
}
