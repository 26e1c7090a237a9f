//! Tables of what matters, split so that none is wider than the terminal.

use super::tree::mark;
use super::{Paper, Tone, clean};
use crate::compare::{Facts, Pace, peak, perplexity};
use crate::data::{Entry, Report, Retention, Speed};
use crate::format::{
    bytes, figure, percent, perplexity as perplexity_text, rate, ratio, seconds, share, shorten,
};
use comfy_table::{Attribute, Cell as TableCell, CellAlignment, Color, ContentArrangement, Table, presets};
use std::collections::BTreeSet;
use tenuis_metrics::Direction::{self, HigherIsBetter, LowerIsBetter};
use unicode_width::UnicodeWidthStr;

/// Names longer than this are cut in tables.
const LONGEST_NAME: usize = 20;
/// Blanks beside a cell: one of its own, and one between columns.
const PADDING: usize = 2;

/// What a column says of one model.
#[derive(Clone, Debug)]
struct Cell {
    text: String,
    value: Option<f64>,
    tone: Tone,
}

/// What a column is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Size,
    Quality,
    Tasks,
    Speed,
}

/// A column.
#[derive(Debug)]
struct Column {
    heading: String,
    /// Columns of one group stay in one table where they can.
    group: Group,
    better: Option<Direction>,
    /// A cell per model.
    cells: Vec<Cell>,
}

impl Cell {
    fn of(value: Option<f64>, words: impl Fn(f64) -> String) -> Self {
        Self { text: value.map_or("–".to_owned(), words), value, tone: Tone::Plain }
    }

    fn marked(mut self, mark: &str, tone: Tone) -> Self {
        if !mark.is_empty() && self.value.is_some() {
            self.text.push_str(mark);
            self.tone = tone;
        }
        self
    }
}

impl Column {
    fn new(group: Group, heading: &str, better: Option<Direction>, cells: Vec<Cell>) -> Self {
        Self { heading: heading.to_owned(), group, better, cells }
    }

    fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.value.is_none())
    }

    /// Marks the best of the candidates, where they differ; the first cell is the baseline's.
    fn mark_best(&mut self) {
        let Some(direction) = self.better else { return };
        let values: Vec<f64> = self.cells.iter().skip(1).filter_map(|cell| cell.value).collect();
        let (low, high) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max));
        let best = if direction == HigherIsBetter { high } else { low };
        if low == high {
            return;
        }
        for cell in self.cells.iter_mut().skip(1).filter(|cell| cell.value == best) {
            cell.text.push_str(" *");
            if cell.tone == Tone::Plain {
                cell.tone = Tone::Good;
            }
        }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| clean(&cell.text).width());
        cells.chain([clean(&self.heading).width()]).max().unwrap_or(0) + PADDING
    }
}

pub(super) fn tables(paper: &mut Paper, report: &Report, facts: &[Facts]) {
    let own = Facts::of(&report.baseline, &report.baseline);
    let models: Vec<(&Entry, &Facts)> =
        std::iter::once((&report.baseline, &own)).chain(report.candidates.iter().zip(facts)).collect();
    let mut columns: Vec<Column> = columns(&models).into_iter().filter(|column| !column.is_empty()).collect();
    columns.iter_mut().for_each(Column::mark_best);
    paper.heading("Comparison");
    lay_out(paper, &models.iter().map(|(entry, _)| entry.name.clone()).collect::<Vec<_>>(), &columns);
    let used =
        |sign: &str| columns.iter().flat_map(|column| &column.cells).any(|cell| cell.text.contains(sign));
    let legend = [
        ("*", "best of the candidates"),
        ("!", "significant loss"),
        ("~", "within the spread of the measurement"),
        ("‡", "less than nine tenths of the speed-up that theory allows"),
    ];
    let legend: Vec<String> = legend
        .into_iter()
        .filter(|(sign, _)| used(sign))
        .map(|(sign, words)| format!("{sign} {words}"))
        .collect();
    if !legend.is_empty() {
        paper.wrapped("", "", &[(Tone::Faint, legend.join("; "))]);
    }
}

