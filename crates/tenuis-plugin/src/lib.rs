//! The SDK for authors of technique plugins in Rust.
//!
//! Implement [`GroupTechnique`] (or [`ModelTechnique`], for the whole checkpoint), list it in [`export_plugin!`], build a `cdylib`, and put a manifest beside it. The SDK keeps the
//! rules of the C ABI: it reads every struct by its size, checks what it reads, turns panics into a status, and
//! moves results into the host's buffers. An author writes no `unsafe`.
//!
//! ```
//! use tenuis_plugin::{Capabilities, Emitter, Group, GroupTechnique, Host, TechniqueError, core, schemars, serde};
//!
//! /// Rounds every weight to a multiple of `step`.
//! struct Snap {
//!     step: f32,
//! }
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! struct SnapConfig {
//!     step: f32,
//! }
//!
//! impl Default for SnapConfig {
//!     fn default() -> Self {
//!         Self { step: 0.125 }
//!     }
//! }
//!
//! impl GroupTechnique for Snap {
//!     const ID: &'static str = "snap";
//!     const VERSION: &'static str = "1.0.0";
//!     const CAPABILITIES: Capabilities = Capabilities::NEEDS_DENSE.and(Capabilities::DETERMINISTIC);
//!     type Config = SnapConfig;
//!
//!     fn new(config: SnapConfig, _host: &Host<'_>) -> Result<Self, TechniqueError> {
//!         Ok(Self { step: config.step })
//!     }
//!
//!     fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
//!         for linear in group.linears() {
//!             out.host().check_cancelled()?;
//!             let snapped: Vec<f32> = linear.dense()?.iter().map(|w| (w / self.step).round() * self.step).collect();
//!             let tensor = core::Tensor::from_f32(core::DType::F16, linear.shape().to_vec(), &snapped)?;
//!             out.emit(linear.name(), &core::Dense::new(tensor)?)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! tenuis_plugin::export_plugin!(Snap);
//! # fn main() {}
//! ```
//!
//! A technique of the *model scope* gets the whole checkpoint, tokens and perhaps a teacher, and emits what changes:
//!
//! ```
//! # use tenuis_plugin::{Capabilities, Host, Model, ModelEmitter, ModelTechnique, TechniqueError, core, schemars, serde};
//! /// Moves every tensor half of the way to the teacher.
//! struct Halfway;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct NoOptions {}
//!
//! impl ModelTechnique for Halfway {
//!     const ID: &'static str = "halfway";
//!     const VERSION: &'static str = "1.0.0";
//!     const CAPABILITIES: Capabilities = Capabilities::NEEDS_TEACHER.and(Capabilities::DETERMINISTIC);
//!     type Config = NoOptions;
//!
//!     fn new(_config: NoOptions, _host: &Host<'_>) -> Result<Self, TechniqueError> {
//!         Ok(Self)
//!     }
//!
//!     fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
//!         let teacher = model.require_teacher()?;
//!         for (name, tensor) in model.student().tensors() {
//!             out.host().check_cancelled()?;
//!             let theirs = teacher.tensor(name)?.to_f32()?;
//!             let mean: Vec<f32> = tensor.to_f32()?.iter().zip(theirs.iter()).map(|(a, b)| (a + b) / 2.0).collect();
//!             let bytes = core::convert::from_f32(tensor.dtype(), &mean)?;
//!             out.emit_tensor(name, tensor.dtype(), tensor.shape(), &bytes)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! tenuis_plugin::export_plugin!(Halfway);
//! # fn main() {}
//! ```
//!
//! A plugin is a library of its own with its own thread pools: keep to [`Host::thread_budget`], or lend the host's
//! threads with [`Host::parallel_for`].

mod emit;
mod error;
mod export;
mod export_model;
mod group;
mod host;
mod model;
mod model_emit;
mod technique;
mod tensor;

pub use emit::Emitter;
pub use error::{FailureKind, TechniqueError};
pub use group::{Group, GroupShape, Linear, LinearShape, Moments, StoredWeight};
pub use host::{Host, LogLevel};
pub use model::{CheckpointView, Model, Tokens};
pub use model_emit::{ModelEmitter, Source};
pub use technique::{Capabilities, GroupTechnique, ModelTechnique, Rows, Statistics};
pub use tensor::TensorView;

// What an author needs beside this crate.
pub use schemars;
pub use serde;
pub use serde_json;
pub use tenuis_core as core;

/// For [`export_plugin!`] only.
#[doc(hidden)]
pub mod private {
    pub use crate::export::{Slot, Tag, entry};
    pub use tenuis_abi::{tn_plugin, tn_technique};

    /// Imported as a whole: a technique needs one of the two.
    pub mod tables {
        pub use crate::export::GroupTable;
        pub use crate::export_model::ModelTable;
    }
}
