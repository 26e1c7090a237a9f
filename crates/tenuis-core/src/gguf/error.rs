//! What can be wrong with a GGUF file.

use thiserror::Error;

/// Why a GGUF file cannot be read. Every message ends with the mend.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GgufError {
    /// The file does not begin as a GGUF file does.
    #[error(
        "begins with {found:?} instead of \"GGUF\"; this is no GGUF file or it is damaged, download it again"
    )]
    Magic {
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A version that is not read.
    #[error("GGUF version {found} cannot be read, only 2 and 3 (little-endian); convert the model again")]
    Version {
        /// The version.
        found: u32,
    },
    /// The file ends within its header.
    #[error("ends within {what} at byte {at}; the file is truncated, download it again")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// More entries than the file has bytes for.
    #[error(
        "claims {claimed} {what}, more than its {length} bytes can hold; the file is damaged, download it again"
    )]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        claimed: u64,
        /// The file's length.
        length: u64,
    },
    /// A text that is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8; convert the model again")]
    Text {
        /// Which text.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// A value of a type that is not known, or a list of lists.
    #[error("key {key:?} has a value of type {found}, which is not read; convert the model again")]
    ValueType {
        /// The key.
        key: String,
        /// The number of the type.
        found: u32,
    },
    /// A key or tensor occurs twice.
    #[error("{what} {name:?} occurs twice; convert the model again")]
    Duplicate {
        /// Key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A tensor of a type whose blocks are not read.
    #[error(
        "tensor {tensor:?} is of ggml type {found}, only F32, F16, BF16, Q4_0, Q4_1 and Q8_0 are read; convert the model \
         to one of these"
    )]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The type's name, or its number.
        found: String,
    },
    /// A shape that a tensor of this type cannot have.
    #[error("tensor {tensor:?} has dimensions {found:?}, {problem}; the file is damaged, download it again")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its dimensions, the contiguous one first.
        found: Vec<u64>,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A tensor that does not lie where the one before it ends.
    #[error("tensor {tensor:?} begins at byte {found} of the data, not at {expected}; write the file again")]
    Offset {
        /// The tensor.
        tensor: String,
        /// The end of the one before, aligned.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// The data end after or before the last tensor.
    #[error("the tensors end at byte {expected} but the file has {found}; download it again")]
    Length {
        /// The end of the last tensor.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// A setting that is missing, or not what it should be.
    #[error("key {key:?}: {problem}; convert the model again")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A network that Tenuis has no description for.
    #[error(
        "architecture {found:?} cannot be read, only \"llama\" and \"qwen2\"; start from the model's original checkpoint"
    )]
    Architecture {
        /// What the file says.
        found: String,
    },
    /// A tensor that no tensor of a Hugging Face checkpoint corresponds to.
    #[error("tensor {tensor:?} {problem}; start from the model's original checkpoint")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// Why not.
        problem: &'static str,
    },
    /// A tokenizer that cannot be translated.
    #[error("the tokenizer cannot be translated: {problem}; put the model's tokenizer.json beside the file")]
    Tokenizer {
        /// What is in the way.
        problem: String,
    },
}
