//! Keeping some of a network's feed-forward channels or heads.

use crate::coupled::{DimensionKind, TensorCut, joined};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::family::{self, DimensionFields};
use crate::layer::LayerSpec;
use serde_json::Value;

/// A network that has some units of a dimension of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptUnits {
    /// Its configuration.
    pub config: Value,
    /// What it is.
    pub spec: DecoderSpec,
    /// The tensors that change; all others stay as they are.
    pub cuts: Vec<TensorCut>,
    /// What other programs may not understand of the configuration, a sentence each. Empty where it is a plain smaller
    /// model of its family.
    pub remarks: Vec<String>,
}

impl DecoderSpec {
    /// The network that has, in layer `i`, the feed-forward channels `keep[i]` of this one, in ascending order. Where a
    /// layer has experts there is a list for each of them, and all keep as many.
    ///
    /// Where all layers keep as many, the configuration is that of a plain smaller model; else the width is a list with a
    /// number for each layer, which [`KeptUnits::remarks`] says.
    ///
    /// ```
    /// # use tenuis_spec::{DecoderSpec, SpecError};
    /// # let config = serde_json::json!({"model_type": "llama", "vocab_size": 512, "hidden_size": 64,
    /// #     "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 8});
    /// let spec = DecoderSpec::from_config(&config)?;
    /// let kept = spec.keep_channels(&config, &[vec![0, 2, 5], vec![1, 3, 4]])?;
    /// assert_eq!(kept.config["intermediate_size"], 3);
    /// let kept = spec.keep_channels(&config, &[vec![0, 2, 5], vec![1, 3]])?;
    /// assert_eq!(kept.config["intermediate_size"], serde_json::json!([3, 2]));
    /// # Ok::<(), SpecError>(())
    /// ```
    ///
    /// # Errors
    /// [`SpecError::KeepLists`] where there is not one list for each dimension, [`SpecError::NoUnits`] where one is empty,
    /// [`SpecError::NoUnit`] for a channel that is not there, [`SpecError::UnitOrder`] where a list does not ascend,
    /// [`SpecError::Unsayable`] where the family's configuration cannot describe the result.
    pub fn keep_channels(&self, config: &Value, keep: &[Vec<usize>]) -> Result<KeptUnits, SpecError> {
        self.keep_units(DimensionKind::FfnChannels, config, keep)
    }

    /// The network that has, in layer `i`, the key and value heads `keep[i]` of this one with the query heads that they
    /// serve, in ascending order. The width of a head is written out, as it no longer follows from the others.
    ///
    /// ```
    /// # use tenuis_spec::{DecoderSpec, SpecError};
    /// # let config = serde_json::json!({"model_type": "llama", "vocab_size": 512, "hidden_size": 64,
    /// #     "intermediate_size": 172, "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 4});
    /// let kept = DecoderSpec::from_config(&config)?.keep_kv_groups(&config, &[vec![0, 3]])?;
    /// assert_eq!(kept.config["num_attention_heads"], 4);
    /// assert_eq!(kept.config["num_key_value_heads"], 2);
    /// assert_eq!(kept.config["head_dim"], 8);
    /// # Ok::<(), SpecError>(())
    /// ```
    ///
    /// # Errors
    /// As [`keep_channels`](Self::keep_channels).
    pub fn keep_kv_groups(&self, config: &Value, keep: &[Vec<usize>]) -> Result<KeptUnits, SpecError> {
        self.keep_units(DimensionKind::KvGroups, config, keep)
    }

