//! A training run as people and programs see it: a bar on the terminal, JSON lines in a file.

use crate::exit::Failure;
use crate::signals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use tenuis_distill::{Observer, Outcome, StepRecord, ValidRecord};

/// Without a terminal, a line is printed so often.
const QUIET_EVERY: Duration = Duration::from_secs(30);

/// Shows a run and keeps its metrics.
pub(crate) struct TrainingLog {
    metrics: File,
    bar: ProgressBar,
    interactive: bool,
    tokens_per_step: usize,
    /// The step at which the run ends before its schedule does.
    stop_after: Option<usize>,
    done: usize,
    tokens: usize,
    began: Instant,
    last_line: Instant,
}

impl TrainingLog {
    /// Appends to `metrics.jsonl` of the state directory.
    pub(crate) fn create(
        dir: &Path,
        steps: usize,
        tokens_per_step: usize,
        stop_after: Option<usize>,
    ) -> Result<Self, Failure> {
        let path = dir.join("metrics.jsonl");
        let metrics = OpenOptions::new().create(true).append(true).open(&path);
        let metrics = metrics.map_err(|e| Failure::output(&path, e))?;
        let interactive = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        if interactive {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} (eta {eta})") {
                bar.set_style(style);
            }
        }
        signals::catch();
        let now = Instant::now();
        Ok(Self {
            metrics,
            bar,
            interactive,
            tokens_per_step,
            stop_after,
            done: 0,
            tokens: 0,
            began: now,
            last_line: now,
        })
    }

    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }

    pub(crate) fn finish(&mut self, outcome: &Outcome) {
        self.bar.finish_and_clear();
        let skipped =
            if outcome.skipped > 0 { format!(", {} skipped", outcome.skipped) } else { String::new() };
        let valid =
            outcome.valid.map(|v| format!(", validation loss {:.4}", v.valid_loss)).unwrap_or_default();
        self.say(&format!("{} steps{skipped} in {:.0} s{valid}", outcome.steps, outcome.seconds));
        if let Some(curve) = &outcome.curve {
            self.say(&format!("learning curve: {}", curve.sentence()));
        }
    }

    /// The step that the run was to end at, if it did.
    pub(crate) fn stopped_at(&self) -> Option<usize> {
        self.stop_after.filter(|stop| self.done >= *stop)
    }

    fn write(&mut self, record: &impl Serialize) {
        // Losing a line of metrics is no reason to lose a run.
        if let Ok(line) = serde_json::to_string(record) {
            let _ = writeln!(self.metrics, "{line}");
        }
    }
}

impl Observer for TrainingLog {
    fn step(&mut self, record: &StepRecord) {
        self.write(record);
        self.tokens += self.tokens_per_step;
        self.done = record.step;
        let rate = self.tokens as f64 / self.began.elapsed().as_secs_f64();
        let message = format!("loss {:.4} lr {:.1e} {rate:.0} tok/s", record.loss, record.learning_rate);
        if self.interactive {
            self.bar.set_position(record.step as u64);
            self.bar.set_message(message);
        } else if self.last_line.elapsed() > QUIET_EVERY {
            self.last_line = Instant::now();
            self.say(&format!("step {} {message}", record.step));
        }
        if record.skipped {
            self.say(&format!("step {} was skipped: its loss or gradient is not finite", record.step));
        }
    }

    fn valid(&mut self, record: &ValidRecord) {
        self.write(record);
        let best = if record.best { " (best)" } else { "" };
        self.say(&format!("step {} validation loss {:.4}{best}", record.step, record.valid_loss));
    }

    fn cancelled(&mut self) -> bool {
        signals::stop_requested() || self.stop_after.is_some_and(|stop| self.done >= stop)
    }
}
