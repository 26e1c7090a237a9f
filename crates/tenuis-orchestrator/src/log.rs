//! The ledger of a run: what was begun, reused, finished and decided, as it happens.

use crate::error::RunError;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tenuis_plan::gate::Decision;
use tenuis_plan::ledger::{Entry, Event, Ledger, Status};

/// The file of a ledger in the directory that a run writes to.
pub const LEDGER_FILE: &str = "ledger.jsonl";

/// A run's way into the ledger; nothing is written where there is none.
#[derive(Clone, Debug, Default)]
pub struct RunLog {
    ledger: Option<(Ledger, String)>,
}

impl RunLog {
    /// Begins a run in the ledger of a directory, under a name that no other run there has.
    ///
    /// # Errors
    /// [`RunError::Ledger`].
    pub fn begin(dir: &Path, details: BTreeMap<String, String>) -> Result<Self, RunError> {
        let ledger = Ledger::new(dir.join(LEDGER_FILE));
        let entries = ledger.read()?.entries;
        let numbers = entries.iter().filter_map(|entry| entry.run.strip_prefix("run-")?.parse::<u64>().ok());
        let number = numbers.max().unwrap_or_default() + 1;
        let log = Self { ledger: Some((ledger, format!("run-{number}"))) };
        log.put(Event::Run { status: Status::Started, details })?;
        Ok(log)
    }

    /// The run's name, where there is a ledger.
    pub fn run(&self) -> Option<&str> {
        self.ledger.as_ref().map(|(_, run)| run.as_str())
    }

    /// Says how the run ended.
    ///
    /// # Errors
    /// [`RunError::Ledger`].
    pub fn end(&self, status: Status, details: BTreeMap<String, String>) -> Result<(), RunError> {
        self.put(Event::Run { status, details })
    }

    pub(crate) fn stage(
        &self,
        stage: &str,
        status: Status,
        details: &[(&str, &str)],
    ) -> Result<(), RunError> {
        let details = details.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.put(Event::Stage { stage: stage.to_owned(), status, details })
    }

    pub(crate) fn gate(&self, decision: Decision) -> Result<(), RunError> {
        self.put(Event::Gate(decision))
    }

    pub(crate) fn metric(
        &self,
        stage: &str,
        figure: &str,
        value: f64,
        interval: Option<(f64, f64)>,
        unit: &str,
    ) -> Result<(), RunError> {
        let finite = value.is_finite() && interval.is_none_or(|(a, b)| a.is_finite() && b.is_finite());
        if !finite {
            return Ok(());
        }
        let (stage, figure, unit) = (stage.to_owned(), figure.to_owned(), unit.to_owned());
        self.put(Event::Metric { stage, figure, value, interval, unit })
    }

    fn put(&self, event: Event) -> Result<(), RunError> {
        let Some((ledger, run)) = &self.ledger else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        Ok(ledger.append(&Entry::new(now, run, event))?)
    }
}
