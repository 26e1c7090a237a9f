//! Text to tokens and back.

use std::path::{Path, PathBuf};
use tenuis_core::{Checkpoint, CheckpointError};
use thiserror::Error;
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

/// The file that holds a tokenizer.
const FILE: &str = "tokenizer.json";

/// Why a tokenizer cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// There is no `tokenizer.json`.
    #[error("{}: there is no tokenizer.json; copy it from the original model", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The tokenizer within a GGUF file cannot be used.
    #[error(transparent)]
    Gguf(Box<CheckpointError>),
    /// The file is not a tokenizer.
    #[error("{}: {problem}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The tokenizer gives tokens that the model does not have.
    #[error(
        "{}: token {token:?} has number {number}, but the model's vocabulary ends at {vocab}; take the tokenizer that \
         belongs to the model", file.display()
    )]
    Vocabulary {
        /// The file.
        file: PathBuf,
        /// The token with the largest number.
        token: String,
        /// Its number.
        number: u32,
        /// The size of the model's vocabulary.
        vocab: usize,
    },
    /// A text cannot be encoded.
    #[error("the text cannot be encoded: {problem}")]
    Encode {
        /// What the tokenizer says.
        problem: String,
    },
    /// No tokenizer can be made.
    #[error("a tokenizer cannot be trained: {problem}")]
    Training {
        /// What the trainer says.
        problem: String,
    },
    /// Tokens cannot be decoded.
    #[error("the tokens cannot be decoded: {problem}")]
    Decode {
        /// What the tokenizer says.
        problem: String,
    },
}

/// A tokenizer that was held against the model's vocabulary.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads the tokenizer of a checkpoint: the `tokenizer.json` beside its weights, or that of a GGUF file.
    ///
    /// # Errors
    /// As [`Tokenizer::from_dir`]; [`TokenizerError::Gguf`] where a file's own tokenizer cannot be translated.
    pub fn from_checkpoint(checkpoint: &Checkpoint, vocab: usize) -> Result<Self, TokenizerError> {
        let dir = checkpoint.dir();
        if !checkpoint.is_gguf() || dir.join(FILE).exists() {
            return Self::from_dir(dir, vocab);
        }
        let bytes = checkpoint.tokenizer_json().map_err(|source| TokenizerError::Gguf(Box::new(source)))?;
        let bytes = bytes.ok_or_else(|| TokenizerError::Missing { dir: dir.to_owned() })?;
        let file = checkpoint.shard_files().next().unwrap_or(dir);
        Self::from_bytes(bytes, file.to_owned(), vocab)
    }

    /// Reads `tokenizer.json` of a model's directory; `vocab` is the size of the model's vocabulary.
    ///
    /// A tokenizer with fewer tokens than the model is taken: models pad their vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`], [`TokenizerError::Malformed`], or [`TokenizerError::Vocabulary`] for a tokenizer
    /// with a token that the model does not have.
    pub fn from_dir(dir: &Path, vocab: usize) -> Result<Self, TokenizerError> {
        let file = dir.join(FILE);
        let bytes = std::fs::read(&file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => TokenizerError::Missing { dir: dir.to_owned() },
            _ => TokenizerError::Io { file: file.clone(), source },
        })?;
        Self::from_bytes(bytes, file, vocab)
    }

    fn from_bytes(bytes: Vec<u8>, file: PathBuf, vocab: usize) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|e| TokenizerError::Malformed { file: file.clone(), problem: e.to_string() })?;
        let largest = inner.get_vocab(true).into_iter().max_by_key(|(_, number)| *number);
        match largest {
            None => {
                let problem = "has no tokens".to_owned();
                return Err(TokenizerError::Malformed { file, problem });
            }
            Some((token, number)) if number as usize >= vocab => {
                return Err(TokenizerError::Vocabulary { file, token, number, vocab });
            }
            Some(_) => {}
        }
        // Files carry the settings of whoever saved them; a text is never cut or filled up here.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| TokenizerError::Malformed { file, problem: e.to_string() })?;
        Ok(Self { inner })
    }

    pub(crate) const fn from_inner(inner: tokenizers::Tokenizer) -> Self {
        Self { inner }
    }

    pub(crate) const fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The number of a token such as `</s>`.
    pub fn token(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Turns text into tokens, with the special tokens that the tokenizer puts around a text if asked for.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, add_special);
        let encoding = encoding.map_err(|e| TokenizerError::Encode { problem: e.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Turns tokens into text, leaving special tokens out.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(tokens, true).map_err(|e| TokenizerError::Decode { problem: e.to_string() })
    }

    /// Decodes tokens as they come.
    pub fn decode_stream(&self) -> DecodeStream<'_> {
        DecodeStream { inner: self.inner.decode_stream(true) }
    }
}

type Inner<'t> = tokenizers::DecodeStream<
    't,
    ModelWrapper,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Text that grows token by token.
#[expect(missing_debug_implementations, reason = "the tokenizer's stream has none")]
pub struct DecodeStream<'t> {
    inner: Inner<'t>,
}

impl DecodeStream<'_> {
    /// Takes a token and returns the text that is complete with it; none where a character is still missing bytes.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn push(&mut self, token: u32) -> Result<Option<String>, TokenizerError> {
        self.inner.step(token).map_err(|e| TokenizerError::Decode { problem: e.to_string() })
    }
}
