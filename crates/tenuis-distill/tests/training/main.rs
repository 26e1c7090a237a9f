//! Training end to end, by property.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cache;
mod distillation;
mod forward;
mod gradients;
mod lora;
mod precision;
mod quantisation;
mod resume;
mod stopping;
mod support;
