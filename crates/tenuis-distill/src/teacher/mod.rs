//! What a student learns from.

mod cache;
mod model;
mod network;
mod store;

pub use cache::CachedTeacher;
pub use model::ModelTeacher;
pub use network::NetworkTeacher;

use crate::error::TrainError;
use crate::network::Extent;
use crate::ops::divergence::{TeacherRows, TeacherSource};
use candle_core::Tensor;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

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

/// The outputs of the blocks that were asked for, while a teacher runs.
struct Kept<'a> {
    wanted: &'a [usize],
    found: Vec<Option<Tensor>>,
}

impl<'a> Kept<'a> {
    /// # Errors
    /// [`TrainError::Layer`] where a block is wanted that a teacher of `blocks` blocks does not have.
    fn new(wanted: &'a [usize], blocks: usize) -> Result<Self, TrainError> {
        match wanted.iter().find(|&&block| block >= blocks) {
            Some(&layer) => Err(TrainError::Layer { layer, model: "teacher", layers: blocks }),
            None => Ok(Self { wanted, found: vec![None; wanted.len()] }),
        }
    }

    /// Takes note of a block's output, `[batch · seq, width]` in whatever shape.
    fn block(&mut self, index: usize, output: &Tensor, width: usize) -> Result<(), TrainError> {
        for (slot, _) in self.found.iter_mut().zip(self.wanted).filter(|(_, wanted)| **wanted == index) {
            *slot = Some(output.reshape(((), width))?);
        }
        Ok(())
    }

    /// In the order in which they were asked for.
    fn states(self) -> Vec<Tensor> {
        self.found.into_iter().flatten().collect()
    }
}
