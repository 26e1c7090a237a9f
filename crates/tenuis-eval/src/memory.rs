//! Peak memory, measured where nothing else has been: in a fresh process.

use crate::error::EvalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Peak memory of a model at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Peak resident bytes of a fresh process that opens the model, processes a prompt and decodes, beyond the peak
    /// of one that does nothing. Mapped file pages that were touched count.
    pub peak_bytes: u64,
    /// Peak resident bytes of the process that does nothing.
    pub empty_bytes: u64,
}

/// What a probing process prints on its standard output, as JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Its peak resident set in bytes.
    pub peak_bytes: u64,
}

/// The bytes that the system can give without swapping; nothing where it does not say.
pub fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
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
    pub fn measure(&self, arguments: &[OsString]) -> Result<Memory, EvalError> {
        let empty = self.run(&self.empty)?.peak_bytes;
        let full = self.run(arguments)?.peak_bytes;
        Ok(Memory { peak_bytes: full.saturating_sub(empty), empty_bytes: empty })
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
        serde_json::from_slice(&output.stdout).map_err(|e| failed(format!("unexpected output: {e}")))
    }
}

/// The peak resident set of this process in bytes, as the kernel counted it; `None` where it does not say.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_peak(&status)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_line() {
        assert_eq!(parse_peak("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(parse_peak("Name:\tx\n"), None);
    }

    #[test]
    fn a_failing_child_is_reported() {
        let probe = Probe { program: "/nonexistent/program".into(), empty: vec![] };
        assert!(matches!(probe.measure(&[]), Err(EvalError::Child { .. })));
    }
}
