//! What a long run tells whoever is watching.

use std::ops::ControlFlow;

/// Watches a run: progress bars, a log, or nothing.
///
/// Phases do not nest; the last one begun is the one that advances.
pub trait Observer: Send + Sync {
    /// A phase of `total` steps begins.
    fn begin(&self, phase: &str, total: u64) {
        let _ = (phase, total);
    }

    /// `steps` more steps of the phase are done.
    fn advance(&self, steps: u64) {
        let _ = steps;
    }

    /// `steps` more steps of the phase are done; whether the run goes on.
    fn step(&self, steps: usize) -> ControlFlow<()> {
        self.advance(steps as u64);
        if self.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What the phase is at: a loss, a rate.
    fn note(&self, note: &str) {
        let _ = note;
    }

    /// The phase is over.
    fn end(&self) {}

    /// Something the user should know although the run goes on.
    fn warn(&self, message: &str) {
        let _ = message;
    }

    /// Whether the run should stop as soon as it can.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
