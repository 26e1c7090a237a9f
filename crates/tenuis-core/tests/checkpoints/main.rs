//! Checkpoints: what is refused, what is read, what is written.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod foreign;
mod gguf;
mod header;
#[cfg(unix)]
mod hub;
mod reader;
mod storage;
mod support;
mod writer;
