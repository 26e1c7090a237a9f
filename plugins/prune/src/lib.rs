//! The pruning techniques as a Tenuis plugin: `magnitude`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-prune`, and what is here turns groups into matrices and reports
//! into metrics and log lines.

mod magnitude;
mod report;
mod store;
mod threads;

tenuis_plugin::export_plugin!(magnitude::Magnitude);
