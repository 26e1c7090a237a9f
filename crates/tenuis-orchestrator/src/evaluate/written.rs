//! Reports on disk.

use crate::error::RunError;
use crate::whole_file;
use std::path::Path;
use tenuis_eval::report::Report;

/// Writes `report.json`, `report.md` and `report.html` into a directory, each whole or not at all.
///
/// # Errors
/// [`RunError::File`], [`RunError::Page`].
pub fn write_report(report: &Report, out: &Path) -> Result<(), RunError> {
    let file = |name: &str| {
        let path = out.join(name);
        move |source: std::io::Error| RunError::File { path, source }
    };
    let value = serde_json::to_value(report).map_err(|e| file("report.json")(e.into()))?;
    let json = serde_json::to_string_pretty(&value).map_err(|e| file("report.json")(e.into()))?;
    let html = tenuis_report::render(&value).map_err(RunError::Page)?;
    for (name, text) in
        [("report.json", json + "\n"), ("report.md", report.to_markdown()), ("report.html", html)]
    {
        whole_file::write(&out.join(name), text.as_bytes())?;
    }
    Ok(())
}
