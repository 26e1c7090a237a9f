//! What a network is, as data: `config.json` becomes a [`DecoderSpec`].
//!
//! A model is described, never copied: one struct says for every layer how many heads it has, how wide its
//! feed-forward part is, which norms stand where, how positions enter and what every tensor is called. A family of
//! models (Llama, Qwen, GPT-2, …) is a function from its configuration to that struct, found in [`families`]. Pruned
//! heads, a narrower feed-forward part or a dropped layer are just another spec.
//!
//! ```
//! use tenuis_spec::DecoderSpec;
//! let config = serde_json::json!({
//!     "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 172,
//!     "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4, "rope_theta": 10000.0,
//! });
//! let spec = DecoderSpec::from_config(&config)?;
//! let groups = spec.layers[0].groups();
//! let shared: Vec<_> = groups.iter().map(|g| g.linears.len()).collect();
//! assert_eq!(shared, [3, 1, 2, 1]); // q,k,v; o; gate,up; down
//! assert_eq!(groups[0].linears[1].name, "model.layers.0.self_attn.k_proj");
//! assert_eq!(groups[0].linears[1].shape, [32, 64]);
//! # Ok::<(), tenuis_spec::SpecError>(())
//! ```

mod check;
mod config;
mod coupled;
mod decoder;
mod depth;
mod error;
mod experts;
mod family;
mod layer;
mod linear;
mod rope;
mod width;

pub use check::{HeadSource, TensorSpec};
pub use coupled::{CoupledDimension, CoupledPart, DimensionKind, Side, TensorCut};
pub use decoder::{DecoderSpec, Embedding, Positions};
pub use depth::KeptLayers;
pub use error::SpecError;
pub use experts::{KeptExperts, best_experts};
pub use family::families;
pub use layer::{
    Activation, AttentionSpec, FusedOrder, LayerNorms, LayerSpec, MlpSpec, NormKind, NormSpec, QkNorm,
    QkvSpec, Residual,
};
pub use linear::{InputGroup, LinearSpec, Producer, ProducerRows, Role};
pub use rope::{Frequencies, RopeScaling, RopeSpec};
pub use width::KeptUnits;
