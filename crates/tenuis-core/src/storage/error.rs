//! What can go wrong between a checkpoint's configuration and its weights.

use crate::checkpoint::CheckpointError;
use crate::weight::WeightError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a checkpoint's weights cannot be read, or a configuration for them cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A quantization method that Tenuis does not read.
    #[error(
        "{}: quant_method {method:?} cannot be read, only \"compressed-tensors\" (pack-quantized), \"gptq\", \"awq\" \
         (gemm) and \"tenuis\"; start from the model's unquantized checkpoint", file.display()
    )]
    Method {
        /// The configuration.
        file: PathBuf,
        /// The method it names; empty where it names none.
        method: String,
    },
    /// The quantization configuration is malformed, or asks for something that is not a compressed weight.
    #[error("{}: quantization_config: {problem}", file.display())]
    Config {
        /// The configuration.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A packed weight fits no scheme of the configuration.
    #[error("{}: {module}: {problem}; check that config.json belongs to these weights", dir.display())]
    NoScheme {
        /// The checkpoint.
        dir: PathBuf,
        /// The weight's module.
        module: String,
        /// How it fails to fit.
        problem: String,
    },
    /// A tensor is not what the quantization configuration calls for.
    #[error(
        "{}: tensor {tensor:?} is {found}, but {} calls for {expected}; take the configuration that belongs to these \
         weights, or download both again", file.display(), config.display()
    )]
    Contradiction {
        /// The file that holds the tensor.
        file: PathBuf,
        /// The tensor.
        tensor: Box<str>,
        /// The configuration.
        config: PathBuf,
        /// What it calls for.
        expected: Box<str>,
        /// What is there.
        found: Box<str>,
    },
    /// Two files that repeat one configuration differ.
    #[error(
        "{}: {key} is {found}, but config.json says {expected}; remove the file that does not belong to these weights",
        file.display()
    )]
    TwoConfigs {
        /// The file beside `config.json`.
        file: PathBuf,
        /// The setting.
        key: &'static str,
        /// What `config.json` says.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// The components of a weight are not what they should be.
    #[error("{}: {module}: {source}; check that config.json belongs to these weights", dir.display())]
    Weight {
        /// The checkpoint.
        dir: PathBuf,
        /// The weight's module.
        module: String,
        /// What is wrong.
        source: Box<WeightError>,
    },
    /// A descriptor that no configuration can be written for.
    #[error("{module}: {problem}; pass the descriptor that the representation returns")]
    Descriptor {
        /// The weight's module.
        module: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
