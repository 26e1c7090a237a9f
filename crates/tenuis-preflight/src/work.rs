//! What is computed and moved, and how long that takes on a machine that was probed.

use crate::memory::{Walk, statistics_bytes};
use crate::method::Method;
use crate::network::{BlockShape, F32, Network};
use crate::probe::Probe;
use crate::stage::{Evaluation, Needs, Scope, StageShape};
use serde::{Deserialize, Serialize};

/// The share of the probed rate at which a forward pass computes: products with f16 weights widen tiles, and norms, rotations,
/// softmax and activations stand between. Four blocks of 7B shape took 177 s where `XᵀX` ran at 335 GFLOP/s (README), of which this
/// leaves 124 s for two passes of 13.2 TFLOP each.
const FORWARD: f64 = 0.65;
/// `XᵀX` computes one triangle in tiles, as fast as the product that is probed.
const GRAM: f64 = 1.0;
/// The share of a technique that multiplies matrices between columns or factors them: GPTQ of 4096×4096 has 101 GFLOP and took
/// 0.49 s there (0.62), and 1.1 s where `XᵀX` ran at 106 GFLOP/s (0.87).
const TECHNIQUE: f64 = 0.7;
/// The share at which an update of a small network runs, backward pass and optimizer included: 187 GFLOP in 3.13 s
/// (docs/training.md) on a machine whose products run at about 110 GFLOP/s.
const TRAINING: f64 = 0.5;
/// Operations per weight and token of a forward and a backward pass, of a teacher's forward pass and of a repeated one.
const TRAINED: f64 = 6.0;
const TAUGHT: f64 = 2.0;
/// Candidates that a technique that asks for the block's loss tries on each group: AWQ's grid, and the block as it was.
const LOSS_PASSES: f64 = 21.0;
/// Batches that they are tried on.
const LOSS_BATCHES: u64 = 2;
/// Times that a technique goes over a weight in memory: decoding, looking, working, packing.
const TECHNIQUE_SWEEPS: f64 = 4.0;
/// Times that output goes through the disk: data, then header and data joined in one file, then reading it back to compare.
const OUTPUT_SWEEPS: f64 = 3.0;

/// A part of a stage: what it computes or moves, and how long that takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Phase {
    /// What is done.
    pub name: String,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes that go through memory, or through the disk in the phase `disk`.
    pub bytes_moved: f64,
    /// The larger of what either takes on the machine that was probed; absent where none was, or not that.
    pub seconds: Option<f64>,
}

/// The operations and bytes of a phase, before a machine is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Amount {
    flops: f64,
    bytes: f64,
}

impl Amount {
    fn add(&mut self, flops: f64, bytes: f64) {
        self.flops += flops;
        self.bytes += bytes;
    }

    fn phase(self, name: &str, rate: impl Fn(&Probe) -> f64, probe: Option<&Probe>) -> Phase {
        let seconds = probe.map(|probe| {
            let computing = self.flops / (1e9 * rate(probe)).max(1.0);
            computing.max(self.bytes / probe.read_bytes_per_second.max(1.0))
        });
        Phase { name: name.to_owned(), flops: self.flops, bytes_moved: self.bytes, seconds }
    }
}

/// The work of stages that go over the model together, by stage; calibration and disk count for the first.
pub(crate) fn phases(walk: &Walk<'_>, temporary: u64, probe: Option<&Probe>) -> Vec<Vec<Phase>> {
    let mut forward = Amount::default();
    let mut gram = Amount::default();
    let mut techniques = vec![Amount::default(); walk.stages.len()];
    let by_model = walk.stages.iter().any(|stage| stage.scope == Scope::Model);
    for block in &walk.before.blocks {
        if by_model {
            statistics(walk, block, &mut forward, &mut gram);
        } else {
            of_block(walk, block, &mut forward, &mut gram, &mut techniques);
        }
    }
    for (stage, technique) in walk.stages.iter().zip(&mut techniques) {
        if stage.scope == Scope::Model {
            of_model(walk, stage, technique);
        } else {
            of_head(walk, stage, technique, &mut gram);
        }
    }
    let mut phases: Vec<Vec<Phase>> = techniques
        .into_iter()
        .zip(walk.stages)
        .map(|(amount, stage)| {
            let share = if stage.training.is_some() { TRAINING } else { TECHNIQUE };
            vec![amount.phase("technique", |probe| share * probe.square_gflops, probe)]
        })
        .collect();
    let disk = walk.before.stored_bytes() as f64
        + OUTPUT_SWEEPS * walk.after.stored_bytes() as f64
        + 2.0 * temporary as f64;
    let disk = Phase {
        name: "disk".to_owned(),
        flops: 0.0,
        bytes_moved: disk,
        seconds: probe.and_then(|probe| probe.write_bytes_per_second).map(|rate| disk / rate.max(1.0)),
    };
    if let Some(first) = phases.first_mut() {
        if walk.text().is_some() {
            let wide = |share: f64| move |probe: &Probe| share * probe.wide_gflops;
            first.insert(0, forward.phase("forward passes", wide(FORWARD), probe));
            first.insert(1, gram.phase("statistics", wide(GRAM), probe));
        }
        first.push(disk);
    }
    phases
}

