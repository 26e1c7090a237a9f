//! The low-rank techniques as a Tenuis plugin: `svd`, `asvd`, `svdllm`, `svdllm-budget` and `correct`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-lowrank`, and what is here turns groups into matrices and reports
//! into metrics and log lines.

mod asvd;
mod budget;
mod correct;
mod report;
mod solver;
mod store;
mod svd;
mod svdllm;

tenuis_plugin::export_plugin!(svd::Svd, asvd::Asvd, svdllm::SvdLlm, budget::SvdLlmBudget, correct::Correct,);
