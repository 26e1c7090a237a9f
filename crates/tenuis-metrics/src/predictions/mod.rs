//! Files of predictions, in JSON lines or CSV.

mod error;
mod table;

pub use error::{FieldProblem, FileError};
pub(crate) use table::Table;

use crate::text::words;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The longest part of a wrong value that a message shows.
const SHOWN: usize = 60;

/// What the fields of a file are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Fields {
    /// A text, a class, a number, tags or features.
    pub prediction: String,
    /// A text or several.
    pub reference: String,
    /// The true class or number.
    pub label: String,
    /// A number, or one for each class.
    pub score: String,
    /// The words of a sentence; where they are given, tags are counted against them.
    pub tokens: String,
    /// The true tags of a sentence.
    pub tags: String,
}

impl Default for Fields {
    fn default() -> Self {
        let [prediction, reference, label, score, tokens, tags] =
            ["prediction", "reference", "label", "score", "tokens", "tags"].map(str::to_owned);
        Self { prediction, reference, label, score, tokens, tags }
    }
}

/// The rows of a file.
///
/// A file that ends in `.csv` or `.tsv` is CSV with a header, anything else one JSON object on each line. In a cell of CSV a
/// list is JSON (`["a", "b"]`), or, for tags and numbers, what white space separates.
///
/// ```
/// use tenuis_metrics::Predictions;
/// let path = std::env::temp_dir().join(format!("tenuis-metrics-doc-{}.jsonl", std::process::id()));
/// std::fs::write(&path, "{\"prediction\": \"a\", \"reference\": [\"a\", \"b\"]}\n")?;
/// let predictions = Predictions::read(&path)?;
/// assert_eq!(predictions.rows()[0].texts("reference")?, ["a", "b"]);
/// let refused = predictions.rows()[0].number("score").unwrap_err().to_string();
/// assert!(refused.ends_with("line 1: field \"score\" is missing; it must be a number"));
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Predictions {
    path: PathBuf,
    rows: Vec<Row>,
}

/// A row of a file.
#[derive(Clone, Debug)]
pub struct Row {
    path: PathBuf,
    line: u64,
    fields: Map<String, Value>,
    is_csv: bool,
}

