//! What makes a file of predictions unusable.

use std::path::PathBuf;
use thiserror::Error;

/// A file, or a line of one, that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
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
    /// It holds no rows.
    #[error("{}: holds no rows", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The header of a CSV file lacks a column, or has one twice.
    #[error("{}, line 1: column {column:?} {problem}; the header has {found}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
        /// The columns there are.
        found: String,
    },
    /// A line is neither a JSON object nor a CSV record.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A field is missing or has another type.
    #[error("{}, line {line}: field {field:?} {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// It is not there.
    #[error("is missing; it must be {expected}")]
    Missing {
        /// What it must be.
        expected: &'static str,
    },
    /// It is something else.
    #[error("is {found}, but must be {expected}")]
    Type {
        /// What it must be.
        expected: &'static str,
        /// What it is, shortened.
        found: String,
    },
    /// It has another number of elements than something else in the row.
    #[error("has {found} elements, but {other} has {expected}")]
    Count {
        /// Elements of the other.
        expected: usize,
        /// Elements of this one.
        found: usize,
        /// The other.
        other: String,
    },
}
