//! End-to-end and parity tests of the whole workspace, and what they share.

pub mod cli;
pub mod fixture;
