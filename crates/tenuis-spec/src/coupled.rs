//! Dimensions of a network that can be made smaller, and what moves together when they are.
//!
//! A *unit* is the least that can be removed: one inner channel of a feed-forward part, or one key head with its value
//! head and the query heads that it serves. A unit owns a range of rows or columns in each of several tensors; removing it
//! means removing all of these. Which they are follows from a [`LayerSpec`] alone:
//!
//! | dimension | rows of (and their biases) | columns of |
//! |---|---|---|
//! | feed-forward channels | `gate`, `up`; both halves of `gate_up`; `fc1` | `down`; `fc2` |
//! | key and value groups | `q`, `k`, `v`; their three ranges of a fused `qkv`, or one range per group | `o` |
//! | query heads of a key head | `q`, or its range of a fused `qkv` | `o` |
//!
//! Each expert has feed-forward channels of its own. Norms of query and key heads have one weight for all heads, so they stay. Whole layers are
//! [`DecoderSpec::keep_layers`].

use crate::layer::{AttentionSpec, FusedOrder, LayerSpec, MlpSpec, QkvSpec};
use crate::linear::LinearSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use tenuis_core::Layout;

/// What the units of a dimension are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DimensionKind {
    /// Inner channels of the feed-forward part.
    FfnChannels,
    /// Key and value heads, each with the query heads that it serves.
    KvGroups,
    /// The query heads of one key head, of which every key head loses as many.
    QueryHeads,
}

impl fmt::Display for DimensionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FfnChannels => "feed-forward channels",
            Self::KvGroups => "key and value groups",
            Self::QueryHeads => "query heads of a key head",
        })
    }
}

/// Which side of a Linear a dimension is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Its outputs: rows of `W`, elements of the bias.
    Output,
    /// Its inputs: columns of `W`.
    Input,
}

/// A dimension of one layer with everything that moves together along it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoupledDimension {
    /// What its units are.
    pub kind: DimensionKind,
    /// The layer.
    pub layer: usize,
    /// The expert or the key head, or 0.
    pub part: usize,
    /// How many units there are.
    pub units: usize,
    /// The tensors that move together; one that is listed several times has several ranges per unit.
    pub parts: Vec<CoupledPart>,
}

/// What a tensor has of every unit: unit `u` owns the indices `first + u·width` to `first + (u+1)·width − 1` of an axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoupledPart {
    /// The tensor as it is stored when it is dense.
    pub tensor: String,
    /// The module whose weight or bias it is.
    pub module: String,
    /// Its dense stored shape.
    pub shape: Vec<usize>,
    /// The axis of that shape.
    pub axis: usize,
    /// The side of the Linear that the axis is.
    pub side: Side,
    /// Where unit 0 begins.
    pub first: usize,
    /// Indices per unit.
    pub width: usize,
}

impl CoupledPart {
    /// The indices that a unit owns along [`axis`](Self::axis).
    pub const fn range(&self, unit: usize) -> Range<usize> {
        let start = self.first + unit * self.width;
        start..start + self.width
    }

    /// Whether the tensor is a weight matrix, not a bias.
    pub fn is_matrix(&self) -> bool {
        self.shape.len() == 2
    }
}

/// What is left of a tensor: the indices of one axis that are kept, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorCut {
    /// The tensor as it is stored when it is dense.
    pub tensor: String,
    /// The module whose weight or bias it is.
    pub module: String,
    /// Its dense stored shape.
    pub shape: Vec<usize>,
    /// The axis of that shape.
    pub axis: usize,
    /// The side of the Linear that the axis is.
    pub side: Side,
    /// The indices that are kept.
    pub keep: Vec<usize>,
}

