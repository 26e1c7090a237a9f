//! The plan: what each stage takes, and whether there is room for it.

use crate::error::PreflightError;
use crate::form::Form;
use crate::memory::{Memory, Walk};
use crate::method::Method;
use crate::network::{BlockShape, Network};
use crate::probe::Probe;
use crate::room::Room;
use crate::size::{Size, Span};
use crate::stage::{Calibration, Evaluation, Scope, StageShape};
use crate::work::{self, Phase};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most bytes of a shard, as the writer has it unless told otherwise.
const SHARD_BYTES: u64 = 5_000_000_000;
/// The states of AdamW that are saved beside the parameters, and how many saved states are there while one takes the place of
/// another; f32 each.
const SAVED_BYTES: u64 = 3 * 4 * 2;

/// What is to be planned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The model.
    pub network: &'a Network,
    /// The stages, in their order.
    pub stages: &'a [StageShape],
    /// The calibration text, where there is one.
    pub calibration: Option<Calibration>,
    /// The evaluation, where there is one.
    pub evaluation: Option<Evaluation>,
    /// The most bytes of a file of the output.
    pub max_shard_bytes: u64,
    /// Threads that work; those of the probe where there is one.
    pub threads: u64,
    /// What the machine can do; without it no times are given.
    pub probe: Option<&'a Probe>,
}

impl<'a> Request<'a> {
    /// A request without calibration, evaluation and times.
    pub const fn new(network: &'a Network, stages: &'a [StageShape]) -> Self {
        Self {
            network,
            stages,
            calibration: None,
            evaluation: None,
            max_shard_bytes: SHARD_BYTES,
            threads: 1,
            probe: None,
        }
    }

    /// Sets [`Request::calibration`].
    #[must_use]
    pub const fn calibration(mut self, samples: u64, seq_len: u64) -> Self {
        self.calibration = Some(Calibration { samples, seq_len });
        self
    }

    /// Sets [`Request::evaluation`].
    #[must_use]
    pub const fn evaluation(mut self, evaluation: Evaluation) -> Self {
        self.evaluation = Some(evaluation);
        self
    }

    /// Sets [`Request::probe`] and the threads that it found.
    #[must_use]
    pub const fn probe(mut self, probe: &'a Probe) -> Self {
        self.probe = Some(probe);
        self.threads = probe.threads;
        self
    }
}

/// What one stage takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StagePlan {
    /// Its technique.
    pub technique: String,
    /// Whether nothing is known of the technique but what it asks for, so that its own part is a guess.
    pub guessed: bool,
    /// Whether it goes over the model together with the one before, whose memory and disk it shares.
    pub joined: bool,
    /// The most bytes of memory.
    pub peak_ram_bytes: u64,
    /// What they are for.
    pub memory: Memory,
    /// The weight or block at which it is so.
    pub peak_at: String,
    /// Bytes of the tensors that it leaves.
    pub output_bytes: u64,
    /// Bytes that it writes and removes again: states, statistics, candidates, and a shard that is being joined.
    pub temporary_bytes: u64,
    /// The most bytes of disk, those that earlier stages have left included.
    pub disk_bytes: u64,
    /// What is computed and moved.
    pub phases: Vec<Phase>,
    /// Floating-point operations of all phases.
    pub flops: f64,
    /// Bytes that all phases move.
    pub bytes_moved: f64,
    /// Seconds of all phases; absent where no machine was probed.
    pub seconds: Option<f64>,
}

/// What the evaluation takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EvaluationPlan {
    /// Tokens that each model is run on.
    pub tokens: u64,
    /// Models that are run.
    pub models: u64,
    /// The most bytes of memory: a block, and hidden states, activations and logits of one window.
    pub peak_ram_bytes: u64,
    /// What is computed and moved.
    pub phase: Phase,
}

/// What a recipe takes: stages and evaluation.
///
/// ```
/// use tenuis_preflight::{Network, Plan, Request, Room, StageShape};
/// use tenuis_spec::DecoderSpec;
/// let spec = DecoderSpec::from_config(&serde_json::json!({
///     "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
///     "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
/// }))?;
/// let network = Network::dense(&spec, 2);
/// let stages = [StageShape::group("gptq", serde_json::json!({ "bits": 4 }))];
/// let plan = Plan::of(&Request::new(&network, &stages).calibration(128, 2048));
/// assert_eq!(plan.stages[0].memory.hidden_bytes, 4 << 30);
/// let error = plan.check(&Room::new(Some(4 << 30), None)).unwrap_err();
/// assert!(error.to_string().contains("4.0 GiB are free; use fewer calibration samples"));
/// # Ok::<(), tenuis_spec::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// The stages.
    pub stages: Vec<StagePlan>,
    /// The evaluation, where there is one.
    pub evaluation: Option<EvaluationPlan>,
    /// Bytes of the model as it is given.
    pub input_bytes: u64,
    /// The most bytes of memory.
    pub peak_ram_bytes: u64,
    /// The most bytes of disk.
    pub disk_bytes: u64,
    /// Seconds of everything; absent where no machine was probed.
    pub seconds: Option<f64>,
    /// The calibration, which messages refer to.
    pub calibration: Option<Calibration>,
}