fn of_block(
    walk: &Walk<'_>,
    block: &BlockShape,
    forward: &mut Amount,
    gram: &mut Amount,
    techniques: &mut [Amount],
) {
    let chosen = walk.chosen(block);
    if let Some(text) = walk.text() {
        let collections = walk.rounds(block, &chosen).iter().filter(|round| !round.is_empty()).count();
        passes(walk, block, (collections + 1) as f64, text.tokens(), forward);
        for group in chosen.iter().map(|chosen| chosen.group) {
            gather(text.tokens() as f64 * group.share, group.features, walk.needs(), gram);
        }
    }
    for chosen in &chosen {
        for (place, linears) in &chosen.shares {
            let stage = &walk.stages[*place];
            let outs: Vec<usize> = linears.iter().map(|linear| linear.shape[0]).collect();
            let touched: u64 = linears.iter().map(|linear| linear.bytes + F32 * linear.weights()).sum();
            techniques[*place].add(
                stage.method().flops(&outs, chosen.group.features, &stage.options),
                TECHNIQUE_SWEEPS * touched as f64,
            );
            let Some(text) = walk.text() else { continue };
            if stage.needs.inputs {
                passes(walk, block, 1.0, text.tokens(), forward);
            }
            if stage.needs.out_loss {
                let scored = (LOSS_BATCHES * text.batch_tokens()).min(text.tokens());
                passes(walk, block, LOSS_PASSES, scored, forward);
            }
        }
    }
}

/// One pass that looks at every group.
fn statistics(walk: &Walk<'_>, block: &BlockShape, forward: &mut Amount, gram: &mut Amount) {
    let Some(text) = walk.text() else { return };
    passes(walk, block, 1.0, text.tokens(), forward);
    for group in &block.groups {
        gather(text.tokens() as f64 * group.share, group.features, walk.needs(), gram);
    }
}

fn passes(walk: &Walk<'_>, block: &BlockShape, times: f64, tokens: u64, forward: &mut Amount) {
    let Some(text) = walk.text() else { return };
    let batches = tokens.div_ceil(text.batch_tokens().max(1));
    // The weights once for each batch, and every value written and read.
    let bytes = batches * block.bytes() + 2 * F32 * tokens * block.values_per_token;
    forward.add(times * block.forward_flops(tokens, text.seq_len), times * bytes as f64);
}

fn gather(rows: f64, features: usize, needs: Needs, gram: &mut Amount) {
    let n = features as f64;
    let flops = if needs.hessian { rows * n * n } else { 0.0 };
    if statistics_bytes(features, needs) > 0 {
        gram.add(flops, F32 as f64 * rows * n);
    }
}

fn of_head(walk: &Walk<'_>, stage: &StageShape, technique: &mut Amount, gram: &mut Amount) {
    let Some(head) = walk.before.head.as_ref().filter(|head| stage.takes_head(&head.name)) else { return };
    let [outs, ins] = head.shape;
    let touched = head.bytes + F32 * head.weights();
    technique.add(stage.method().flops(&[outs], ins, &stage.options), TECHNIQUE_SWEEPS * touched as f64);
    if let Some(text) = walk.text() {
        gather(text.tokens() as f64, ins, stage.needs, gram);
    }
}

fn of_model(walk: &Walk<'_>, stage: &StageShape, technique: &mut Amount) {
    let network = walk.before;
    if let Some(training) = stage.training {
        let tokens = (training.steps * training.batch_size * training.accumulate * training.seq_len) as f64;
        let again = if training.checkpoint_blocks { TAUGHT } else { 0.0 };
        technique.add(tokens * network.active_weights() * (TRAINED + TAUGHT + again), 0.0);
        return;
    }
    let method = stage.method();
    for group in network.blocks.iter().flat_map(|block| &block.groups) {
        let outs: Vec<usize> = group.linears.iter().map(|linear| linear.shape[0]).collect();
        let touched: u64 = group.linears.iter().map(|linear| linear.bytes + F32 * linear.weights()).sum();
        // Cutting units makes up for them in the Linears that read them, with a factor of their Gram matrix.
        let method = if method.compensates() { Method::Gptq } else { method };
        technique.add(method.flops(&outs, group.features, &stage.options), TECHNIQUE_SWEEPS * touched as f64);
    }
}

/// The forward passes of an evaluation over all models.
pub(crate) fn evaluation(network: &Network, asked: Evaluation, probe: Option<&Probe>) -> Phase {
    let head = 2.0 * (network.vocab * network.d_model) as f64 * asked.tokens as f64;
    let blocks = network.blocks.iter().map(|block| block.forward_flops(asked.tokens, asked.seq_len));
    let windows = asked.tokens.div_ceil(asked.seq_len.max(1));
    let amount = Amount {
        flops: asked.models as f64 * (head + blocks.sum::<f64>()),
        bytes: (asked.models * windows * network.stored_bytes()) as f64,
    };
    amount.phase("evaluation", |probe| FORWARD * probe.wide_gflops, probe)
}
