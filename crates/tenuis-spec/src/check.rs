//! Holding a spec against the tensors of a checkpoint.

use crate::decoder::{DecoderSpec, Positions};
use crate::error::SpecError;
use crate::layer::{LayerSpec, NormSpec};
use crate::linear::LinearSpec;

/// A tensor that a spec calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name.
    pub name: String,
    /// The shape as stored.
    pub shape: Vec<usize>,
    /// Where the tensor is a matrix that may be stored compressed instead (`{module}.weight_packed` and so on): the
    /// module and its logical shape `[out_features, in_features]`.
    pub module: Option<(String, [usize; 2])>,
}

impl TensorSpec {
    fn vector(name: String, length: usize) -> Self {
        Self { name, shape: vec![length], module: None }
    }

    fn linear(linear: &LinearSpec) -> impl Iterator<Item = Self> {
        let weight = Self {
            name: linear.weight_name(),
            shape: linear.stored_shape().to_vec(),
            module: Some((linear.name.clone(), linear.shape)),
        };
        let bias = linear.bias_name().map(|name| Self::vector(name, linear.shape[0]));
        std::iter::once(weight).chain(bias)
    }

    fn norm(norm: &NormSpec) -> impl Iterator<Item = Self> {
        let weight = Self::vector(format!("{}.weight", norm.name), norm.dim);
        std::iter::once(weight)
            .chain(norm.bias.then(|| Self::vector(format!("{}.bias", norm.name), norm.dim)))
    }
}

/// Which matrix computes the logits, once the checkpoint's tensors are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadSource {
    /// The embedding; there is no other head, or one that holds the same numbers.
    Embedding,
    /// A head of its own.
    Own,
    /// A head of its own, although the configuration ties it to the embedding: the two hold different numbers.
    /// Worth a warning; the configuration should say `"tie_word_embeddings": false`.
    OwnDespiteConfig,
}

impl LayerSpec {
    /// The norms, those of the heads included.
    pub fn norms(&self) -> impl Iterator<Item = &NormSpec> {
        let around = [
            &self.norms.attention_pre,
            &self.norms.attention_post,
            &self.norms.mlp_pre,
            &self.norms.mlp_post,
        ];
        let heads = self.attention.qk_norm.iter().flat_map(|n| [&n.q, &n.k]);
        around.into_iter().flatten().chain(heads)
    }

    /// The tensors that the layer calls for.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let linears = self.linears();
        let linears = linears.iter().chain(self.mlp.router());
        linears.flat_map(TensorSpec::linear).chain(self.norms().flat_map(TensorSpec::norm)).collect()
    }
}

impl DecoderSpec {
    /// The tensors that the spec calls for, in no particular order. A tied head is not among them.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let matrix = |name: &str, rows: usize| TensorSpec {
            name: format!("{name}.weight"),
            shape: vec![rows, self.d_model],
            module: Some((name.to_owned(), [rows, self.d_model])),
        };
        let mut tensors = vec![matrix(&self.embedding.name, self.vocab)];
        if let Positions::Learned { name, rows, .. } = &self.positions {
            tensors.push(matrix(name, *rows));
        }
        tensors.extend(self.embedding.norm.iter().flat_map(TensorSpec::norm));
        tensors.extend(self.layers.iter().flat_map(LayerSpec::tensors));
        tensors.extend(self.final_norm.iter().flat_map(TensorSpec::norm));
        if !self.tied {
            tensors.extend(TensorSpec::linear(&self.lm_head));
        }
        tensors
    }

    /// Finds out which matrix computes the logits and settles [`DecoderSpec::tied`] accordingly, as transformers does.
    ///
    /// A configuration that ties the two is believed unless the checkpoint stores both with different numbers. One
    /// that does not tie them is always believed: a head that is missing then is an error that
    /// [`DecoderSpec::check_shapes`] reports.
    ///
    /// * `is_stored`: whether a module's matrix is there, dense or compressed. Where only the head is, the embedding is
    ///   read from it;
    /// * `is_equal`: whether head and embedding hold the same numbers; asked only where it matters.
    pub fn settle_head(
        &mut self,
        is_stored: impl Fn(&str) -> bool,
        is_equal: impl FnOnce() -> bool,
    ) -> HeadSource {
        if !self.tied {
            return HeadSource::Own;
        }
        if !is_stored(&self.lm_head.name) {
            return HeadSource::Embedding;
        }
        if !is_stored(&self.embedding.name) {
            self.embedding.name.clone_from(&self.lm_head.name);
            return HeadSource::Embedding;
        }
        if is_equal() {
            return HeadSource::Embedding;
        }
        self.tied = false;
        HeadSource::OwnDespiteConfig
    }

    /// Checks that every tensor is there in the shape that the spec calls for.
    ///
    /// * `tensor`: the shape of a stored tensor, by name;
    /// * `module`: the logical shape `[out_features, in_features]` of a matrix that is stored compressed, by module;
    ///   it is told the shape that the spec calls for.
    ///
    /// Tensors that the spec does not call for (masks, rotary tables) are no concern of this check.
    ///
    /// ```
    /// # use tenuis_spec::{DecoderSpec, SpecError};
    /// # let config = serde_json::json!({"model_type": "llama", "vocab_size": 512, "hidden_size": 64,
    /// #     "intermediate_size": 172, "num_hidden_layers": 1, "num_attention_heads": 8});
    /// # let spec = DecoderSpec::from_config(&config)?;
    /// let error = spec.check_shapes(|_| None, |_, _| None).unwrap_err();
    /// assert!(matches!(error, SpecError::MissingTensors { .. }));
    /// # Ok::<(), SpecError>(())
    /// ```
    ///
    /// # Errors
    /// [`SpecError::Shape`] for the first tensor with another shape, else [`SpecError::MissingTensors`] with all that
    /// are missing.
    pub fn check_shapes(
        &self,
        tensor: impl Fn(&str) -> Option<Vec<usize>>,
        module: impl Fn(&str, [usize; 2]) -> Option<[usize; 2]>,
    ) -> Result<(), SpecError> {
        let mut missing = Vec::new();
        for wanted in self.tensors() {
            if let Some((name, expected)) = &wanted.module {
                match module(name, *expected) {
                    Some(found) if found == *expected => continue,
                    Some(found) => {
                        return Err(SpecError::Shape {
                            name: name.clone(),
                            expected: expected.to_vec(),
                            found: found.to_vec(),
                        });
                    }
                    None => {}
                }
            }
            match tensor(&wanted.name) {
                None => missing.push(wanted.name),
                Some(found) if found == wanted.shape => {}
                Some(found) => {
                    return Err(SpecError::Shape { name: wanted.name, expected: wanted.shape, found });
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(SpecError::MissingTensors { names: missing }) }
    }
}
