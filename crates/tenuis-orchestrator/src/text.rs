//! Texts as token ids.

use crate::error::RunError;
use std::path::{Path, PathBuf};
use tenuis_eval::quality::TextData;
use tenuis_eval::report::DataSource;
use tenuis_model::Tokenizer;

/// A text file, tokenised.
#[derive(Clone, Debug)]
pub struct Text {
    /// The file.
    pub path: PathBuf,
    /// Its tokens and hash.
    pub data: TextData,
}

impl Text {
    /// Reads and tokenises a UTF-8 file, without special tokens. Of a file of JSON lines (`.jsonl`) it is the fields `text`, one
    /// after the other with an empty line between, as data sets of documents are published.
    ///
    /// # Errors
    /// [`RunError`] for a file that cannot be read, is not UTF-8, or cannot be tokenised.
    pub fn open(path: &Path, tokenizer: &Tokenizer) -> Result<Self, RunError> {
        let bytes = std::fs::read(path).map_err(|source| RunError::File { path: path.to_owned(), source })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| RunError::NotUtf8 { path: path.to_owned(), position: e.valid_up_to() })?;
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
            return Self::of(path.to_owned(), &documents(path, text)?, tokenizer);
        }
        Self::of(path.to_owned(), text, tokenizer)
    }

    /// Tokenises a text that was read or made from a file.
    ///
    /// # Errors
    /// [`RunError::Tokenizer`].
    pub fn of(path: PathBuf, text: &str, tokenizer: &Tokenizer) -> Result<Self, RunError> {
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        let tokens = tokenizer.encode(text, false)?;
        Ok(Self { path, data: TextData { tokens, hash } })
    }

    /// The first and the second half, cut between windows of `seq_len` tokens: one to choose by and one to judge by.
    pub fn halves(&self, seq_len: usize) -> (Self, Self) {
        let windows = self.data.tokens.len() / seq_len.max(1);
        let cut = windows.div_ceil(2) * seq_len.max(1);
        let half = |tokens: &[u32], which: &str| {
            let hash = blake3::hash(format!("{} {which}", self.data.hash).as_bytes()).to_hex().to_string();
            let name = format!("{} ({which} half)", self.path.display());
            Self { path: PathBuf::from(name), data: TextData { tokens: tokens.to_vec(), hash } }
        };
        let (first, second) = self.data.tokens.split_at(cut.min(self.data.tokens.len()));
        (half(first, "first"), half(second, "second"))
    }

    /// The text as reports name it.
    pub fn source(&self) -> DataSource {
        DataSource {
            file: self.path.display().to_string(),
            hash: self.data.hash.clone(),
            tokens: self.data.tokens.len(),
        }
    }
}

/// What stands between two documents.
const BETWEEN: &str = "\n\n";

/// The documents of a file of JSON lines.
fn documents(path: &Path, text: &str) -> Result<String, RunError> {
    let mut documents = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refused =
            |problem: String| RunError::Document { path: path.to_owned(), line: index + 1, problem };
        let value: serde_json::Value = serde_json::from_str(line).map_err(|e| refused(e.to_string()))?;
        let text = value.get("text").and_then(serde_json::Value::as_str);
        documents
            .push(text.ok_or_else(|| refused("there is no text in field \"text\"".to_owned()))?.to_owned());
    }
    Ok(documents.join(BETWEEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_joined_and_bad_lines_named() {
        let found =
            documents(Path::new("a.jsonl"), "{\"text\": \"one\"}\n\n{\"text\": \"two\", \"id\": 3}\n");
        assert_eq!(found.unwrap(), "one\n\ntwo");
        for bad in ["{\"text\": 3}", "{}", "text"] {
            let message = documents(Path::new("a.jsonl"), &format!("{{\"text\": \"\"}}\n{bad}"))
                .unwrap_err()
                .to_string();
            assert!(message.starts_with("a.jsonl, line 2: "), "{message}");
        }
    }
}
