//! Running a model position after position.

use crate::block::{Block, Place};
use crate::cache::{LayerCache, Row};
use crate::error::ModelError;
use crate::model::Model;
use candle_core::Tensor;
use std::sync::Arc;

/// A batch of sequences whose keys and values are kept, so that each call only runs what is new.
///
/// A call runs the same number of new tokens in each sequence that it names, but the sequences may stand at different
/// positions.
///
/// ```no_run
/// # fn run(model: &tenuis_model::Model) -> Result<(), tenuis_model::ModelError> {
/// let mut session = tenuis_model::Session::new(model, 2, 64)?;
/// session.forward_of(&[0], &[1, 17, 42])?; // [1, vocab]
/// session.forward_of(&[1], &[1, 8])?;
/// let logits = session.forward(&[7, 9])?; // [2, vocab]: one more token for each
/// assert_eq!((session.position(0), session.position(1)), (4, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    blocks: Vec<Arc<Block>>,
    caches: Vec<LayerCache>,
    capacity: usize,
    /// Where each sequence stands.
    positions: Vec<usize>,
}

impl<'m> Session<'m> {
    /// Makes room for `capacity` positions of `batch` sequences and loads all blocks.
    ///
    /// # Errors
    /// [`ModelError::Tokens`] for an empty batch, [`ModelError::Cache`] for more room than there can be, or as [`Model::load_block`].
    pub fn new(model: &'m Model, batch: usize, capacity: usize) -> Result<Self, ModelError> {
        if batch == 0 {
            return Err(ModelError::Tokens { found: 0, batch, seq: 0 });
        }
        let layers = &model.spec().layers;
        Ok(Self {
            model,
            blocks: (0..layers.len()).map(|index| model.block(index)).collect::<Result<_, _>>()?,
            caches: layers
                .iter()
                .map(|l| LayerCache::new(&l.attention, batch, capacity))
                .collect::<Result<_, _>>()?,
            capacity,
            positions: vec![0; batch],
        })
    }

    /// How many positions of a sequence were run; 0 where there is no such sequence.
    pub fn position(&self, sequence: usize) -> usize {
        self.positions.get(sequence).copied().unwrap_or_default()
    }

    /// Forgets all positions, keeping the room.
    pub fn reset(&mut self) {
        self.positions.fill(0);
    }

    /// Makes every sequence what `sequence` is now up to a position, so that all go on from there.
    ///
    /// # Errors
    /// [`ModelError::Sequences`] where there is no such sequence, [`ModelError::Positions`] where it is shorter.
    pub fn spread(&mut self, sequence: usize, position: usize) -> Result<(), ModelError> {
        self.check(&[sequence])?;
        let room = self.positions[sequence];
        if position > room {
            return Err(ModelError::Positions { wanted: position, room });
        }
        for other in (0..self.positions.len()).filter(|&other| other != sequence) {
            for cache in &mut self.caches {
                cache.copy(sequence, other, position);
            }
        }
        self.positions.fill(position);
        Ok(())
    }

    /// Appends tokens to every sequence and returns the logits after the last one.
    ///
    /// # Shapes
    /// `tokens`: `[batch, n]` row-major, result: `[batch, vocab]`.
    ///
    /// # Errors
    /// [`ModelError::Positions`] where there is no room, else as [`Model::embed`].
    pub fn forward(&mut self, tokens: &[u32]) -> Result<Tensor, ModelError> {
        self.forward_of(&self.all(), tokens)
    }

    /// Appends tokens to some of the sequences and returns the logits after the last one.
    ///
    /// # Shapes
    /// `tokens`: `[sequences, n]` row-major, result: `[sequences, vocab]`.
    ///
    /// # Errors
    /// [`ModelError::Sequences`] unless `sequences` are ascending numbers below the batch, else as
    /// [`Session::forward`].
    pub fn forward_of(&mut self, sequences: &[usize], tokens: &[u32]) -> Result<Tensor, ModelError> {
        let hidden = self.advance(sequences, tokens)?;
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?;
        Ok(self.model.head(&last)?.squeeze(1)?)
    }

    /// Appends tokens to every sequence and returns the logits after each of them.
    ///
    /// # Shapes
    /// `tokens`: `[batch, n]` row-major, result: `[batch, n, vocab]`.
    ///
    /// # Errors
    /// As [`Session::forward`].
    pub fn forward_all(&mut self, tokens: &[u32]) -> Result<Tensor, ModelError> {
        self.forward_all_of(&self.all(), tokens)
    }

    /// Appends tokens to some of the sequences and returns the logits after each of them.
    ///
    /// # Shapes
    /// `tokens`: `[sequences, n]` row-major, result: `[sequences, n, vocab]`.
    ///
    /// # Errors
    /// As [`Session::forward_of`].
    pub fn forward_all_of(&mut self, sequences: &[usize], tokens: &[u32]) -> Result<Tensor, ModelError> {
        let hidden = self.advance(sequences, tokens)?;
        self.model.head(&hidden)
    }

    fn all(&self) -> Vec<usize> {
        (0..self.positions.len()).collect()
    }

    fn check(&self, sequences: &[usize]) -> Result<(), ModelError> {
        let batch = self.positions.len();
        if sequences.is_sorted_by(|a, b| a < b) && sequences.last().is_none_or(|&last| last < batch) {
            return Ok(());
        }
        Err(ModelError::Sequences { sequences: sequences.to_vec(), batch })
    }

    fn advance(&mut self, sequences: &[usize], tokens: &[u32]) -> Result<Tensor, ModelError> {
        self.check(sequences)?;
        let (batch, found) = (sequences.len(), tokens.len());
        let seq = found.checked_div(batch).unwrap_or_default();
        if found == 0 || batch * seq != found {
            return Err(ModelError::Tokens { found, batch, seq });
        }
        let starts: Vec<usize> = sequences.iter().map(|&sequence| self.positions[sequence]).collect();
        let wanted = starts.iter().max().map_or(0, |start| start + seq);
        if wanted > self.capacity {
            return Err(ModelError::Positions { wanted, room: self.capacity });
        }
        let rows: Vec<Row> =
            sequences.iter().zip(&starts).map(|(&sequence, &start)| Row { sequence, start }).collect();
        let mut hidden = self.model.embed_at(tokens, &starts)?;
        for (block, cache) in self.blocks.iter().zip(&mut self.caches) {
            hidden = block.run(&hidden, Some(Place { rows: &rows, cache }), None)?;
        }
        for &sequence in sequences {
            self.positions[sequence] += seq;
        }
        Ok(hidden)
    }
}
