//! Progress bars on the terminal; nothing where there is none.

use crate::signals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tenuis_orchestrator::Observer;

/// Shows the phases of a run on standard error.
pub(crate) struct Terminal {
    bar: Mutex<ProgressBar>,
    interactive: bool,
    /// Without a terminal: the phase, how far it is, and when that was last said.
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    phase: String,
    done: u64,
    total: u64,
    at: Option<Instant>,
}

/// Without a terminal, a phase that has something to tell is heard of so often.
const QUIET_EVERY: Duration = Duration::from_secs(30);

impl Terminal {
    pub(crate) fn new() -> Self {
        signals::catch();
        let interactive = std::io::stderr().is_terminal();
        Self { bar: Mutex::new(ProgressBar::hidden()), interactive, said: Mutex::default() }
    }

    fn say_sometimes(&self, note: &str) {
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.at.is_some_and(|at| at.elapsed() < QUIET_EVERY) {
            return;
        }
        said.at = Some(Instant::now());
        let _ = writeln!(std::io::stderr(), "{} {}/{} {note}", said.phase, said.done, said.total);
    }

    fn bar(&self) -> MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observer for Terminal {
    fn begin(&self, phase: &str, total: u64) {
        if !self.interactive {
            let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *said = Said { phase: phase.to_owned(), total, done: 0, at: Some(Instant::now()) };
            return;
        }
        let (bar, template) = if total == 0 {
            (ProgressBar::new_spinner(), "{spinner} {prefix} {elapsed} {msg}")
        } else {
            (ProgressBar::new(total), "{prefix:28} {wide_bar} {pos}/{len} {elapsed} (eta {eta}) {msg}")
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(phase.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar() = bar;
    }

    fn advance(&self, steps: u64) {
        self.bar().inc(steps);
        self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).done += steps;
    }

    fn note(&self, note: &str) {
        self.bar().set_message(note.to_owned());
        if !self.interactive {
            self.say_sometimes(note);
        }
    }

    fn end(&self) {
        self.bar().finish_and_clear();
    }

    fn cancelled(&self) -> bool {
        signals::stop_requested()
    }

    fn warn(&self, message: &str) {
        self.bar().suspend(|| {
            let _ = writeln!(std::io::stderr(), "warning: {message}");
        });
    }
}
