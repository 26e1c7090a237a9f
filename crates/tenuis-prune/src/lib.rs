//! Sets single weights of a matrix to zero: by magnitude ([`magnitude()`]), by magnitude and activation ([`wanda()`]), or
//! with what is kept making up for what is not ([`sparsegpt()`]).
//!
//! Pure functions on matrices. A weight is a row-major f32 slice `[out_features, in_features]`, the result the pruned
//! weight with its [`Mask`] and a [`PruneReport`] that says what happened on the way.
//!
//! ```
//! use tenuis_linalg::Gram;
//! use tenuis_prune::{SparseGptConfig, SparsityTarget, sparsegpt};
//!
//! let (out_features, in_features, rows) = (4, 32, 64);
//! let wave = |i: usize, f: f32| (i as f32 * f).sin();
//! let weight: Vec<f32> = (0..out_features * in_features).map(|i| wave(i, 0.7)).collect();
//! let input: Vec<f32> = (0..rows * in_features).map(|i| wave(i, 1.3) + wave(i / in_features, 0.3)).collect();
//!
//! let mut gram = Gram::zeros(in_features);
//! gram.accumulate(&input);
//!
//! let mut config = SparseGptConfig::default();
//! config.sparsity = SparsityTarget::NofM("2:4".parse()?);
//! let pruned = sparsegpt(&weight, [out_features, in_features], gram.view(), rows as u64, &config)?;
//! assert_eq!(pruned.report.sparsity(), 0.5);
//! # Ok::<(), tenuis_prune::PruneError>(())
//! ```

mod check;
mod error;
mod global;
mod magnitude;
mod mask;
mod report;
#[cfg(feature = "schema")]
mod schema;
mod select;
mod sparsegpt;
pub mod structured;
mod target;
mod wanda;

pub use error::PruneError;
pub use global::{GlobalConfig, GlobalScore, GlobalSearch, magnitude_global};
pub use magnitude::{MagnitudeConfig, MagnitudeScope, magnitude};
pub use mask::Mask;
pub use report::{FallbackReason, PruneReport, Pruned};
pub use sparsegpt::{FallbackPolicy, JointConfig, SparseGptConfig, SparseGptFactor, sparsegpt};
pub use target::{NofM, SparsityTarget};
pub use wanda::{WandaConfig, wanda};

pub use tenuis_quant::{MseSearch, Precision, ScaleDtype};

/// The statistics that pruning reads; re-exported so that one dependency is enough.
pub use tenuis_linalg as linalg;
