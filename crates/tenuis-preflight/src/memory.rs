//! What is in memory at the fullest moment of a stage.

use crate::network::{BlockShape, F32, GroupShape, LinearShape, Network};
use crate::stage::{Calibration, Needs, StageShape, Training};
use serde::{Deserialize, Serialize};

/// The program, its libraries, stacks and what the allocator keeps.
pub(crate) const PROGRAM_BYTES: u64 = 64 << 20;
/// Bytes of a channel's moments: three sums in f64 and a maximum in f32.
const MOMENTS_BYTES: u64 = 28;
/// Bytes of statistics that the pipeline gathers at a time where groups are calibrated one after the other.
const STATISTICS_AT_ONCE: u64 = 1 << 30;
/// Batches that candidates are scored on, each with what the block made of it before.
const LOSS_BATCHES: u64 = 2;
/// Parameters, their gradients, both moments of AdamW and the copy that is stored, in f32 each.
const TRAINED_COPIES: u64 = 5;
/// Bytes per entry of the largest matrix for techniques that go over the whole model weight by weight.
const MODEL_WORKSPACE: u64 = 24;

/// The bytes that are in memory together, and what for.
///
/// Weights that lie in mapped files count where a block is worked on: they are touched again and again. The rest of the files is
/// the page cache's, which gives way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Memory {
    /// The program itself.
    pub program_bytes: u64,
    /// The weights of the block as they are stored; of a teacher all of them.
    pub block_bytes: u64,
    /// The original weights of the block.
    pub original_bytes: u64,
    /// Rows of the embedding that the calibration text has touched, or the embedding and head themselves while they are
    /// written.
    pub embedding_bytes: u64,
    /// The hidden states of all calibration batches: `4 · samples · seq_len · d_model`.
    pub hidden_bytes: u64,
    /// Gram matrices and moments of the groups that are calibrated together: `4n² + 28n` for `n` input features.
    pub statistics_bytes: u64,
    /// What a forward pass of one batch holds.
    pub activation_bytes: u64,
    /// f32 copies of the weights that the technique is given.
    pub decoded_bytes: u64,
    /// What the technique holds itself.
    pub workspace_bytes: u64,
    /// Weights that were made and are not released yet.
    pub result_bytes: u64,
}

impl Memory {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// The parts with their names, in the order of the fields.
    pub const fn parts(&self) -> [(&'static str, u64); 10] {
        [
            ("program", self.program_bytes),
            ("weights of the block", self.block_bytes),
            ("original weights", self.original_bytes),
            ("embedding", self.embedding_bytes),
            ("hidden states", self.hidden_bytes),
            ("statistics", self.statistics_bytes),
            ("activations", self.activation_bytes),
            ("f32 copies", self.decoded_bytes),
            ("technique", self.workspace_bytes),
            ("new weights", self.result_bytes),
        ]
    }

    /// The largest part.
    pub fn largest(&self) -> (&'static str, u64) {
        self.parts().into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or_default()
    }
}

/// The fullest moment, and where it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Peak {
    pub(crate) memory: Memory,
    pub(crate) at: String,
}

impl Peak {
    fn offer(&mut self, memory: Memory, at: impl FnOnce() -> String) {
        if memory.total() > self.memory.total() {
            *self = Self { memory, at: at() };
        }
    }
}

/// Stages that go over the model together, and what they start from.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) stages: &'a [StageShape],
    pub(crate) before: &'a Network,
    pub(crate) after: &'a Network,
    /// What "the original weight" means, where that is not what the stages are given.
    pub(crate) original: Option<&'a Network>,
    pub(crate) calibration: Option<Calibration>,
    pub(crate) threads: u64,
}

/// A group with the stages that are given Linears of it.
pub(crate) struct Chosen<'a> {
    pub(crate) index: usize,
    pub(crate) group: &'a GroupShape,
    /// By the stage's place in the walk.
    pub(crate) shares: Vec<(usize, Vec<&'a LinearShape>)>,
}

