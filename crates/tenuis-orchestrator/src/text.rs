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
    /// Reads and tokenises a UTF-8 file, without special tokens.
    ///
    /// # Errors
    /// [`RunError`] for a file that cannot be read, is not UTF-8, or cannot be tokenised.
    pub fn open(path: &Path, tokenizer: &Tokenizer) -> Result<Self, RunError> {
        let bytes = std::fs::read(path).map_err(|source| RunError::File { path: path.to_owned(), source })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| RunError::NotUtf8 { path: path.to_owned(), position: e.valid_up_to() })?;
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

    /// The text as reports name it.
    pub fn source(&self) -> DataSource {
        DataSource {
            file: self.path.display().to_string(),
            hash: self.data.hash.clone(),
            tokens: self.data.tokens.len(),
        }
    }
}
