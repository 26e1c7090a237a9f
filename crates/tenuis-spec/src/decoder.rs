//! The whole network.

use crate::config::Config;
use crate::error::SpecError;
use crate::family;
use crate::layer::{LayerSpec, NormSpec};
use crate::linear::{LinearSpec, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenuis_core::Layout;

/// A decoder-only transformer: embedding, layers, final norm and a projection to logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderSpec {
    /// The family, as `config.json` names it.
    pub model_type: String,
    /// Rows of the embedding, and logits.
    pub vocab: usize,
    /// The width of the residual stream.
    pub d_model: usize,
    /// The longest sequence that the model was made for; learned positions end there.
    pub max_positions: usize,
    /// The token embedding.
    pub embedding: Embedding,
    /// How positions enter beside what the layers do themselves.
    pub positions: Positions,
    /// The layers.
    pub layers: Vec<LayerSpec>,
    /// The norm before the logits.
    pub final_norm: Option<NormSpec>,
    /// Whether the logits are computed with the embedding's matrix.
    pub tied: bool,
    /// The projection to logits where it is stored by itself.
    pub lm_head: LinearSpec,
    /// A factor on the logits.
    pub logit_scale: Option<f64>,
    /// The bound of the logits, `cap · tanh(logit / cap)`.
    pub logit_softcap: Option<f64>,
}

/// The token embedding, `{name}.weight` `[vocab, d_model]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// The module.
    pub name: String,
    /// A factor on every embedded token (Gemma: √d_model).
    pub scale: Option<f64>,
    /// A norm of every embedded token (BLOOM).
    pub norm: Option<NormSpec>,
}

/// How positions enter at the embedding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Positions {
    /// Not at all; the layers see to them.
    None,
    /// Row `position + offset` of the table `{name}.weight` `[rows, d_model]` is added.
    Learned {
        /// The module.
        name: String,
        /// Rows of the table.
        rows: usize,
        /// The row of position 0 (OPT: 2).
        offset: usize,
    },
}

impl DecoderSpec {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`SpecError::UnknownModelType`], or a field that is missing or has a value that the family does not allow.
    pub fn from_config(config: &Value) -> Result<Self, SpecError> {
        family::build(Config::new(config)?, false)
    }

    /// Reads a `config.json` and finds out from the stored modules whether their names carry the family's usual
    /// prefix: checkpoints of the bare model (as GPT-2 was published) leave `transformer.` or `model.` out.
    ///
    /// `is_stored` says whether a module's matrix is there, dense or compressed.
    ///
    /// # Errors
    /// As [`DecoderSpec::from_config`].
    pub fn for_modules(config: &Value, is_stored: impl Fn(&str) -> bool) -> Result<Self, SpecError> {
        let usual = Self::from_config(config)?;
        if is_stored(&usual.embedding.name) {
            return Ok(usual);
        }
        let bare = family::build(Config::new(config)?, true)?;
        Ok(if is_stored(&bare.embedding.name) { bare } else { usual })
    }

    /// The Linear that computes the logits: the stored head, or the embedding where the two are tied.
    pub fn head(&self) -> LinearSpec {
        if !self.tied {
            return self.lm_head.clone();
        }
        LinearSpec { name: self.embedding.name.clone(), layout: Layout::OutIn, ..self.lm_head.clone() }
    }

    /// The Linears of all layers, in the order of the forward pass; neither embedding nor head.
    pub fn linears(&self) -> impl Iterator<Item = LinearSpec> + '_ {
        self.layers.iter().flat_map(LayerSpec::linears)
    }

    pub(crate) fn untied_head(name: &str, vocab: usize, d_model: usize, bias: bool) -> LinearSpec {
        LinearSpec {
            name: name.to_owned(),
            role: Role::Head,
            shape: [vocab, d_model],
            layout: Layout::OutIn,
            bias,
        }
    }
}