impl Walk<'_> {
    /// What all stages together want to know.
    pub(crate) fn needs(&self) -> Needs {
        self.stages.iter().fold(Needs::default(), |all, stage| Needs {
            hessian: all.hessian || stage.needs.hessian,
            moments: all.moments || stage.needs.moments,
            inputs: all.inputs || stage.needs.inputs,
            out_loss: all.out_loss || stage.needs.out_loss,
            dense: all.dense || stage.needs.dense,
            original: all.original || stage.needs.original,
            any_tensor: all.any_tensor || stage.needs.any_tensor,
        })
    }

    /// The calibration, where it is looked at.
    pub(crate) fn text(&self) -> Option<Calibration> {
        self.calibration.filter(|_| self.needs().data())
    }

    pub(crate) fn chosen<'b>(&self, block: &'b BlockShape) -> Vec<Chosen<'b>> {
        let share = |stage: &StageShape, group: &'b GroupShape| -> Vec<&'b LinearShape> {
            group.linears.iter().filter(|linear| stage.takes(&linear.name)).collect()
        };
        let of = |(index, group): (usize, &'b GroupShape)| {
            let shares = self.stages.iter().map(|stage| share(stage, group)).enumerate();
            Chosen { index, group, shares: shares.filter(|(_, linears)| !linears.is_empty()).collect() }
        };
        block.groups.iter().enumerate().map(of).filter(|chosen| !chosen.shares.is_empty()).collect()
    }

    /// The chosen groups of a block, cut as the pipeline gathers their statistics.
    pub(crate) fn rounds<'c, 'b>(
        &self,
        block: &BlockShape,
        chosen: &'c [Chosen<'b>],
    ) -> Vec<&'c [Chosen<'b>]> {
        let in_turn = self.text().is_some() && self.stages.iter().all(|stage| stage.true_sequential);
        if !in_turn {
            return vec![chosen];
        }
        let round = |chosen: &Chosen<'_>| block.rounds.iter().position(|round| round.contains(&chosen.index));
        let mut cut = Vec::new();
        for same in chosen.chunk_by(|a, b| round(a) == round(b)) {
            let hessian = same.first().map_or(1, |chosen| F32 * (chosen.group.features as u64).pow(2));
            cut.extend(same.chunks((STATISTICS_AT_ONCE / hessian.max(1)).max(1) as usize));
        }
        cut
    }

    /// The fullest moment.
    pub(crate) fn peak(&self) -> Peak {
        let base = Memory { program_bytes: PROGRAM_BYTES, ..Memory::default() };
        match self.stages {
            [stage] if stage.scope == crate::Scope::Model => self.model_peak(stage, base),
            _ => self.group_peak(base),
        }
    }

    fn group_peak(&self, mut base: Memory) -> Peak {
        let mut peak = Peak::default();
        let (needs, text) = (self.needs(), self.text());
        if let Some(text) = text {
            base.hidden_bytes = hidden_bytes(text, self.before);
            base.embedding_bytes = text.tokens().min(self.before.vocab) * self.before.embedding_row;
        }
        for (index, block) in self.before.blocks.iter().enumerate() {
            let passing = text.map_or(0, |text| activation_bytes(text, block));
            let chosen = self.chosen(block);
            let mut here = Memory { block_bytes: block.bytes(), ..base };
            if let Some(original) = self.original.filter(|_| needs.original) {
                here.original_bytes = original.blocks.get(index).map_or(0, BlockShape::bytes);
            }
            for round in self.rounds(block, &chosen) {
                here.statistics_bytes =
                    round.iter().map(|chosen| statistics_bytes(chosen.group.features, needs)).sum();
                peak.offer(Memory { activation_bytes: passing, ..here }, || {
                    format!("block {index}, calibration")
                });
                for chosen in round {
                    for (place, linears) in &chosen.shares {
                        let stage = &self.stages[*place];
                        let held = self.held(stage, chosen.group, linears, passing, here);
                        peak.offer(held, || linears.first().map_or(String::new(), |l| l.name.clone()));
                        here.result_bytes += self.made(index, chosen, linears);
                    }
                    here.statistics_bytes =
                        here.statistics_bytes.saturating_sub(statistics_bytes(chosen.group.features, needs));
                }
            }
            here.statistics_bytes = 0;
            peak.offer(Memory { activation_bytes: passing, ..here }, || format!("block {index}"));
        }
        self.rest(base, &mut peak);
        peak
    }

    /// While a technique works on a group.
    fn held(
        &self,
        stage: &StageShape,
        group: &GroupShape,
        linears: &[&LinearShape],
        passing: u64,
        mut memory: Memory,
    ) -> Memory {
        let outs: Vec<usize> = linears.iter().map(|linear| linear.shape[0]).collect();
        if stage.needs.dense {
            memory.decoded_bytes = linears.iter().map(|linear| linear.decoded_bytes()).sum();
        }
        if stage.needs.original && self.original.is_some() {
            memory.decoded_bytes += linears.iter().map(|linear| F32 * linear.weights()).sum::<u64>();
        }
        memory.workspace_bytes = stage
            .workspace_bytes
            .unwrap_or_else(|| stage.method().workspace(&outs, group.features, &stage.options, self.threads));
        if let Some(text) = self.text() {
            if stage.needs.inputs {
                memory.activation_bytes = passing + F32 * text.batch_tokens() * group.features as u64;
            }
            if stage.needs.out_loss {
                let scored = LOSS_BATCHES.min(text.batches()) * text.batch_tokens();
                memory.activation_bytes =
                    memory.activation_bytes.max(passing) + 2 * F32 * scored * self.before.d_model;
            }
        }
        memory
    }

    fn made(&self, block: usize, chosen: &Chosen<'_>, linears: &[&LinearShape]) -> u64 {
        let group = self.after.blocks.get(block).and_then(|block| block.groups.get(chosen.index));
        let made = group.map(|group| group.linears.as_slice()).unwrap_or_default();
        let new = made.iter().filter(|new| linears.iter().any(|old| old.name == new.name));
        new.map(|linear| linear.bytes).sum()
    }

    /// While embedding, norms and head are written.
    fn rest(&self, base: Memory, peak: &mut Peak) {
        let mut memory = base;
        memory.embedding_bytes =
            self.before.other_bytes + self.before.head.as_ref().map_or(0, |head| head.bytes);
        peak.offer(memory, || "embedding and head".to_owned());
        let Some(head) = &self.before.head else { return };
        let Some(stage) = self.stages.iter().find(|stage| stage.takes_head(&head.name)) else { return };
        let group = GroupShape { features: head.shape[1], linears: vec![head.clone()], share: 1.0 };
        memory.statistics_bytes = statistics_bytes(group.features, stage.needs);
        let memory = self.held(stage, &group, &[head], 0, memory);
        peak.offer(memory, || head.name.clone());
    }

    /// A technique of the whole model: first the statistics that it asks for, then the technique itself.
    fn model_peak(&self, stage: &StageShape, base: Memory) -> Peak {
        let mut peak = Peak::default();
        if let Some(text) = self.text() {
            for (index, block) in self.before.blocks.iter().enumerate() {
                let statistics = |group: &GroupShape| statistics_bytes(group.features, stage.needs);
                let memory = Memory {
                    block_bytes: block.bytes(),
                    hidden_bytes: hidden_bytes(text, self.before),
                    embedding_bytes: text.tokens().min(self.before.vocab) * self.before.embedding_row,
                    statistics_bytes: block.groups.iter().map(statistics).sum(),
                    activation_bytes: activation_bytes(text, block),
                    ..base
                };
                peak.offer(memory, || format!("block {index}, statistics"));
            }
        }
        let mut memory = base;
        memory.workspace_bytes = stage.workspace_bytes.unwrap_or_else(|| self.model_workspace(stage));
        memory.result_bytes = self.after.blocks.iter().map(BlockShape::bytes).sum();
        memory.block_bytes = match stage.training {
            Some(_) => self.before.stored_bytes(),
            None => self.before.blocks.iter().map(BlockShape::bytes).max().unwrap_or_default(),
        };
        peak.offer(memory, || "the technique itself".to_owned());
        peak
    }

    fn model_workspace(&self, stage: &StageShape) -> u64 {
        if let Some(training) = stage.training {
            return training_bytes(self.after, training);
        }
        let linears = self.before.blocks.iter().flat_map(BlockShape::linears);
        let (mut largest, mut widest) = (0, 0);
        for linear in linears {
            largest = linear.weights().max(largest);
            widest = (linear.shape[1] as u64).max(widest);
        }
        let factor = if stage.method().compensates() { 2 * 8 * widest * widest } else { 0 };
        MODEL_WORKSPACE * largest + factor
    }
}

/// Parameters, gradients and the optimizer's state, and the activations and gradients of a batch.
fn training_bytes(network: &Network, training: Training) -> u64 {
    let linears = network.blocks.iter().flat_map(BlockShape::linears);
    let width: u64 = linears.map(|linear| (linear.shape[0] + linear.shape[1]) as u64).sum();
    let kept = if training.checkpoint_blocks { width / network.blocks.len().max(1) as u64 } else { width };
    let tokens = training.batch_size * training.seq_len;
    F32 * (TRAINED_COPIES * network.parameters() + 2 * tokens * kept)
}

fn hidden_bytes(text: Calibration, network: &Network) -> u64 {
    F32 * text.tokens() * network.d_model
}

fn activation_bytes(text: Calibration, block: &BlockShape) -> u64 {
    F32 * text.batch_tokens() * block.values_per_token
}

pub(crate) fn statistics_bytes(features: usize, needs: Needs) -> u64 {
    let n = features as u64;
    let gram = if needs.hessian { F32 * n * n } else { 0 };
    gram + if needs.moments { MOMENTS_BYTES * n } else { 0 }
}
