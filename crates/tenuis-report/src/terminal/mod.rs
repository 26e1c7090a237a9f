//! A report as text for a terminal: the verdict, a tree of what every candidate gained and lost, and narrow tables.

mod notes;
mod planning;
mod tables;
mod tree;

use crate::compare::Facts;
use crate::data::Report;
use crate::error::ReportError;
use crate::verdict::Verdict;
use anstyle::{AnsiColor, Style};
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// The width for which lines are laid out where none is given.
const USUAL_WIDTH: u16 = 80;
/// Narrower terminals get lines of this width: below it no table is readable.
const NARROWEST: u16 = 40;

/// How text for a terminal is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TerminalOptions {
    /// Whether to colour it with ANSI escape sequences. What colour says is also said in signs.
    pub colour: bool,
    /// Columns of the terminal; 80 where absent.
    pub width: Option<u16>,
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Good,
    Bad,
    Warning,
    Faint,
}

/// Text under construction.
#[derive(Debug)]
struct Paper {
    text: String,
    colour: bool,
    width: usize,
}

/// Writes a report for a terminal.
///
/// The verdict comes first, then a tree (the model, its candidates, what each gained and lost, and whether it meets the
/// requirements), tables of what matters as wide as the terminal allows, and notes. `*` marks the best value of a column, `!` a
/// significant loss, `~` a change within the spread of the measurement, and `‡` a speed-up that stays below nine tenths of what
/// theory allows.
///
/// ```
/// use tenuis_report::{TerminalOptions, terminal};
/// let report = serde_json::json!({
///     "schema": "tenuis.report/1",
///     "baseline": { "name": "baseline", "size": { "bytes": 4000 }, "quality": { "perplexity": { "value": 5.0 } } },
///     "candidates": [
///         { "name": "int4", "size": { "bytes": 1000 }, "quality": { "perplexity": { "value": 5.1 } } }
///     ]
/// });
/// let text = terminal(&report, TerminalOptions::default())?;
/// assert!(text.contains("└─ int4"));
/// assert!(text.contains("4.00× smaller (fraction 25.00 %)"));
/// # Ok::<(), tenuis_report::ReportError>(())
/// ```
///
/// # Errors
/// [`ReportError::Field`] where a field that is needed is missing or one is of the wrong kind, [`ReportError::Schema`] where the form
/// is not [`SCHEMA`](crate::SCHEMA).
pub fn terminal(report: &serde_json::Value, options: TerminalOptions) -> Result<String, ReportError> {
    let report = Report::from_value(report)?;
    let facts: Vec<Facts> = report.candidates.iter().map(|c| Facts::of(&report.baseline, c)).collect();
    let verdict = Verdict::of(&report);
    let width = usize::from(options.width.unwrap_or(USUAL_WIDTH).max(NARROWEST));
    let mut paper = Paper { text: String::new(), colour: options.colour, width };
    notes::alarm(&mut paper, &report);
    paper.wrapped("", "", &[(Tone::Strong, verdict.headline.clone())]);
    paper.blank();
    tree::tree(&mut paper, &report, &facts, &verdict);
    planning::search(&mut paper, &report);
    tables::tables(&mut paper, &report, &facts);
    planning::planning(&mut paper, &report);
    tables::elsewhere(&mut paper, &report);
    notes::notes(&mut paper, &report, &verdict);
    Ok(paper.text)
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| colour.on_default();
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Good => colour(AnsiColor::Green),
            Self::Bad => colour(AnsiColor::Red),
            Self::Warning => colour(AnsiColor::Yellow).bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

impl Paper {
    /// Adds a piece to the line that is being written.
    fn push(&mut self, tone: Tone, text: &str) {
        let text = clean(text);
        if self.colour && tone != Tone::Plain {
            let style = tone.style();
            // Writing to a string cannot fail.
            let _ = write!(self.text, "{style}{text}{style:#}");
        } else {
            self.text.push_str(&text);
        }
    }

    /// Ends the line without blanks at its end.
    fn end(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }

    /// Leaves a line free.
    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn heading(&mut self, title: &str) {
        self.blank();
        self.push(Tone::Strong, title);
        self.end();
    }

    /// Writes pieces that are broken between words where the line is full; `first` stands before the first line, `rest` before
    /// the others.
    fn wrapped(&mut self, first: &str, rest: &str, pieces: &[(Tone, String)]) {
        self.push(Tone::Faint, first);
        let mut at = first.width();
        let mut fresh = true;
        for (tone, piece) in pieces {
            // Words are coloured one by one, so that no escape sequence spans a break.
            // Unbreakable blanks stay within words.
            for word in piece.split(' ').filter(|word| !word.is_empty()) {
                let word = clean(word);
                let wide = word.width();
                if !fresh && at + 1 + wide > self.width {
                    self.end();
                    self.push(Tone::Faint, rest);
                    (at, fresh) = (rest.width(), true);
                }
                if !fresh {
                    self.text.push(' ');
                    at += 1;
                }
                self.push(*tone, &word);
                at += wide;
                fresh = false;
            }
        }
        self.end();
    }
}

/// A text without what would move the cursor or change colours, with plain blanks, so that one can search for it.
fn clean(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{a0}' | '\u{202f}' => ' ',
        // Characters that change the direction of writing are as good as control characters in a terminal.
        c if c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c) =>
        {
            '\u{fffd}'
        }
        c => c,
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n1\u{a0}%"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}1 %");
    }

    #[test]
    fn lines_break_between_words() {
        let mut paper = Paper { text: String::new(), colour: false, width: 12 };
        paper.wrapped("- ", "  ", &[(Tone::Plain, "one two".into()), (Tone::Bad, "three".into())]);
        assert_eq!(paper.text, "- one two\n  three\n");
    }
}
