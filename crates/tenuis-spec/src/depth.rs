//! Keeping some of a network's layers.

use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::LayerSpec;
use serde_json::Value;
use std::collections::BTreeMap;

/// The names under which configurations say how many layers there are.
const COUNTS: [&str; 2] = ["num_hidden_layers", "n_layer"];
/// The names of dimensions that may be a list with a number for each layer.
const DIMENSIONS: [&str; 9] = [
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "ffn_dim",
    "moe_intermediate_size",
    "num_experts",
    "num_local_experts",
    "n_head",
    "n_inner",
];
/// The layers without experts, by number, where others have some; and the rule that is overruled by such a list.
const DENSE: &str = "mlp_only_layers";
const SPARSE_STEP: &str = "decoder_sparse_step";
/// The value of `layer_types` for a layer with a window, and for one without.
const TYPES: [&str; 2] = ["sliding_attention", "full_attention"];

/// A network that has some layers of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptLayers {
    /// Its configuration.
    pub config: Value,
    /// What it is.
    pub spec: DecoderSpec,
    /// For each of its tensors the name of the tensor that it comes from.
    pub sources: BTreeMap<String, String>,
}

impl DecoderSpec {
    /// The network that has layers `keep` of this one, in that order, and everything else as it is.
    ///
    /// Lists in the configuration with an entry for each layer are cut alike, and what a family derives from a layer's
    /// number (windows, layers without positions) is written out, so that each layer stays what it was.
    ///
    /// ```
    /// # use tenuis_spec::{DecoderSpec, SpecError};
    /// # let config = serde_json::json!({"model_type": "llama", "vocab_size": 512, "hidden_size": 64,
    /// #     "intermediate_size": 172, "num_hidden_layers": 4, "num_attention_heads": 8});
    /// let kept = DecoderSpec::from_config(&config)?.keep_layers(&config, &[0, 3])?;
    /// assert_eq!(kept.config["num_hidden_layers"], 2);
    /// let source = &kept.sources["model.layers.1.mlp.up_proj.weight"];
    /// assert_eq!(source, "model.layers.3.mlp.up_proj.weight");
    /// # Ok::<(), SpecError>(())
    /// ```
    ///
    /// # Errors
    /// [`SpecError::NoLayer`] for a layer that is not there, [`SpecError::NoLayers`] where none is kept,
    /// [`SpecError::LayerChanges`] where the family cannot describe a kept layer under its new number.
    pub fn keep_layers(&self, config: &Value, keep: &[usize]) -> Result<KeptLayers, SpecError> {
        let layers = self.layers.len();
        if let Some(&layer) = keep.iter().find(|&&layer| layer >= layers) {
            return Err(SpecError::NoLayer { layer, layers });
        }
        if keep.is_empty() {
            return Err(SpecError::NoLayers);
        }
        let config = self.cut(config, keep)?;
        // The names of tensors may lack the family's prefix: those of the whole network say.
        let mut spec = Self::for_modules(&config, |module| module == self.embedding.name)?;
        spec.tied = self.tied;
        let mut sources = BTreeMap::new();
        for (layer, &from) in spec.layers.iter().zip(keep) {
            let old = &self.layers[from];
            if !alike(layer, old) {
                return Err(SpecError::LayerChanges { layer: from, place: layer.index });
            }
            let names = layer.tensors().into_iter().zip(old.tensors());
            sources.extend(names.map(|(new, old)| (new.name, old.name)));
        }
        for tensor in spec.tensors() {
            sources.entry(tensor.name.clone()).or_insert(tensor.name);
        }
        Ok(KeptLayers { config, spec, sources })
    }

    fn cut(&self, config: &Value, keep: &[usize]) -> Result<Value, SpecError> {
        let layers = self.layers.len();
        let mut fields = config.as_object().ok_or(SpecError::NotAnObject)?.clone();
        // Before lists are cut: what is derived from a layer's number becomes a list.
        let windows = self.layers.iter().map(|layer| layer.attention.window.is_some());
        if windows.clone().any(|window| window) && windows.clone().any(|window| !window) {
            let types = windows.map(|window| Value::from(TYPES[usize::from(!window)]));
            fields.entry("layer_types").or_insert_with(|| types.collect());
        }
        let rotary = self.layers.iter().map(|layer| layer.attention.rope.is_some());
        if rotary.clone().any(|rope| rope) && rotary.clone().any(|rope| !rope) {
            let marks = rotary.map(|rope| Value::from(u8::from(rope)));
            fields.entry("no_rope_layers").or_insert_with(|| marks.collect());
        }
        let sparse = self.layers.iter().map(|layer| layer.mlp.router().is_some());
        if sparse.clone().any(|sparse| sparse) && sparse.clone().any(|sparse| !sparse) {
            let sparse: Vec<bool> = sparse.collect();
            let dense = keep.iter().enumerate().filter(|(_, from)| !sparse[**from]).map(|(place, _)| place);
            fields.insert(DENSE.to_owned(), dense.collect());
            fields.insert(SPARSE_STEP.to_owned(), 1.into());
        }
        let pruned = |name: &str| DIMENSIONS.contains(&name);
        for (name, value) in &mut fields {
            match value.as_array() {
                Some(list)
                    if list.len() == layers && name != DENSE && (name.contains("layer") || pruned(name)) =>
                {
                    let kept: Vec<Value> = keep.iter().map(|&layer| list[layer].clone()).collect();
                    let equal = kept.iter().all(|entry| *entry == kept[0]);
                    *value = if equal && pruned(name) { kept[0].clone() } else { kept.into() };
                }
                _ if COUNTS.contains(&name.as_str()) => *value = keep.len().into(),
                _ => {}
            }
        }
        Ok(Value::Object(fields))
    }
}

