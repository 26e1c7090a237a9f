//! Where the keys of a recipe stand, so that an error can name the line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use thiserror::Error;
use toml::de::{DeTable, DeValue};

/// A recipe that cannot be carried out as written.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{file}{}: {}{problem}", line.map(|l| format!(":{l}")).unwrap_or_default(),
    key.as_ref().map(|k| format!("key `{k}`: ")).unwrap_or_default())]
pub struct RecipeError {
    /// The recipe file.
    pub file: String,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// The key as a dotted path, where there is one.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl RecipeError {
    pub(super) fn unreadable(file: &str, error: &io::Error) -> Self {
        Self { file: file.to_owned(), line: None, key: None, problem: format!("cannot be read: {error}") }
    }
}

/// The file of a recipe and the line of each of its values, by JSON pointer.
#[derive(Clone, Debug)]
pub struct Origin {
    file: String,
    lines: BTreeMap<String, usize>,
}

impl Origin {
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, RecipeError> {
        let mut origin = Self { file: file.to_owned(), lines: BTreeMap::new() };
        let table = DeTable::parse(text).map_err(|e| origin.toml_error(text, &e))?;
        walk_table(table.get_ref(), "", text, &mut origin.lines);
        Ok(origin)
    }

    /// The file as messages name it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// An error at a JSON pointer, or at the nearest enclosing value that the file has.
    pub fn error(&self, pointer: &str, problem: impl Into<String>) -> RecipeError {
        let mut at = pointer;
        let line = loop {
            if let Some(&line) = self.lines.get(at) {
                break Some(line);
            }
            match at.rfind('/') {
                Some(cut) => at = &at[..cut],
                None => break None,
            }
        };
        let key = dotted(pointer);
        RecipeError { file: self.file.clone(), line, key, problem: problem.into() }
    }

    /// A syntax or type error of the TOML reader, on one line.
    pub(super) fn toml_error(&self, text: &str, error: &toml::de::Error) -> RecipeError {
        let span = error.span();
        let line = span.as_ref().map(|s| line_of(text, s.start));
        // The value with the greatest pointer among those of the line is the one the reader was at.
        let key =
            line.and_then(|l| self.lines.iter().filter(|&(_, &at)| at == l).map(|(p, _)| p).next_back());
        let problem = error.message().replace('\n', "; ");
        RecipeError { file: self.file.clone(), line, key: key.and_then(|k| dotted(k)), problem }
    }
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
            key.push_str(part);
        }
    }
    (!key.is_empty()).then_some(key)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

fn walk_table(table: &DeTable<'_>, pointer: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let at = format!("{pointer}/{}", key.get_ref());
        lines.insert(at.clone(), line_of(text, key.span().start));
        walk_value(value.get_ref(), &at, text, lines);
    }
}

fn walk_value(value: &DeValue<'_>, pointer: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    match value {
        DeValue::Table(table) => walk_table(table, pointer, text, lines),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                let at = format!("{pointer}/{index}");
                lines.insert(at.clone(), line_of(text, item.span().start));
                walk_value(item.get_ref(), &at, text, lines);
            }
        }
        _ => {}
    }
}
