//! The parts that sections of the page are made of: charts, and tables of a quantity per row and a model per column.

use super::charts::Chart;
use crate::data::{Entry, Report};
use serde::Serialize;

/// A section with its heading.
#[derive(Debug, Default, Serialize)]
pub(super) struct Section {
    /// What links lead to.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// How to read it.
    pub(super) intro: String,
    /// What the reader must not miss.
    pub(super) notes: Vec<String>,
    /// What is to be known first, label and words.
    pub(super) summary: Vec<(&'static str, String)>,
    pub(super) charts: Vec<Chart>,
    pub(super) matrices: Vec<Matrix>,
    /// Tables that are folded away.
    pub(super) more: Vec<Matrix>,
}

impl Section {
    pub(super) fn new(id: &'static str, title: &str, intro: impl Into<String>) -> Self {
        Self { id, title: title.to_owned(), intro: intro.into(), ..Self::default() }
    }

    /// The section with charts, or none where there are none.
    pub(super) fn of_charts(mut self, charts: Vec<Chart>) -> Option<Self> {
        self.charts = charts;
        self.unless_empty()
    }

    /// The section, or none where there is nothing in it.
    pub(super) fn unless_empty(self) -> Option<Self> {
        let Self { notes, summary, charts, matrices, more, .. } = &self;
        let tables = !matrices.is_empty() || !more.is_empty();
        let empty = notes.is_empty() && summary.is_empty() && charts.is_empty() && !tables;
        (!empty).then_some(self)
    }
}

/// A table.
#[derive(Debug, Serialize)]
pub(super) struct Matrix {
    pub(super) title: String,
    pub(super) caption: String,
    /// What rows are.
    pub(super) corner: &'static str,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Whether one column's cells are of one quantity, so that sorting by it means something.
    pub(super) sortable: bool,
}

/// A row of it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) cells: Vec<Cell>,
}

/// A cell.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) detail: String,
    /// `good`, `bad`, `even` or `missing`.
    pub(super) tone: &'static str,
    /// `bar`, `part` or `heat`, where `level` is to be seen; `flag` where the last line is to be seen.
    pub(super) shade: &'static str,
    /// 0 to 1.
    pub(super) level: Option<f64>,
    pub(super) sort: Option<f64>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, detail: String::new(), tone: "even", shade: "", level: None, sort: None }
    }

    /// What stands where nothing was measured.
    pub(super) fn missing() -> Self {
        Self { tone: "missing", ..Self::new("–") }
    }

    /// A value in the words of its kind.
    pub(super) fn of(value: Option<f64>, words: impl Fn(f64) -> String) -> Self {
        value.map_or_else(Self::missing, |value| Self { sort: Some(value), ..Self::new(words(value)) })
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn tone(mut self, tone: &'static str) -> Self {
        self.tone = tone;
        self
    }

    /// A bar behind the text as long as the level, 0 to 1.
    pub(super) fn bar(mut self, level: f64) -> Self {
        (self.shade, self.level) = ("bar", Some(level.clamp(0.0, 1.0)));
        self
    }

    /// A bar for a share of which no end is a loss.
    pub(super) fn part(self, level: f64) -> Self {
        Self { shade: "part", ..self.bar(level) }
    }

    /// Marks the last line of the detail.
    pub(super) fn flag(mut self) -> Self {
        self.shade = "flag";
        self
    }

    /// A colour behind the text as strong as the level, 0 to 1.
    pub(super) fn heat(mut self, level: f64) -> Self {
        (self.shade, self.level) = ("heat", Some(level.clamp(0.0, 1.0)));
        self
    }

    pub(super) fn is_missing(&self) -> bool {
        self.tone == "missing"
    }
}

impl Matrix {
    /// A table with a model per column; rows without any value are left out, and so is a table without any row.
    pub(super) fn of_models<'a>(
        title: &str,
        caption: impl Into<String>,
        corner: &'static str,
        models: impl Iterator<Item = &'a Entry>,
        rows: Vec<Row>,
    ) -> Option<Self> {
        let rows: Vec<Row> = rows.into_iter().filter(|row| !row.cells.iter().all(Cell::is_missing)).collect();
        let columns = models.map(|entry| entry.name.clone()).collect();
        let (title, caption) = (title.to_owned(), caption.into());
        (!rows.is_empty()).then_some(Self { title, caption, corner, columns, rows, sortable: false })
    }
}

/// A row with a cell per model.
pub(super) fn row<'a>(
    label: impl Into<String>,
    models: impl Iterator<Item = &'a Entry>,
    cell: impl Fn(&Entry) -> Cell,
) -> Row {
    Row { label: label.into(), cells: models.map(cell).collect() }
}

/// The baseline and the candidates.
pub(super) fn models(report: &Report) -> impl Iterator<Item = &Entry> {
    std::iter::once(&report.baseline).chain(&report.candidates)
}
