//! What makes a file unusable as a task.

use super::Layout;
use std::path::PathBuf;
use tenuis_model::TokenizerError;
use thiserror::Error;

/// A file that is no task.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("{}: is not UTF-8 text (byte {position}); convert it first", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where it stops being UTF-8.
        position: usize,
    },
    /// It holds nothing.
    #[error("{}: holds no items; a task is one JSON object on each line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of its lines cannot be used.
    #[error("{}, line {line}: {problem}", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: ItemProblem,
    },
}

/// What is wrong with a line of a task.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ItemProblem {
    /// It is no JSON.
    #[error("is not JSON ({problem}); a task is one JSON object on each line")]
    NotJson {
        /// What the parser says.
        problem: String,
    },
    /// It is JSON, but no object.
    #[error("is not a JSON object; a task is one JSON object on each line")]
    NotObject,
    /// The first line's keys are those of no layout.
    #[error(
        "its keys are those of no task; give \"question\", \"choices\" and \"answer\" (multiple choice), \"question\" \
         and \"answer\" (worked problems), or \"text\" (last word)"
    )]
    NoLayout,
    /// A key is missing or has another type.
    #[error("key \"{key}\" must be {expected}, as in every line of a file of {layout}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it must hold.
        expected: &'static str,
        /// The layout that the first line has.
        layout: Layout,
    },
    /// The right answer is none of the choices.
    #[error("key \"answer\" is {answer}, but there are {choices} choices; count them from 0")]
    Answer {
        /// The index given.
        answer: u64,
        /// How many choices there are.
        choices: usize,
    },
    /// There is nothing to choose from.
    #[error("key \"choices\" holds fewer than two; give at least two")]
    Choices,
    /// A reference answer without its mark.
    #[error("key \"answer\" has nothing after \"####\"; end it in \"#### \" and the result")]
    NoResult,
    /// A text of one word.
    #[error("key \"text\" has no words before its last; give a longer text")]
    OneWord,
    /// A text that ends in something that is no word.
    #[error("key \"text\" ends in {word:?}, which is no word; end it in the word to be predicted")]
    NoWord {
        /// Its last part.
        word: String,
    },
    /// A continuation that the tokenizer does not tell from its context.
    #[error(
        "key \"{key}\": the tokenizer gives {text:?} no tokens of its own after what precedes it; leave it out"
    )]
    NoTokens {
        /// The key.
        key: &'static str,
        /// The continuation.
        text: String,
    },
    /// The item does not fit the model.
    #[error("key \"{key}\": the item has {tokens} tokens, the model {max_positions} positions; leave it out")]
    TooLong {
        /// The key with its last part.
        key: &'static str,
        /// Tokens of the prompt and the answer.
        tokens: usize,
        /// Positions of the model.
        max_positions: usize,
    },
    /// The item cannot be tokenised.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
