//! Sets single weights of a matrix to zero: by magnitude ([`magnitude()`]).
//!
//! Pure functions on matrices. A weight is a row-major f32 slice `[out_features, in_features]`, the result the pruned
//! weight with its [`Mask`] and a [`PruneReport`] that says what happened on the way.

mod check;
mod error;
mod magnitude;
mod mask;
mod report;
mod select;
pub mod structured;
mod target;

pub use error::PruneError;
pub use magnitude::{MagnitudeConfig, MagnitudeScope, magnitude, magnitude_global};
pub use mask::Mask;
pub use report::{FallbackReason, PruneReport, Pruned};
pub use target::{NofM, SparsityTarget};

/// The statistics that pruning reads; re-exported so that one dependency is enough.
pub use tenuis_linalg as linalg;