impl Predictions {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`], which names the file, the line and the field.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let is_csv = path.extension().is_some_and(|e| e == "csv" || e == "tsv");
        let rows = if is_csv { csv_rows(path)? } else { json_rows(path)? };
        if rows.is_empty() {
            return Err(FileError::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), rows })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

fn csv_rows(path: &Path) -> Result<Vec<Row>, FileError> {
    let Table { header, records } = Table::read(path)?;
    let row = |(line, record): (u64, Vec<String>)| {
        let fields = header.iter().cloned().zip(record.into_iter().map(Value::String)).collect();
        Row { path: path.to_owned(), line, fields, is_csv: true }
    };
    Ok(records.into_iter().map(row).collect())
}

fn json_rows(path: &Path) -> Result<Vec<Row>, FileError> {
    let text = table::text(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let row = |(line, text): (u64, &str)| {
        let problem = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => {
                return Ok(Row { path: path.to_owned(), line, fields, is_csv: false });
            }
            Ok(_) => "is not a JSON object; a row is one JSON object on each line".to_owned(),
            Err(e) => format!("is not JSON ({e}); a row is one JSON object on each line"),
        };
        Err(FileError::Line { path: path.to_owned(), line, problem })
    };
    lines.map(row).collect()
}

impl Row {
    /// The number of the line that the row begins in, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Whether a field is there and not null, nor an empty cell of CSV.
    pub fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| match value {
            Value::Null => false,
            Value::String(text) => !(self.is_csv && text.is_empty()),
            _ => true,
        })
    }

    /// A text.
    ///
    /// # Errors
    /// [`FileError::Field`].
    pub fn text(&self, field: &str) -> Result<String, FileError> {
        let expected = "a text";
        match self.value(field, expected)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.wrong(field, expected, other)),
        }
    }

    /// A class: a text, a whole number, or true or false, as text.
    ///
    /// # Errors
    /// [`FileError::Field`].
    pub fn class(&self, field: &str) -> Result<String, FileError> {
        let expected = "a class: a text, a whole number, true or false";
        match self.value(field, expected)? {
            Value::String(text) => Ok(text.clone()),
            Value::Bool(is) => Ok(is.to_string()),
            Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
            other => Err(self.wrong(field, expected, other)),
        }
    }

    /// A text or a list of at least one.
    ///
    /// # Errors
    /// [`FileError::Field`].
    pub fn texts(&self, field: &str) -> Result<Vec<String>, FileError> {
        let expected = "a text or a list of texts";
        match self.value(field, expected)? {
            Value::String(text) => Some(self.list_in_cell(text).unwrap_or_else(|| vec![text.clone()])),
            Value::Array(list) if !list.is_empty() => strings(list),
            _ => None,
        }
        .ok_or_else(|| self.wrong(field, expected, &self.fields[field]))
    }

    /// A list of tags, or a text of tags between white space; it may be empty.
    ///
    /// # Errors
    /// [`FileError::Field`].
    pub fn tags(&self, field: &str) -> Result<Vec<String>, FileError> {
        let expected = "a list of texts, or texts between spaces";
        match self.value(field, expected)? {
            Value::String(text) => {
                Some(self.list_in_cell(text).unwrap_or_else(|| words(text).map(str::to_owned).collect()))
            }
            Value::Array(list) => strings(list),
            _ => None,
        }
        .ok_or_else(|| self.wrong(field, expected, &self.fields[field]))
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`FileError::Field`].
    pub fn number(&self, field: &str) -> Result<f64, FileError> {
        let expected = "a number";
        let value = self.value(field, expected)?;
        as_number(value).ok_or_else(|| self.wrong(field, expected, value))
    }

    /// A finite number or a list of at least one.
    ///
    /// # Errors
    /// [`FileError::Field`].
    pub fn numbers(&self, field: &str) -> Result<Vec<f64>, FileError> {
        let expected = "a number or a list of numbers";
        let value = self.value(field, expected)?;
        let list = match value {
            Value::Array(list) => list.iter().map(as_number).collect(),
            Value::String(text) if text.trim_start().starts_with('[') => {
                serde_json::from_str::<Vec<f64>>(text).ok()
            }
            Value::String(text) => words(text).map(parse).collect(),
            other => as_number(other).map(|number| vec![number]),
        };
        list.filter(|list: &Vec<f64>| !list.is_empty()).ok_or_else(|| self.wrong(field, expected, value))
    }

    /// Whether both rows have a field, and it holds something else.
    pub(crate) fn differs(&self, other: &Self, field: &str) -> bool {
        self.has(field) && other.has(field) && self.fields.get(field) != other.fields.get(field)
    }

    /// An error that names the file, the line and a field.
    pub(crate) fn refused(&self, field: &str, problem: FieldProblem) -> FileError {
        FileError::Field { path: self.path.clone(), line: self.line, field: field.to_owned(), problem }
    }

    fn value(&self, field: &str, expected: &'static str) -> Result<&Value, FileError> {
        let value = self.fields.get(field).filter(|value| !value.is_null());
        value.ok_or_else(|| self.refused(field, FieldProblem::Missing { expected }))
    }

    fn wrong(&self, field: &str, expected: &'static str, found: &Value) -> FileError {
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(SHOWN) {
            found.truncate(end);
            found.push('…');
        }
        self.refused(field, FieldProblem::Type { expected, found })
    }

    /// The list of texts that a cell of CSV holds as JSON.
    fn list_in_cell(&self, text: &str) -> Option<Vec<String>> {
        let list = (self.is_csv && text.starts_with('[')).then(|| serde_json::from_str(text).ok()).flatten();
        list.filter(|list: &Vec<String>| !list.is_empty())
    }
}

fn strings(list: &[Value]) -> Option<Vec<String>> {
    list.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::String(text) => parse(text.trim()),
        _ => None,
    }
}

fn parse(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
