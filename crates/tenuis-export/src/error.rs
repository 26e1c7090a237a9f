//! What can stop an export.

use std::path::PathBuf;
use tenuis_core::gguf::GgufError;
use tenuis_core::{CheckpointError, DType, StorageError, TensorError, WeightError};
use thiserror::Error;

/// Why a checkpoint could not be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Something could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A weight is not stored as it is declared.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A weight could not be decoded.
    #[error("{tensor}: {source}")]
    Weight {
        /// The weight.
        tensor: String,
        /// What is wrong with it.
        source: WeightError,
    },
    /// A tensor could not be read.
    #[error("{tensor}: {source}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        source: TensorError,
    },
    /// The format has no form for the network.
    #[error("format {format} cannot hold this {model_type} model: {problem}; use format dense")]
    Network {
        /// The format.
        format: &'static str,
        /// The family.
        model_type: String,
        /// What is in the way.
        problem: String,
    },
    /// A number that the type of the output cannot hold.
    #[error("{tensor} holds {value:e}, which {dtype} cannot hold; pass --dtype bf16 or --dtype f32")]
    Range {
        /// The tensor.
        tensor: String,
        /// The first such number.
        value: f32,
        /// The type.
        dtype: DType,
    },
    /// There is no tokenizer to put into the file.
    #[error("{}: there is no tokenizer.json, which a GGUF file carries within; copy it from the original model", dir.display())]
    NoTokenizer {
        /// The checkpoint.
        dir: PathBuf,
    },
    /// The tokenizer has no form in the file.
    #[error("{}: {source}", file.display())]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// What is in the way.
        source: Box<GgufError>,
    },
    /// `tokenizer.json` is no JSON.
    #[error("{}: {problem}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
}
