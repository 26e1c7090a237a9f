//! What makes a task unusable for a model.

use std::path::PathBuf;
use tenuis_model::TokenizerError;
use tenuis_tasks::ChatError;
use thiserror::Error;

/// A task that cannot be put to a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task itself cannot be used.
    #[error(transparent)]
    Task(#[from] tenuis_tasks::TaskError),
    /// The task asks for the model's chat template, which cannot be used.
    #[error("the chat template of {}: {source}", dir.display())]
    Chat {
        /// The model's directory.
        dir: PathBuf,
        /// What is wrong with it.
        source: Box<ChatError>,
    },
    /// One of its items does not suit the model.
    #[error("{}, item {item}: {problem}", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// The item's line, or its number in a JSON array, from 1.
        item: u64,
        /// What is wrong with it.
        problem: Box<ItemProblem>,
    },
}

/// Why an item does not suit a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ItemProblem {
    /// A continuation that the tokenizer does not tell from its context.
    #[error(
        "the tokenizer gives the {part} {text:?} no tokens of its own after what precedes it; leave it out"
    )]
    NoTokens {
        /// What it is.
        part: &'static str,
        /// The continuation.
        text: String,
    },
    /// The item does not fit the model.
    #[error("with the {part} it has {tokens} tokens, but the model {max_positions} positions; leave it out")]
    TooLong {
        /// What its last part is.
        part: &'static str,
        /// Tokens of the whole.
        tokens: usize,
        /// Positions of the model.
        max_positions: usize,
    },
    /// The item cannot be tokenised.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
