//! What gates decided while candidates were made.

use super::section::{Cell, Matrix, Row, Section};
use crate::data::{Entry, GateDecision, Report};

pub(super) fn section(report: &Report) -> Option<Section> {
    let table = |entry: &Entry| {
        let decisions = &entry.compression.as_ref()?.decisions;
        let decided = |(index, decision): (usize, &GateDecision)| {
            let next = decision.next_rung.as_deref().map(|rung| format!("next: {rung}"));
            let (text, tone) = decision_words(decision.action.as_deref());
            let rung = decision.rung.clone().unwrap_or_default();
            let conditions: Vec<String> = decision
                .conditions
                .iter()
                .map(|condition| format!("{} {}", verdict_sign(condition.verdict.as_deref()), condition.text))
                .collect();
            Row {
                label: format!("{}. {}", index + 1, decision.stage),
                cells: vec![
                    Cell::new(rung).detail(decision.group.clone().unwrap_or_default()),
                    Cell::new(text).tone(tone).detail(next.unwrap_or_default()),
                    Cell::new(decision.reason.clone().unwrap_or_default()),
                    Cell::new("").detail(conditions.join("\n")),
                ],
            }
        };
        let rows: Vec<Row> = decisions.iter().enumerate().map(decided).collect();
        (!rows.is_empty()).then(|| Matrix {
            title: entry.name.clone(),
            caption: String::new(),
            corner: "Stage",
            columns: ["Rung", "Decision", "Why", "Conditions"].map(str::to_owned).to_vec(),
            rows,
            sortable: false,
        })
    };
    let mut section = Section::new(
        "gates",
        "Gates",
        "What was held against the conditions of the recipe after each stage, in order. An estimate passes only with its whole interval, \
         and what was not measured never does.",
    );
    section.matrices = report.candidates.iter().filter_map(table).collect();
    section.unless_empty()
}

/// What became of an attempt, and how it looks.
pub(crate) fn decision_words(action: Option<&str>) -> (&'static str, &'static str) {
    match action {
        Some("accept") => ("kept", "good"),
        Some("next_rung") => ("rolled back, next rung", "bad"),
        Some("skip") => ("rolled back, stage left out", "bad"),
        Some("stop") => ("rolled back, recipe ended", "bad"),
        _ => ("not recorded", "missing"),
    }
}

/// The sign of a condition.
pub(crate) fn verdict_sign(verdict: Option<&str>) -> &'static str {
    match verdict {
        Some("holds") => "✓",
        Some("broken") => "✗",
        _ => "?",
    }
}
