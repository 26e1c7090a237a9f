//! Progress bars on the terminal; nothing where there is none.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tenuis_orchestrator::Observer;

/// Shows the phases of a run on standard error.
pub(crate) struct Terminal {
    bar: Mutex<ProgressBar>,
    interactive: bool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { bar: Mutex::new(ProgressBar::hidden()), interactive: std::io::stderr().is_terminal() }
    }

    fn bar(&self) -> MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observer for Terminal {
    fn begin(&self, phase: &str, total: u64) {
        if !self.interactive {
            return;
        }
        let (bar, template) = if total == 0 {
            (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}")
        } else {
            (ProgressBar::new(total), "{msg:28} {wide_bar} {pos}/{len} {elapsed} (eta {eta})")
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(phase.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar() = bar;
    }

    fn advance(&self, steps: u64) {
        self.bar().inc(steps);
    }

    fn end(&self) {
        self.bar().finish_and_clear();
    }

    fn warn(&self, message: &str) {
        self.bar().suspend(|| {
            let _ = writeln!(std::io::stderr(), "warning: {message}");
        });
    }
}
