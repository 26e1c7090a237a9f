//! Chooses a compression: what a resource buys, which candidates are worth a look, and which one is the answer.
//!
//! Nothing here runs a model. Callers measure, and hand numbers over; what comes back are data that can be saved and shown. Nothing is drawn
//! without a seed, and the same input gives the same output.
//!
//! | question | where |
//! |---|---|
//! | What does another megabyte buy, and where does it stop paying? | [`curve`] |
//! | Which candidates does no other beat in everything? | [`front`] |
//! | Which one suits a phone, or a server? | [`scenario`] |
//! | Which bits, sparsity or rank for each layer, under budgets? | [`solver`] |
//! | Which options should be tried next? | [`search`] |
//! | Is a stage good enough, and what if not? | [`gate`] |
//! | What was done, and what came of it? | [`ledger`] |
//!
//! ```
//! use tenuis_plan::solver::{Alternative, Budget, Layer, SolverConfig};
//! // Predicted loss of each way to store a layer, and its bytes.
//! let layers = ["q_proj", "down_proj"].map(|name| Layer::new(name, vec![
//!     Alternative::new("int8", &[4096.0], 0.001),
//!     Alternative::new("int4", &[2048.0], 0.02),
//! ]));
//! let allocation = SolverConfig::default().solve(&layers, &[Budget::new("bytes", 6144.0)])?;
//! assert_eq!(allocation.costs, [6144.0]);
//! # Ok::<(), tenuis_plan::solver::SolverError>(())
//! ```

pub mod curve;
pub mod front;
pub mod gate;
pub mod ledger;
pub mod scenario;
pub mod search;
pub mod solver;
