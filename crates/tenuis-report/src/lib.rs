//! Turns the `report.json` of an evaluation into one HTML page (the verdict first, then tables, charts, and how everything was made
//! and measured), or into text for a terminal.
//!
//! The page is a single file. It loads nothing, works without JavaScript (which only sorts the table), follows the reader's light or
//! dark mode, prints, and fits a phone. Whatever comes from the report is escaped; what was not measured is called so. The rules
//! behind the verdict are in `docs/report.md`.
//!
//! ```
//! let json = r#"{
//!     "schema": "tenuis.report/1",
//!     "baseline": { "name": "baseline", "size": { "bytes": 4000 }, "quality": { "perplexity": { "value": 5.0 } } },
//!     "candidates": [
//!         { "name": "int4", "size": { "bytes": 1000 }, "quality": { "perplexity": { "value": 5.1 } } }
//!     ]
//! }"#;
//! let page = tenuis_report::render_str(json)?;
//! assert!(page.starts_with("<!DOCTYPE html>"));
//! assert!(page.contains("Take int4: 4.00× smaller with a slight loss"));
//! # Ok::<(), tenuis_report::ReportError>(())
//! ```
//!
//! | what | where |
//! |---|---|
//! | the page | [`render`], [`render_str`] |
//! | the text for a terminal | [`terminal`](terminal()), [`TerminalOptions`] |
//! | the report's fields | [`Report`] |
//! | the verdict without the page | [`Verdict::of`], [`Grade`], [`Facts`] |
//! | the Pareto front | [`front`](front()), [`dominates`] |
//! | charts as SVG | [`Scatter`], [`Plot`], [`bars`], [`ranges`], [`stacks`], [`heat`], [`Scale`] |

mod chart;
mod compare;
mod data;
mod error;
mod format;
mod front;
mod page;
mod terminal;
mod verdict;

pub use chart::{
    Bar, Heat, Part, Plot, PlotLine, PlotPoint, Point, Range, Scale, Scatter, Stack, Unit, bars, escape,
    heat, ranges, stacks,
};
pub use compare::{CLEAR_ERRORS, Facts, Pace, TaskChange};
pub use data::{
    Arrivals, Bought, Business, Compressed, Compression, CompressionCost, Cost, CurveFit, CurvePoint,
    CurveSample, Difference, Distribution, Elsewhere, Energy, Entry, Environment, Figures, GateCondition,
    GateDecision, Holds, Judgement, Load, LoadResult, Machine, Memory, MemorySplit, Metric, Noise, Operation,
    Perplexity, Profile, Protocol, Quality, Queue, Recovery, Report, Requirement, ResourceCurve, Retention,
    Robustness, SCHEMA, Search, SearchObjective, SearchScenario, SearchScore, Size, Source, Speed,
    SpeedProfile, SpeedProtocol, SpeedUp, Spread, Stage, Start, Starts, Sweep, SweepPoint, SweepRow,
    SweepSkipped, SweepSpeed, Task, Trial, Work,
};
pub use error::{FrontError, ReportError};
pub use format::bytes;
pub use front::{dominates, front};
pub use terminal::{TerminalOptions, terminal};
pub use verdict::{Check, Grade, Line, Pick, Verdict};

/// Makes the page of a report.
///
/// # Errors
/// [`ReportError::Field`] where a field that is needed is missing or one is of the wrong kind, [`ReportError::Schema`] where the form
/// is not [`SCHEMA`].
pub fn render(report: &serde_json::Value) -> Result<String, ReportError> {
    page::page(&Report::from_value(report)?)
}

/// Makes the page of a report that is a text.
///
/// # Errors
/// [`ReportError::Json`] where it is not JSON, otherwise as [`render`].
pub fn render_str(report: &str) -> Result<String, ReportError> {
    page::page(&report.parse()?)
}