impl Plan {
    /// Works out what a request takes, from shapes alone.
    pub fn of(request: &Request<'_>) -> Self {
        let mut stages = Vec::with_capacity(request.stages.len());
        let mut network = request.network.clone();
        // What "the original weight" is: the input, until a stage makes another network of it.
        let mut original: Option<Network> = None;
        let mut left = 0;
        let mut begin = 0;
        while begin < request.stages.len() {
            let joined = request.stages[begin + 1..].iter().take_while(|stage| stage.joins_previous).count();
            let walk = &request.stages[begin..=begin + joined];
            let after = walk.iter().fold(network.clone(), |network, stage| compressed(&network, stage));
            stages.extend(walk_plan(
                request,
                Walk {
                    stages: walk,
                    before: &network,
                    after: &after,
                    original: original.as_ref(),
                    calibration: request.calibration,
                    threads: request.threads.max(1),
                },
                left,
            ));
            left += after.stored_bytes();
            let another = walk.iter().any(|stage| network.cut(stage.method(), &stage.options).is_some());
            original = if another { None } else { Some(original.unwrap_or_else(|| network.clone())) };
            network = after;
            begin += walk.len();
        }
        let evaluation = request.evaluation.map(|asked| evaluation_plan(request, asked));
        let evaluating = evaluation.as_ref().map(|plan| plan.phase.seconds);
        let seconds = stages.iter().map(|stage: &StagePlan| stage.seconds).chain(evaluating);
        let most = |of: fn(&StagePlan) -> u64| stages.iter().map(of).max().unwrap_or_default();
        let ram = most(|stage| stage.peak_ram_bytes);
        Self {
            input_bytes: request.network.stored_bytes(),
            peak_ram_bytes: ram.max(evaluation.as_ref().map_or(0, |plan| plan.peak_ram_bytes)),
            disk_bytes: most(|stage| stage.disk_bytes),
            seconds: seconds.sum(),
            calibration: request.calibration,
            evaluation,
            stages,
        }
    }

    /// Refuses what does not fit; where the system does not say how much is free, nothing is refused.
    ///
    /// # Errors
    /// [`PreflightError::Memory`], [`PreflightError::Disk`] or [`PreflightError::Evaluation`] of the first that does not
    /// fit, with the numbers and the mend.
    pub fn check(&self, room: &Room) -> Result<(), PreflightError> {
        for (index, stage) in self.stages.iter().enumerate() {
            let (number, technique) = (index + 1, stage.technique.clone());
            if let Some(available) = room.ram_available.filter(|&free| stage.peak_ram_bytes > free) {
                let (part, part_bytes) = stage.memory.largest();
                return Err(PreflightError::Memory {
                    stage: number,
                    technique,
                    at: stage.peak_at.clone(),
                    needed: stage.peak_ram_bytes,
                    available,
                    part,
                    part_bytes,
                    mend: self.mend(stage, available),
                });
            }
            if let Some(available) = room.disk_available.filter(|&free| stage.disk_bytes > free) {
                let needed = stage.disk_bytes;
                return Err(PreflightError::Disk { stage: number, technique, needed, available });
            }
        }
        if let (Some(plan), Some(available)) = (&self.evaluation, room.ram_available)
            && plan.peak_ram_bytes > available
        {
            return Err(PreflightError::Evaluation { needed: plan.peak_ram_bytes, available });
        }
        Ok(())
    }

    /// What would make a stage fit.
    fn mend(&self, stage: &StagePlan, available: u64) -> String {
        let memory = &stage.memory;
        let without = stage.peak_ram_bytes - memory.hidden_bytes;
        if let Some(calibration) = self.calibration.filter(|c| c.samples > 0 && memory.hidden_bytes > 0) {
            let fitting =
                available.saturating_sub(without) / (memory.hidden_bytes / calibration.samples).max(1);
            if fitting > 0 {
                return format!(
                    "use fewer calibration samples (up to {fitting} of {} tokens fit) or a shorter seq_len",
                    calibration.seq_len
                );
            }
        }
        match memory.largest().0 {
            "statistics" => "set true_sequential = true, so that fewer statistics are held at a time, or target fewer weights",
            "activations" => "use a shorter seq_len, so that a batch is smaller",
            "technique" | "f32 copies" => {
                "leave the widest weights out by targets.exclude, choose a technique that holds less, or use a machine with more \
                 memory"
            }
            _ => "close other programs or use a machine with more memory",
        }
        .to_owned()
    }

