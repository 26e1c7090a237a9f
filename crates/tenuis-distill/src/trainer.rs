//! The training loop.

use crate::curve::LearningCurve;
use crate::data::{Order, Sequences};
use crate::error::TrainError;
use crate::network::{Extent, Network};
use crate::objective::Objective;
use crate::optimizer::{AdamW, global_norm};
use crate::options::{Precision, TrainOptions};
use crate::state::{Progress, State};
use crate::step::{Stepper, Terms};
use crate::teacher::Teacher;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

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
    /// The last validation, of the weights that the network has now.
    pub valid: Option<ValidRecord>,
    /// Whether the run stopped because validations no longer got better.
    pub stopped_early: bool,
    /// Training losses by step.
    pub losses: Vec<(usize, f64)>,
    /// What the learning curve says; nothing for very short runs.
    pub curve: Option<LearningCurve>,
}

/// Trains what `network.params` marks as trained.
///
/// With `state_dir`, the state is saved there every `save_every` steps and when the observer cancels, and a run that finds
/// its own state goes on from it, with bit-identical losses at the same number of threads.
///
/// # Errors
/// [`TrainError::Option`], [`TrainError::Vocabulary`], [`TrainError::Layer`] and [`TrainError::OtherRun`] before the first
/// step; [`TrainError::NoGradient`] after it; [`TrainError::NonFinite`], [`TrainError::Cancelled`], or what a part fails
/// with, later.
pub fn train<'a>(
    network: &'a mut Network,
    teacher: Option<&'a mut dyn Teacher>,
    texts: &'a Texts,
    objective: &'a Objective,
    options: &'a TrainOptions,
    state_dir: Option<&'a Path>,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    options.validate()?;
    network.set_activations(options.precision.dtype());
    let run = || -> Result<Outcome, TrainError> {
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

/// A run under way.
struct Run<'a> {
    stepper: Stepper<'a>,
    texts: &'a Texts,
    options: &'a TrainOptions,
    state_dir: Option<&'a Path>,
    order: Order,
    adam: AdamW,
    progress: Progress,
    /// The best weights, where the run may return to them.
    best: Option<Vec<Vec<f32>>>,
    last_valid: Option<ValidRecord>,
}

impl<'a> Run<'a> {
    fn new(
        stepper: Stepper<'a>,
        texts: &'a Texts,
        options: &'a TrainOptions,
        state_dir: Option<&'a Path>,
    ) -> Result<Self, TrainError> {
        let adam = AdamW::new(stepper.trained().into_iter().map(|(_, var)| var));
        let progress = Progress {
            run: stepper.fingerprint(texts)?,
            step: 0,
            updates: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            loss_scale: if options.precision == Precision::F16 { 65_536.0 } else { 1.0 },
            good_steps: 0,
            best: None,
            since_best: 0,
            losses: Vec::new(),
            seconds: 0.0,
        };
        let order = Order::new(texts.train.count(), options.seed);
        let mut run =
            Self { stepper, texts, options, state_dir, order, adam, progress, best: None, last_valid: None };
        if let Some(dir) = state_dir
            && let Some(state) = State::load(dir, &run.progress.run)?
        {
            run.resume(dir, state)?;
        }
        Ok(run)
    }

    fn resume(&mut self, dir: &Path, mut state: State) -> Result<(), TrainError> {
        let trained = self.stepper.trained();
        let mut best = Vec::new();
        for ((name, var), moments) in trained.iter().zip(&mut self.adam.moments) {
            let len = var.elem_count();
            let weight = state.take(dir, &format!("weight/{name}"), len)?;
            var.set(&Tensor::from_vec(weight, var.shape(), var.device())?)?;
            moments.mean = state.take(dir, &format!("mean/{name}"), len)?;
            moments.square = state.take(dir, &format!("square/{name}"), len)?;
            if state.tensors.iter().any(|(n, _)| n.starts_with("best/")) {
                best.push(state.take(dir, &format!("best/{name}"), len)?);
            }
        }
        self.best = (!best.is_empty()).then_some(best);
        self.progress = state.progress;
        self.adam.updates = self.progress.updates;
        Ok(())
    }

