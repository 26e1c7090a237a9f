//! `tenuis report`.

use super::print;
use crate::args::ReportArgs;
use crate::exit::Failure;
use tenuis_eval::report::Report;
use tenuis_orchestrator::write_report;

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let path = args.dir.join("report.json");
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::input(&path, e))?;
    let report: Report = serde_json::from_str(&text).map_err(|e| Failure::input(&path, e))?;
    write_report(&report, &args.dir)?;
    print(&format!("{}: report.md and report.html written\n", args.dir.display()))
}
