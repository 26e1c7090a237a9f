//! Tensors, weight representations and checkpoints: what every other crate of Tenuis stands on.
//!
//! No algorithm lives here and no deep-learning framework is needed: a checkpoint is mapped, checked and handed out
//! as [`Tensor`]s, a compressed matrix is a [`Representation`], and both know their exact bytes.

mod bytes;
pub mod checkpoint;
pub mod convert;
mod dtype;
pub mod gguf;
pub mod hub;
pub mod storage;
mod tensor;
mod units;
pub mod weight;

pub use bytes::Bytes;
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointWriter, Manifest, TensorInfo, WriterOptions, Written,
    link_checkpoint,
};
pub use dtype::{DType, StoredType};
pub use storage::{StorageError, StoredWeights, quantization_config_for};
pub use tensor::{Tensor, TensorError, element_count};
pub use units::{Bits, Ratio, Sparsity};
pub use weight::{
    Codec, CodecRegistry, Component, Components, Dense, GroupSize, GroupedInt, GroupedIntSpec, InputScaled,
    Int8Dynamic, Layout, LowRank, Representation, Sparse, SparseCodec, SparsePattern, SparseSpec,
    SparseValues, Sum, Weight, WeightError, pack_codes, unpack_codes,
};
