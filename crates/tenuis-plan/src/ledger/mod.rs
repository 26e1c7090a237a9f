//! The ledger: one JSON object per line for every run, stage, metric and decision of a gate.
//!
//! Lines are only ever appended, each by one write under a lock of the file, so that several processes can keep one ledger and a process
//! that is killed leaves at most one torn line. Reading tolerates torn lines and reports them; a line that is damaged in another way is an
//! error. The next append after a torn line begins a new one.
//!
//! Non-finite numbers have no form in JSON and are refused when they are written.

mod csv;
mod error;
mod runs;

pub use self::csv::write_csv;
pub use error::LedgerError;
pub use runs::{RunSummary, summaries};

use crate::gate::Decision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Records something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Entry {
    /// When, in milliseconds since 1970-01-01 UTC, as the caller's clock has it.
    pub unix_ms: u64,
    /// The run's name.
    pub run: String,
    /// What.
    pub event: Event,
}

impl Entry {
    /// Creates an entry.
    pub fn new(unix_ms: u64, run: &str, event: Event) -> Self {
        Self { unix_ms, run: run.to_owned(), event }
    }
}

/// Says what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Event {
    /// A run began, ended or was stopped.
    Run {
        /// What it does now.
        status: Status,
        /// What it was asked for: recipe, model, scenario, hashes.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        details: BTreeMap<String, String>,
    },
    /// A stage began, ended, was taken from the cache or failed.
    Stage {
        /// Its name.
        stage: String,
        /// What it does now.
        status: Status,
        /// Hashes of what it works on and anything else that identifies it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        details: BTreeMap<String, String>,
    },
    /// A figure was measured.
    Metric {
        /// The stage after which.
        stage: String,
        /// The figure's name in the report.
        figure: String,
        /// Its value.
        value: f64,
        /// The bounds of its confidence interval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<(f64, f64)>,
        /// Its unit; empty for a plain number.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        unit: String,
    },
    /// A gate decided.
    Gate(Decision),
}

/// Says how far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It began.
    Started,
    /// It ended well.
    Finished,
    /// It had been done before, and the result was taken.
    Reused,
    /// It ended without a result.
    Failed,
    /// Somebody ended it; it can be resumed.
    Interrupted,
}

/// Appends to a file, and reads it.
///
/// ```
/// use tenuis_plan::ledger::{Entry, Event, Ledger};
/// let directory = tempfile::tempdir()?;
/// let ledger = Ledger::new(directory.path().join("ledger.jsonl"));
/// let event = Event::Metric {
///     stage: "gptq".to_owned(), figure: "bytes".to_owned(), value: 1.5e6, interval: None, unit: "B".to_owned(),
/// };
/// ledger.append(&Entry::new(1_700_000_000_000, "first", event))?;
/// assert_eq!(ledger.read()?.entries[0].run, "first");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    path: PathBuf,
}

/// Holds what a ledger says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// The entries, in the order in which they were appended.
    pub entries: Vec<Entry>,
    /// The lines that were torn when a writer was killed, from 1. Nothing else was lost.
    pub torn_lines: Vec<usize>,
}

impl Ledger {
    /// Names the file; it is created by the first append.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Yields the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an entry as one line, and returns when it is on the disk.
    ///
    /// # Errors
    ///
    /// [`LedgerError::NotFinite`] for a NaN or an infinity, [`LedgerError::Io`] if the file cannot be written.
    pub fn append(&self, entry: &Entry) -> Result<(), LedgerError> {
        check_finite(entry)?;
        let mut line = serde_json::to_vec(entry).map_err(|source| LedgerError::Encode { source })?;
        line.push(b'\n');
        let io = |action| move |source| LedgerError::Io { path: self.path.clone(), action, source };
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(&self.path).map_err(io("opened"))?;
        // Released when the file is closed, also by a kill.
        file.lock().map_err(io("locked"))?;
        if ends_torn(&mut file).map_err(io("read"))? {
            line.insert(0, b'\n');
        }
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(io("written"))
    }

