//! A run under way: steps, validations, saved states.

use crate::curve::LearningCurve;
use crate::data::Order;
use crate::error::TrainError;
use crate::network::Extent;
use crate::optimizer::{AdamW, global_norm};
use crate::options::{Precision, TrainOptions};
use crate::state::{Exact, Progress, State};
use crate::step::{Stepper, Terms};
use crate::trainer::{Observer, Outcome, StepRecord, Texts, ValidRecord};
use candle_core::{Tensor, Var};
use std::path::Path;
use std::time::Instant;

/// The loss scale of f16: where it begins, its bounds, and the good steps after which it doubles.
const FIRST_SCALE: f32 = 65_536.0;
const LEAST_SCALE: f32 = 1.0;
const LARGEST_SCALE: f32 = 16_777_216.0;
const GOOD_STEPS: usize = 200;

pub(crate) struct Run<'a> {
    stepper: Stepper<'a>,
    texts: &'a Texts,
    options: &'a TrainOptions,
    state_dir: Option<&'a Path>,
    order: Order,
    adam: AdamW,
    progress: Progress,
    /// The best weights, where the run may return to them.
    best: Option<Vec<Vec<f32>>>,
    /// Whether something happened that is not saved.
    unsaved: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        stepper: Stepper<'a>,
        texts: &'a Texts,
        options: &'a TrainOptions,
        state_dir: Option<&'a Path>,
    ) -> Result<Self, TrainError> {
        let adam = AdamW::new(stepper.trained().into_iter().map(|(_, var)| var));
        let progress = Progress {
            // Nothing needs to be hashed where nothing is saved.
            run: state_dir.map(|_| stepper.fingerprint(texts)).transpose()?.unwrap_or_default(),
            step: 0,
            updates: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            loss_scale: if options.precision == Precision::F16 { FIRST_SCALE } else { 1.0 },
            good_steps: 0,
            best: None,
            since_best: 0,
            last_valid: None,
            losses: Vec::new(),
            seconds: Exact(0.0),
        };
        let order = Order::new(texts.train.count(), options.seed.unwrap_or_default());
        let mut run =
            Self { stepper, texts, options, state_dir, order, adam, progress, best: None, unsaved: true };
        if let Some(dir) = state_dir
            && let Some(state) = State::load(dir, &run.progress.run)?
        {
            run.resume(dir, state)?;
        }
        Ok(run)
    }

    fn resume(&mut self, dir: &Path, mut state: State) -> Result<(), TrainError> {
        let trained = self.stepper.trained();
        let has_best = state.tensors.iter().any(|(name, _)| name.starts_with("best/"));
        let mut best = Vec::new();
        for ((name, var), moments) in trained.iter().zip(&mut self.adam.moments) {
            let len = var.elem_count();
            let weight = state.take(dir, &format!("weight/{name}"), len)?;
            var.set(&Tensor::from_vec(weight, var.shape(), var.device())?)?;
            moments.mean = state.take(dir, &format!("mean/{name}"), len)?;
            moments.square = state.take(dir, &format!("square/{name}"), len)?;
            if has_best {
                best.push(state.take(dir, &format!("best/{name}"), len)?);
            }
        }
        self.best = has_best.then_some(best);
        self.progress = state.progress;
        self.adam.updates = self.progress.updates;
        self.unsaved = false;
        Ok(())
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let Some(dir) = self.state_dir.filter(|_| self.unsaved) else { return Ok(()) };
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
        State { progress: self.progress.clone(), tensors }.save(dir)?;
        self.unsaved = false;
        Ok(())
    }

    /// Whether validations have stopped getting better. It follows from what is saved, so that a resumed run knows it too.
    const fn is_patience_spent(&self) -> bool {
        self.options.patience > 0 && self.progress.since_best >= self.options.patience
    }

    pub(crate) fn go(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        while self.progress.step < self.options.steps && !self.is_patience_spent() {
            if observer.cancelled() {
                self.save()?;
                return Err(TrainError::Cancelled { step: self.progress.step });
            }
            let record = self.step()?;
            observer.step(&record);
            if self.progress.skipped_in_a_row > self.options.max_skipped {
                let skipped = self.progress.skipped_in_a_row;
                return Err(TrainError::NonFinite { skipped, step: self.progress.step });
            }
            let due = |every: usize| every > 0 && record.step.is_multiple_of(every);
            if due(self.options.valid_every) && self.texts.valid.is_some() {
                observer.valid(&self.validate()?);
            }
            if due(self.options.save_every) {
                self.save()?;
            }
        }
        self.finish(observer)
    }

    fn finish(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let stopped_early = self.progress.step < self.options.steps;
        if self.texts.valid.is_some() && self.progress.last_valid.is_none_or(|v| v.step != self.progress.step)
        {
            observer.valid(&self.validate()?);
        }
        // A run that is started again finds that it has ended.
        self.save()?;
        let mut valid = self.progress.last_valid;
        if let Some(best) = self.best.take() {
            for ((_, var), values) in self.stepper.trained().iter().zip(best) {
                var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
            }
            valid = self.progress.best;
        }
        let Progress { step, skipped, seconds, losses, .. } = self.progress;
        let losses: Vec<(usize, f64)> = losses.into_iter().map(|(step, loss)| (step, loss.0)).collect();
        let per_step = self.options.batch_size * self.options.accumulate * self.options.seq_len;
        Ok(Outcome {
            steps: step,
            skipped,
            tokens: step * per_step,
            seconds: seconds.0,
            valid: valid.map(ValidRecord::from),
            stopped_early,
            curve: LearningCurve::fit(&losses, self.options.warmup),
            losses,
        })
    }

    fn step(&mut self) -> Result<StepRecord, TrainError> {
        let (began, options) = (Instant::now(), self.options);
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
            // The norm is that of the gradient without the loss scale, which the same factor takes out.
            let clip =
                if options.clip_norm > 0.0 { (options.clip_norm / norm.max(1e-12)).min(1.0) } else { 1.0 };
            let vars: Vec<&Var> = self.stepper.trained().into_iter().map(|(_, var)| var).collect();
            self.adam.step(&vars, &grads, rate, (clip / f64::from(scale)) as f32, options)?;
            self.progress.losses.push((step, Exact(sum.loss)));
        }
        self.rescale(skipped);
        self.progress.step += 1;
        self.progress.updates = self.adam.updates;
        self.unsaved = true;
        let seconds = began.elapsed().as_secs_f64();
        self.progress.seconds.0 += seconds;
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
            tokens_per_s: (options.accumulate * options.batch_size * options.seq_len) as f64 / seconds,
        })
    }

    /// Moves the loss scale of f16: down at an overflow, up after a while without one.
    fn rescale(&mut self, skipped: bool) {
        if self.options.precision != Precision::F16 {
            return;
        }
        let progress = &mut self.progress;
        if skipped {
            (progress.loss_scale, progress.good_steps) = ((progress.loss_scale * 0.5).max(LEAST_SCALE), 0);
            return;
        }
        progress.good_steps += 1;
        if progress.good_steps == GOOD_STEPS {
            (progress.loss_scale, progress.good_steps) = ((progress.loss_scale * 2.0).min(LARGEST_SCALE), 0);
        }
    }

    /// Validates and remembers the best.
    fn validate(&mut self) -> Result<ValidRecord, TrainError> {
        let began = Instant::now();
        let mut record = self.measure()?;
        // Nothing is below a NaN: it must not be the best.
        record.best = record.valid_loss.is_finite()
            && self.progress.best.is_none_or(|best| record.valid_loss < ValidRecord::from(best).valid_loss);
        if record.best {
            (self.progress.best, self.progress.since_best) = (Some(record.into()), 0);
            if self.options.patience > 0 {
                let values = |var: &Var| crate::ops::to_vec(var.as_tensor());
                let trained = self.stepper.trained();
                self.best = Some(trained.into_iter().map(|(_, v)| values(v)).collect::<Result<_, _>>()?);
            }
        } else {
            self.progress.since_best += 1;
        }
        self.progress.last_valid = Some(record.into());
        self.progress.seconds.0 += began.elapsed().as_secs_f64();
        self.unsaved = true;
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
