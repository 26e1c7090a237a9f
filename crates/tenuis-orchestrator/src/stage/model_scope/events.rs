//! What a model technique reports while it works: progress for whoever watches, curves for a file.

use crate::observer::Observer;
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tenuis_host::HostEvents;

/// Passes progress on and keeps curves as JSON lines, one for each step.
pub(super) struct ModelEvents {
    observer: Arc<dyn Observer>,
    label: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last progress, once there was one.
    done: Option<u64>,
    file: Option<File>,
    step: u64,
    line: Map<String, Value>,
}

impl ModelEvents {
    /// Appends to `metrics`, so that the curve of a run that was interrupted goes on.
    pub(super) fn new(observer: Arc<dyn Observer>, label: &str, metrics: &Path) -> Self {
        // A curve that cannot be kept is no reason not to train.
        let file = OpenOptions::new().create(true).append(true).open(metrics).ok();
        Self { observer, label: label.to_owned(), state: Mutex::new(State { file, ..State::default() }) }
    }
}

impl State {
    fn flush(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let mut line = Map::from_iter([("step".to_owned(), self.step.into())]);
        line.append(&mut self.line);
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{}", Value::Object(line));
        }
    }
}

impl HostEvents for ModelEvents {
    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.done.unwrap_or_else(|| {
            self.observer.begin(&self.label, total);
            0
        });
        self.observer.advance(done.saturating_sub(before));
        self.observer.note(note);
        state.done = Some(done);
    }

    fn metric_at(&self, key: &str, step: u64, value: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.step != step || state.line.contains_key(key) {
            state.flush();
            state.step = step;
        }
        state.line.insert(key.to_owned(), value.into());
    }
}

impl Drop for ModelEvents {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}