    /// [`keep_channels`](Self::keep_channels) or [`keep_kv_groups`](Self::keep_kv_groups), by the kind of dimension.
    ///
    /// # Errors
    /// As [`keep_channels`](Self::keep_channels).
    pub fn keep_units(
        &self,
        kind: DimensionKind,
        config: &Value,
        keep: &[Vec<usize>],
    ) -> Result<KeptUnits, SpecError> {
        let lists = self.layers.iter().map(|layer| layer.dimensions(kind).len()).sum();
        if keep.len() != lists {
            return Err(SpecError::KeepLists { lists, found: keep.len() });
        }
        let mut cuts = Vec::new();
        let mut expected = self.clone();
        let mut keep = keep.iter();
        for layer in &mut expected.layers {
            let (mut kept, mut units) = (None, 0);
            for (dimension, keep) in layer.dimensions(kind).iter().zip(&mut keep) {
                check(kind, layer.index, dimension.units, keep)?;
                if keep.len() != *kept.get_or_insert(keep.len()) {
                    let problem = format!(
                        "layer {} would keep {} in one place and {} in another",
                        layer.index,
                        *kept.get_or_insert(0),
                        keep.len()
                    );
                    return Err(SpecError::Unsayable { kind, problem });
                }
                units = dimension.units;
                if keep.len() < units {
                    cuts.extend(dimension.cuts(keep));
                }
            }
            if let Some(kept) = kept.filter(|&kept| kept < units) {
                *layer = layer.with_units(kind, kept);
            }
        }
        let cuts = joined(cuts);
        let fields = family::fields(&self.model_type)?;
        let mut new = config.as_object().ok_or(SpecError::NotAnObject)?.clone();
        let mut remarks = Vec::new();
        if !cuts.is_empty() {
            let mut write = |name: &str, counts: Vec<usize>| {
                if !uniform(&counts) {
                    remarks.push(format!("{name} is a list with a number for each layer"));
                }
                new.insert(name.to_owned(), one_or_list(&counts));
            };
            let layers = &expected.layers;
            match kind {
                DimensionKind::FfnChannels => {
                    // Where layers with and without experts have a field each, a list says nothing of the others' layers.
                    let has_experts = |layer: &LayerSpec| layer.mlp.router().is_some();
                    for (field, experts) in [(Some(fields.channels), false), (fields.expert_channels, true)] {
                        let of_field =
                            |l: &&LayerSpec| fields.expert_channels.is_none() || has_experts(l) == experts;
                        let widths: Vec<usize> =
                            layers.iter().filter(of_field).map(|l| l.mlp.d_ff()).collect();
                        match field {
                            Some(field) if widths.len() == layers.len() => write(field, widths),
                            Some(field) if uniform(&widths) && !widths.is_empty() => write(field, widths),
                            Some(field) if !widths.is_empty() => {
                                let problem =
                                    format!("{field} is one number for those layers that it is for");
                                return Err(SpecError::Unsayable { kind, problem });
                            }
                            _ => {}
                        }
                    }
                }
                DimensionKind::KvGroups | DimensionKind::QueryHeads => {
                    write(fields.heads, layers.iter().map(|l| l.attention.n_q).collect());
                    if let Some(field) = fields.kv_heads {
                        write(field, layers.iter().map(|l| l.attention.n_kv).collect());
                    }
                    write(fields.head_dim, layers.iter().map(|l| l.attention.head_dim).collect());
                    remarks.extend(self.head_remarks(fields, &expected));
                }
            }
        }
        let config = Value::Object(new);
        // The names of tensors may lack the family's prefix: those of the whole network say.
        let mut spec = Self::for_modules(&config, |module| module == self.embedding.name)
            .map_err(|source| SpecError::Unsayable { kind, problem: source.to_string() })?;
        spec.tied = self.tied;
        spec.embedding.name.clone_from(&self.embedding.name);
        if spec != expected {
            let layer = spec.layers.iter().zip(&expected.layers).position(|(found, wanted)| found != wanted);
            let problem = layer.map_or_else(
                || "the network around the layers would be another one".to_owned(),
                |layer| format!("layer {layer} would be another one"),
            );
            return Err(SpecError::Unsayable { kind, problem });
        }
        Ok(KeptUnits { config, spec, cuts, remarks })
    }

    /// What other readers of the family's configuration do not allow about the heads.
    fn head_remarks(&self, fields: &DimensionFields, new: &Self) -> Vec<String> {
        let mut remarks = Vec::new();
        if fields.own_head_dim {
            remarks.push(format!("{} is no field of {} elsewhere", fields.head_dim, self.model_type));
        }
        let uneven = |heads: usize| !self.d_model.is_multiple_of(heads);
        let rope = new.layers.first().and_then(|layer| layer.attention.rope.as_ref());
        if rope.is_some_and(|rope| rope.long_after().is_some()) {
            remarks.push(format!(
                "the factors of LongRoPE are as many as {} says, not what {} would give",
                fields.head_dim, fields.heads
            ));
        }
        if fields.heads_divide_width && new.layers.iter().any(|layer| uneven(layer.attention.n_q)) {
            remarks.push(format!("{} does not divide the hidden size {}", fields.heads, self.d_model));
        }
        remarks
    }
}

/// Whether all numbers are the same.
fn uniform(counts: &[usize]) -> bool {
    counts.windows(2).all(|pair| pair[0] == pair[1])
}

fn check(kind: DimensionKind, layer: usize, units: usize, keep: &[usize]) -> Result<(), SpecError> {
    if keep.is_empty() {
        return Err(SpecError::NoUnits { kind, layer });
    }
    if let Some(&unit) = keep.iter().find(|&&unit| unit >= units) {
        return Err(SpecError::NoUnit { kind, layer, unit, units });
    }
    if keep.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(SpecError::UnitOrder { kind, layer });
    }
    Ok(())
}

/// One number where all are equal, else all of them.
pub(crate) fn one_or_list(counts: &[usize]) -> Value {
    match counts {
        [first, rest @ ..] if rest.iter().all(|count| count == first) => Value::from(*first),
        _ => Value::from(counts),
    }
}
