//! A teacher out of a checkpoint.

use super::{Answer, Kept, Teacher};
use crate::error::TrainError;
use crate::network::Extent;
use std::ops::Range;
use std::sync::Arc;
use tenuis_model::Model;

/// A checkpoint as a teacher, run in whatever representation it is stored.
#[derive(Clone, Debug)]
pub struct ModelTeacher(Arc<Model>);

impl ModelTeacher {
    /// Takes a model.
    pub const fn new(model: Arc<Model>) -> Self {
        Self(model)
    }
}

impl Teacher for ModelTeacher {
    fn vocab(&self) -> usize {
        self.0.spec().vocab
    }

    fn blocks(&self) -> usize {
        self.0.spec().layers.len()
    }

    fn width(&self) -> usize {
        self.0.spec().d_model
    }

    fn identity(&self) -> Option<String> {
        Some(self.0.checkpoint().hash().to_hex().to_string())
    }

    fn answer(
        &mut self,
        _sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
        states: &[usize],
    ) -> Result<Answer, TrainError> {
        let (rows, width) = (tokens.len(), self.width());
        let mut x = self.0.embed(tokens, extent.batch, extent.seq, 0)?;
        let mut kept = Kept::new(states, self.blocks())?;
        for index in 0..self.blocks() {
            x = self.0.block(index)?.forward(&x, None)?;
            kept.block(index, &x, width)?;
        }
        let (model, last) = (Arc::clone(&self.0), x.reshape((1, rows, width))?);
        // The logits are computed as the loss comes to them, so that they never stand in memory whole.
        let logits = move |range: Range<usize>| {
            let part = last.narrow(1, range.start, range.len())?;
            let logits = model.head(&part).map_err(|e| candle_core::Error::Msg(e.to_string()).bt())?;
            crate::ops::to_vec(&logits)
        };
        Ok(Answer::new(logits, kept.states()))
    }
}
