//! Charts as inline SVG, 400 units wide so that their text stays readable on a phone.
//!
//! Colours come from the page's style sheet by class, so that they follow light and dark mode. Whatever comes from a report is
//! escaped; a chart says in words (`title`, `desc`) what it shows.

mod bars;
mod frame;
mod heat;
mod plot;
mod ranges;
mod scale;
mod scatter;
mod stack;

pub use bars::{Bar, bars};
pub use heat::{Heat, heat};
pub use plot::{Plot, PlotLine, PlotPoint};
pub use ranges::{Range, ranges};
pub use scale::{Scale, Unit};
pub use scatter::{Point, Scatter};
pub use stack::{Part, Stack, stacks};

use std::fmt::Write;

/// Width of every chart.
pub(crate) const WIDTH: f64 = 400.0;
/// Width of a character of a label; that of a wide system font in bold at the size that the style sheet sets.
pub(crate) const CHARACTER: f64 = 7.0;

/// Escapes a text for HTML and SVG, attributes included, and drops what XML forbids.
///
/// ```
/// assert_eq!(tenuis_report::escape("<a href='x'>&"), "&lt;a href=&#39;x&#39;&gt;&amp;");
/// ```
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// An SVG under construction.
#[derive(Debug)]
pub(crate) struct Svg {
    body: String,
    height: f64,
    title: String,
    description: String,
}

impl Svg {
    pub(crate) fn new(height: f64, title: &str, description: &str) -> Self {
        Self { body: String::new(), height, title: escape(title), description: escape(description) }
    }

    /// A piece of markup; its texts must be escaped already.
    pub(crate) fn push(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(markup);
    }

    pub(crate) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    /// A text; `anchor` is `start`, `middle` or `end`.
    pub(crate) fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let text = escape(text);
        self.push(format_args!(
            r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#
        ));
    }

    pub(crate) fn finish(self) -> String {
        let Self { body, height, title, description } = self;
        format!(
            r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{title}. {description}">{body}</svg>"#
        )
    }
}
