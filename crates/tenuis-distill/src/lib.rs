//! Training on candle autograd: from nothing, by distillation, or to recover what compression lost.
//!
//! A [`Network`] is a [`DecoderSpec`](tenuis_spec::DecoderSpec), the same description that inference runs, with [`Params`] in
//! f32 of which some are trained; [`train`] moves them toward an [`Objective`]:
//!
//! `ce · CE + kd · T² · D(teacher ‖ student at temperature T) + hidden · MSE(projected student states, teacher states)`
//!
//! ```
//! use tenuis_distill::{Network, Objective, Params, Selection, Sequences, Texts, TrainOptions, Unobserved, train};
//! use tenuis_spec::DecoderSpec;
//!
//! let config = serde_json::json!({
//!     "model_type": "llama", "vocab_size": 8, "hidden_size": 16, "intermediate_size": 32,
//!     "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
//! });
//! let spec = DecoderSpec::from_config(&config)?;
//! let mut params = Params::random(&spec, 0)?;
//! params.train(&Selection::all())?;
//! let mut network = Network::new(spec, params);
//!
//! // Every token is followed by the next: something to learn.
//! let tokens: Vec<u32> = (0..161).map(|t| t % 8).collect();
//! let texts = Texts { train: Sequences::new("training", tokens.into(), 16, 8)?, valid: None };
//! let mut options = TrainOptions::default();
//! (options.steps, options.batch_size, options.seq_len) = (30, 2, 16);
//! (options.learning_rate, options.warmup) = (3e-2, 3);
//!
//! let objective = Objective::cross_entropy();
//! let outcome = train(&mut network, None, &texts, &objective, &options, None, &mut Unobserved)?;
//! let (first, last) = (outcome.losses[0].1, outcome.losses[29].1);
//! assert!((first - 8f64.ln()).abs() < 0.1, "a new network guesses among 8 tokens: {first}");
//! assert!(last < 0.5 * first, "{last}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What can be combined
//!
//! | wanted | through |
//! |---|---|
//! | the weights of a checkpoint, compressed or not | [`Network::from_model`] |
//! | a part of the network | [`Params::train`] with a [`Selection`]; what is frozen costs no gradient |
//! | low-rank adapters | [`Network::add_adapters`], [`Network::merge_adapters`] |
//! | integers at the end | [`Network::round`], [`Network::quantized`] |
//! | low-rank weights that stay so | [`Network::factor`], [`Network::low_rank`] |
//! | a teacher of another depth, width or number of heads | [`ModelTeacher`], or another [`Teacher`]; the vocabularies must agree |
//! | a teacher that runs once for all epochs | [`CachedTeacher`] and [`Objective::top_k`] |
//! | less memory | [`TrainOptions::checkpoint_blocks`], `accumulate`, `precision` |
//! | to be cut off at any time | `state_dir` of [`train`]; [`Observer::cancelled`] |
//!
//! # Numbers
//!
//! Master weights, moments, norms, softmax, losses and every sum are f32 (norms of gradients and totals of losses f64);
//! [`Precision`] is that of activations and of the gradients between them. A step whose loss or gradient is not finite
//! changes nothing and is counted; more than [`TrainOptions::max_skipped`] in a row fail the run. The same seed and number
//! of threads give the same bits.

mod curve;
mod data;
mod error;
mod export;
mod factors;
mod lora;
mod matching;
mod network;
mod objective;
mod ops;
mod optimizer;
mod options;
mod params;
mod rounding;
mod run;
mod state;
mod step;
mod teacher;
mod trainer;

pub use curve::{LearningCurve, Verdict};
pub use data::Sequences;
pub use error::TrainError;
pub use lora::LoraConfig;
pub use network::{Extent, Network};
pub use objective::{Divergence, Objective};
pub use options::{Precision, Schedule, TrainOptions};
pub use params::{Params, Selection, stored_values};
pub use teacher::{Answer, CachedTeacher, ModelTeacher, NetworkTeacher, Teacher};
pub use trainer::{Observer, Outcome, StepRecord, Texts, Unobserved, ValidRecord, train};
