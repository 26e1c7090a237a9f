//! Keeping some of a network's experts.

use crate::coupled::{Side, TensorCut};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::family;
use crate::layer::MlpSpec;
use crate::width::one_or_list;
use serde_json::Value;
use std::collections::BTreeMap;

/// The names under which configurations say how many experts a layer has.
const COUNTS: [&str; 2] = ["num_local_experts", "num_experts"];
/// The name under which they say how many a token is given to.
const TOP_K: &str = "num_experts_per_tok";

/// The experts that a token goes to: those with the largest logits, the first of equal ones, best first.
///
/// ```
/// assert_eq!(tenuis_spec::best_experts(&[0.5, 2.0, 0.5, 1.0], 3), [1, 3, 0]);
/// ```
pub fn best_experts(logits: &[f32], top_k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order.truncate(top_k.max(1));
    order
}

/// A network that has some experts of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptExperts {
    /// Its configuration.
    pub config: Value,
    /// What it is.
    pub spec: DecoderSpec,
    /// For each tensor of its experts the name of the tensor that it comes from.
    pub sources: BTreeMap<String, String>,
    /// The routers, which lose the rows of dropped experts.
    pub routers: Vec<TensorCut>,
    /// What other programs may not understand of the configuration, a sentence each.
    pub remarks: Vec<String>,
}

impl DecoderSpec {
    /// The network that has, in layer `i`, the experts `keep[i]` of this one, in ascending order; nothing is kept of a layer
    /// without experts. Experts are numbered anew. A token that would have gone to a dropped expert goes to the best of
    /// those that are left.
    ///
    /// ```
    /// # use tenuis_spec::{DecoderSpec, SpecError};
    /// # let config = serde_json::json!({"model_type": "mixtral", "vocab_size": 512, "hidden_size": 64,
    /// #     "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 8, "num_local_experts": 4});
    /// let kept = DecoderSpec::from_config(&config)?.keep_experts(&config, &[vec![0, 3]])?;
    /// assert_eq!(kept.config["num_local_experts"], 2);
    /// let source = &kept.sources["model.layers.0.block_sparse_moe.experts.1.w1.weight"];
    /// assert_eq!(source, "model.layers.0.block_sparse_moe.experts.3.w1.weight");
    /// # Ok::<(), SpecError>(())
    /// ```
    ///
    /// # Errors
    /// [`SpecError::KeepLists`] where there is not one list for each layer, [`SpecError::NoExperts`] where there are none to
    /// keep, [`SpecError::NoExpertsLeft`] where none would be left, [`SpecError::ExpertList`] for a list that names an expert
    /// that is not there or does not ascend.
    pub fn keep_experts(&self, config: &Value, keep: &[Vec<usize>]) -> Result<KeptExperts, SpecError> {
        if keep.len() != self.layers.len() {
            return Err(SpecError::KeepLists { lists: self.layers.len(), found: keep.len() });
        }
        let mut routers = Vec::new();
        let mut counts = Vec::with_capacity(keep.len());
        for (layer, keep) in self.layers.iter().zip(keep) {
            let MlpSpec::Experts { router, experts, .. } = &layer.mlp else {
                if !keep.is_empty() {
                    return Err(SpecError::NoExperts { layer: layer.index });
                }
                counts.push(None);
                continue;
            };
            check(layer.index, experts.len(), keep)?;
            counts.push(Some(keep.len()));
            if keep.len() < experts.len() {
                routers.push(TensorCut {
                    tensor: router.weight_name(),
                    module: router.name.clone(),
                    shape: router.stored_shape().to_vec(),
                    axis: 0,
                    side: Side::Output,
                    keep: keep.clone(),
                });
            }
        }
        // A layer without experts is not asked how many it has; any number keeps the list whole.
        let any = counts.iter().flatten().copied().next().ok_or(SpecError::NoExperts { layer: 0 })?;
        let counts: Vec<usize> = counts.into_iter().map(|count| count.unwrap_or(any)).collect();
        let config = self.config_with(config, &counts)?;
        let mut remarks = Vec::new();
        if counts.iter().any(|count| *count != counts[0]) {
            remarks.push("the number of experts is a list with a number for each layer".to_owned());
        }
        // The names of tensors may lack the family's prefix: those of the whole network say.
        let mut spec = Self::for_modules(&config, |module| module == self.embedding.name)?;
        spec.tied = self.tied;
        let mut sources = BTreeMap::new();
        for ((new, old), keep) in spec.layers.iter().zip(&self.layers).zip(keep) {
            if old.mlp.router().is_none() {
                continue;
            }
            for (new, &from) in new.mlp.parts().iter().zip(keep) {
                let names = |part: &MlpSpec| part.inputs().into_iter().chain(part.output());
                for (new, old) in names(new).zip(names(&old.mlp.parts()[from])) {
                    sources.insert(new.weight_name(), old.weight_name());
                    sources.extend(new.bias_name().zip(old.bias_name()));
                }
            }
        }
        Ok(KeptExperts { config, spec, sources, routers, remarks })
    }