    fn save(&self) -> Result<(), TrainError> {
        let Some(dir) = self.state_dir else { return Ok(()) };
        let mut tensors = Vec::new();
        for (index, ((name, var), moments)) in
            self.stepper.trained().into_iter().zip(&self.adam.moments).enumerate()
        {
            tensors.push((format!("weight/{name}"), crate::ops::to_vec(var.as_tensor())?));
            tensors.push((format!("mean/{name}"), moments.mean.clone()));
            tensors.push((format!("square/{name}"), moments.square.clone()));
            if let Some(best) = &self.best {
                tensors.push((format!("best/{name}"), best[index].clone()));
            }
        }
        State { progress: self.progress.clone(), tensors }.save(dir)
    }

    fn go(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let mut stopped_early = false;
        while self.progress.step < self.options.steps {
            if observer.cancelled() {
                self.save()?;
                return Err(TrainError::Cancelled { step: self.progress.step });
            }
            let began = Instant::now();
            let record = self.step(began)?;
            self.progress.seconds += began.elapsed().as_secs_f64();
            observer.step(&record);
            if self.progress.skipped_in_a_row > self.options.max_skipped {
                let skipped = self.progress.skipped_in_a_row;
                return Err(TrainError::NonFinite { skipped, step: self.progress.step });
            }
            let due = |every: usize| every > 0 && self.progress.step.is_multiple_of(every);
            if due(self.options.valid_every) && self.texts.valid.is_some() {
                let began = Instant::now();
                let record = self.validate()?;
                self.progress.seconds += began.elapsed().as_secs_f64();
                observer.valid(&record);
                stopped_early =
                    self.options.patience > 0 && self.progress.since_best >= self.options.patience;
            }
            let due = |every: usize| every > 0 && self.progress.step.is_multiple_of(every);
            if due(self.options.save_every) || stopped_early {
                self.save()?;
            }
            if stopped_early {
                break;
            }
        }
        self.finish(stopped_early, observer)
    }

    fn finish(mut self, stopped_early: bool, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        if self.options.patience > 0
            && let Some(best) = self.best.take()
        {
            for ((_, var), values) in self.stepper.trained().iter().zip(best) {
                var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
            }
            self.last_valid = None;
        }
        if self.texts.valid.is_some() && self.last_valid.is_none_or(|v| v.step != self.progress.step) {
            let record = self.measure()?;
            observer.valid(&record);
            self.last_valid = Some(record);
        }
        let Progress { step, skipped, seconds, losses, .. } = self.progress;
        let per_step = self.options.batch_size * self.options.accumulate * self.options.seq_len;
        Ok(Outcome {
            steps: step,
            skipped,
            tokens: step * per_step,
            seconds,
            valid: self.last_valid,
            stopped_early,
            curve: LearningCurve::fit(&losses, self.options.warmup),
            losses,
        })
    }