impl TensorCut {
    /// The shape that is left.
    pub fn new_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(extent) = shape.get_mut(self.axis) {
            *extent = self.keep.len();
        }
        shape
    }

    /// Takes what is kept out of the row-major elements of the stored tensor, each of `size` bytes.
    ///
    /// ```
    /// use tenuis_spec::{Side, TensorCut};
    /// let cut = TensorCut {
    ///     tensor: "w".into(), module: "m".into(), shape: vec![2, 3], axis: 1, side: Side::Input, keep: vec![0, 2],
    /// };
    /// assert_eq!(cut.take(&[1, 2, 3, 4, 5, 6], 1), [1, 3, 4, 6]);
    /// ```
    ///
    /// # Panics
    /// If `data` does not hold the stored shape.
    pub fn take(&self, data: &[u8], size: usize) -> Vec<u8> {
        let inner = self.shape[self.axis + 1..].iter().product::<usize>() * size;
        let extent = self.shape[self.axis];
        assert_eq!(data.len(), self.shape.iter().product::<usize>() * size, "the bytes of {:?}", self.shape);
        let mut taken = Vec::with_capacity(data.len() / extent.max(1) * self.keep.len());
        for outer in data.chunks_exact((extent * inner).max(1)) {
            for &index in &self.keep {
                taken.extend_from_slice(&outer[index * inner..(index + 1) * inner]);
            }
        }
        taken
    }
}

impl CoupledDimension {
    /// The weight that reads the dimension: `o`, `down` or `fc2`.
    pub fn consumer(&self) -> Option<&CoupledPart> {
        self.parts.iter().find(|part| part.side == Side::Input)
    }

    /// What is left of every tensor when only the units `keep`, ascending, stay.
    ///
    /// Units that are not there are passed over; [`DecoderSpec::keep_channels`](crate::DecoderSpec::keep_channels) and
    /// [`DecoderSpec::keep_kv_groups`](crate::DecoderSpec::keep_kv_groups) refuse them.
    pub fn cuts(&self, keep: &[usize]) -> Vec<TensorCut> {
        let mut kept = vec![false; self.units];
        for &unit in keep {
            if let Some(kept) = kept.get_mut(unit) {
                *kept = true;
            }
        }
        let mut by_tensor: BTreeMap<&str, (&CoupledPart, Vec<bool>)> = BTreeMap::new();
        for part in &self.parts {
            let entry = by_tensor.entry(&part.tensor);
            let (_, stays) = entry.or_insert_with(|| (part, vec![true; part.shape[part.axis]]));
            for unit in (0..self.units).filter(|&unit| !kept[unit]) {
                stays[part.range(unit)].fill(false);
            }
        }
        let cut = |(part, stays): (&CoupledPart, Vec<bool>)| TensorCut {
            tensor: part.tensor.clone(),
            module: part.module.clone(),
            shape: part.shape.clone(),
            axis: part.axis,
            side: part.side,
            keep: stays.iter().enumerate().filter(|(_, stays)| **stays).map(|(index, _)| index).collect(),
        };
        by_tensor.into_values().map(cut).collect()
    }
}

/// Joins cuts of the same tensors: what any of them removes is removed.
pub(crate) fn joined(cuts: Vec<TensorCut>) -> Vec<TensorCut> {
    let mut by_tensor: BTreeMap<String, TensorCut> = BTreeMap::new();
    for cut in cuts {
        match by_tensor.get_mut(&cut.tensor) {
            Some(known) => known.keep.retain(|index| cut.keep.binary_search(index).is_ok()),
            None => {
                by_tensor.insert(cut.tensor.clone(), cut);
            }
        }
    }
    by_tensor.into_values().collect()
}

