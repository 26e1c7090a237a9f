//! The pruning techniques as a Tenuis plugin: `magnitude`, and of whole models `prune-channels`, `prune-heads`,
//! `prune-blocks`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-prune`, and what is here turns groups into matrices and reports
//! into metrics and log lines.

mod magnitude;
mod report;
mod store;
mod structured;
mod threads;

tenuis_plugin::export_plugin!(
    magnitude::Magnitude,
    structured::PruneBlocks,
    structured::PruneChannels,
    structured::PruneHeads
);
