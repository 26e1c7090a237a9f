//! Runs a [`DecoderSpec`](tenuis_spec::DecoderSpec): one decoder for every family, described by data.
//!
//! * [`Model`] opens a checkpoint, checks it against its spec and runs it whole or block by block. Blocks load lazily
//!   from the mapped file and can be dropped again.
//! * [`Block`] is one layer. Its [`Linear`] slots hold weights in whatever form the checkpoint has them and compute on
//!   that form; a [`Tap`] sees the input of every group of Linears, which is what calibration collects.
//! * [`Session`] keeps keys and values between calls: batched prefill, then one position after the other.
//! * [`Model::generate`] continues a prompt, greedily or sampled with a seed.
//! * [`Profile`] attributes a pass's time and bytes to its operations.
//! * [`Tokenizer`] reads `tokenizer.json` and fails early where it does not fit the model.
//!
//! Hidden states are f32 candle tensors `[batch, seq, d_model]`. The slots and the operations in between take and
//! give tensors, so that training can put differentiable ones in their place.

mod block;
mod cache;
mod error;
mod generate;
mod linear;
mod load;
mod model;
mod norm;
mod ops;
mod profile;
mod router;
mod session;
mod tokenizer;
mod tokenizer_training;

pub use block::{Block, Tap};
pub use error::ModelError;
pub use generate::GenerateOptions;
pub use linear::Linear;
pub use model::Model;
pub use norm::Norm;
pub use profile::{OperationProfile, Profile};
pub use session::Session;
pub use tokenizer::{DecodeStream, Tokenizer, TokenizerError};
