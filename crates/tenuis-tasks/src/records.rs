//! Files of records: JSON lines, JSON arrays and tables.

use crate::error::{ItemProblem, Position, TaskError};
use crate::spec::FieldType;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A record's fields.
pub(crate) type Fields = Map<String, Value>;

/// One record of a file.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) position: Position,
    pub(crate) fields: Fields,
}

/// All records of a file; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) path: PathBuf,
    /// blake3 of the file's bytes.
    pub(crate) hash: String,
    pub(crate) rows: Vec<Record>,
}

/// Reads a text file; its text, and the blake3 of its bytes.
pub(crate) fn read_text(path: &Path) -> Result<(String, String), TaskError> {
    let bytes = std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), source })?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let text = String::from_utf8(bytes)
        .map_err(|e| TaskError::NotUtf8 { path: path.to_owned(), position: e.utf8_error().valid_up_to() })?;
    Ok((text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text), hash))
}

/// The delimiter of a table's file; `None` for other files.
pub(crate) fn delimiter(path: &Path) -> Option<u8> {
    let extension = path.extension()?.to_str()?;
    if extension.eq_ignore_ascii_case("csv") {
        Some(b',')
    } else {
        extension.eq_ignore_ascii_case("tsv").then_some(b'\t')
    }
}

/// The names of a table's columns: those given, or its first line.
fn header(path: &Path, first: &csv::StringRecord, given: &[String]) -> Result<Vec<String>, TaskError> {
    let refused = |column: &str, problem| {
        Err(TaskError::Header { path: path.to_owned(), column: column.to_owned(), problem })
    };
    let names: Vec<String> = match given {
        [] => first.iter().map(|name| name.trim().to_owned()).collect(),
        _ => given.to_vec(),
    };
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            // The first column of tables that pandas wrote: an index without a name.
            if at > 0 {
                return refused(
                    name,
                    "has no name; the first line must name every column, or `columns` must",
                );
            }
        } else if names[..at].contains(name) {
            return refused(name, "occurs twice; the first line must name every column, or `columns` must");
        }
    }
    Ok(names)
}

fn table(path: &Path, text: &str, delimiter: u8, columns: &[String]) -> Result<Vec<Record>, TaskError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(columns.is_empty())
        .from_reader(text.as_bytes());
    let refused = |e: &csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        let problem = match e.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("it has {len} fields, the first line {expected_len}")
            }
            _ => e.to_string(),
        };
        TaskError::Item {
            path: path.to_owned(),
            position: Position::Line(line),
            problem: Box::new(ItemProblem::Csv { problem }),
        }
    };
    let mut names: Option<Vec<String>> = None;
    if columns.is_empty() {
        let first = reader.headers().map_err(|e| refused(&e))?;
        names = Some(header(path, first, columns)?);
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| refused(&e))?;
        let line = record.position().map_or(1, csv::Position::line);
        let names = match &names {
            Some(names) => names,
            None => names.insert(header(path, &record, columns)?),
        };
        if names.len() != record.len() {
            let problem = format!("it has {} fields, `columns` names {}", record.len(), names.len());
            return Err(TaskError::Item {
                path: path.to_owned(),
                position: Position::Line(line),
                problem: Box::new(ItemProblem::Csv { problem }),
            });
        }
        let fields = names.iter().zip(&record).filter(|(name, _)| !name.is_empty());
        let fields = fields.map(|(name, value)| (name.clone(), Value::from(value))).collect();
        rows.push(Record { position: Position::Line(line), fields });
    }
    Ok(rows)
}

fn json(path: &Path, text: &str) -> Result<Vec<Record>, TaskError> {
    let refused =
        |position, problem| TaskError::Item { path: path.to_owned(), position, problem: Box::new(problem) };
    if path.extension().is_some_and(|e| e == "json") && text.trim_start().starts_with('[') {
        let array: Vec<Value> = serde_json::from_str(text).map_err(|e| {
            let problem = ItemProblem::NotJson { problem: e.to_string() };
            refused(Position::Line(e.line() as u64), problem)
        })?;
        let row = |(index, value)| {
            let position = Position::Element(index);
            match value {
                Value::Object(fields) => Ok(Record { position, fields }),
                _ => Err(refused(position, ItemProblem::NotObject)),
            }
        };
        return (1..).zip(array).map(row).collect();
    }
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let position = Position::Line(number);
        match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => rows.push(Record { position, fields }),
            Ok(_) => return Err(refused(position, ItemProblem::NotObject)),
            Err(e) => return Err(refused(position, ItemProblem::NotJson { problem: e.to_string() })),
        }
    }
    Ok(rows)
}

impl Records {
    pub(crate) fn read(path: &Path, columns: &[String]) -> Result<Self, TaskError> {
        let (text, hash) = read_text(path)?;
        let rows = match delimiter(path) {
            Some(delimiter) => table(path, &text, delimiter, columns)?,
            None => json(path, &text)?,
        };
        if rows.is_empty() {
            return Err(TaskError::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), hash, rows })
    }

    /// The error that names a record of this file.
    pub(crate) fn refused(&self, position: Position, problem: ItemProblem) -> TaskError {
        TaskError::Item { path: self.path.clone(), position, problem: Box::new(problem) }
    }
}

impl FieldType {
    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Index => "an index, counted from 0",
            Self::Any => "there",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            Self::Index => value.is_u64(),
            Self::Any => !value.is_null(),
        }
    }

    /// Checks that a record's field is of this type.
    pub(crate) fn check(self, fields: &Fields, field: &str, task: &str) -> Result<(), ItemProblem> {
        let value = fields.get(field);
        if value.is_some_and(|value| self.holds(value)) {
            return Ok(());
        }
        Err(ItemProblem::Field {
            field: field.to_owned(),
            expected: self.expected(),
            found: value.map_or_else(|| "missing".to_owned(), shortened),
            task: task.to_owned(),
        })
    }
}

/// A value as JSON, cut where it is long.
fn shortened(value: &Value) -> String {
    cut(&value.to_string())
}

/// The beginning of a text, for messages.
pub(crate) fn cut(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
