//! The `distill` technique as a Tenuis plugin: a student learns from a teacher, or from text alone.
//!
//! A thin wrapper: training is that of `tenuis-distill`; what is here turns checkpoints of the host into networks and
//! networks into what the host keeps. Unlike the other plugins it links candle, with a thread pool of its own within the
//! host's budget and an allocator of its own, as the pages that a step gives back would be faulted in again in the next.

mod checkpoint;
mod config;
mod distill;
mod emit;
mod observer;

/// A training step takes and frees the same buffers over and over.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

tenuis_plugin::export_plugin!(distill::Distill);
