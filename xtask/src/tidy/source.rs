//! Splits Rust source into code, comments and string contents, line by line.

use super::is_test_file;
use cargo_metadata::camino::Utf8Path;

/// One line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The code, with comments left out and string and character literals emptied.
    pub(crate) code: String,
    /// The text of comments, markers left out.
    pub(crate) comment: String,
    /// Whether the comment is documentation (`///`, `//!`, `/**`, `/*!`).
    pub(crate) doc: bool,
    /// Whether the line belongs to a test.
    pub(crate) test: bool,
}

/// A Rust file, taken apart.
pub(crate) struct Source {
    /// Its lines, in order.
    pub(crate) lines: Vec<Line>,
}

/// Where the scanner is; what it depends on may span lines.
#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    BlockComment { depth: usize, doc: bool },
    Text { hashes: Option<usize> },
}

impl Source {
    /// Takes a file apart. `path` says whether all of it is a test.
    pub(crate) fn scan(path: &Utf8Path, text: &str) -> Self {
        let mut lines = split(text);
        if is_test_file(path) || lines.iter().any(|line| line.code.contains("#![cfg(test)]")) {
            mark(&mut lines);
        } else {
            mark_tests(&mut lines);
        }
        Self { lines }
    }
}

fn split(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let mut lines = Vec::new();
    let mut line = Line::default();
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '\n' {
            lines.push(std::mem::take(&mut line));
            match state {
                State::LineComment => state = State::Code,
                State::BlockComment { doc, .. } => line.doc = doc,
                State::Code | State::Text { .. } => {}
            }
            at += 1;
            continue;
        }
        match state {
            State::Code if starts(at, "//") => {
                line.doc |= (starts(at, "///") && !starts(at, "////")) || starts(at, "//!");
                state = State::LineComment;
                at += if line.doc { 3 } else { 2 };
            }
            State::Code if starts(at, "/*") => {
                let doc =
                    (starts(at, "/**") && !starts(at, "/***") && !starts(at, "/**/")) || starts(at, "/*!");
                line.doc |= doc;
                state = State::BlockComment { depth: 1, doc };
                at += 2;
            }
            State::Code if c == '"' => {
                line.code.push('"');
                state = State::Text { hashes: raw_hashes(&chars[..at]) };
                at += 1;
            }
            State::Code if c == '\'' => at = skip_character(&chars, at, &mut line.code),
            State::Code => {
                line.code.push(c);
                at += 1;
            }
            State::BlockComment { depth, doc } if starts(at, "*/") => {
                state = match depth {
                    1 => State::Code,
                    _ => State::BlockComment { depth: depth - 1, doc },
                };
                at += 2;
            }
            State::BlockComment { depth, doc } if starts(at, "/*") => {
                state = State::BlockComment { depth: depth + 1, doc };
                at += 2;
            }
            State::LineComment | State::BlockComment { .. } => {
                line.comment.push(c);
                at += 1;
            }
            // An escaped newline still ends the line: only the backslash is skipped then.
            State::Text { hashes: None } if c == '\\' => {
                at += if chars.get(at + 1) == Some(&'\n') { 1 } else { 2 };
            }
            State::Text { hashes } => {
                let hashes = hashes.unwrap_or(0);
                if c == '"' && chars[at + 1..].iter().take(hashes).filter(|&&h| h == '#').count() == hashes {
                    line.code.push('"');
                    state = State::Code;
                    at += hashes;
                }
                at += 1;
            }
        }
    }
    if line != Line::default() {
        lines.push(line);
    }
    lines
}

/// The number of `#` of the raw string whose opening quote follows `before`, or `None` for an ordinary string.
fn raw_hashes(before: &[char]) -> Option<usize> {
    let hashes = before.iter().rev().take_while(|&&c| c == '#').count();
    let prefix = &before[..before.len() - hashes];
    let word: String = prefix.iter().rev().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
    matches!(word.as_str(), "r" | "rb" | "rc").then_some(hashes)
}

/// Steps over a character literal, or over the quote of a lifetime, and returns the next position.
fn skip_character(chars: &[char], at: usize, code: &mut String) -> usize {
    code.push('\'');
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            // The character after the backslash may itself be a quote.
            let close = chars.iter().skip(at + 3).position(|&c| c == '\'');
            close.map_or(chars.len(), |n| at + 3 + n + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Marks each item that follows `#[cfg(test)]`, to its closing brace or semicolon.
fn mark_tests(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        let code = &lines[at].code;
        if let Some(column) = ["#[cfg(test)]", "#[cfg(all(test,"].iter().find_map(|mark| code.find(mark)) {
            let end = item_end(lines, at, column);
            mark(&mut lines[at..=end]);
            at = end;
        }
        at += 1;
    }
}

fn mark(lines: &mut [Line]) {
    for line in lines {
        line.test = true;
    }
}

/// The line on which the item that starts at a column of a line ends.
fn item_end(lines: &[Line], first: usize, column: usize) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (number, line) in lines.iter().enumerate().skip(first) {
        let code = if number == first { &line.code[column..] } else { line.code.as_str() };
        for c in code.chars() {
            match c {
                '[' | '(' => brackets += 1,
                ']' | ')' => brackets = brackets.saturating_sub(1),
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return number;
                    }
                }
                ';' if braces == 0 && brackets == 0 => return number,
                _ => {}
            }
        }
    }
    lines.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<Line> {
        Source::scan(Utf8Path::new("src/lib.rs"), text).lines
    }

    #[test]
    fn strings_and_characters_are_emptied() {
        let lines = scan(
            "let a = \"// no \\\" comment\"; // yes\nlet b = r#\"x \" y\"#; let c = '\"'; let d = '\\'';",
        );
        assert_eq!(lines[0].code, "let a = \"\"; ");
        assert_eq!(lines[0].comment, " yes");
        assert_eq!(lines[1].code, "let b = r#\"\"; let c = '; let d = ';");
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(scan("fn f<'a>(x: &'a str) {} // end")[0].code, "fn f<'a>(x: &'a str) {} ");
    }

    #[test]
    fn strings_and_comments_span_lines() {
        let lines = scan("a(\"one\ntwo // three\n\");\n/* four\n/* five */ six\n*/ b();");
        assert_eq!(
            lines.iter().map(|l| l.code.trim()).collect::<Vec<_>>(),
            ["a(\"", "", "\");", "", "", "b();"]
        );
        assert_eq!(lines[4].comment.trim(), "five  six");
        assert!(lines.iter().all(|line| !line.doc));
    }

    #[test]
    fn documentation_is_told_from_comments() {
        let doc: Vec<_> =
            scan("/// a\n//! b\n// c\n//// d\n/** e\nf */\n/* g */\nh();").iter().map(|l| l.doc).collect();
        assert_eq!(doc, [true, true, false, false, true, true, false, false]);
    }

    #[test]
    fn tests_end_where_their_item_ends() {
        let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod t;\nfn b() {}\n#[cfg(test)]\nmod u {\n fn c() {}\n}\nfn d() {}";
        let test: Vec<_> = scan(text).iter().map(|l| l.test).collect();
        assert_eq!(test, [false, true, true, true, false, true, true, true, true, false]);
    }

    #[test]
    fn files_of_tests_are_tests_throughout() {
        let source = Source::scan(Utf8Path::new("crates/a/tests/golden.rs"), "fn a() {}");
        assert!(source.lines[0].test);
        assert!(scan("#![cfg(test)]\nfn a() {}").iter().all(|line| line.test));
    }
}
