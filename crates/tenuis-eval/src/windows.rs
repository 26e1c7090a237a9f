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
    /// Tokens between windows are left out, or the windows stand still.
    #[error("a stride of {stride} does not fit windows of {seq_len} tokens; choose one from 1 to {seq_len}")]
    Stride {
        /// The stride asked for.
        stride: usize,
        /// The window length.
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

/// Windows of a token stream, all of them or an evenly spaced choice.
///
/// A stream of `n` tokens holds `W = (n − T) div S + 1` whole windows of `T` tokens whose starts are `S` apart; by default `S = T`,
/// so that they do not overlap. Of these, `N` are used: number `i·W div N` for `i` in `0..N`. The head of a text is often easier than
/// the rest, hence evenly spaced ones.
///
/// Every token is predicted once. The window at the start of the stream predicts all its tokens but the first. Where windows do not
/// overlap, so does each. Where they do, any other predicts only its last `S` tokens, with the `T − S` before them as context: that
/// costs `T/S` times as much and gives each token at least so much context (the "sliding window" of the literature).
///
/// ```
/// use tenuis_eval::Windows;
/// let windows = Windows::of(1000, 10, Some(40))?;
/// assert_eq!(windows.starts().collect::<Vec<_>>(), [0, 250, 500, 750]);
/// assert_eq!(windows.predictions(), 4 * 9);
/// let sliding = Windows::strided(20, 10, 5, None)?;
/// assert_eq!(sliding.starts().collect::<Vec<_>>(), [0, 5, 10]);
/// assert_eq!(sliding.predictions(), 9 + 5 + 5);
/// # Ok::<(), tenuis_eval::WindowsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    seq_len: usize,
    stride: usize,
    whole: usize,
    used: usize,
}

impl Windows {
    /// Cuts `tokens` tokens into windows of `seq_len` that do not overlap, using so many that they hold at most `max_tokens` (but
    /// one at least).
    ///
    /// # Errors
    /// [`WindowsError`] where not even one window can be had.
    pub fn of(tokens: usize, seq_len: usize, max_tokens: Option<usize>) -> Result<Self, WindowsError> {
        Self::strided(tokens, seq_len, seq_len, max_tokens)
    }

    /// As [`Windows::of`], with `stride` tokens between the starts of windows.
    ///
    /// # Errors
    /// [`WindowsError`] where not even one window can be had, or a stride is none.
    pub fn strided(
        tokens: usize,
        seq_len: usize,
        stride: usize,
        max_tokens: Option<usize>,
    ) -> Result<Self, WindowsError> {
        if seq_len < 2 {
            return Err(WindowsError::TooShort { seq_len });
        }
        if stride == 0 || stride > seq_len {
            return Err(WindowsError::Stride { stride, seq_len });
        }
        let Some(beyond) = tokens.checked_sub(seq_len) else {
            return Err(WindowsError::TooFewTokens { tokens, seq_len });
        };
        let whole = beyond / stride + 1;
        let used = max_tokens.map_or(whole, |most| (most / seq_len).clamp(1, whole));
        Ok(Self { seq_len, stride, whole, used })
    }

    /// A share of these windows, evenly spaced, but one at least.
    #[must_use]
    pub fn thinned(self, share: f64) -> Self {
        let used = (share.clamp(0.0, 1.0) * self.used as f64).ceil() as usize;
        Self { used: used.clamp(1, self.used.max(1)), ..self }
    }

    /// The first token of every window.
    pub fn starts(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let Self { stride, whole, used, .. } = *self;
        // Widened: the product of two counts may exceed 32 bits on small targets.
        (0..used).map(move |i| (i as u64 * whole as u64 / used as u64) as usize * stride)
    }

    /// How many of its tokens the window that begins at `start` predicts: its last ones.
    pub const fn predicted(&self, start: usize) -> usize {
        if start == 0 || self.stride == self.seq_len { self.seq_len - 1 } else { self.stride }
    }

    /// Tokens per window.
    pub const fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Tokens between the starts of windows.
    pub const fn stride(&self) -> usize {
        self.stride
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

    /// Predictions made.
    pub fn predictions(&self) -> usize {
        self.starts().map(|start| self.predicted(start)).sum()
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
        for stride in [0, 11] {
            let refused = Windows::strided(99, 10, stride, None);
            assert_eq!(refused, Err(WindowsError::Stride { stride, seq_len: 10 }));
        }
    }

    /// Overlapping windows predict every token of the stream once, as far as whole windows reach.
    #[test]
    fn a_stride_predicts_each_token_once() {
        for (tokens, seq_len, stride) in [(100, 10, 3), (64, 16, 16), (50, 49, 1), (37, 8, 5)] {
            let windows = Windows::strided(tokens, seq_len, stride, None).unwrap();
            let predicted: Vec<usize> = windows
                .starts()
                .flat_map(|start| start + seq_len - windows.predicted(start)..start + seq_len)
                .collect();
            if stride < seq_len {
                let reach = (tokens - seq_len) / stride * stride + seq_len;
                assert_eq!(predicted, (1..reach).collect::<Vec<_>>());
            }
            assert_eq!(predicted.len(), windows.predictions());
        }
    }
}