    /// Reads every entry. A file that does not exist yet has none.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`] if the file cannot be read, [`LedgerError::Line`] with the line and column of what is no entry and was not torn.
    pub fn read(&self) -> Result<Reading, LedgerError> {
        match fs::read(&self.path) {
            Ok(bytes) => self.parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.parse(&[]),
            Err(source) => Err(LedgerError::Io { path: self.path.clone(), action: "read", source }),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Reading, LedgerError> {
        let mut reading = Reading { entries: Vec::new(), torn_lines: Vec::new() };
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(entry) => reading.entries.push(entry),
                Err(error) if error.is_eof() || cut_in_a_character(line) => {
                    reading.torn_lines.push(index + 1);
                }
                Err(source) => {
                    return Err(LedgerError::Line {
                        path: self.path.clone(),
                        line: index + 1,
                        column: source.column(),
                        source,
                    });
                }
            }
        }
        Ok(reading)
    }
}

/// Whether the last line has no end, because whoever wrote it was killed.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

/// Whether a line ends within a character of several bytes.
fn cut_in_a_character(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_err_and(|error| error.error_len().is_none())
}

fn check_finite(entry: &Entry) -> Result<(), LedgerError> {
    use crate::gate::{Evidence, Limit};
    let refuse = |figure: &str, values: &[f64]| match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => {
            Err(LedgerError::NotFinite { run: entry.run.clone(), figure: figure.to_owned(), value })
        }
        None => Ok(()),
    };
    match &entry.event {
        Event::Metric { figure, value, interval, .. } => {
            let (low, high) = interval.unwrap_or((*value, *value));
            refuse(figure, &[*value, low, high])
        }
        Event::Gate(decision) => decision.conditions.iter().try_for_each(|condition| {
            match condition.evidence {
                Evidence::Exact(value) => refuse(&condition.requirement, &[value])?,
                Evidence::Interval { value, low, high } => {
                    refuse(&condition.requirement, &[value, low, high])?;
                }
                Evidence::Missing => {}
            }
            match condition.limit {
                Limit::Below(limit) | Limit::AtMost(limit) | Limit::Above(limit) | Limit::AtLeast(limit) => {
                    refuse(&condition.requirement, &[limit])
                }
                Limit::Unknown => Ok(()),
            }
        }),
        Event::Run { .. } | Event::Stage { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Condition, Evidence, Exhausted, Limit, Progression, Stage};
    use proptest::prelude::*;
    use std::thread;

    pub(super) fn entries() -> Vec<Entry> {
        let details = BTreeMap::from([("recipe".to_owned(), "int4 — \"naïve\"\nzwölf".to_owned())]);
        let interval = Evidence::Interval { value: 10.2, low: 10.0, high: 10.4 };
        let mut plan =
            Progression::new(vec![Stage::new("gptq", &["int4", "int8"])], Exhausted::Stop).unwrap();
        let decision =
            plan.judge(vec![Condition::new("perplexity <= 10.3", Limit::AtMost(10.3), interval)]).unwrap();
        let metric = |value, interval| Event::Metric {
            stage: "gptq".to_owned(),
            figure: "perplexity".to_owned(),
            value,
            interval,
            unit: String::new(),
        };
        [
            Event::Run { status: Status::Started, details: details.clone() },
            Event::Stage { stage: "gptq".to_owned(), status: Status::Reused, details: BTreeMap::new() },
            metric(10.2, Some((10.0, 10.4))),
            metric(0.1 + 0.2, None),
            Event::Gate(decision),
            Event::Run { status: Status::Interrupted, details: BTreeMap::new() },
        ]
        .into_iter()
        .enumerate()
        .map(|(i, event)| Entry::new(1_700_000_000_000 + i as u64, "größe-1", event))
        .collect()
    }

    fn written(directory: &Path) -> (Ledger, Vec<u8>) {
        let ledger = Ledger::new(directory.join("ledger.jsonl"));
        for entry in entries() {
            ledger.append(&entry).unwrap();
        }
        let bytes = fs::read(ledger.path()).unwrap();
        (ledger, bytes)
    }

    #[test]
    fn what_was_appended_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, bytes) = written(directory.path());
        assert_eq!(ledger.read().unwrap(), Reading { entries: entries(), torn_lines: vec![] });
        assert_eq!(bytes.split_inclusive(|&byte| byte == b'\n').count(), entries().len());
        assert_eq!(Ledger::new(directory.path().join("none")).read().unwrap().entries, []);
    }

    #[test]
    fn a_ledger_cut_anywhere_loses_one_line_at_most_and_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, bytes) = written(directory.path());
        for end in 0..bytes.len() {
            fs::write(ledger.path(), &bytes[..end]).unwrap();
            let whole = bytes[..end].split(|&byte| byte == b'\n').count() - 1;
            // All of a line but its end is a whole entry.
            let entire = usize::from(bytes[end] == b'\n');
            let torn = end > 0 && entire == 0 && bytes[end - 1] != b'\n';
            let reading = ledger.read().unwrap();
            assert_eq!(reading.entries, entries()[..whole + entire], "cut at {end}");
            assert_eq!(reading.torn_lines, if torn { vec![whole + 1] } else { vec![] }, "cut at {end}");
        }
        for end in [1, bytes.len() / 2, bytes.len() - 2, bytes.len() - 1] {
            fs::write(ledger.path(), &bytes[..end]).unwrap();
            let before = ledger.read().unwrap();
            ledger.append(&entries()[0]).unwrap();
            let after = ledger.read().unwrap();
            assert_eq!(
                (after.entries.len(), &after.torn_lines),
                (before.entries.len() + 1, &before.torn_lines)
            );
        }
    }

    #[test]
    fn lines_of_several_writers_do_not_mix() {
        const WRITERS: u64 = 4;
        const LINES: u64 = 25;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let ledger = Ledger::new(&path);
                scope.spawn(move || {
                    for line in 0..LINES {
                        let event = Event::Run { status: Status::Started, details: BTreeMap::new() };
                        ledger
                            .append(&Entry::new(line, &"x".repeat(100 * writer as usize + 1), event))
                            .unwrap();
                    }
                });
            }
        });
        let reading = Ledger::new(&path).read().unwrap();
        assert_eq!((reading.entries.len() as u64, reading.torn_lines), (WRITERS * LINES, vec![]));
        for writer in 0..WRITERS {
            let own = reading.entries.iter().filter(|entry| entry.run.len() == 100 * writer as usize + 1);
            assert!(own.map(|entry| entry.unix_ms).eq(0..LINES), "writer {writer} in order");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            // Whatever it says of them, it says so without a panic, and it invents no entry.
            if let Ok(reading) = Ledger::new("bytes").parse(&bytes) {
                prop_assert_eq!(reading.entries, []);
            }
        }
    }

    #[test]
    fn damage_that_is_no_tear_is_named_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, bytes) = written(directory.path());
        let text = String::from_utf8(bytes).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines[1] = r#"{"unix_ms": "soon"}"#;
        fs::write(ledger.path(), lines.join("\n")).unwrap();
        let message = ledger.read().unwrap_err().to_string();
        assert!(message.contains("ledger.jsonl:2:") && message.contains("invalid type"), "{message}");
        let unwritable = Ledger::new(directory.path()).append(&entries()[0]).unwrap_err().to_string();
        assert!(unwritable.contains("cannot be opened"), "{unwritable}");
    }

    #[test]
    fn numbers_that_json_lacks_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, before) = written(directory.path());
        let metric = |value, interval| Event::Metric {
            stage: String::new(),
            figure: "kl_mean".to_owned(),
            value,
            interval,
            unit: String::new(),
        };
        for event in [metric(f64::NAN, None), metric(1.0, Some((0.0, f64::INFINITY)))] {
            let message = ledger.append(&Entry::new(0, "r", event)).unwrap_err().to_string();
            assert!(message.contains("kl_mean"), "{message}");
        }
        assert_eq!(fs::read(ledger.path()).unwrap(), before);
    }
}