fn columns(models: &[(&Entry, &Facts)]) -> Vec<Column> {
    let column = |group, heading: &str, better, cell: &dyn Fn(&Entry, &Facts) -> Cell| {
        Column::new(group, heading, better, models.iter().map(|(entry, facts)| cell(entry, facts)).collect())
    };
    let retention =
        |entry: &Entry, name: &str| entry.figures.as_ref().and_then(|f| f.retention.get(name)).cloned();
    let plain = |value: Option<f64>, words: fn(f64) -> String| Cell::of(value, words);
    let paced = |entry: &Entry, name: &str, pace: Option<Pace>| {
        let up = entry.figures.as_ref().and_then(|figures| figures.speed_up.get(name)).copied();
        let value = up.and_then(|up| up.measured).or(pace.map(|pace| pace.speed_up));
        let short = up.and_then(|up| up.falls_short) == Some(true);
        let unclear = pace.is_some_and(|pace| pace.clear == Some(false) && pace.speed_up != 1.0);
        let cell = Cell::of(value, ratio);
        let cell = cell.marked(if unclear { " ~" } else { "" }, Tone::Faint);
        cell.marked(if short { " ‡" } else { "" }, Tone::Warning)
    };
    let mut all = vec![
        column(Group::Size, "Size", None, &|entry, _| plain(Some(entry.size.bytes as f64), bytes)),
        column(Group::Size, "Ratio", Some(HigherIsBetter), &|_, facts| plain(facts.ratio, ratio)),
        column(Group::Size, "Fraction", None, &|_, facts| plain(facts.fraction, share)),
        column(Group::Size, "Memory", Some(LowerIsBetter), &|entry, _| plain(peak(entry), bytes)),
        column(Group::Quality, "Perplexity", Some(LowerIsBetter), &|entry, _| {
            let found = retention(entry, "perplexity");
            let worse = found.as_ref().and_then(Retention::is_worse) == Some(true);
            let mark = mark(found.as_ref().and_then(Retention::is_significant), worse);
            plain(perplexity(entry), perplexity_text).marked(mark, Tone::Bad)
        }),
        column(Group::Quality, "Kept", None, &|_, facts| plain(facts.retention, percent)),
        column(Group::Quality, "KL", Some(LowerIsBetter), &|_, facts| plain(facts.kl, figure)),
    ];
    let tasks: BTreeSet<&String> =
        models.iter().filter_map(|(entry, _)| entry.quality.as_ref()).flat_map(|q| q.tasks.keys()).collect();
    for name in tasks {
        let of = |entry: &Entry| entry.quality.as_ref().and_then(|q| q.tasks.get(name)).cloned();
        let direction = models.iter().find_map(|(entry, _)| of(entry)?.direction).unwrap_or(HigherIsBetter);
        all.push(column(Group::Tasks, &shorten(name, LONGEST_NAME), Some(direction), &|entry, facts| {
            let judged = facts.tasks.iter().find(|task| task.name == *name);
            let mark = judged.map_or("", |task| mark(task.clear, task.worse));
            let value = of(entry).and_then(|task| task.value);
            let words = |value: f64| if (0.0..=1.0).contains(&value) { share(value) } else { figure(value) };
            Cell::of(value, words).marked(mark, Tone::Bad)
        }));
    }
    let p99 = |entry: &Entry| entry.speed.as_ref()?.decode_step_seconds?.p99;
    all.extend([
        column(Group::Speed, "Decode", Some(HigherIsBetter), &|entry, facts| {
            paced(entry, "decode", facts.decode)
        }),
        column(Group::Speed, "Prefill", Some(HigherIsBetter), &|entry, facts| {
            paced(entry, "prefill", facts.prefill)
        }),
        column(Group::Speed, "Step p99", Some(LowerIsBetter), &|entry, _| plain(p99(entry), seconds)),
    ]);
    all
}

