//! Why a model cannot be opened or run.

use tenuis_core::{CheckpointError, StorageError, TensorError, WeightError};
use tenuis_spec::SpecError;
use thiserror::Error;

/// Why a model cannot be opened or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The configuration gives no spec, or the tensors do not fit it.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Compressed weights cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A weight cannot be decoded.
    #[error("weight {module:?}: {source}")]
    Weight {
        /// The module.
        module: String,
        /// What is wrong with it.
        source: WeightError,
    },
    /// A tensor cannot be read as numbers.
    #[error("tensor {name:?}: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        source: TensorError,
    },
    /// A weight of another shape was put into a slot.
    #[error("weight {module:?} has shape {found:?}, the slot takes {expected:?}")]
    Slot {
        /// The module.
        module: String,
        /// `[out_features, in_features]` of the slot.
        expected: [usize; 2],
        /// That of the weight.
        found: [usize; 2],
    },
    /// A norm or bias of another length was put into a slot.
    #[error("{module:?}: a vector of {found} values, the slot takes {expected}")]
    Vector {
        /// The module.
        module: String,
        /// Values that the slot takes.
        expected: usize,
        /// Values that were given.
        found: usize,
    },
    /// There is no such Linear in the block.
    #[error("block {block} has no Linear {module:?}")]
    NoModule {
        /// The block.
        block: usize,
        /// The module that was asked for.
        module: String,
    },
    /// There is no such block.
    #[error("block {index} of a model with {blocks}")]
    NoBlock {
        /// The block that was asked for.
        index: usize,
        /// How many there are.
        blocks: usize,
    },
    /// A token that the vocabulary does not have.
    #[error("token {token} at {index} is outside the vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Where it stands.
        index: usize,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// The number of tokens is not batch × sequence, or there are none.
    #[error("{found} tokens, expected a batch of {batch} × {seq}, at least one")]
    Tokens {
        /// How many there are.
        found: usize,
        /// Sequences.
        batch: usize,
        /// Tokens of each.
        seq: usize,
    },
    /// More positions than the model or the cache has.
    #[error("{wanted} positions, but there is room for {room}")]
    Positions {
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        room: usize,
    },
    /// Sequences that a session does not have, or that are not named in their order.
    #[error("sequences {sequences:?} of a session of {batch}; name each once, in ascending order")]
    Sequences {
        /// The sequences that were asked for.
        sequences: Vec<usize>,
        /// How many there are.
        batch: usize,
    },
    /// A cache that no machine has room for.
    #[error("a cache of {batch} × {capacity} positions does not fit into memory")]
    Cache {
        /// Sequences.
        batch: usize,
        /// Positions of each.
        capacity: usize,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
