//! A training run as people and programs see it: a bar on the terminal, JSON lines in a file.

use crate::exit::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tenuis_distill::{Observer, Outcome, StepRecord, ValidRecord};

/// Without a terminal, a line is printed so often.
const QUIET_EVERY: Duration = Duration::from_secs(30);

/// Set by Ctrl-C and SIGTERM: the run saves its state before it ends.
static STOP: AtomicBool = AtomicBool::new(false);

/// Shows a run and keeps its metrics.
pub(crate) struct TrainingLog {
    metrics: File,
    bar: ProgressBar,
    interactive: bool,
    tokens_per_step: usize,
    tokens: usize,
    began: Instant,
    last_line: Instant,
}

impl TrainingLog {
    /// Appends to `metrics.jsonl` of the state directory.
    pub(crate) fn create(dir: &Path, steps: usize, tokens_per_step: usize) -> Result<Self, Failure> {
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
        catch_signals();
        let now = Instant::now();
        Ok(Self { metrics, bar, interactive, tokens_per_step, tokens: 0, began: now, last_line: now })
    }

    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }

    pub(crate) fn finish(&mut self, outcome: &Outcome) {
        self.bar.finish_and_clear();
        let skipped = if outcome.skipped > 0 { format!(", {} skipped", outcome.skipped) } else { String::new() };
        let valid = outcome.valid.map(|v| format!(", validation loss {:.4}", v.valid_loss)).unwrap_or_default();
        self.say(&format!("{} steps{skipped} in {:.0} s{valid}", outcome.steps, outcome.seconds));
        if let Some(curve) = &outcome.curve {
            self.say(&format!("learning curve: {}", curve.sentence()));
        }
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
        STOP.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
fn catch_signals() {
    extern "C" fn stop(_signal: libc::c_int) {
        // A second signal ends the process at once.
        STOP.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic; SA_RESETHAND restores the default for the second signal.
        #[expect(unsafe_code, reason = "installing a signal handler")]
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = stop as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

#[cfg(not(unix))]
fn catch_signals() {}
