//! JSON lines, and which layout they have.

use super::{ItemProblem, Layout, TaskError};
use serde_json::{Map, Value};
use std::path::Path;

/// One line of a task.
#[derive(Debug)]
pub(super) struct Line<'a> {
    path: &'a Path,
    number: usize,
    layout: Layout,
    object: Map<String, Value>,
}

/// Parses every line that is not blank; the first one's keys say the layout.
pub(super) fn read<'a>(path: &'a Path, text: &str) -> Result<(Layout, Vec<Line<'a>>), TaskError> {
    let (mut found, mut lines) = (None, Vec::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let refused = |problem| TaskError::Item { path: path.to_owned(), line: number, problem };
        let object = match serde_json::from_str(line) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(refused(ItemProblem::NotObject)),
            Err(e) => return Err(refused(ItemProblem::NotJson { problem: e.to_string() })),
        };
        let layout = match found {
            Some(layout) => layout,
            None => layout_of(&object).ok_or_else(|| refused(ItemProblem::NoLayout))?,
        };
        found = Some(layout);
        lines.push(Line { path, number, layout, object });
    }
    found.map(|layout| (layout, lines)).ok_or_else(|| TaskError::Empty { path: path.to_owned() })
}

/// The layout that an object's keys mean, even where one of them is missing.
fn layout_of(object: &Map<String, Value>) -> Option<Layout> {
    let has = |key| object.contains_key(key);
    if has("choices") {
        Some(Layout::MultipleChoice)
    } else if has("question") {
        Some(Layout::WorkedProblems)
    } else {
        has("text").then_some(Layout::LastWord)
    }
}

impl Line<'_> {
    /// The text of a key.
    pub(super) fn text(&self, key: &'static str) -> Result<&str, ItemProblem> {
        self.object.get(key).and_then(Value::as_str).ok_or_else(|| self.expected(key, "a text"))
    }

    /// The texts of a key.
    pub(super) fn texts(&self, key: &'static str) -> Result<Vec<&str>, ItemProblem> {
        let list = self.object.get(key).and_then(Value::as_array);
        let texts: Option<Vec<&str>> = list.and_then(|list| list.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| self.expected(key, "a list of texts"))
    }

    /// The index that a key holds.
    pub(super) fn index(&self, key: &'static str) -> Result<u64, ItemProblem> {
        let index = self.object.get(key).and_then(Value::as_u64);
        index.ok_or_else(|| self.expected(key, "the index of a choice, counted from 0"))
    }

    /// The error that names this line.
    pub(super) fn refused(&self, problem: ItemProblem) -> TaskError {
        TaskError::Item { path: self.path.to_owned(), line: self.number, problem }
    }

    fn expected(&self, key: &'static str, expected: &'static str) -> ItemProblem {
        ItemProblem::Key { key, expected, layout: self.layout }
    }
}
