//! Quality, size, speed and memory of compressed models beside their baseline, and the report that holds them.
//!
//! Every number comes with its protocol: what text (by hash), which windows, how many tokens, which threads. Numbers
//! of different protocols are never put side by side.

mod error;
pub mod memory;
mod protocol;
pub mod quality;
pub mod report;
pub mod robustness;
pub mod size;
pub mod speed;
pub mod tasks;
mod windows;

pub use error::EvalError;
pub use protocol::hash as protocol_hash;
pub use tenuis_measure::{Distribution, Noise, NoiseVerdict, Prices};
pub use tenuis_metrics::Weights;
pub use windows::{Windows, WindowsError};