impl LayerSpec {
    /// The inner channels of the feed-forward part, or of each expert.
    ///
    /// ```
    /// # use tenuis_spec::{DecoderSpec, SpecError};
    /// # let config = serde_json::json!({"model_type": "llama", "vocab_size": 512, "hidden_size": 64,
    /// #     "intermediate_size": 172, "num_hidden_layers": 1, "num_attention_heads": 8});
    /// let channels = DecoderSpec::from_config(&config)?.layers[0].ffn_channels().remove(0);
    /// let moved: Vec<_> = channels.parts.iter().map(|p| (p.tensor.as_str(), p.axis)).collect();
    /// assert_eq!(moved, [
    ///     ("model.layers.0.mlp.gate_proj.weight", 0),
    ///     ("model.layers.0.mlp.up_proj.weight", 0),
    ///     ("model.layers.0.mlp.down_proj.weight", 1),
    /// ]);
    /// # Ok::<(), SpecError>(())
    /// ```
    pub fn ffn_channels(&self) -> Vec<CoupledDimension> {
        let dimension = |(part, mlp): (usize, &MlpSpec)| {
            let units = mlp.d_ff();
            let mut parts = Parts::default();
            match mlp {
                MlpSpec::Gated { gate, up, down, .. } => {
                    parts.outputs(gate, 0, 1);
                    parts.outputs(up, 0, 1);
                    parts.inputs(down, 1);
                }
                MlpSpec::FusedGated { gate_up, down, .. } => {
                    parts.outputs(gate_up, 0, 1);
                    parts.outputs(gate_up, units, 1);
                    parts.inputs(down, 1);
                }
                MlpSpec::Plain { fc1, fc2, .. } => {
                    parts.outputs(fc1, 0, 1);
                    parts.inputs(fc2, 1);
                }
                // Its experts are the parts.
                MlpSpec::Experts { .. } => {}
            }
            CoupledDimension {
                kind: DimensionKind::FfnChannels,
                layer: self.index,
                part,
                units,
                parts: parts.0,
            }
        };
        self.mlp.parts().iter().enumerate().map(dimension).collect()
    }

    /// The key and value heads with the query heads that they serve. Without grouped heads a unit is one head.
    pub fn kv_groups(&self) -> CoupledDimension {
        let AttentionSpec { n_q, n_kv, head_dim, qkv, o, .. } = &self.attention;
        let q_width = n_q / n_kv * head_dim;
        let mut parts = Parts::default();
        match qkv {
            QkvSpec::Separate { q, k, v } => {
                parts.outputs(q, 0, q_width);
                parts.outputs(k, 0, *head_dim);
                parts.outputs(v, 0, *head_dim);
            }
            QkvSpec::Fused { qkv, order: FusedOrder::Blocks } => {
                parts.outputs(qkv, 0, q_width);
                parts.outputs(qkv, n_q * head_dim, *head_dim);
                parts.outputs(qkv, (n_q + n_kv) * head_dim, *head_dim);
            }
            QkvSpec::Fused { qkv, order: FusedOrder::PerGroup } => {
                parts.outputs(qkv, 0, q_width + 2 * head_dim);
            }
        }
        parts.inputs(o, q_width);
        CoupledDimension {
            kind: DimensionKind::KvGroups,
            layer: self.index,
            part: 0,
            units: *n_kv,
            parts: parts.0,
        }
    }

    /// The query heads of each key and value head.
    pub fn query_heads(&self) -> Vec<CoupledDimension> {
        let AttentionSpec { n_q, n_kv, head_dim, qkv, o, .. } = &self.attention;
        let units = n_q / n_kv;
        let dimension = |group: usize| {
            let mut parts = Parts::default();
            let first = group * units * head_dim;
            match qkv {
                QkvSpec::Separate { q, .. } => parts.outputs(q, first, *head_dim),
                QkvSpec::Fused { qkv, order: FusedOrder::Blocks } => parts.outputs(qkv, first, *head_dim),
                QkvSpec::Fused { qkv, order: FusedOrder::PerGroup } => {
                    parts.outputs(qkv, group * (units + 2) * head_dim, *head_dim);
                }
            }
            parts.weight(o, Side::Input, first, *head_dim);
            CoupledDimension {
                kind: DimensionKind::QueryHeads,
                layer: self.index,
                part: group,
                units,
                parts: parts.0,
            }
        };
        (0..*n_kv).map(dimension).collect()
    }

