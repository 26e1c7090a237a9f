//! What structured pruning takes out of a network: its shapes are smaller for all stages that follow.

use crate::method::Method;
use crate::network::{BlockShape, LinearShape, Network};
use serde_json::{Map, Value};
use tenuis_spec::{DimensionKind, LayerSpec, MlpSpec};

/// The share that is removed where the options do not say, as the pruning techniques have it.
const DEFAULT_RATIO: f64 = 0.2;

/// What is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Dimension(DimensionKind),
    Experts,
    Blocks,
}

/// How many units stay.
struct Kept<'a> {
    options: &'a Map<String, Value>,
}

impl Network {
    /// What a stage makes of it that removes units; nothing where it does not. Which ones go depends on the weights, how many
    /// of each layer on the options alone. Blocks go from the end, as those that stay are numbered anew.
    pub(crate) fn cut(&self, method: Method, options: &Map<String, Value>) -> Option<Self> {
        let kept = Kept { options };
        let mut network = self.clone();
        match method {
            Method::Cut(Unit::Blocks) => {
                let count = kept.blocks(network.blocks.len());
                network.blocks.truncate(count);
            }
            Method::Cut(unit) => {
                for block in &mut network.blocks {
                    let layer = kept.layer(unit, &block.layer);
                    *block = block.with(layer);
                }
            }
            Method::Train => {
                let layers = options.get("student")?.get("keep_layers")?.as_array()?;
                network.blocks.truncate(layers.len());
            }
            _ => return None,
        }
        Some(network)
    }
}

impl BlockShape {
    /// The same block with other shapes; each weight keeps its bytes per entry.
    fn with(&self, layer: LayerSpec) -> Self {
        let old = |module: &str| self.linears().find(|linear| linear.name == module);
        let stored = |module: &str, weights: u64| {
            let share = |old: &LinearShape| old.bytes as f64 * weights as f64 / old.weights().max(1) as f64;
            old(module).map(|old| share(old) as u64)
        };
        Self::of(layer, &stored, 0)
    }
}

impl Kept<'_> {
    fn number(&self, key: &str) -> Option<usize> {
        self.options.get(key).and_then(Value::as_u64).map(|number| number as usize)
    }

    fn ratio(&self) -> f64 {
        let ratio = self.options.get("ratio").and_then(Value::as_f64);
        ratio.filter(|ratio| (0.0..1.0).contains(ratio)).unwrap_or(DEFAULT_RATIO)
    }

    fn blocks(&self, blocks: usize) -> usize {
        let listed = self.options.get("remove").and_then(Value::as_array).map(Vec::len);
        let by_share = || (self.ratio() * blocks as f64).round() as usize;
        let removed = self.number("count").or(listed).unwrap_or_else(by_share);
        blocks.saturating_sub(removed).max(1)
    }

    fn units(&self, units: usize) -> usize {
        let multiple = self.number("round_to").unwrap_or(1).max(1);
        let by_share = || ((1.0 - self.ratio()) * units as f64 / multiple as f64).round() as usize * multiple;
        self.number("keep").unwrap_or_else(by_share).clamp(1, units.max(1))
    }

    fn layer(&self, unit: Unit, layer: &LayerSpec) -> LayerSpec {
        let chosen = self.options.get("layers").and_then(Value::as_array);
        if chosen.is_some_and(|chosen| !chosen.contains(&layer.index.into())) {
            return layer.clone();
        }
        match unit {
            Unit::Dimension(kind) => match layer.dimensions(kind).first() {
                Some(dimension) => layer.with_units(kind, self.units(dimension.units)),
                None => layer.clone(),
            },
            Unit::Experts => {
                let mut layer = layer.clone();
                if let MlpSpec::Experts { router, top_k, experts, .. } = &mut layer.mlp {
                    experts.truncate(self.units(experts.len()));
                    router.shape[0] = experts.len();
                    *top_k = (*top_k).min(experts.len());
                }
                layer
            }
            Unit::Blocks => layer.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tenuis_spec::DecoderSpec;

    fn cut(config: &Value, technique: &str, options: &Value) -> Network {
        let network = Network::dense(&DecoderSpec::from_config(config).unwrap(), 2);
        network.cut(Method::of(technique), options.as_object().unwrap()).unwrap()
    }

    fn llama(heads: usize, kv_heads: usize, channels: usize, blocks: usize) -> Value {
        json!({
            "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": channels, "head_dim": 8,
            "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        })
    }

    /// What is cut has the shapes of the smaller model that its configuration would describe.
    #[test]
    fn what_is_cut_has_the_shapes_of_a_smaller_model() {
        let whole = llama(8, 4, 172, 4);
        for (technique, options, smaller) in [
            ("prune-channels", json!({ "ratio": 0.25 }), llama(8, 4, 129, 4)),
            ("prune-channels", json!({ "ratio": 0.25, "round_to": 16 }), llama(8, 4, 128, 4)),
            ("prune-channels", json!({ "keep": 100 }), llama(8, 4, 100, 4)),
            ("prune-channels", json!({}), llama(8, 4, 138, 4)),
            ("prune-heads", json!({ "ratio": 0.5 }), llama(4, 2, 172, 4)),
            ("prune-query-heads", json!({ "ratio": 0.5 }), llama(4, 4, 172, 4)),
        ] {
            let expected = Network::dense(&DecoderSpec::from_config(&smaller).unwrap(), 2);
            assert_eq!(cut(&whole, technique, &options), expected, "{technique} {options}");
        }
        // Norms of removed blocks are not taken away: they are next to nothing.
        for (technique, options) in [
            ("prune-blocks", json!({ "count": 1 })),
            ("prune-blocks", json!({ "remove": [2] })),
            ("prune-blocks", json!({})),
            ("distill", json!({ "student": { "keep_layers": [0, 1, 3] } })),
        ] {
            let expected = Network::dense(&DecoderSpec::from_config(&llama(8, 4, 172, 3)).unwrap(), 2);
            assert_eq!(cut(&whole, technique, &options).blocks, expected.blocks, "{technique} {options}");
        }
        let mixtral = |experts: usize| {
            json!({
                "model_type": "mixtral", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
                "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
                "num_local_experts": experts, "num_experts_per_tok": 2,
            })
        };
        let expected = Network::dense(&DecoderSpec::from_config(&mixtral(6)).unwrap(), 2);
        assert_eq!(cut(&mixtral(8), "prune-experts", &json!({ "ratio": 0.25 })).blocks, expected.blocks);
    }

    /// What was packed stays as packed as it was.
    #[test]
    fn bytes_are_cut_with_the_weights() {
        let spec = DecoderSpec::from_config(&llama(8, 4, 172, 4)).unwrap();
        let network = Network::of(&spec, 2, |module| module.ends_with("down_proj").then_some(64 * 172 / 2));
        let options = json!({ "keep": 86, "layers": [1] });
        let cut = network.cut(Method::of("prune-channels"), options.as_object().unwrap()).unwrap();
        let down = |block: usize| cut.blocks[block].linears().last().unwrap().bytes;
        assert_eq!((down(0), down(1)), (64 * 172 / 2, 64 * 86 / 2));
    }

    #[test]
    fn other_techniques_cut_nothing() {
        let network = Network::dense(&DecoderSpec::from_config(&llama(8, 4, 172, 4)).unwrap(), 2);
        for technique in ["rtn", "gptq", "distill", "mine"] {
            assert!(network.cut(Method::of(technique), &Map::new()).is_none(), "{technique}");
        }
    }
}
