//! Running a model position after position.

use crate::block::{Block, Place};
use crate::cache::LayerCache;
use crate::error::ModelError;
use crate::model::Model;
use candle_core::Tensor;
use std::sync::Arc;

/// A batch of sequences of equal length whose keys and values are kept, so that each call only runs what is new.
///
/// ```no_run
/// # fn run(model: &tenuis_model::Model) -> Result<(), tenuis_model::ModelError> {
/// let mut session = tenuis_model::Session::new(model, 1, 64)?;
/// let after_prompt = session.forward(&[1, 17, 42])?; // [1, vocab]
/// let after_next = session.forward(&[7])?;
/// assert_eq!(session.position(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Model,
    blocks: Vec<Arc<Block>>,
    caches: Vec<LayerCache>,
    batch: usize,
    capacity: usize,
    position: usize,
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
            batch,
            capacity,
            position: 0,
        })
    }

    /// How many positions were run.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Forgets all positions, keeping the room.
    pub const fn reset(&mut self) {
        self.position = 0;
    }

    /// Appends tokens to every sequence and returns the logits after the last one.
    ///
    /// # Shapes
    /// `tokens`: `[batch, n]` row-major, result: `[batch, vocab]`.
    ///
    /// # Errors
    /// [`ModelError::Positions`] where there is no room, else as [`Model::embed`].
    pub fn forward(&mut self, tokens: &[u32]) -> Result<Tensor, ModelError> {
        let hidden = self.advance(tokens)?;
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
        let hidden = self.advance(tokens)?;
        self.model.head(&hidden)
    }

    fn advance(&mut self, tokens: &[u32]) -> Result<Tensor, ModelError> {
        let (start, seq) = (self.position, tokens.len() / self.batch);
        if start + seq > self.capacity {
            return Err(ModelError::Positions { wanted: start + seq, room: self.capacity });
        }
        let mut hidden = self.model.embed(tokens, self.batch, seq, start)?;
        for (block, cache) in self.blocks.iter().zip(&mut self.caches) {
            hidden = block.run(&hidden, Place { start, cache: Some(cache) }, None)?;
        }
        self.position += seq;
        Ok(hidden)
    }
}