/// The same models on other machines, a table for each.
pub(super) fn elsewhere(paper: &mut Paper, report: &Report) {
    for place in &report.elsewhere {
        let column = |heading: &str, better, of: &dyn Fn(&Entry) -> Option<f64>, words: fn(f64) -> String| {
            let cells = place.models.iter().map(|entry| Cell::of(of(entry), words)).collect();
            Column::new(Group::Speed, heading, Some(better), cells)
        };
        let speed =
            |pick: fn(&Speed) -> Option<f64>| move |entry: &Entry| entry.speed.as_ref().and_then(pick);
        let columns = [
            column("Decoded/s", HigherIsBetter, &speed(|s| s.decode_tokens_per_s), rate),
            column("Prompt/s", HigherIsBetter, &speed(|s| s.prefill_tokens_per_s), rate),
            column("Step p99", LowerIsBetter, &speed(|s| s.decode_step_seconds?.p99), seconds),
            column("Memory", LowerIsBetter, &peak, bytes),
        ];
        let columns: Vec<Column> = columns.into_iter().filter(|column| !column.is_empty()).collect();
        if columns.is_empty() {
            continue;
        }
        paper.heading(&format!("Measured on {}", place.target));
        lay_out(paper, &place.models.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), &columns);
    }
}

/// As many tables as it takes, each with the models' names in front.
fn lay_out(paper: &mut Paper, names: &[String], columns: &[Column]) {
    let name = |name: &String| shorten(&clean(name), LONGEST_NAME);
    let names: Vec<String> = names.iter().map(name).collect();
    let front = names.iter().map(|name| name.width()).chain(["Model".len()]).max().unwrap_or(0) + PADDING;
    let mut rest = columns;
    while !rest.is_empty() {
        let fitting = |columns: &[Column]| {
            let widths = columns.iter().scan(front, |at, column| {
                *at += column.width();
                Some(*at)
            });
            widths.take_while(|wide| *wide <= paper.width).count()
        };
        let mut taken = fitting(rest);
        // A group that does not fit whole goes to the next table, unless that has no room for it either.
        if let Some(cut) = rest.get(taken) {
            let start = rest.iter().position(|column| column.group == cut.group).unwrap_or(taken);
            let whole = rest[start..].iter().take_while(|column| column.group == cut.group).count();
            if start > 0 && fitting(&rest[start..]) >= whole {
                taken = start;
            }
        }
        let taken = taken.max(1);
        let (now, later) = rest.split_at(taken);
        rest = later;
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
        if paper.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let right = |text: &str| TableCell::new(clean(text)).set_alignment(CellAlignment::Right);
        let headings = now.iter().map(|column| right(&column.heading).add_attribute(Attribute::Bold));
        table.set_header(
            std::iter::once(TableCell::new("Model").add_attribute(Attribute::Bold)).chain(headings),
        );
        for (index, name) in names.iter().enumerate() {
            let cells = now.iter().filter_map(|column| column.cells.get(index)).map(|cell| {
                let shown = right(&cell.text);
                match cell.tone {
                    Tone::Good => shown.fg(Color::Green),
                    Tone::Bad => shown.fg(Color::Red),
                    Tone::Warning => shown.fg(Color::Yellow),
                    Tone::Faint => shown.add_attribute(Attribute::Dim),
                    Tone::Strong => shown.add_attribute(Attribute::Bold),
                    Tone::Plain => shown,
                }
            });
            table.add_row(std::iter::once(TableCell::new(name)).chain(cells));
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 1));
        });
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        // Rules between rows say nothing: those above each table and below the last are enough.
        let rule = |line: &str| line.chars().all(|c| c == '─');
        let inner = 1..lines.len().saturating_sub(usize::from(rest.is_empty()));
        for (_, line) in lines.iter().enumerate().filter(|(at, line)| !(inner.contains(at) && rule(line))) {
            paper.text.push_str(line);
            paper.end();
        }
    }
}
