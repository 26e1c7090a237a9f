//! Fresh processes: how long until they are ready, and until they are done.

mod child;

use crate::distribution::Distribution;
use crate::error::{MeasureError, check_count, check_positive};
use crate::file_cache::FileCache;
use crate::memory::ProcessMemory;
use crate::system::SystemRoot;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The state that files are brought into before each start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Preparation {
    /// Out of the page cache: they come from the disk, as after a reboot.
    #[default]
    Cold,
    /// In the page cache: they come from memory, as when a server restarts.
    Warm,
    /// As they are; the state is stated all the same.
    AsIs,
}

/// Starts a program again and again and times it.
///
/// The time counts from just before the process is made to a line that it prints when it is ready, and to its exit. A process of its
/// own, as within one the allocator, the thread pool and lazily bound symbols are warm after the first time, whatever the files are.
/// The program itself and its libraries are not dropped from the page cache.
///
/// ```
/// # #[cfg(unix)] {
/// use tenuis_measure::{ColdStart, Preparation};
/// let mut start = ColdStart::new("/bin/sh", ["-c", "echo loading; echo ready; exit 0"]);
/// start.marker = "ready".into();
/// start.runs = 2;
/// let result = start.measure(|_| {})?;
/// assert!(result.ready_seconds.max <= result.exit_seconds.max);
/// # }
/// # Ok::<(), tenuis_measure::MeasureError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ColdStart {
    /// The program, by explicit path.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// What the line on standard output begins with that says that it is ready; empty for the first line, whatever it is.
    #[serde(default)]
    pub marker: String,
    /// How often it is started.
    #[serde(default = "default_runs")]
    pub runs: usize,
    /// Files that it reads, such as the shards of a checkpoint. They are prepared and their state is recorded.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// What is done to them.
    #[serde(default)]
    pub preparation: Preparation,
    /// Seconds after which a process is ended, and the measurement with it.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: f64,
}

const fn default_runs() -> usize {
    5
}

/// Long enough to read some ten gigabytes from a disk of 100 MB/s.
const fn default_timeout() -> f64 {
    120.0
}

/// One start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Start {
    /// Seconds to its marker.
    pub ready_seconds: f64,
    /// Seconds to its exit.
    pub exit_seconds: f64,
    /// The state of its files just before.
    pub files: Vec<FileCache>,
    /// Its memory when it was ready; `None` where the system does not tell, or it was gone by then. Looking costs the process some
    /// milliseconds between its marker and its exit.
    pub memory_when_ready: Option<ProcessMemory>,
}

impl Start {
    /// Gives the share of its files that was cached before, all together; `None` where there are none or one is not told.
    pub fn cached_share(&self) -> Option<f64> {
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        let cached = self.files.iter().map(|file| file.cached_bytes).sum::<Option<u64>>()?;
        (bytes > 0).then(|| cached as f64 / bytes as f64)
    }
}

/// All starts of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ColdStartResult {
    /// Seconds to the marker.
    pub ready_seconds: Distribution,
    /// Seconds to the exit.
    pub exit_seconds: Distribution,
    /// What was done to files before each start.
    pub preparation: Preparation,
    /// The largest share of the files that was cached before a start. After [`Preparation::Cold`] it should be 0; where it is not, a
    /// process has them mapped or they lie in memory anyway, and the starts were not cold.
    pub cached_share: Option<f64>,
    /// Each start, in order.
    pub starts: Vec<Start>,
}