/// Whether two layers are the same but for their number and their names.
fn alike(new: &LayerSpec, old: &LayerSpec) -> bool {
    let unnamed = |layer: &LayerSpec| {
        let mut layer = layer.clone();
        layer.index = 0;
        let mut json = serde_json::to_value(layer).unwrap_or_default();
        forget_names(&mut json);
        json
    };
    unnamed(new) == unnamed(old)
}

fn forget_names(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("name");
            fields.values_mut().for_each(forget_names);
        }
        Value::Array(list) => list.iter_mut().for_each(forget_names),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keep(config: &Value, keep: &[usize]) -> Result<KeptLayers, SpecError> {
        DecoderSpec::from_config(config)?.keep_layers(config, keep)
    }

    fn smollm3() -> Value {
        json!({"model_type": "smollm3", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2})
    }

    #[test]
    fn a_layer_keeps_what_it_derived_from_its_number() {
        let kept = keep(&smollm3(), &[3, 4]).unwrap();
        assert_eq!(kept.config["no_rope_layers"], json!([0, 1]));
        assert!(kept.spec.layers[0].attention.rope.is_none() && kept.spec.layers[1].attention.rope.is_some());
        let qwen = json!({"model_type": "qwen2", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 8,
            "use_sliding_window": true, "max_window_layers": 2});
        let kept = keep(&qwen, &[1, 3]).unwrap();
        let windows: Vec<_> = kept.spec.layers.iter().map(|l| l.attention.window).collect();
        assert_eq!(windows, [None, Some(8)]);
    }

    /// Gemma 3 has other positions in layers with a window, and derives which these are from their number.
    #[test]
    fn layers_keep_their_kind_of_positions() {
        let mut gemma = json!({"model_type": "gemma3_text", "vocab_size": 64, "hidden_size": 32,
            "intermediate_size": 48, "num_hidden_layers": 7, "num_attention_heads": 4, "num_key_value_heads": 2,
            "sliding_window": 8});
        let bases = |kept: &KeptLayers| -> Vec<(f64, bool)> {
            let attention = kept.spec.layers.iter().map(|l| &l.attention);
            attention.map(|a| (a.rope.as_ref().unwrap().theta, a.window.is_some())).collect()
        };
        let kept = keep(&gemma, &[4, 5, 6]).unwrap();
        assert_eq!(bases(&kept), [(10_000.0, true), (1_000_000.0, false), (10_000.0, true)]);
        assert_eq!(
            kept.config["layer_types"],
            json!(["sliding_attention", "full_attention", "sliding_attention"])
        );
        // What was cut may be cut again.
        let again = kept.spec.keep_layers(&kept.config, &[1]).unwrap();
        assert_eq!(bases(&again), [(1_000_000.0, false)]);
        gemma["model_type"] = json!("gemma2");
        let windows = |kept: KeptLayers| -> Vec<Option<usize>> {
            kept.spec.layers.iter().map(|l| l.attention.window).collect()
        };
        assert_eq!(windows(keep(&gemma, &[0, 2, 3]).unwrap()), [Some(8), Some(8), None]);
    }

    #[test]
    fn widths_by_another_name_are_cut_with_their_layers() {
        let opt = json!({"model_type": "opt", "vocab_size": 64, "hidden_size": 32, "ffn_dim": [48, 24, 48],
            "num_hidden_layers": 3, "num_attention_heads": 4});
        assert_eq!(keep(&opt, &[1, 2]).unwrap().config["ffn_dim"], json!([24, 48]));
        let kept = keep(&opt, &[0, 2]).unwrap();
        assert_eq!((&kept.config["ffn_dim"], &kept.config["num_hidden_layers"]), (&json!(48), &json!(2)));
        let source = &kept.sources["model.decoder.layers.1.final_layer_norm.bias"];
        assert_eq!(source, "model.decoder.layers.2.final_layer_norm.bias");
    }

    #[test]
    fn a_layer_that_changes_with_its_number_is_refused() {
        let gpt2 = json!({"model_type": "gpt2", "vocab_size": 64, "n_embd": 32, "n_layer": 4, "n_head": 4,
            "scale_attn_by_inverse_layer_idx": true});
        assert!(matches!(keep(&gpt2, &[0, 2]), Err(SpecError::LayerChanges { layer: 2, place: 1 })));
        assert_eq!(keep(&gpt2, &[0, 1]).unwrap().config["n_layer"], 2);
    }

    #[test]
    fn layers_that_are_not_there_are_refused() {
        assert!(matches!(keep(&smollm3(), &[0, 8]), Err(SpecError::NoLayer { layer: 8, layers: 8 })));
        assert!(matches!(keep(&smollm3(), &[]), Err(SpecError::NoLayers)));
    }
}