    fn step(&mut self, began: Instant) -> Result<StepRecord, TrainError> {
        let options = self.options;
        let (step, scale) = (self.progress.step, self.progress.loss_scale);
        let mut sum = Terms::default();
        let mut grads: Option<Vec<Option<Tensor>>> = None;
        for micro in 0..options.accumulate {
            let place = (step * options.accumulate + micro) * options.batch_size;
            let numbers = self.order.take(place, options.batch_size);
            let (tokens, targets) = self.texts.train.batch(&numbers);
            let extent = Extent { batch: options.batch_size, seq: options.seq_len };
            let factor = f64::from(scale) / options.accumulate as f64;
            let (terms, new) = self.stepper.gradients(&numbers, &tokens, targets, extent, factor)?;
            sum.add(&terms, 1.0 / options.accumulate as f64);
            grads = Some(match grads {
                None => new,
                Some(old) => old.into_iter().zip(new).map(join).collect::<Result<_, TrainError>>()?,
            });
        }
        let grads = self.stepper.complete(grads.unwrap_or_default(), step == 0)?;
        let norm = global_norm(&grads)? / f64::from(scale);
        let skipped = !(norm.is_finite() && sum.loss.is_finite());
        let rate = options.rate(step);
        if skipped {
            self.progress.skipped += 1;
            self.progress.skipped_in_a_row += 1;
        } else {
            self.progress.skipped_in_a_row = 0;
            let clip =
                if options.clip_norm > 0.0 { (options.clip_norm / norm.max(1e-12)).min(1.0) } else { 1.0 };
            let vars: Vec<&Var> = self.stepper.trained().into_iter().map(|(_, var)| var).collect();
            self.adam.step(&vars, &grads, rate, (clip / f64::from(scale)) as f32, options)?;
            self.progress.losses.push((step, sum.loss));
        }
        self.rescale(skipped);
        self.progress.step += 1;
        self.progress.updates = self.adam.updates;
        let tokens = options.accumulate * options.batch_size * options.seq_len;
        Ok(StepRecord {
            step: self.progress.step,
            loss: sum.loss,
            nll: sum.nll,
            divergence: sum.divergence,
            hidden: sum.hidden,
            learning_rate: rate,
            grad_norm: norm,
            skipped,
            loss_scale: scale,
            tokens_per_s: tokens as f64 / began.elapsed().as_secs_f64(),
        })
    }

    /// Moves the loss scale of f16: down at an overflow, up after a while without one.
    fn rescale(&mut self, skipped: bool) {
        if self.options.precision != Precision::F16 {
            return;
        }
        let progress = &mut self.progress;
        if skipped {
            (progress.loss_scale, progress.good_steps) = ((progress.loss_scale * 0.5).max(1.0), 0);
            return;
        }
        progress.good_steps += 1;
        if progress.good_steps == 200 {
            (progress.loss_scale, progress.good_steps) = ((progress.loss_scale * 2.0).min(16_777_216.0), 0);
        }
    }

    /// Validates and remembers the best.
    fn validate(&mut self) -> Result<ValidRecord, TrainError> {
        let mut record = self.measure()?;
        record.best = self.progress.best.is_none_or(|best| record.valid_loss < best);
        if record.best {
            (self.progress.best, self.progress.since_best) = (Some(record.valid_loss), 0);
            if self.options.patience > 0 {
                let values = |var: &Var| crate::ops::to_vec(var.as_tensor());
                let trained = self.stepper.trained();
                self.best = Some(trained.into_iter().map(|(_, v)| values(v)).collect::<Result<_, _>>()?);
            }
        } else {
            self.progress.since_best += 1;
        }
        self.last_valid = Some(record);
        Ok(record)
    }

    fn measure(&mut self) -> Result<ValidRecord, TrainError> {
        let options = self.options;
        let mut sum = Terms::default();
        if let Some(valid) = &self.texts.valid {
            let numbers = valid.spread(options.valid_sequences);
            for chunk in numbers.chunks(options.batch_size) {
                let (tokens, targets) = valid.batch(chunk);
                let extent = Extent { batch: chunk.len(), seq: options.seq_len };
                let terms = self.stepper.evaluate(&tokens, targets, extent)?;
                sum.add(&terms, chunk.len() as f64 / numbers.len() as f64);
            }
        }
        Ok(ValidRecord {
            step: self.progress.step,
            valid_loss: sum.loss,
            valid_nll: sum.nll,
            valid_divergence: sum.divergence,
            best: false,
        })
    }
}

fn join((old, new): (Option<Tensor>, Option<Tensor>)) -> Result<Option<Tensor>, TrainError> {
    Ok(match (old, new) {
        (Some(old), Some(new)) => Some((old + new)?),
        (old, new) => old.or(new),
    })
}
