//! Peak memory, measured where nothing else has been: in a fresh process.

use crate::error::EvalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tenuis_measure::{
    ColdStart, ColdStartResult, MemoryClaims, MemorySplit, Preparation, ProcessMemory, SystemRoot,
};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// Peak memory of a model at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Peak resident bytes of a fresh process that opens the model, processes a prompt and decodes, beyond the peak
    /// of one that does nothing. Mapped file pages that were touched count.
    pub peak_bytes: u64,
    /// Peak resident bytes of the process that does nothing.
    pub empty_bytes: u64,
    /// What the peak was made of; null where the system does not tell.
    #[serde(default)]
    pub split: Option<MemorySplit>,
    /// Fresh processes to their first token, the files cold and warm; absent where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartTimes>,
    /// The hash of all that it depends on beside model and machine: the lengths of prompt and generation, the threads. Empty
    /// where an older version wrote the report.
    #[serde(default)]
    pub protocol: String,
}

/// How long a fresh process takes to its first token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartTimes {
    /// The weight files out of the page cache, as after a reboot.
    pub cold: ColdStartResult,
    /// The weight files in the page cache, as when a server restarts.
    pub warm: ColdStartResult,
}

/// What a probing process prints on the last line of its standard output, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Its peak resident set in bytes.
    pub peak_bytes: u64,
    /// What it knows of that; nothing of a process that does nothing.
    pub claims: Option<MemoryClaims>,
}

/// The line that a probing process prints when it has its first token.
pub const READY: &str = "ready";

/// Starts of a process with its files cold, and as many with its files warm.
const STARTS: usize = 3;

/// The bytes of keys and values of so many positions of so many sequences, in f32.
pub fn kv_cache_bytes(spec: &DecoderSpec, batch: usize, positions: usize) -> u64 {
    let per_position =
        |layer: &tenuis_spec::LayerSpec| 2 * 4 * layer.attention.n_kv * layer.attention.head_dim;
    let widths: usize = spec.layers.iter().map(per_position).sum();
    widths as u64 * batch as u64 * positions as u64
}

/// What of a process's memory a model is known to hold, that ran up to so many positions.
pub fn claims(memory: &ProcessMemory, model: &Model, positions: usize) -> Option<MemoryClaims> {
    let dir = std::fs::canonicalize(model.checkpoint().dir()).ok()?;
    let mut claims = MemoryClaims::default();
    claims.mapped_file_bytes = memory.resident_of(|path| path.starts_with(&dir));
    // What operations hold beyond the mapped pages that are resident lies in memory of its own.
    claims.weight_bytes = model.resident_bytes().saturating_sub(claims.mapped_file_bytes);
    claims.kv_cache_bytes = kv_cache_bytes(model.spec(), 1, positions);
    Some(claims)
}

/// The bytes that the system can give without swapping, and within the limits of control groups; nothing where it does not say.
pub fn available() -> Option<u64> {
    tenuis_measure::available_memory(&tenuis_measure::SystemRoot::default())
}

/// How to start a process that does the work and prints a [`ProbeResult`].
#[derive(Clone, Debug)]
pub struct Probe {
    /// The program, by explicit path.
    pub program: PathBuf,
    /// Arguments of a process that starts and does nothing.
    pub empty: Vec<OsString>,
}

impl Probe {
    /// Runs the empty process and one with `arguments`, and takes the difference of their peaks.
    ///
    /// # Errors
    /// [`EvalError::Child`] where either fails or prints something else.
    pub fn measure(&self, arguments: &[OsString], protocol: String) -> Result<Memory, EvalError> {
        let empty = self.run(&self.empty)?.peak_bytes;
        let full = self.run(arguments)?;
        let split = full.claims.map(|mut claims| {
            claims.program_bytes = empty;
            MemorySplit::attribute(full.peak_bytes, &claims)
        });
        let peak_bytes = full.peak_bytes.saturating_sub(empty);
        Ok(Memory { peak_bytes, empty_bytes: empty, split, start: None, protocol })
    }

    /// Starts processes with `arguments` until each has its first token, with the weight files cold and warm.
    ///
    /// # Errors
    /// [`EvalError::Measure`] where a process fails or a file cannot be prepared.
    pub fn start_times(&self, arguments: &[OsString], files: Vec<PathBuf>) -> Result<StartTimes, EvalError> {
        let arguments = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
        let mut start = ColdStart::new(&self.program, arguments);
        (start.marker, start.runs, start.files) = (READY.to_owned(), STARTS, files);
        start.preparation = Preparation::Cold;
        let cold = start.measure(|_| {})?;
        start.preparation = Preparation::Warm;
        let warm = start.measure(|_| {})?;
        Ok(StartTimes { cold, warm })
    }

    fn run(&self, arguments: &[OsString]) -> Result<ProbeResult, EvalError> {
        let failed = |problem: String| EvalError::Child { program: self.program.clone(), problem };
        let output = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|e| failed(e.to_string()))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(failed(format!("{}: {}", output.status, message.trim())));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|e| failed(format!("unexpected output: {e}")))
    }
}

/// The memory of this process as the kernel counts it; `None` where it does not say. The peak is that before this call: looking
/// closer takes memory, too.
pub fn of_this_process() -> Option<ProcessMemory> {
    ProcessMemory::of_self(&SystemRoot::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_child_is_reported() {
        let probe = Probe { program: "/nonexistent/program".into(), empty: vec![] };
        assert!(matches!(probe.measure(&[], String::new()), Err(EvalError::Child { .. })));
    }
}
