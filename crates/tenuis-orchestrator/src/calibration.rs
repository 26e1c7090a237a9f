//! Token batches that techniques are calibrated on.

use crate::error::RunError;
use crate::text::Text;
use tenuis_eval::Windows;
use tenuis_eval::report::CalibrationSource;
use tenuis_recipe::CalibrationSpec;

/// A batch holds about so many tokens: enough for matrix products to run at full speed, small beside a Hessian.
const BATCH_TOKENS: usize = 2048;

/// Evenly spaced windows of a text, in batches.
#[derive(Clone, Debug)]
pub struct Calibration {
    seq_len: usize,
    batches: Vec<Vec<u32>>,
    source: CalibrationSource,
}

impl Calibration {
    /// Takes `spec.samples` evenly spaced windows, or all there are.
    ///
    /// # Errors
    /// [`RunError::TooLittleCalibration`] where the text does not fill one window, [`RunError::TooLong`] where a
    /// window exceeds the model's positions.
    pub fn of(text: &Text, spec: CalibrationSpec, max_positions: usize) -> Result<Self, RunError> {
        let tokens = &text.data.tokens;
        let seq_len = spec.seq_len.unwrap_or_else(|| max_positions.min(2048));
        if seq_len > max_positions {
            return Err(RunError::TooLong { what: "calibration seq_len", seq_len, max_positions });
        }
        let windows =
            Windows::of(tokens.len(), seq_len, Some(spec.samples.saturating_mul(seq_len))).map_err(|_| {
                RunError::TooLittleCalibration { path: text.path.clone(), tokens: tokens.len(), seq_len }
            })?;
        let starts: Vec<usize> = windows.starts().collect();
        Ok(Self::at(text, seq_len, &starts))
    }

    /// Windows that [`Calibration::of`] leaves out, evenly spaced, with `tokens` tokens at most but one window at least; where it
    /// leaves out none, of those that it takes.
    pub(crate) fn beside(&self, text: &Text, tokens: usize) -> Self {
        let seq_len = self.seq_len;
        let taken = |all: usize| {
            let windows = Windows::of(text.data.tokens.len(), seq_len, Some(all));
            windows.map(|windows| windows.starts().collect::<Vec<_>>()).unwrap_or_default()
        };
        let (all, own) = (taken(usize::MAX), taken(self.tokens()));
        let mut left: Vec<usize> = all.iter().copied().filter(|start| !own.contains(start)).collect();
        if left.is_empty() {
            left = own;
        }
        let used = (tokens / seq_len).clamp(1, left.len().max(1));
        let starts: Vec<usize> = (0..used).filter_map(|i| left.get(i * left.len() / used)).copied().collect();
        Self::at(text, seq_len, &starts)
    }

    fn at(text: &Text, seq_len: usize, starts: &[usize]) -> Self {
        let batches = starts
            .chunks((BATCH_TOKENS / seq_len).max(1))
            .map(|starts| starts.iter().flat_map(|&s| &text.data.tokens[s..s + seq_len]).copied().collect())
            .collect();
        let source = CalibrationSource { data: text.source(), samples: starts.len(), seq_len };
        Self { seq_len, batches, source }
    }

    /// Tokens per window.
    pub const fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Token ids, a whole number of windows per batch.
    pub fn batches(&self) -> &[Vec<u32>] {
        &self.batches
    }

    /// Tokens in all batches.
    pub fn tokens(&self) -> usize {
        self.source.samples * self.seq_len
    }

    /// What reports say of it.
    pub const fn source(&self) -> &CalibrationSource {
        &self.source
    }
}
