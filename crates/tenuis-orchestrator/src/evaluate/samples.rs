//! Results of single windows and items: as JSON lines beside the report, and for intervals.

use crate::error::RunError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tenuis_eval::quality::WindowScore;
use tenuis_eval::report::Items;
use tenuis_metrics::Statistic;

/// The directory beside the report that results go to.
const DIRECTORY: &str = "samples";

/// The single results of all models.
#[derive(Debug)]
pub(super) struct Samples<'a>(Vec<ModelSamples<'a>>);

/// The single results of one model.
#[derive(Debug)]
pub(super) struct ModelSamples<'a> {
    windows: &'a [WindowScore],
    /// Every task's value for any draw of its items.
    statistics: BTreeMap<String, Statistic<'static>>,
    /// Every item as a line of JSON, by task.
    lines: BTreeMap<String, String>,
    /// The windows of every harder text, by its name.
    robustness: BTreeMap<String, Vec<WindowScore>>,
}

impl ModelSamples<'_> {
    /// Sets the windows of harder texts.
    pub(super) fn robustness(&mut self, windows: BTreeMap<String, Vec<WindowScore>>) {
        self.robustness = windows;
    }

    /// Adds the items of a task, and its value for any draw of them.
    pub(super) fn add<T: Serialize>(&mut self, task: &str, items: &[T], statistic: Statistic<'static>) {
        self.statistics.insert(task.to_owned(), statistic);
        self.lines.insert(task.to_owned(), lines(items));
    }
}

impl<'a> Samples<'a> {
    pub(super) fn new(windows: &'a [Vec<WindowScore>]) -> Self {
        let of = |windows| ModelSamples {
            windows,
            statistics: BTreeMap::new(),
            lines: BTreeMap::new(),
            robustness: BTreeMap::new(),
        };
        Self(windows.iter().map(|windows| of(windows.as_slice())).collect())
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut ModelSamples<'a>> {
        self.0.iter_mut()
    }

    /// What intervals are drawn from, model by model.
    pub(super) fn items(&self) -> Vec<Items<'_>> {
        self.0
            .iter()
            .map(|of| Items { windows: of.windows, tasks: &of.statistics, robustness: &of.robustness })
            .collect()
    }

    /// Writes `samples/MODEL/perplexity.jsonl` and `samples/MODEL/TASK.jsonl` for every model.
    pub(super) fn write<'n>(&self, out: &Path, names: impl Iterator<Item = &'n str>) -> Result<(), RunError> {
        for (samples, name) in self.0.iter().zip(names) {
            let dir = out.join(DIRECTORY).join(name);
            let file = |path: &Path| {
                let path = path.to_owned();
                move |source| RunError::File { path, source }
            };
            fs::create_dir_all(&dir).map_err(file(&dir))?;
            let windows = [("perplexity", lines(samples.windows))];
            let tasks = samples.lines.iter().map(|(task, text)| (task.as_str(), text.clone()));
            let harder: Vec<(String, String)> = samples
                .robustness
                .iter()
                .map(|(text, windows)| (format!("robustness.{text}"), lines(windows)))
                .collect();
            let harder = harder.iter().map(|(name, text)| (name.as_str(), text.clone()));
            for (task, text) in windows.into_iter().chain(tasks).chain(harder) {
                let path = dir.join(format!("{task}.jsonl"));
                fs::write(&path, text).map_err(file(&path))?;
            }
        }
        Ok(())
    }
}

fn lines<T: Serialize>(items: &[T]) -> String {
    let mut text = String::new();
    for item in items {
        // Plain data with text keys has a form in JSON, and a string has room.
        if let Ok(line) = serde_json::to_string(item) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
