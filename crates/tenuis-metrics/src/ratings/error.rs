//! What makes ratings unusable.

use crate::predictions::FileError;
use std::path::PathBuf;
use thiserror::Error;

/// Why ratings cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RatingError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is nothing to rate.
    #[error("there are no pairs to rate")]
    NoPairs,
    /// Two items have one name.
    #[error("item {item:?} occurs twice; items need names of their own")]
    ItemTwice {
        /// The name.
        item: String,
    },
    /// Two systems have one name.
    #[error("both systems are called {system:?}; they need names of their own")]
    SameSystem {
        /// The name.
        system: String,
    },
    /// A rating is no whole number from 1 to 5.
    #[error("{}, line {line}: column {column:?} is {value:?}; a rating is 1, 2, 3, 4, 5 or nothing", path.display())]
    Value {
        /// The sheet.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// The criterion.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// A row of a sheet is not in the key.
    #[error("{}, line {line}: pair {pair:?}, side {side:?} is not in the key {}; use the key written with this sheet", path.display(), key.display())]
    NotInKey {
        /// The sheet.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// The pair.
        pair: String,
        /// The side.
        side: String,
        /// The key.
        key: PathBuf,
    },
    /// A row occurs twice in a sheet or a key, or a rater rated something twice.
    #[error("{}, line {line}: pair {pair:?}, side {side:?} occurs twice", path.display())]
    Twice {
        /// The sheet or the key.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// The pair.
        pair: String,
        /// The side.
        side: String,
    },
    /// No rating was filled in.
    #[error("no rating was filled in")]
    NoRatings,
}
