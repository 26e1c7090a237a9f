//! What a student learns from.

mod cache;
mod store;

pub use cache::CachedTeacher;

use crate::error::TrainError;
use crate::network::Extent;
use crate::ops::divergence::{TeacherRows, TeacherSource};
use candle_core::Tensor;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tenuis_model::Model;

/// A model that says of a batch what it expects next: [`ModelTeacher`], or whatever can give logits.
///
/// Depth, width and heads need not be the student's; the vocabulary must be.
pub trait Teacher: Send {
    /// Tokens of its vocabulary.
    fn vocab(&self) -> usize;

    /// Its blocks.
    fn blocks(&self) -> usize;

    /// The width of its hidden states.
    fn width(&self) -> usize;

    /// What tells this teacher from any other, such as a hash of its weights. A teacher that does not say is not cached,
    /// and a resumed run cannot tell it from another of the same size.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Where it answers with its likeliest tokens alone: how many, and at which temperature.
    fn top_k(&self) -> Option<(usize, f64)> {
        None
    }

    /// Runs a batch.
    ///
    /// * `sequences`: the numbers of the sequences in the training text; nothing for those of a validation text;
    /// * `tokens`: `[batch · seq]`;
    /// * `states`: the blocks whose output is wanted, in the order of the answer.
    ///
    /// # Errors
    /// What the model fails with; [`TrainError::Layer`] for a block that is not there.
    fn answer(
        &mut self,
        sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
        states: &[usize],
    ) -> Result<Answer, TrainError>;
}

/// What a teacher says of a batch.
pub struct Answer {
    pub(crate) rows: TeacherSource,
    /// The outputs of the blocks asked for, `[batch · seq, width]` each.
    pub(crate) states: Vec<Tensor>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("states", &self.states).finish_non_exhaustive()
    }
}

impl Answer {
    /// Joins a function that gives logits and hidden states.
    ///
    /// # Shapes
    /// `logits` is asked for consecutive rows of the batch and gives `[rows, vocab]`, row-major; `states` holds
    /// `[batch · seq, width]` f32 for every block asked for.
    pub fn new(
        logits: impl Fn(Range<usize>) -> candle_core::Result<Vec<f32>> + Send + Sync + 'static,
        states: Vec<Tensor>,
    ) -> Self {
        Self { rows: Arc::new(move |rows| Ok(TeacherRows::Logits(logits(rows)?))), states }
    }
}

impl<T: Teacher + ?Sized> Teacher for &mut T {
    fn vocab(&self) -> usize {
        (**self).vocab()
    }

    fn blocks(&self) -> usize {
        (**self).blocks()
    }

    fn width(&self) -> usize {
        (**self).width()
    }

    fn identity(&self) -> Option<String> {
        (**self).identity()
    }

    fn top_k(&self) -> Option<(usize, f64)> {
        (**self).top_k()
    }

    fn answer(
        &mut self,
        sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
        states: &[usize],
    ) -> Result<Answer, TrainError> {
        (**self).answer(sequences, tokens, extent, states)
    }
}

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
        let mut kept = vec![None; states.len()];
        for index in 0..self.blocks() {
            x = self.0.block(index)?.forward(&x, None)?;
            for (slot, _) in kept.iter_mut().zip(states).filter(|(_, s)| **s == index) {
                *slot = Some(x.reshape((rows, width))?);
            }
        }
        let missing = || TrainError::Layer {
            layer: states.iter().copied().max().unwrap_or(0),
            model: "teacher",
            layers: self.0.spec().layers.len(),
        };
        let states = kept.into_iter().collect::<Option<Vec<_>>>().ok_or_else(missing)?;
        let (model, last) = (Arc::clone(&self.0), x.reshape((1, rows, width))?);
        // The logits are computed as the loss comes to them, so that they never stand in memory whole.
        let logits = move |range: Range<usize>| {
            let part = last.narrow(1, range.start, range.len())?;
            let logits = model.head(&part).map_err(|e| candle_core::Error::Msg(e.to_string()).bt())?;
            crate::ops::to_vec(&logits)
        };
        Ok(Answer::new(logits, states))
    }
}
