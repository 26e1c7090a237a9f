//! A teacher out of weights in memory.

use crate::error::TrainError;
use crate::network::{Extent, Network};
use crate::ops::linear::linear;
use crate::ops::to_vec;
use crate::teacher::{Answer, Teacher};
use std::ops::Range;
use tenuis_core::Layout as Stored;

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
        let layers = self.blocks();
        if let Some(&layer) = states.iter().find(|&&state| state >= layers) {
            return Err(TrainError::Layer { layer, model: "teacher", layers });
        }
        let mut x = network.embed(tokens, extent)?;
        let mut kept = vec![None; states.len()];
        for index in 0..layers {
            x = network.block(index, &x, extent)?;
            for (slot, _) in kept.iter_mut().zip(states).filter(|(_, state)| **state == index) {
                *slot = Some(x.clone());
            }
        }
        let normed = network.final_norm(&x)?;
        let head = network.head()?;
        let (scale, cap) = (network.spec().logit_scale, network.spec().logit_softcap);
        // The logits are computed as the loss comes to them, so that they never stand in memory whole.
        let logits = move |range: Range<usize>| {
            let part = normed.narrow(0, range.start, range.len())?;
            let mut logits = to_vec(&linear(&part, &head, Stored::OutIn)?)?;
            for value in &mut logits {
                *value *= scale.unwrap_or(1.0) as f32;
                if let Some(cap) = cap {
                    *value = cap as f32 * (*value / cap as f32).tanh();
                }
            }
            Ok(logits)
        };
        Ok(Answer::new(logits, kept.into_iter().flatten().collect()))
    }
}
