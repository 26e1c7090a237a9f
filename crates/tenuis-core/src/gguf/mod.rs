//! GGUF version 3: one file with metadata and tensors, as llama.cpp reads it.
//!
//! The container ([`parse`], [`GgufWriter`]), its blocks of 32 weights ([`blocks`]), and what its metadata mean in the terms
//! of a Hugging Face checkpoint ([`names`], [`tokenizer`]). Files are read through [`crate::Checkpoint::open`].

pub mod blocks;
pub mod config;
mod error;
mod header;
pub mod names;
pub mod tokenizer;
mod types;
mod value;
mod writer;

pub use error::GgufError;
pub use header::{Gguf, GgufTensor, parse};
pub use types::GgmlType;
pub use value::{GgufValue, Metadata};
pub use writer::GgufWriter;

/// What a file begins with.
const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written; version 2 has the same layout and is read too.
const VERSION: u32 = 3;
/// The alignment of tensors where the metadata do not state another.
const ALIGNMENT: u64 = 32;
/// The key of that statement.
const ALIGNMENT_KEY: &str = "general.alignment";

/// The padding after `bytes` of a file.
const fn padding(bytes: u64, alignment: u64) -> u64 {
    (alignment - bytes % alignment) % alignment
}
