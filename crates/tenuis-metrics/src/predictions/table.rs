//! CSV with a header.

use super::error::FileError;
use std::path::Path;

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|e| {
        let position = e.utf8_error().valid_up_to();
        FileError::NotUtf8 { path: path.to_owned(), position }
    })
}

/// The records of a CSV file and the line each begins in.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) records: Vec<(u64, Vec<String>)>,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let text = text(path)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let delimiter = if path.extension().is_some_and(|e| e == "tsv") { b'\t' } else { b',' };
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        let refused = |e: &csv::Error| {
            let line = e.position().map_or(1, csv::Position::line);
            FileError::Line { path: path.to_owned(), line, problem: e.to_string() }
        };
        let own = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<String>>();
        let header: Vec<String> = own(reader.headers().map_err(|e| refused(&e))?);
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        for (at, column) in header.iter().enumerate() {
            if header[..at].contains(column) {
                return Err(FileError::Header {
                    path: path.to_owned(),
                    column: column.clone(),
                    problem: "occurs twice",
                    found: header.join(", "),
                });
            }
        }
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| refused(&e))?;
            records.push((record.position().map_or(0, csv::Position::line), own(&record)));
        }
        if records.is_empty() {
            return Err(FileError::Empty { path: path.to_owned() });
        }
        Ok(Self { header, records })
    }

    /// Where a column stands.
    pub(crate) fn column(&self, path: &Path, name: &str) -> Result<usize, FileError> {
        self.header.iter().position(|column| column == name).ok_or_else(|| FileError::Header {
            path: path.to_owned(),
            column: name.to_owned(),
            problem: "is missing",
            found: self.header.join(", "),
        })
    }
}
