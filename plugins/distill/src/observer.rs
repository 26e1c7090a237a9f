//! A run as the host sees it.

use std::time::{Duration, Instant};
use tenuis_distill::{Observer, StepRecord, ValidRecord};
use tenuis_plugin::Host;

/// How often the host is told of progress.
const EVERY: Duration = Duration::from_millis(250);

/// Passes progress and metrics to the host.
pub(crate) struct HostObserver<'a> {
    host: &'a Host<'a>,
    steps: u64,
    tokens_per_step: u64,
    began: Instant,
    told: Option<Instant>,
    tokens: u64,
    valid: String,
}

impl<'a> HostObserver<'a> {
    pub(crate) fn new(host: &'a Host<'a>, steps: usize, tokens_per_step: usize) -> Self {
        let (steps, tokens_per_step) = (steps as u64, tokens_per_step as u64);
        let began = Instant::now();
        Self { host, steps, tokens_per_step, began, told: None, tokens: 0, valid: String::new() }
    }
}

impl Observer for HostObserver<'_> {
    fn step(&mut self, record: &StepRecord) {
        let step = record.step as u64;
        self.tokens += self.tokens_per_step;
        for (key, value) in [
            ("loss", record.loss),
            ("nll", record.nll),
            ("divergence", record.divergence),
            ("hidden", record.hidden),
            ("learning_rate", record.learning_rate),
            ("grad_norm", record.grad_norm),
            ("loss_scale", f64::from(record.loss_scale)),
            ("tokens_per_s", record.tokens_per_s),
            ("skipped", f64::from(u8::from(record.skipped))),
        ] {
            self.host.metric_at(key, step, value);
        }
        if self.told.is_some_and(|told| told.elapsed() < EVERY) && step < self.steps {
            return;
        }
        self.told = Some(Instant::now());
        let rate = self.tokens as f64 / self.began.elapsed().as_secs_f64();
        let note = format!("loss {:.4}{}, {rate:.0} tokens/s", record.loss, self.valid);
        self.host.progress(step, self.steps, &note);
    }

    fn valid(&mut self, record: &ValidRecord) {
        let step = record.step as u64;
        self.valid = format!(" (validation {:.4})", record.valid_loss);
        self.host.metric_at("valid_loss", step, record.valid_loss);
        self.host.metric_at("valid_nll", step, record.valid_nll);
        self.host.metric_at("valid_divergence", step, record.valid_divergence);
    }

    fn cancelled(&mut self) -> bool {
        self.host.cancelled()
    }
}