    /// The plan as cells of a table, the total last; the first row is the heading.
    pub fn rows(&self) -> Vec<[String; 6]> {
        let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), |s| Span(s).to_string());
        let mut rows = vec![["stage", "memory", "most of it", "disk", "output", "time"].map(str::to_owned)];
        for stage in &self.stages {
            let (part, bytes) = stage.memory.largest();
            rows.push([
                format!("{}{}", stage.technique, if stage.guessed { " (guessed)" } else { "" }),
                Size(stage.peak_ram_bytes).to_string(),
                format!("{part} {}", Size(bytes)),
                Size(stage.disk_bytes).to_string(),
                Size(stage.output_bytes).to_string(),
                seconds(stage.seconds),
            ]);
        }
        if let Some(plan) = &self.evaluation {
            rows.push([
                "evaluation".to_owned(),
                Size(plan.peak_ram_bytes).to_string(),
                String::new(),
                String::new(),
                String::new(),
                seconds(plan.phase.seconds),
            ]);
        }
        rows.push([
            "all".to_owned(),
            Size(self.peak_ram_bytes).to_string(),
            String::new(),
            Size(self.disk_bytes).to_string(),
            self.stages.last().map_or_else(String::new, |stage| Size(stage.output_bytes).to_string()),
            seconds(self.seconds),
        ]);
        rows
    }
}

/// The rows in columns, the numbers to the right.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for [stage, memory, most, disk, output, time] in &rows {
            let [a, b, c, d, e, g] = widths;
            writeln!(f, "{stage:<a$}  {memory:>b$}  {most:<c$}  {disk:>d$}  {output:>e$}  {time:>g$}")?;
        }
        Ok(())
    }
}

/// What a stage makes of a network.
fn compressed(network: &Network, stage: &StageShape) -> Network {
    if let Some(smaller) = network.cut(stage.method(), &stage.options) {
        return smaller;
    }
    let form: Form = stage.form();
    let head = network.head.as_ref().map(|head| head.name.clone());
    // The head is a target where it is named, or where a technique takes any tensor.
    let chosen = |module: &str| {
        if head.as_deref() == Some(module) {
            stage.takes_head(module) || (stage.needs.any_tensor && stage.takes(module))
        } else {
            stage.takes(module)
        }
    };
    network.compressed(form, chosen, stage.needs.any_tensor && stage.targets.is_none())
}

fn walk_plan(request: &Request<'_>, walk: Walk<'_>, left: u64) -> Vec<StagePlan> {
    let peak = walk.peak();
    let output = walk.after.stored_bytes();
    let saved = saved_bytes(&walk);
    let temporary = saved + output.min(request.max_shard_bytes);
    // The writer starts only where what it copies would fit.
    let disk = left + (output + temporary).max(walk.before.stored_bytes() + saved);
    let phases = work::phases(&walk, saved, request.probe);
    let plans = walk.stages.iter().zip(phases).enumerate().map(|(place, (stage, phases))| StagePlan {
        technique: stage.technique.clone(),
        guessed: stage.method() == Method::Unknown,
        joined: place > 0,
        peak_ram_bytes: peak.memory.total(),
        memory: peak.memory,
        peak_at: peak.at.clone(),
        output_bytes: output,
        temporary_bytes: temporary,
        disk_bytes: disk,
        flops: phases.iter().map(|phase| phase.flops).sum(),
        bytes_moved: phases.iter().map(|phase| phase.bytes_moved).sum(),
        seconds: request.probe.map(|_| phases.iter().filter_map(|phase| phase.seconds).sum()),
        phases,
    });
    plans.collect()
}

/// What a technique of the model scope keeps beside its output while it works.
fn saved_bytes(walk: &Walk<'_>) -> u64 {
    let [stage] = walk.stages else { return 0 };
    if stage.scope != Scope::Model {
        return 0;
    }
    let statistics = match walk.text() {
        Some(_) => {
            let groups = walk.before.blocks.iter().flat_map(|block| &block.groups);
            groups.map(|group| crate::memory::statistics_bytes(group.features, stage.needs)).sum()
        }
        None => 0,
    };
    let state = if stage.training.is_some() { SAVED_BYTES * walk.before.parameters() } else { 0 };
    let candidate = if stage.writes_candidates { walk.after.stored_bytes() } else { 0 };
    statistics + state + candidate
}

fn evaluation_plan(request: &Request<'_>, asked: Evaluation) -> EvaluationPlan {
    let network = request.network;
    let window = Calibration { samples: 1, seq_len: asked.seq_len };
    let of_block = |block: &BlockShape| {
        block.bytes() + crate::network::F32 * window.tokens() * (block.values_per_token + network.d_model)
    };
    let block = network.blocks.iter().map(of_block).max().unwrap_or_default();
    let logits = crate::network::F32 * asked.seq_len * network.vocab;
    let head = network.head.as_ref().map_or(network.vocab * network.embedding_row, |head| head.bytes);
    EvaluationPlan {
        tokens: asked.tokens,
        models: asked.models,
        // All logits of a window, and their normalised copy.
        peak_ram_bytes: crate::memory::PROGRAM_BYTES + block.max(2 * logits + head),
        phase: work::evaluation(network, asked, request.probe),
    }
}
