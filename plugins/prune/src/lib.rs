//! The pruning techniques as a Tenuis plugin: of single weights `magnitude`, `magnitude-global`, `wanda` and `sparsegpt`,
//! and of whole models `prune-channels`, `prune-heads`, `prune-query-heads`, `prune-experts`, `prune-blocks`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-prune`, and what is here turns groups into matrices and reports
//! into metrics and log lines.

mod magnitude;
mod magnitude_global;
mod report;
mod sparsegpt;
mod store;
mod structured;
mod wanda;

tenuis_plugin::export_plugin!(
    magnitude::Magnitude,
    magnitude_global::MagnitudeGlobal,
    wanda::Wanda,
    sparsegpt::SparseGpt,
    structured::PruneBlocks,
    structured::PruneChannels,
    structured::PruneExperts,
    structured::PruneHeads,
    structured::PruneQueryHeads
);
