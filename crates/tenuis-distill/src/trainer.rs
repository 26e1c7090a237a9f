//! Training, as callers see it.

use crate::curve::LearningCurve;
use crate::data::Sequences;
use crate::error::TrainError;
use crate::network::Network;
use crate::objective::Objective;
use crate::options::TrainOptions;
use crate::run::Run;
use crate::step::Stepper;
use crate::teacher::Teacher;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// candle's `backward` walks the graph by recursion.
const STACK_BYTES: usize = 256 << 20;

/// One optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done.
    pub step: usize,
    /// The objective, averaged over the step's batches.
    pub loss: f64,
    /// Its cross-entropy, weighted or not.
    pub nll: f64,
    /// Its divergence from the teacher, without weight and T².
    pub divergence: f64,
    /// Its mean squared error of hidden states, without weight.
    pub hidden: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Whether the step was skipped because something was not finite.
    pub skipped: bool,
    /// The loss scale; 1 but in f16.
    pub loss_scale: f32,
    /// Tokens per second in this step.
    pub tokens_per_s: f64,
}

/// One validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidRecord {
    /// Steps done.
    pub step: usize,
    /// The objective on the validation text.
    pub valid_loss: f64,
    /// The mean negative log-likelihood of its tokens in nats.
    pub valid_nll: f64,
    /// The mean divergence from the teacher.
    pub valid_divergence: f64,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Sees a run go by.
pub trait Observer: Send {
    /// Sees a step.
    fn step(&mut self, _record: &StepRecord) {}
    /// Sees a validation.
    fn valid(&mut self, _record: &ValidRecord) {}
    /// Asked before every step: `true` saves the state and ends the run.
    fn cancelled(&mut self) -> bool {
        false
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// The texts of a run.
#[derive(Clone, Debug)]
pub struct Texts {
    /// What is trained on.
    pub train: Sequences,
    /// What is validated on, if anything.
    pub valid: Option<Sequences>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Steps done, those of earlier parts of a resumed run included.
    pub steps: usize,
    /// Steps skipped.
    pub skipped: usize,
    /// Tokens trained on.
    pub tokens: usize,
    /// Seconds, those of earlier parts included.
    pub seconds: f64,
    /// The validation of the weights that the network has now: the best one with `patience`, else the last.
    pub valid: Option<ValidRecord>,
    /// Whether the run stopped because validations no longer got better.
    pub stopped_early: bool,
    /// The training loss of every step that was not skipped, with the steps done before it.
    pub losses: Vec<(usize, f64)>,
    /// What the learning curve says; nothing for very short runs.
    pub curve: Option<LearningCurve>,
}

/// Trains what `network.params` marks as trained.
///
/// A step averages the gradients of `accumulate` batches, scales them down to `clip_norm`, and moves the weights by AdamW; see
/// [`TrainOptions`]. Sequences come once per epoch in an order that the seed decides.
///
/// With `state_dir`, the state is saved there every `save_every` steps, when the observer cancels, and at the end. A run that
/// finds its own state (the same options, objective, texts, network and teacher) goes on from it, with bit-identical losses
/// at the same number of threads; one that finds that it has ended returns the same outcome at once.
///
/// The loop runs on a thread of its own with a large stack, because candle walks the graph by recursion; called from a rayon
/// pool it stays on the calling thread, whose stack must do: `checkpoint_blocks` keeps the recursion within a
/// block.
///
/// # Errors
/// [`TrainError::Option`], [`TrainError::NothingToTrain`], [`TrainError::Quantise`], [`TrainError::Vocabulary`],
/// [`TrainError::Layer`], [`TrainError::OtherRun`] and [`TrainError::State`] before the first step;
/// [`TrainError::NoGradient`] in it, where a trained parameter is cut off; [`TrainError::NonFinite`],
/// [`TrainError::Cancelled`], or what a part fails with, later.
pub fn train(
    network: &mut Network,
    teacher: Option<&mut dyn Teacher>,
    texts: &Texts,
    objective: &Objective,
    options: &TrainOptions,
    state_dir: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    options.validate(texts.valid.is_some())?;
    for sequences in std::iter::once(&texts.train).chain(&texts.valid) {
        if sequences.seq_len() != options.seq_len {
            let value = options.seq_len.to_string();
            let allowed = "the length of the sequences that the texts were cut into";
            return Err(TrainError::Option { option: "seq_len", value, allowed });
        }
    }
    network.set_activations(options.precision.dtype());
    let run = || -> Result<Outcome, TrainError> {
        // A reference of its own, which may live as short as the others.
        let teacher = teacher.map(|teacher| -> &mut dyn Teacher { teacher });
        let stepper = Stepper::new(network, teacher, objective, options)?;
        Run::new(stepper, texts, options, state_dir)?.go(observer)
    };
    // A caller with a pool of its own has chosen its threads and their stacks.
    if rayon::current_thread_index().is_some() {
        return run();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("tenuis-train".into()).stack_size(STACK_BYTES);
        let handle = thread.spawn_scoped(scope, run);
        match handle.map_err(TrainError::io("start", Path::new("the training thread")))?.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
