//! A teacher out of weights in memory.

use super::{Answer, Kept, Teacher};
use crate::error::TrainError;
use crate::network::{Extent, Network};
use crate::ops::to_vec;
use std::ops::Range;

/// A [`Network`] as a teacher: for whoever has weights and no checkpoint directory, as a plugin has.
///
/// Its weights stand in memory as f32; [`ModelTeacher`](crate::ModelTeacher) runs a checkpoint as it is stored instead.
#[derive(Debug)]
pub struct NetworkTeacher {
    network: Network,
    identity: Option<String>,
}

impl NetworkTeacher {
    /// Takes a network and freezes it.
    pub fn new(mut network: Network) -> Self {
        network.params.freeze();
        Self { network, identity: None }
    }

    /// Says what tells it from any other, such as the hash of its checkpoint, so that its answers can be cached.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<String>) -> Self {
        self.identity = identity;
        self
    }

    /// The network.
    pub const fn network(&self) -> &Network {
        &self.network
    }
}

impl Teacher for NetworkTeacher {
    fn vocab(&self) -> usize {
        self.network.spec().vocab
    }

    fn blocks(&self) -> usize {
        self.network.spec().layers.len()
    }

    fn width(&self) -> usize {
        self.network.spec().d_model
    }

    fn identity(&self) -> Option<String> {
        self.identity.clone()
    }

    fn answer(
        &mut self,
        _sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
        states: &[usize],
    ) -> Result<Answer, TrainError> {
        let network = &self.network;
        let mut kept = Kept::new(states, self.blocks())?;
        let mut x = network.embed(tokens, extent)?;
        for index in 0..self.blocks() {
            x = network.block(index, &x, extent)?;
            kept.block(index, &x, self.width())?;
        }
        let normed = network.final_norm(&x)?;
        let head = network.output()?;
        // The logits are computed as the loss comes to them, so that they never stand in memory whole.
        let logits = move |range: Range<usize>| {
            to_vec(&head.logits(&normed.narrow(0, range.start, range.len())?)?)
        };
        Ok(Answer::new(logits, kept.states()))
    }
}
