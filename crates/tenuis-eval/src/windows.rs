//! Which parts of a text are evaluated.

use thiserror::Error;

/// A text that cannot be cut as asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowsError {
    /// A window predicts all its tokens but the first, so it needs two.
    #[error("a window of {seq_len} tokens predicts nothing; choose a sequence length of at least 2")]
    TooShort {
        /// The window length asked for.
        seq_len: usize,
    },
    /// The text does not fill one window.
    #[error(
        "the text has {tokens} tokens, fewer than one window of {seq_len}; pass a longer text or a smaller --seq-len"
    )]
    TooFewTokens {
        /// Tokens of the text.
        tokens: usize,
        /// The window length asked for.
        seq_len: usize,
    },
}

/// Non-overlapping windows of a token stream, all of them or an evenly spaced choice.
///
/// A stream of `n` tokens holds `W = n div T` whole windows of `T` tokens. Of these, `N` are used: number
/// `i·W div N` for `i` in `0..N`. The head of a text is often easier than the rest, hence evenly spaced ones.
///
/// ```
/// use tenuis_eval::Windows;
/// let windows = Windows::of(1000, 10, Some(40))?;
/// assert_eq!(windows.starts().collect::<Vec<_>>(), [0, 250, 500, 750]);
/// assert_eq!(windows.predictions(), 4 * 9);
/// # Ok::<(), tenuis_eval::WindowsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    seq_len: usize,
    whole: usize,
    used: usize,
}

impl Windows {
    /// Cuts `tokens` tokens into windows of `seq_len`, using so many that they hold at most `max_tokens` (but one at
    /// least).
    ///
    /// # Errors
    /// [`WindowsError`] where not even one window can be had.
    pub fn of(tokens: usize, seq_len: usize, max_tokens: Option<usize>) -> Result<Self, WindowsError> {
        if seq_len < 2 {
            return Err(WindowsError::TooShort { seq_len });
        }
        let whole = tokens / seq_len;
        if whole == 0 {
            return Err(WindowsError::TooFewTokens { tokens, seq_len });
        }
        let used = max_tokens.map_or(whole, |most| (most / seq_len).clamp(1, whole));
        Ok(Self { seq_len, whole, used })
    }

    /// The first token of every window.
    pub fn starts(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let Self { seq_len, whole, used } = *self;
        // Widened: the product of two counts may exceed 32 bits on small targets.
        (0..used).map(move |i| (i as u64 * whole as u64 / used as u64) as usize * seq_len)
    }

    /// Tokens per window.
    pub const fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Windows that are used.
    pub const fn count(&self) -> usize {
        self.used
    }

    /// Whole windows that the text holds.
    pub const fn whole(&self) -> usize {
        self.whole
    }

    /// Tokens in the used windows.
    pub const fn tokens(&self) -> usize {
        self.used * self.seq_len
    }

    /// Predictions made: every token of a window but its first.
    pub const fn predictions(&self) -> usize {
        self.used * (self.seq_len - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference protocol: 393,018 tokens at 128 make 3,070 windows, and 400 of them start at `i·3070 div 400`.
    #[test]
    fn evenly_spaced_choice() {
        let all = Windows::of(393_018, 128, None).unwrap();
        assert_eq!((all.whole(), all.count()), (3070, 3070));
        let some = Windows::of(393_018, 128, Some(51_200)).unwrap();
        let starts: Vec<usize> = some.starts().collect();
        assert_eq!(starts.len(), 400);
        assert_eq!(starts[1], 7 * 128);
        assert_eq!(starts[399], (399 * 3070 / 400) * 128);
    }

    #[test]
    fn too_little_text_is_refused() {
        assert_eq!(Windows::of(9, 10, None), Err(WindowsError::TooFewTokens { tokens: 9, seq_len: 10 }));
        assert_eq!(Windows::of(9, 1, None), Err(WindowsError::TooShort { seq_len: 1 }));
        assert_eq!(Windows::of(25, 10, Some(3)).unwrap().count(), 1);
    }
}
