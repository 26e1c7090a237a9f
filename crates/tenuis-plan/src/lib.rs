//! Chooses a compression: pure functions and data, nothing that runs a model.

pub mod curve;
pub mod front;
pub mod scenario;
pub mod search;
pub mod solver;
