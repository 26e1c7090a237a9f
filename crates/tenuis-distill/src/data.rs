//! Sequences of a token stream in a seeded order.

use crate::error::TrainError;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Consecutive, not overlapping sequences of a token stream; each token's target is the next one.
#[derive(Clone, Debug)]
pub struct Sequences {
    tokens: Arc<[u32]>,
    seq_len: usize,
    count: usize,
}

impl Sequences {
    /// Cuts a stream into sequences of `seq_len` tokens; what does not fill one more, with the target of its last token,
    /// is left over. `which` names the text in errors.
    ///
    /// # Errors
    /// [`TrainError::TooFewTokens`], [`TrainError::Token`] for one beyond `vocab`, or [`TrainError::Option`] for a length of
    /// zero.
    pub fn new(
        which: &'static str,
        tokens: Arc<[u32]>,
        seq_len: usize,
        vocab: usize,
    ) -> Result<Self, TrainError> {
        if seq_len == 0 {
            return Err(TrainError::Option {
                option: "seq_len",
                value: "0".to_owned(),
                allowed: "at least 1",
            });
        }
        let count = tokens.len().saturating_sub(1) / seq_len;
        if count == 0 {
            return Err(TrainError::TooFewTokens { which, tokens: tokens.len(), needed: seq_len + 1 });
        }
        if let Some(position) = tokens.iter().position(|&t| t as usize >= vocab) {
            return Err(TrainError::Token { which, token: tokens[position], position, vocab });
        }
        Ok(Self { tokens, seq_len, count })
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Tokens of each.
    pub const fn seq_len(&self) -> usize {
        self.seq_len
    }

    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens and the targets of sequences by number, `[numbers · seq_len]` each.
    ///
    /// # Panics
    /// For a number that is not below [`Sequences::count`].
    pub fn batch(&self, numbers: &[usize]) -> (Vec<u32>, Vec<u32>) {
        let part = |shift: usize| {
            let starts = numbers.iter().map(move |n| n * self.seq_len + shift);
            starts.flat_map(|s| &self.tokens[s..s + self.seq_len]).copied().collect()
        };
        (part(0), part(1))
    }

    /// At most `most` sequences, evenly spaced.
    pub fn spread(&self, most: usize) -> Vec<usize> {
        let used = most.clamp(1, self.count);
        (0..used).map(|i| i * self.count / used).collect()
    }
}

/// The order in which sequences are read: every one once per epoch, in an order that seed and epoch alone decide, so that
/// a run that is resumed at any step goes on as if nothing had been.
#[derive(Debug)]
pub(crate) struct Order {
    count: usize,
    seed: u64,
    epoch: usize,
    sequences: Vec<usize>,
}

impl Order {
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let mut order = Self { count, seed, epoch: usize::MAX, sequences: Vec::new() };
        order.shuffle(0);
        order
    }

    fn shuffle(&mut self, epoch: usize) {
        if self.epoch == epoch {
            return;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64 + 1);
        self.sequences = (0..self.count).collect();
        self.sequences.shuffle(&mut rng);
        self.epoch = epoch;
    }

    /// The sequences at places `start..start + count` of the endless order.
    pub(crate) fn take(&mut self, start: usize, count: usize) -> Vec<usize> {
        (start..start + count)
            .map(|place| {
                self.shuffle(place / self.count);
                self.sequences[place % self.count]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_once_per_epoch_and_the_same_from_anywhere() {
        let mut order = Order::new(10, 3);
        let all = order.take(0, 30);
        for epoch in all.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(all[..10], all[10..20]);
        assert_eq!(Order::new(10, 3).take(17, 5), all[17..22]);
        assert_ne!(Order::new(10, 4).take(0, 30), all);
    }

    #[test]
    fn targets_are_the_next_tokens() {
        let sequences = Sequences::new("training", (0..11).collect(), 5, 11).unwrap();
        assert_eq!(sequences.count(), 2);
        let (tokens, targets) = sequences.batch(&[1]);
        assert_eq!((tokens, targets), (vec![5, 6, 7, 8, 9], vec![6, 7, 8, 9, 10]));
        assert!(matches!(
            Sequences::new("training", (0..5).collect(), 5, 11),
            Err(TrainError::TooFewTokens { needed: 6, .. })
        ));
        assert!(matches!(
            Sequences::new("training", (0..11).collect(), 5, 10),
            Err(TrainError::Token { token: 10, position: 10, .. })
        ));
    }
}
