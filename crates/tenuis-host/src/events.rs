//! What a job tells the program around it while it works.

use tenuis_abi as abi;

/// How loud a line of a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something that the user should know.
    Warn,
    /// What was decided.
    Info,
    /// For the plugin's author.
    Debug,
}

impl LogLevel {
    /// The level of the ABI's number; numbers that it does not define count as debug.
    pub const fn from_code(code: i32) -> Self {
        match code {
            abi::TN_LOG_ERROR => Self::Error,
            abi::TN_LOG_WARN => Self::Warn,
            abi::TN_LOG_INFO => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Receives what a job reports; called from any thread of the plugin.
pub trait HostEvents: Send + Sync {
    /// Whether the job should stop.
    fn cancelled(&self) -> bool {
        false
    }

    /// Progress within the current group or model; `total` is 0 where the plugin does not know it.
    fn progress(&self, _done: u64, _total: u64, _note: &str) {}

    /// A line for the log.
    fn log(&self, _level: LogLevel, _message: &str) {}

    /// A number for the report.
    fn metric(&self, _key: &str, _value: f64) {}

    /// A point of a curve, such as the loss of a training step. Points are told here and nowhere else.
    fn metric_at(&self, _key: &str, _step: u64, _value: f64) {}
}

/// Listens to nothing and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl HostEvents for NoEvents {}
