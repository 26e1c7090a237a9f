//! What a ledger says of each run.

use super::{Entry, Event, Status};
use std::collections::BTreeMap;

/// Sums up a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// When its first entry was made, in milliseconds since 1970-01-01 UTC.
    pub began_ms: u64,
    /// How it ended; `"unfinished"` where it did not say, because it was killed or still runs.
    pub state: &'static str,
    /// Seconds from its first entry to its last.
    pub seconds: f64,
    /// Stages that it finished.
    pub stages_run: usize,
    /// Stages whose results it took from an earlier run.
    pub stages_reused: usize,
    /// What it was asked for and what it came to.
    pub details: BTreeMap<String, String>,
}

impl Status {
    /// Names it as the ledger does.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Reused => "reused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Sums up every run of a ledger, in the order in which they began.
///
/// ```
/// use tenuis_plan::ledger::{Entry, Event, Status, summaries};
/// let run = |ms, status| Entry::new(ms, "run-1", Event::Run { status, details: Default::default() });
/// let found = summaries(&[run(1000, Status::Started), run(3500, Status::Finished)]);
/// assert_eq!((found[0].state, found[0].seconds), ("finished", 2.5));
/// assert_eq!(summaries(&[run(1, Status::Started)])[0].state, "unfinished");
/// ```
pub fn summaries(entries: &[Entry]) -> Vec<RunSummary> {
    let mut found: Vec<RunSummary> = Vec::new();
    for entry in entries {
        let known = found.iter().position(|summary| summary.run == entry.run);
        let index = known.unwrap_or(found.len());
        if known.is_none() {
            found.push(RunSummary {
                run: entry.run.clone(),
                began_ms: entry.unix_ms,
                state: "unfinished",
                seconds: 0.0,
                stages_run: 0,
                stages_reused: 0,
                details: BTreeMap::new(),
            });
        }
        let summary = &mut found[index];
        summary.seconds = entry.unix_ms.saturating_sub(summary.began_ms) as f64 / 1e3;
        match &entry.event {
            Event::Run { status, details } => {
                summary.details.extend(details.clone());
                if *status != Status::Started {
                    summary.state = status.name();
                }
            }
            Event::Stage { status: Status::Finished, .. } => summary.stages_run += 1,
            Event::Stage { status: Status::Reused, .. } => summary.stages_reused += 1,
            _ => {}
        }
    }
    found
}
