//! The SDK for authors of technique plugins in Rust.
//!
//! Implement [`GroupTechnique`], list it in [`export_plugin!`], build a `cdylib`, and put a manifest beside it. The SDK keeps the
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
//! A plugin is a library of its own with its own thread pools: keep to [`Host::thread_budget`], or lend the host's
//! threads with [`Host::parallel_for`].

mod emit;
mod error;
mod export;
mod group;
mod host;
mod technique;
mod tensor;

pub use emit::Emitter;
pub use error::{FailureKind, TechniqueError};
pub use group::{Group, GroupShape, Linear, LinearShape, Moments, StoredWeight};
pub use host::{Host, LogLevel};
pub use technique::{Capabilities, GroupTechnique, Rows};
pub use tensor::TensorView;

// What an author needs beside this crate.
pub use schemars;
pub use serde;
pub use serde_json;
pub use tenuis_core as core;

/// For [`export_plugin!`] only.
#[doc(hidden)]
pub mod private {
    pub use crate::export::{Slot, entry, technique};
    pub use tenuis_abi::{tn_plugin, tn_technique};
}