    /// The dimensions of a kind: one, or one for each expert or key head. Those of a kind that share a tensor lose ranges of
    /// it that do not overlap.
    pub fn dimensions(&self, kind: DimensionKind) -> Vec<CoupledDimension> {
        match kind {
            DimensionKind::FfnChannels => self.ffn_channels(),
            DimensionKind::KvGroups => vec![self.kv_groups()],
            DimensionKind::QueryHeads => self.query_heads(),
        }
    }

    /// The layer with so many units of each dimension of a kind, and everything else as it is.
    #[must_use]
    pub fn with_units(&self, kind: DimensionKind, units: usize) -> Self {
        let mut layer = self.clone();
        match kind {
            DimensionKind::FfnChannels => {
                for part in layer.mlp.parts_mut() {
                    match part {
                        MlpSpec::Gated { gate, up, down, .. } => {
                            (gate.shape[0], up.shape[0], down.shape[1]) = (units, units, units);
                        }
                        MlpSpec::FusedGated { gate_up, down, .. } => {
                            (gate_up.shape[0], down.shape[1]) = (2 * units, units);
                        }
                        MlpSpec::Plain { fc1, fc2, .. } => (fc1.shape[0], fc2.shape[1]) = (units, units),
                        MlpSpec::Experts { .. } => {}
                    }
                }
            }
            DimensionKind::KvGroups | DimensionKind::QueryHeads => {
                let attention = &mut layer.attention;
                if kind == DimensionKind::KvGroups {
                    attention.n_q = attention.n_q / attention.n_kv * units;
                    attention.n_kv = units;
                } else {
                    attention.n_q = attention.n_kv * units;
                }
                let (q_width, kv_width) =
                    (attention.n_q * attention.head_dim, attention.n_kv * attention.head_dim);
                match &mut attention.qkv {
                    QkvSpec::Separate { q, k, v } => {
                        (q.shape[0], k.shape[0], v.shape[0]) = (q_width, kv_width, kv_width);
                    }
                    QkvSpec::Fused { qkv, .. } => qkv.shape[0] = q_width + 2 * kv_width,
                }
                attention.o.shape[1] = q_width;
            }
        }
        layer
    }
}

#[derive(Default)]
struct Parts(Vec<CoupledPart>);

impl Parts {
    fn outputs(&mut self, linear: &LinearSpec, first: usize, width: usize) {
        self.weight(linear, Side::Output, first, width);
        if let Some(tensor) = linear.bias_name() {
            self.0.push(CoupledPart {
                tensor,
                module: linear.name.clone(),
                shape: vec![linear.shape[0]],
                axis: 0,
                side: Side::Output,
                first,
                width,
            });
        }
    }

    fn inputs(&mut self, linear: &LinearSpec, width: usize) {
        self.weight(linear, Side::Input, 0, width);
    }

