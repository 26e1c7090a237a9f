//! Says before any work what a recipe will take: peak memory, disk, and time on this machine.
//!
//! Everything follows from shapes: those of the [`Network`], the [`StageShape`]s and the calibration text. Times are operations
//! and bytes over the rates of a two-second [`Probe`]. [`Plan::check`] holds the numbers against the [`Room`] there is and refuses
//! with them. Nothing here opens a model or runs one.
//!
//! `docs/preflight.md` has the formulas, what is not known, and how wrong they were.

mod cut;
mod error;
mod form;
mod memory;
mod method;
mod network;
mod plan;
mod probe;
mod room;
mod size;
mod stage;
mod work;

pub use error::PreflightError;
pub use memory::Memory;
pub use network::Network;
pub use plan::{EvaluationPlan, Plan, Request, StagePlan};
pub use probe::Probe;
pub use room::Room;
pub use size::{Size, Span};
pub use stage::{Calibration, Evaluation, Needs, Scope, StageShape, Training};
pub use work::Phase;