    fn config_with(&self, config: &Value, counts: &[usize]) -> Result<Value, SpecError> {
        let mut new = config.as_object().ok_or(SpecError::NotAnObject)?.clone();
        let usual = family::fields(&self.model_type)?.experts;
        let mut fields: Vec<&str> = COUNTS.into_iter().filter(|field| new.contains_key(*field)).collect();
        if fields.is_empty() {
            fields.extend(usual);
        }
        for field in fields {
            new.insert(field.to_owned(), one_or_list(counts));
        }
        // A token cannot go to more experts than there are.
        let most = counts.iter().copied().min().unwrap_or(1);
        if let Some(top_k) = new.get(TOP_K).and_then(Value::as_u64)
            && top_k > most as u64
        {
            new.insert(TOP_K.to_owned(), most.into());
        }
        Ok(Value::Object(new))
    }
}

fn check(layer: usize, experts: usize, keep: &[usize]) -> Result<(), SpecError> {
    if keep.is_empty() {
        return Err(SpecError::NoExpertsLeft { layer });
    }
    let ascends = keep.windows(2).all(|pair| pair[0] < pair[1]);
    if ascends && keep.iter().all(|&expert| expert < experts) {
        return Ok(());
    }
    Err(SpecError::ExpertList { layer, experts, found: keep.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Value {
        json!({"model_type": "qwen3_moe", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
            "moe_intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_local_experts": 4, "num_experts_per_tok": 3, "mlp_only_layers": [1]})
    }

    fn keep(keep: [&[usize]; 3]) -> Result<KeptExperts, SpecError> {
        DecoderSpec::from_config(&config())?.keep_experts(&config(), &keep.map(<[usize]>::to_vec))
    }

    #[test]
    fn experts_are_numbered_anew_and_routers_cut() {
        let kept = keep([&[1, 3], &[], &[0, 2]]).unwrap();
        assert_eq!(kept.config["num_local_experts"], 2);
        assert_eq!(kept.config["num_experts_per_tok"], 2);
        assert!(kept.config.get("num_experts").is_none());
        assert_eq!(kept.sources.len(), 2 * 2 * 3);
        assert_eq!(
            kept.sources["model.layers.2.mlp.experts.1.down_proj.weight"],
            "model.layers.2.mlp.experts.2.down_proj.weight"
        );
        let routers: Vec<_> = kept.routers.iter().map(|cut| (cut.tensor.as_str(), cut.new_shape())).collect();
        assert_eq!(
            routers,
            [
                ("model.layers.0.mlp.gate.weight", vec![2, 32]),
                ("model.layers.2.mlp.gate.weight", vec![2, 32])
            ]
        );
        assert_eq!(kept.spec.layers[0].mlp.parts().len(), 2);
        assert!(kept.spec.layers[1].mlp.router().is_none());
        assert_eq!(keep([&[0], &[], &[0, 2]]).unwrap().remarks.len(), 1);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(matches!(keep([&[0], &[0], &[0]]), Err(SpecError::NoExperts { layer: 1 })));
        assert!(matches!(keep([&[], &[], &[0]]), Err(SpecError::NoExpertsLeft { layer: 0 })));
        assert!(matches!(
            keep([&[0, 4], &[], &[0]]),
            Err(SpecError::ExpertList { layer: 0, experts: 4, .. })
        ));
        assert!(matches!(keep([&[1, 0], &[], &[0]]), Err(SpecError::ExpertList { .. })));
    }
}
