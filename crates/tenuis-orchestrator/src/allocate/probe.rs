//! How far a model's predictions are from the original's when some of its weights are others.

use super::candidates::Slot;
use crate::calibration::Calibration;
use crate::error::RunError;
use candle_core::Tensor;
use rayon::prelude::*;
use std::sync::Arc;
use tenuis_core::Weight;
use tenuis_eval::quality::divergence;
use tenuis_model::{Block, Model};

/// Which choice each Linear takes, and which blocks are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) dropped: Vec<usize>,
    /// By slot; of no meaning in blocks that are left out.
    pub(super) picks: Vec<Option<usize>>,
}

impl State {
    /// The model as it is.
    pub(super) fn base(slots: &[Slot]) -> Self {
        Self { dropped: Vec::new(), picks: vec![None; slots.len()] }
    }

    /// Whether a slot is in a block that is left out.
    pub(super) fn lacks(&self, slot: &Slot) -> bool {
        slot.place.is_some_and(|(block, _)| self.dropped.contains(&block))
    }
}

/// A model with chosen weights on a slice of text, ready to be asked what one more change does.
pub(super) struct Probe<'m> {
    model: &'m Model,
    /// `None` where a block is left out.
    blocks: Vec<Option<Block>>,
    head: Option<Weight>,
    batches: Vec<Batch>,
    tokens: usize,
}

struct Batch {
    /// The logits of the original model.
    reference: Vec<f32>,
    /// The hidden states at the input of every block and behind the last.
    states: Vec<Tensor>,
}

impl<'m> Probe<'m> {
    /// Runs the original model over the text, and `model` as it is.
    pub(super) fn new(original: &Model, model: &'m Model, text: &Calibration) -> Result<Self, RunError> {
        let seq = text.seq_len();
        let n_blocks = model.spec().layers.len();
        let batch = |tokens: &Vec<u32>| -> Result<Batch, RunError> {
            let reference = original.logits_vec(tokens, tokens.len() / seq, seq)?;
            let first = model.embed(tokens, tokens.len() / seq, seq, 0)?;
            Ok(Batch { reference, states: vec![first; n_blocks + 1] })
        };
        let batches = text.batches().iter().map(batch).collect::<Result<_, _>>()?;
        let blocks =
            (0..n_blocks).map(|index| Ok(Some(model.load_block(index)?))).collect::<Result<_, RunError>>()?;
        Ok(Self { model, blocks, head: None, batches, tokens: text.tokens() })
    }

    /// Puts the chosen weights in and gives the divergence.
    pub(super) fn place(&mut self, slots: &[Slot], state: &State) -> Result<f64, RunError> {
        self.head = None;
        for index in 0..self.blocks.len() {
            let gone = state.dropped.contains(&index);
            self.blocks[index] = if gone { None } else { Some(self.model.load_block(index)?) };
        }
        for (slot, pick) in slots.iter().zip(&state.picks) {
            let Some(weight) = pick.and_then(|pick| slot.candidates[pick].weight.as_ref()) else { continue };
            match slot.place {
                None => self.head = Some(Arc::clone(weight)),
                Some((block, _)) => {
                    if let Some(block) = &mut self.blocks[block] {
                        block.set_weight(&slot.linear.name, Arc::clone(weight))?;
                    }
                }
            }
        }
        let mut sum = 0.0;
        for batch in &mut self.batches {
            for (index, block) in self.blocks.iter().enumerate() {
                batch.states[index + 1] = forward(block.as_ref(), &batch.states[index])?;
            }
            sum += sum_of(self.model, self.head.as_ref(), batch, &batch.states[self.blocks.len()])?;
        }
        Ok(sum / self.tokens as f64)
    }

    /// The divergence where a slot has another choice.
    pub(super) fn with(&self, slot: &Slot, choice: usize) -> Result<f64, RunError> {
        let weight = slot.candidates[choice].weight.as_ref();
        let Some((index, _)) = slot.place else { return self.from(self.blocks.len(), None, weight) };
        let mut block = self.blocks[index].clone();
        if let (Some(block), Some(weight)) = (&mut block, weight) {
            block.set_weight(&slot.linear.name, Arc::clone(weight))?;
        }
        self.from(index, block.as_ref(), None)
    }

    /// The divergence where one more block is left out.
    pub(super) fn without(&self, block: usize) -> Result<f64, RunError> {
        self.from(block, None, None)
    }

    /// Goes on from the input of a block with this one in its place.
    fn from(&self, index: usize, block: Option<&Block>, head: Option<&Weight>) -> Result<f64, RunError> {
        let mut sum = 0.0;
        for batch in &self.batches {
            let mut hidden = batch.states[index].clone();
            if index < self.blocks.len() {
                hidden = forward(block, &hidden)?;
                for block in &self.blocks[index + 1..] {
                    hidden = forward(block.as_ref(), &hidden)?;
                }
            }
            sum += sum_of(self.model, head.or(self.head.as_ref()), batch, &hidden)?;
        }
        Ok(sum / self.tokens as f64)
    }
}

fn forward(block: Option<&Block>, hidden: &Tensor) -> Result<Tensor, RunError> {
    block.map_or_else(|| Ok(hidden.clone()), |block| Ok(block.forward(hidden, None)?))
}

/// `Σ KL(original ‖ model)` over the positions of a batch, in nats.
fn sum_of(model: &Model, head: Option<&Weight>, batch: &Batch, hidden: &Tensor) -> Result<f64, RunError> {
    let vocab = model.spec().vocab;
    let logits = match head {
        Some(weight) => model.head_with(hidden, weight)?,
        None => model.head_values(hidden)?,
    };
    let rows = logits.par_chunks(vocab).zip(batch.reference.par_chunks(vocab));
    // Collected in order: the sum does not depend on the number of threads.
    let all: Vec<f64> = rows.map(|(logits, reference)| divergence(reference, logits)).collect();
    Ok(all.iter().sum())
}
