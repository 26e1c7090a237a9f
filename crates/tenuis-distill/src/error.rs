//! What can go wrong in training.

use std::path::PathBuf;
use thiserror::Error;

/// Why training cannot begin, or stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// An option has a value that makes no sense.
    #[error("{option} = {value}: must be {allowed}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Teacher and student do not share a vocabulary.
    #[error(
        "the teacher has {teacher} tokens and the student {student}: their vocabularies must be the same; choose a teacher \
         with the student's tokenizer"
    )]
    Vocabulary {
        /// Tokens of the teacher.
        teacher: usize,
        /// Tokens of the student.
        student: usize,
    },
    /// The text does not fill one sequence.
    #[error(
        "the {which} text has {tokens} tokens, but a sequence needs {needed}; pass a longer text or a smaller seq_len"
    )]
    TooFewTokens {
        /// Training or validation.
        which: &'static str,
        /// Tokens of the text.
        tokens: usize,
        /// Tokens that a sequence and its targets take.
        needed: usize,
    },
    /// The text has a token that the model does not.
    #[error("token {token} at {position} of the {which} text is beyond the vocabulary of {vocab}")]
    Token {
        /// Training or validation.
        which: &'static str,
        /// The token.
        token: u32,
        /// Where it stands.
        position: usize,
        /// Tokens of the model.
        vocab: usize,
    },
    /// A tensor of the model is missing or has another shape.
    #[error("{name}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that the spec calls for.
        expected: Vec<usize>,
        /// The shape that is there; empty for a missing tensor.
        found: Vec<usize>,
    },
    /// Patterns that choose no parameter.
    #[error("no parameter is trained: {patterns:?} match none of {} names, such as {example}", names)]
    NothingToTrain {
        /// The patterns.
        patterns: Vec<String>,
        /// How many names there are.
        names: usize,
        /// One of them.
        example: String,
    },
    /// A pattern is not one.
    #[error("{pattern:?} is no name pattern: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A layer that is not there.
    #[error("layer {layer}: the {model} has layers 0 to {}", layers - 1)]
    Layer {
        /// The number asked for.
        layer: usize,
        /// Teacher or student.
        model: &'static str,
        /// How many there are.
        layers: usize,
    },
    /// A trainable parameter got no gradient: the network cuts it off.
    #[error("no gradient reaches {}; freeze what the network does not use", names.join(", "))]
    NoGradient {
        /// The parameters.
        names: Vec<String>,
    },
    /// The loss or its gradient was not finite too often.
    #[error(
        "{skipped} of the last steps had a loss or gradient that is not finite (the last was step {step}); lower the \
         learning rate or train in f32"
    )]
    NonFinite {
        /// Steps that were skipped.
        skipped: usize,
        /// The last of them.
        step: usize,
    },
    /// The observer asked to stop.
    #[error("training was cancelled at step {step}; it goes on from there when it is started again")]
    Cancelled {
        /// Steps that were done.
        step: usize,
    },
    /// A saved state that belongs to another run.
    #[error("{}: the saved state is of another run ({what} differs); remove it or give the run its own directory", file.display())]
    OtherRun {
        /// The file.
        file: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A saved state that cannot be read.
    #[error("{}: {problem}", file.display())]
    State {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The teacher fails.
    #[error(transparent)]
    Model(#[from] tenuis_model::ModelError),
    /// The checkpoint fails.
    #[error(transparent)]
    Checkpoint(#[from] tenuis_core::CheckpointError),
    /// A weight cannot be decoded.
    #[error("{module}: {source}")]
    Weight {
        /// The module.
        module: String,
        /// What is wrong with it.
        source: tenuis_core::WeightError,
    },
    /// A weight cannot be quantised.
    #[error("{module}: {source}")]
    Quantise {
        /// The module.
        module: String,
        /// What is wrong with it.
        source: tenuis_quant::QuantError,
    },
    /// An operation fails.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl TrainError {
    pub(crate) fn io(action: &'static str, file: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { action, file, source }
    }
}
