//! What can go wrong while measuring.

use crate::tasks::TaskError;
use crate::windows::WindowsError;
use std::path::PathBuf;
use tenuis_core::WeightError;
use tenuis_measure::MeasureError;
use tenuis_model::{ModelError, TokenizerError};
use thiserror::Error;

/// A measurement that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// Whoever watches asked the measurement to stop.
    #[error("the measurement was stopped")]
    Cancelled,
    /// The model could not be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A weight cannot be decoded.
    #[error("{module}: {source}; check that config.json belongs to these weights")]
    Weight {
        /// The weight's module.
        module: String,
        /// What is wrong with it.
        source: WeightError,
    },
    /// The text is too short for the windows asked for.
    #[error(transparent)]
    Windows(#[from] WindowsError),
    /// A file cannot be used as a task.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// What a model did with an item cannot be judged.
    #[error(transparent)]
    Judge(Box<tenuis_tasks::JudgeError>),
    /// What a model wrote cannot be turned into text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A model gave logits that are not finite.
    #[error("{model}: logits of window {window} are not finite; the weights or the activations overflowed")]
    NonFinite {
        /// The model's name.
        model: String,
        /// The first window in which it happened.
        window: usize,
    },
    /// A model gave logits that are not finite for an item of a task.
    #[error("{model}: logits of task {task} are not finite; the weights or the activations overflowed")]
    NonFiniteTask {
        /// The model's name.
        model: String,
        /// The task's name.
        task: String,
    },
    /// Two models do not share a vocabulary, so their distributions cannot be compared.
    #[error("{model} has {found} logits per token, the baseline {expected}; they cannot be compared")]
    Vocabulary {
        /// The candidate.
        model: String,
        /// The baseline's vocabulary.
        expected: usize,
        /// The candidate's.
        found: usize,
    },
    /// The context is too short for the speed protocol.
    #[error("{tokens} tokens of prompt and generation do not fit the model's {max_positions} positions")]
    Context {
        /// Tokens that the protocol needs.
        tokens: usize,
        /// Positions that the model has.
        max_positions: usize,
    },
    /// Time, a process, or a machine could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// Rounds ended in a way that no version known to this one does.
    #[error("measuring in rounds failed: {problem}")]
    Rounds {
        /// What was said of it.
        problem: String,
    },
    /// A model took no time at all, as far as the clock saw.
    #[error("{model}: the clock saw no time pass; measure more tokens")]
    Clock {
        /// The model's name.
        model: String,
    },
    /// The measuring child process failed.
    #[error("{program}: the child process that measures memory failed: {problem}")]
    Child {
        /// The program that was started.
        program: PathBuf,
        /// What happened.
        problem: String,
    },
}