impl ColdStart {
    /// Takes a program and its arguments; the rest is as by default: five starts with cold files, and the first line as the marker.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            marker: String::new(),
            runs: default_runs(),
            files: Vec::new(),
            preparation: Preparation::default(),
            timeout_seconds: default_timeout(),
        }
    }

    /// Starts the program as often as asked, one process after the other, and reports each start.
    ///
    /// # Errors
    /// [`MeasureError::Config`] without runs or with a timeout that is not finite and above 0 or too long; [`MeasureError::File`] where
    /// a file cannot be prepared; [`MeasureError::Process`], [`MeasureError::Failed`], [`MeasureError::NoMarker`] or
    /// [`MeasureError::Timeout`] with the first process that does not do what it should.
    pub fn measure(&self, mut progress: impl FnMut(&Start)) -> Result<ColdStartResult, MeasureError> {
        check_count("runs", self.runs)?;
        check_positive("timeout_seconds", self.timeout_seconds)?;
        let limit = Duration::try_from_secs_f64(self.timeout_seconds).map_err(|_| MeasureError::Config {
            option: "timeout_seconds",
            value: self.timeout_seconds.to_string(),
            allowed: "a time that a clock can hold",
        })?;
        let root = SystemRoot::default();
        let mut starts = Vec::with_capacity(self.runs);
        for _ in 0..self.runs {
            let files = self.files.iter().map(|file| self.prepare(file)).collect::<Result<Vec<_>, _>>()?;
            let run = child::run(self, limit, &root)?;
            let start = Start {
                ready_seconds: run.ready.as_secs_f64(),
                exit_seconds: run.exit.as_secs_f64(),
                files,
                memory_when_ready: run.memory,
            };
            progress(&start);
            starts.push(start);
        }
        let of = |part: fn(&Start) -> f64| {
            let samples = starts.iter().map(part).collect();
            Distribution::of(samples).ok_or(MeasureError::Empty { what: "cold start" })
        };
        let shares: Option<Vec<f64>> = starts.iter().map(Start::cached_share).collect();
        Ok(ColdStartResult {
            ready_seconds: of(|start| start.ready_seconds)?,
            exit_seconds: of(|start| start.exit_seconds)?,
            preparation: self.preparation,
            cached_share: shares.map(|shares| shares.into_iter().fold(0.0, f64::max)),
            starts,
        })
    }

    fn prepare(&self, file: &PathBuf) -> Result<FileCache, MeasureError> {
        match self.preparation {
            Preparation::Cold => FileCache::drop_pages(file),
            Preparation::Warm => FileCache::fill(file),
            Preparation::AsIs => FileCache::of(file),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> ColdStart {
        ColdStart { runs: 1, ..ColdStart::new("/bin/sh", ["-c", script]) }
    }

    #[test]
    fn a_start_is_ready_before_it_ends_and_its_files_are_stated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 10_000]).unwrap();
        let mut start = shell("echo early; echo ready now; cat >/dev/null; echo late");
        start.marker = "ready".into();
        start.runs = 3;
        start.files = vec![file.path().to_owned()];
        start.preparation = Preparation::Warm;
        let mut reported = 0;
        let result = start.measure(|_| reported += 1).unwrap();
        assert_eq!((reported, result.starts.len(), result.ready_seconds.samples), (3, 3, 3));
        for start in &result.starts {
            assert!(start.ready_seconds > 0.0 && start.ready_seconds <= start.exit_seconds, "{start:?}");
            assert_eq!(start.files[0].bytes, 10_000);
        }
        #[cfg(target_os = "linux")]
        assert!(result.cached_share.is_some_and(|share| share > 0.0), "{result:?}");
        let text = serde_json::to_string(&result).unwrap();
        let read: ColdStartResult = serde_json::from_str(&text).unwrap();
        // All but times and shares, whose last bit serde_json may round differently when it reads them.
        assert_eq!(read.preparation, result.preparation);
        for (read, start) in read.starts.iter().zip(&result.starts) {
            assert_eq!((&read.files, &read.memory_when_ready), (&start.files, &start.memory_when_ready));
        }
    }

    #[test]
    fn no_files_have_no_share() {
        let result = shell("echo x").measure(|_| {}).unwrap();
        assert_eq!((result.cached_share, result.preparation), (None, Preparation::Cold));
    }

    #[test]
    fn a_process_that_fails_says_why() {
        let failed = shell("echo no weights >&2; exit 3").measure(|_| {}).unwrap_err();
        assert!(matches!(failed, MeasureError::Failed { .. }), "{failed}");
        assert!(failed.to_string().contains("exit status: 3; it said: no weights"), "{failed}");
        let mut silent = shell("echo loading");
        silent.marker = "ready".into();
        let error = silent.measure(|_| {}).unwrap_err();
        assert!(matches!(&error, MeasureError::NoMarker { marker, .. } if marker == "ready"), "{error}");
        let absent = ColdStart::new("/nonexistent/program", [""; 0]).measure(|_| {}).unwrap_err();
        assert!(matches!(absent, MeasureError::Process { .. }), "{absent}");
    }

    #[test]
    fn much_on_standard_error_blocks_nothing() {
        // More than a pipe holds (64 KiB on Linux).
        let talkative = shell(
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; echo x",
        );
        assert!(talkative.measure(|_| {}).is_ok());
    }

    #[test]
    fn a_process_that_hangs_is_ended() {
        // Before and after the marker, and with standard output closed.
        for script in ["exec sleep 600", "echo x; exec sleep 600", "exec >&-; exec sleep 600"] {
            let hanging = ColdStart { timeout_seconds: 0.2, ..shell(script) };
            let error = hanging.measure(|_| {}).unwrap_err();
            assert!(matches!(error, MeasureError::Timeout { .. }), "{script}: {error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |start: ColdStart| matches!(start.measure(|_| {}), Err(MeasureError::Config { .. }));
        assert!(refused(ColdStart { runs: 0, ..shell("echo x") }));
        assert!(refused(ColdStart { timeout_seconds: f64::INFINITY, ..shell("echo x") }));
        assert!(refused(ColdStart { timeout_seconds: 1e30, ..shell("echo x") }));
        let absent = ColdStart { files: vec!["there/is/none".into()], ..shell("echo x") };
        assert!(matches!(absent.measure(|_| {}), Err(MeasureError::File { .. })));
    }

    #[test]
    fn the_written_form_has_defaults() {
        let start: ColdStart = serde_json::from_str(r#"{"program": "/bin/true"}"#).unwrap();
        assert_eq!(start, ColdStart::new("/bin/true", [""; 0]));
        assert!(serde_json::from_str::<ColdStart>(r#"{"program": "x", "run": 1}"#).is_err());
    }
}
