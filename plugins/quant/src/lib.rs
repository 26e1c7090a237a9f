//! The quantising techniques as a Tenuis plugin: `cast`, `rtn` and `gptq`.
//!
//! Thin wrappers: the algorithms are those of `tenuis-quant`, and what is here turns groups into matrices and
//! reports into metrics and log lines.

mod cast;
mod gptq;
mod report;
mod rtn;
mod threads;

tenuis_plugin::export_plugin!(cast::Cast, rtn::Rtn, gptq::Gptq);
