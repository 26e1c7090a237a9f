//! Writes a checkpoint in the formats of other programs.
//!
//! | format | what becomes of a weight | read by |
//! |---|---|---|
//! | [`Format::Gptq`] | grouped integers of 2, 3, 4 and 8 bits keep their codes | GPTQModel, vLLM |
//! | [`Format::Awq`] | grouped integers of 4 bits keep their codes | AutoAWQ, GPTQModel, vLLM |
//! | [`Format::Gguf`] | grouped integers keep their codes in blocks of 32 | llama.cpp |
//! | [`Format::CompressedTensors`] | grouped integers keep their codes | transformers, vLLM |
//! | [`Format::Dense`] | everything is decoded | transformers |
//!
//! A weight that a format cannot hold is decoded to f16 and reported with the reason. One matrix at a time is in memory.
//!
//! [`write()`] leaves a [`tenuis_core::checkpoint::Sealed`] directory: complete, and not yet at its path, so that
//! whoever asked for it can open it and compare before it counts.

mod dense;
mod error;
mod gguf;
mod layers;
mod report;
mod safetensors;
mod scheme;

pub use error::ExportError;
pub use report::{ExportReport, ExportedLayer, Fidelity};

use std::path::Path;
use tenuis_core::checkpoint::Sealed;
use tenuis_core::storage::gptq::GptqVersion;
use tenuis_core::{Checkpoint, CodecRegistry, DType, StoredWeights};
use tenuis_spec::DecoderSpec;

/// A format of another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// GPTQ, with zero points stored as the version has them.
    Gptq(GptqVersion),
    /// AWQ, version gemm.
    Awq,
    /// GGUF version 3.
    Gguf,
    /// Plain safetensors of floats.
    Dense,
    /// compressed-tensors, pack-quantized.
    CompressedTensors,
}

impl Format {
    /// Every format, by the name that the command line has for it.
    pub const ALL: [(&'static str, Self); 6] = [
        ("gptq", Self::Gptq(GptqVersion::V1)),
        ("gptq-v2", Self::Gptq(GptqVersion::V2)),
        ("awq", Self::Awq),
        ("gguf", Self::Gguf),
        ("dense", Self::Dense),
        ("compressed-tensors", Self::CompressedTensors),
    ];

    /// The format of a name.
    ///
    /// ```
    /// use tenuis_export::Format;
    /// assert_eq!(Format::from_name("gguf"), Some(Format::Gguf));
    /// assert_eq!(Format::Gguf.name(), "gguf");
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format)
    }

    /// The name of the format.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// What is exported.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// How its weights are stored.
    pub stored: &'a StoredWeights,
    /// The codecs of its weights.
    pub codecs: &'a CodecRegistry,
    /// What the network is; [`DecoderSpec::tied`] as the checkpoint's tensors settle it.
    pub spec: &'a DecoderSpec,
}

/// How it is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportOptions {
    /// The type of everything that is stored dense. By default that is f16 for weights that are decoded and for the
    /// matrices of GGUF and dense files, and whatever the checkpoint has for the rest.
    pub dtype: Option<DType>,
    /// The most bytes of data in one weight file.
    pub max_shard_bytes: u64,
    /// Whether an existing directory that Tenuis wrote may be replaced.
    pub overwrite: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { dtype: None, max_shard_bytes: 5_000_000_000, overwrite: false }
    }
}

/// Writes `source` in a format. `progress` is told how many of how many tensors are done.
///
/// # Errors
/// [`ExportError`] where the format has no form for the network at all, where a number does not fit its type, or where
/// something cannot be read or written. Nothing is left behind then.
pub fn write(
    source: &Source<'_>,
    format: Format,
    target: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Sealed, ExportReport), ExportError> {
    match format {
        Format::Gguf => gguf::write(source, target, options, progress),
        _ => safetensors::write(source, format, target, options, progress),
    }
}
