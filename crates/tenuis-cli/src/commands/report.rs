//! `tenuis report`.

use super::eval::shown;
use super::print;
use crate::args::ReportArgs;
use crate::exit::Failure;
use serde::de::DeserializeOwned;
use std::path::Path;
use tenuis_eval::report::{Measurement, Report};
use tenuis_orchestrator::write_report;

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let mut report: Report = read(&args.dir.join("report.json"))?;
    for path in &args.merge {
        let measurement: Measurement = read(path)?;
        report.merge_measurement(measurement, args.force).map_err(|e| Failure::input(path, e))?;
    }
    for dir in &args.with {
        let path = dir.join("report.json");
        let other: Report = read(&path)?;
        report.merge_candidates(other, args.force).map_err(|e| Failure::input(&path, e))?;
    }
    // Of a report that an older version wrote, too.
    report.recompute();
    write_report(&report, &args.dir)?;
    print(&format!(
        "{}\n{}: report.json, report.md and report.html written\n",
        shown(&report)?,
        args.dir.display()
    ))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::input(path, e))?;
    serde_json::from_str(&text).map_err(|e| Failure::input(path, e))
}