    fn weight(&mut self, linear: &LinearSpec, side: Side, first: usize, width: usize) {
        let axis = match (linear.layout, side) {
            (Layout::OutIn, Side::Output) | (Layout::InOut, Side::Input) => 0,
            (Layout::OutIn, Side::Input) | (Layout::InOut, Side::Output) => 1,
        };
        self.0.push(CoupledPart {
            tensor: linear.weight_name(),
            module: linear.name.clone(),
            shape: linear.stored_shape().to_vec(),
            axis,
            side,
            first,
            width,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecoderSpec;
    use crate::linear::Role;
    use serde_json::json;

    fn layer() -> LayerSpec {
        let config = json!({"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 6,
            "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 2,
            "attention_bias": true});
        DecoderSpec::from_config(&config).unwrap().layers.remove(0)
    }

    fn fused(order: FusedOrder) -> LayerSpec {
        let mut layer = layer();
        let name = "model.layers.0.self_attn.qkv_proj".to_owned();
        let qkv = LinearSpec { name, role: Role::Qkv, shape: [16, 32], layout: Layout::InOut, bias: true };
        layer.attention.qkv = QkvSpec::Fused { qkv, order };
        layer
    }

    fn fused_gate() -> LayerSpec {
        let mut layer = layer();
        let MlpSpec::Gated { activation, gate, down, .. } = layer.mlp.clone() else { panic!() };
        let gate_up = LinearSpec { role: Role::GateUp, shape: [12, 32], ..gate };
        layer.mlp = MlpSpec::FusedGated { activation, gate_up, down };
        layer
    }

    fn kept(layer: &LayerSpec, kind: DimensionKind, keep: &[usize], tensor: &str) -> Vec<usize> {
        let cuts = layer.dimensions(kind)[0].cuts(keep);
        cuts.into_iter().find(|cut| cut.tensor.ends_with(tensor)).unwrap().keep
    }

    /// Heads 0 and 1 of queries read key head 0, heads 2 and 3 key head 1; a head is two wide.
    #[test]
    fn fused_projections_lose_three_ranges_or_one() {
        let blocks = kept(&fused(FusedOrder::Blocks), DimensionKind::KvGroups, &[1], "qkv_proj.weight");
        assert_eq!(blocks, [4, 5, 6, 7, 10, 11, 14, 15]);
        let by_group = fused(FusedOrder::PerGroup);
        let groups = kept(&by_group, DimensionKind::KvGroups, &[1], "qkv_proj.bias");
        assert_eq!(groups, [8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(kept(&by_group, DimensionKind::KvGroups, &[0], "o_proj.weight"), [0, 1, 2, 3]);
        assert_eq!(
            kept(&fused_gate(), DimensionKind::FfnChannels, &[0, 4], "gate_proj.weight"),
            [0, 4, 6, 10]
        );
    }

    /// What is left of every tensor has the shape that the smaller layer calls for, whatever the layout.
    #[test]
    fn cuts_give_the_shapes_of_the_smaller_layer() {
        let layers = [layer(), fused(FusedOrder::Blocks), fused(FusedOrder::PerGroup), fused_gate()];
        for layer in &layers {
            for (kind, keep) in
                [(DimensionKind::FfnChannels, vec![1, 2, 5]), (DimensionKind::KvGroups, vec![1])]
            {
                let dimension = layer.dimensions(kind).remove(0);
                let smaller = layer.with_units(kind, keep.len());
                let cuts = dimension.cuts(&keep);
                for new in smaller.tensors() {
                    let cut = cuts.iter().find(|cut| cut.tensor == new.name);
                    let old = layer.tensors().into_iter().find(|old| old.name == new.name).unwrap();
                    assert_eq!(cut.map_or(old.shape, TensorCut::new_shape), new.shape, "{}", new.name);
                }
                let consumer = dimension.consumer().unwrap();
                assert_eq!(consumer.range(dimension.units - 1).end, consumer.shape[consumer.axis]);
                let all: Vec<usize> = (0..dimension.units).collect();
                assert!(dimension.cuts(&all).iter().all(|cut| cut.new_shape() == cut.shape));
            }
        }
    }

    /// An input-first weight keeps columns where an output-first one keeps rows.
    #[test]
    fn elements_are_taken_along_either_axis() {
        let cut = |axis, keep: &[usize]| TensorCut {
            tensor: String::new(),
            module: String::new(),
            shape: vec![3, 2],
            axis,
            side: Side::Output,
            keep: keep.to_vec(),
        };
        let data = [0, 1, 10, 11, 20, 21];
        assert_eq!(cut(0, &[0, 2]).take(&data, 1), [0, 1, 20, 21]);
        assert_eq!(cut(1, &[1]).take(&data, 1), [1, 11, 21]);
    }
}
