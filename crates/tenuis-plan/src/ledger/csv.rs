//! The ledger as a table for spreadsheets.

use super::{Entry, Event, LedgerError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// A row; cells that an event does not have are empty.
#[derive(Default, Serialize)]
struct Row<'a> {
    unix_ms: u64,
    run: &'a str,
    event: &'static str,
    stage: &'a str,
    /// Of a metric the figure, of a gate the rung.
    name: &'a str,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    unit: &'a str,
    /// How far a run or stage is, or what a gate did.
    outcome: &'static str,
    /// Why, or `key=value` pairs.
    detail: String,
}

/// Writes entries as CSV with a header, one row each (RFC 4180).
///
/// # Errors
///
/// [`LedgerError::Csv`] if the writer fails.
///
/// ```
/// use tenuis_plan::ledger::{Entry, Event, Status, write_csv};
/// let event = Event::Run { status: Status::Started, details: [("recipe".to_owned(), "int4".to_owned())].into() };
/// let mut csv = Vec::new();
/// write_csv(&[Entry::new(7, "first", event)], &mut csv)?;
/// assert!(String::from_utf8_lossy(&csv).ends_with("7,first,run,,,,,,,started,recipe=int4\n"));
/// # Ok::<(), tenuis_plan::ledger::LedgerError>(())
/// ```
pub fn write_csv<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    writer: impl Write,
) -> Result<(), LedgerError> {
    let csv = |source| LedgerError::Csv { source };
    let mut table = csv::WriterBuilder::new().has_headers(false).from_writer(writer);
    // Written by hand, so that a ledger without entries has a header too.
    let header =
        ["unix_ms", "run", "event", "stage", "name", "value", "low", "high", "unit", "outcome", "detail"];
    table.write_record(header).map_err(csv)?;
    for entry in entries {
        table.serialize(row(entry)).map_err(csv)?;
    }
    table.flush().map_err(|source| csv(source.into()))
}

fn row(entry: &Entry) -> Row<'_> {
    let row = Row { unix_ms: entry.unix_ms, run: &entry.run, ..Row::default() };
    match &entry.event {
        Event::Run { status, details } => {
            Row { event: "run", outcome: status.name(), detail: pairs(details), ..row }
        }
        Event::Stage { stage, status, details } => {
            Row { event: "stage", stage, outcome: status.name(), detail: pairs(details), ..row }
        }
        Event::Metric { stage, figure, value, interval, unit } => {
            let (low, high) = interval.unzip();
            Row { event: "metric", stage, name: figure, value: Some(*value), low, high, unit, ..row }
        }
        Event::Gate(decision) => {
            let outcome = decision.action.name();
            let (stage, name) = (&decision.attempt.stage, &decision.attempt.rung);
            Row { event: "gate", stage, name, outcome, detail: decision.reason.clone(), ..row }
        }
    }
}

fn pairs(details: &BTreeMap<String, String>) -> String {
    details.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::entries;

    #[test]
    fn every_kind_of_entry_is_a_row_that_reads_back() {
        let mut bytes = Vec::new();
        write_csv(&entries(), &mut bytes).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        assert_eq!(reader.headers().unwrap().len(), 11);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let cells = |row: usize, cells: [usize; 3]| cells.map(|cell| rows[row][cell].to_owned());
        assert_eq!(rows.len(), entries().len());
        assert_eq!(cells(0, [2, 9, 10]), ["run", "started", "recipe=int4 — \"naïve\"\nzwölf"]);
        assert_eq!(cells(1, [2, 3, 9]), ["stage", "gptq", "reused"]);
        assert_eq!(cells(2, [5, 6, 7]), ["10.2", "10.0", "10.4"]);
        assert_eq!(cells(3, [5, 6, 7]), ["0.30000000000000004", "", ""]);
        assert_eq!(cells(4, [3, 4, 9]), ["gptq", "int4", "next_rung"]);
        assert!(rows[4][10].contains("10.4"));
    }

    #[test]
    fn a_ledger_without_entries_has_a_header() {
        let mut bytes = Vec::new();
        write_csv(&[], &mut bytes).unwrap();
        assert!(String::from_utf8(bytes).unwrap().starts_with("unix_ms,run,"));
    }
}
