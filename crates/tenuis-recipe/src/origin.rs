//! Where the keys of a recipe stand, so that an error can name the place.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use thiserror::Error;

/// A recipe that cannot be carried out as written.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{file}{}{}: {}{problem}", line.map(|l| format!(":{l}")).unwrap_or_default(),
    column.map(|c| format!(":{c}")).unwrap_or_default(),
    key.as_ref().map(|k| format!("key `{k}`: ")).unwrap_or_default())]
#[non_exhaustive]
pub struct RecipeError {
    /// The recipe file; that of the parent where an inherited key is wrong.
    pub file: String,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// The column in characters, counted from 1, where there is one.
    pub column: Option<usize>,
    /// The key as a dotted path, as that file has it, where there is one.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Where a value was written.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<str>,
    line: usize,
    column: usize,
    /// Its JSON pointer in that file.
    written: String,
}

/// The file, line and column of each value of a recipe, by JSON pointer.
///
/// A recipe that extends another one has values of several files.
#[derive(Clone, Debug)]
pub struct Origin {
    file: Arc<str>,
    places: BTreeMap<String, Place>,
}

impl Origin {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.into(), places: BTreeMap::new() }
    }

    /// Notes where a value of this file stands.
    pub(super) fn note(&mut self, pointer: &str, (line, column): (usize, usize)) {
        let place = Place { file: Arc::clone(&self.file), line, column, written: pointer.to_owned() };
        self.places.insert(pointer.to_owned(), place);
    }

    /// The file as messages name it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file in which the value at a JSON pointer was written, which is another one where it was inherited; `None` where
    /// no file has it.
    pub fn file_of(&self, pointer: &str) -> Option<&str> {
        self.places.get(pointer).map(|place| &*place.file)
    }

    /// An error at a JSON pointer, or at the nearest enclosing value that a file has.
    pub fn error(&self, pointer: &str, problem: impl Into<String>) -> RecipeError {
        let problem = problem.into();
        let mut at = pointer;
        let found = loop {
            if let Some(place) = self.places.get(at) {
                break Some(place);
            }
            match at.rfind('/') {
                Some(cut) => at = &at[..cut],
                None => break None,
            }
        };
        match found {
            Some(place) => RecipeError {
                file: place.file.to_string(),
                line: Some(place.line),
                column: Some(place.column),
                key: dotted(&format!("{}{}", place.written, &pointer[at.len()..])),
                problem,
            },
            None => self.whole(dotted(pointer), problem),
        }
    }

    /// An error of the file as a whole.
    pub(super) fn whole(&self, key: Option<String>, problem: String) -> RecipeError {
        RecipeError { file: self.file.to_string(), line: None, column: None, key, problem }
    }

    /// An error at a place of the text rather than at a value.
    pub(super) fn spot(&self, (line, column): (usize, usize), problem: String) -> RecipeError {
        RecipeError { line: Some(line), column: Some(column), ..self.whole(None, problem) }
    }

    /// Forgets a value and all below it.
    pub(super) fn forget(&mut self, pointer: &str) {
        self.places.retain(|at, _| !within(at, pointer));
    }

    /// Takes the places of a value and of all below it from another recipe.
    pub(super) fn take(&mut self, from: &Self, pointer: &str, to: &str) {
        for (at, place) in from.places.range(pointer.to_owned()..) {
            if within(at, pointer) {
                self.places.insert(format!("{to}{}", &at[pointer.len()..]), place.clone());
            } else if !at.starts_with(pointer) {
                break;
            }
        }
    }
}

/// Whether a pointer is another one or below it.
fn within(pointer: &str, whole: &str) -> bool {
    pointer.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A key as a part of a JSON pointer (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// `/stages/0/options/bits` as `stages[0].options.bits`; `None` for the root.
fn dotted(pointer: &str) -> Option<String> {
    let mut key = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) && !key.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(key, "[{part}]");
        } else {
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    (!key.is_empty()).then_some(key)
}
