//! Where the tokens of a model technique come from.

use std::error::Error;
use std::fmt;

/// Token sequences of one length, read on request; from any thread of the plugin.
pub trait TokenSource: Sync {
    /// The number of sequences.
    fn sequences(&self) -> usize;

    /// The tokens of each.
    fn sequence_length(&self) -> usize;

    /// Writes the sequences from `first` on, as many as fit into `out`, which holds whole ones and ends before the last.
    ///
    /// # Errors
    /// Whatever keeps the tokens from being read; the plugin is told.
    fn read(&self, first: usize, out: &mut [u32]) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// A text that differs where the tokens differ, such as their blake3; `None`, the default, where that is not known.
    fn hash(&self) -> Option<&str> {
        None
    }
}

/// Tokens in memory, cut into sequences.
///
/// ```
/// use tenuis_host::{TokenSequences, TokenSource};
/// let tokens = TokenSequences::new((0..10).collect(), 4);
/// assert_eq!(tokens.sequences(), 2); // the rest of two tokens is left out
/// let mut second = [0; 4];
/// tokens.read(1, &mut second)?;
/// assert_eq!(second, [4, 5, 6, 7]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone)]
pub struct TokenSequences {
    tokens: Vec<u32>,
    sequence_length: usize,
    hash: String,
}

impl TokenSequences {
    /// Cuts tokens into sequences and leaves out a rest that fills none; with a length of 0 there are none.
    pub fn new(mut tokens: Vec<u32>, sequence_length: usize) -> Self {
        let whole = tokens.len().checked_div(sequence_length).unwrap_or(0) * sequence_length;
        tokens.truncate(whole);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(sequence_length as u64).to_le_bytes());
        for chunk in tokens.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|token| token.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        Self { tokens, sequence_length, hash: hasher.finalize().to_hex().to_string() }
    }
}

impl TokenSource for TokenSequences {
    fn sequences(&self) -> usize {
        self.tokens.len().checked_div(self.sequence_length).unwrap_or(0)
    }

    fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    fn read(&self, first: usize, out: &mut [u32]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let start = first * self.sequence_length;
        let end = start + out.len();
        let found = self.tokens.get(start..end);
        out.copy_from_slice(found.ok_or_else(|| format!("tokens {start}..{end} of {}", self.tokens.len()))?);
        Ok(())
    }

    fn hash(&self) -> Option<&str> {
        Some(&self.hash)
    }
}

impl fmt::Debug for TokenSequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSequences")
            .field("sequences", &self.sequences())
            .field("sequence_length", &self.sequence_length)
            .finish_non_exhaustive()
    }
}
