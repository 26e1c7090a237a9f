//! Checks what the compiler and clippy do not: who depends on whom, how long files are, what they say.
//!
//! Each rule is a pure function of a text or of the dependency graph, so that its tests need no files.

mod layers;
mod sizes;
mod source;
mod text;

use crate::error::Error;
use crate::workspace::Workspace;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use source::Source;
use std::fmt;
use std::fs;

/// A breach of a rule at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The file, relative to the workspace.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) mend: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule, message, mend } = self;
        write!(f, "{file}:{line}: [{rule}] {message}; {mend}")
    }
}

/// What a check looked at and found.
pub(crate) struct Checked {
    /// The problems, by file and line.
    pub(crate) problems: Vec<Problem>,
    /// How many files were read.
    pub(crate) files: usize,
    /// How many crates were checked.
    pub(crate) crates: usize,
}

/// The largest text file that is read; what is larger is data.
const LARGEST_TEXT: u64 = 1 << 20;

/// Checks the whole workspace.
///
/// # Errors
/// [`Error::Walk`] or [`Error::File`] where a file cannot be read. Problems are not errors: they are in the result.
pub(crate) fn check(workspace: &Workspace) -> Result<Checked, Error> {
    let graph = layers::Graph::of(workspace)?;
    let mut problems = layers::check(&graph);
    let mut files = 0;
    for path in text_files(workspace.root())? {
        let file = workspace.root().join(&path);
        let bytes = fs::read(&file).map_err(Error::file("reading", file))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files += 1;
            problems.extend(check_file(&path, &text));
        }
    }
    problems.sort();
    problems.dedup();
    Ok(Checked { problems, files, crates: graph.crates.len() })
}

/// Applies every rule that reads one file alone.
fn check_file(path: &Utf8Path, text: &str) -> Vec<Problem> {
    let mut problems = text::check_any(path, text);
    if path.extension() == Some("rs") {
        let source = Source::scan(path, text);
        problems.extend(text::check_rust(path, &source));
        problems.extend(sizes::check(path, &source));
    }
    problems
}

/// The files of the workspace that git does not ignore, small enough to be text, relative to `root` and in order.
fn text_files(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let mut walk = ignore::WalkBuilder::new(root);
    // `.ci` and `.cargo` count, `.git` does not; `.gitignore` holds in an unpacked archive too.
    walk.hidden(false).require_git(false).filter_entry(|entry| entry.file_name() != ".git");
    let mut files = Vec::new();
    for entry in walk.build() {
        let entry = entry?;
        let small = || entry.metadata().is_ok_and(|m| m.is_file() && m.len() <= LARGEST_TEXT);
        if let Some(path) = Utf8Path::from_path(entry.path()).filter(|_| small()) {
            files.push(path.strip_prefix(root).unwrap_or(path).to_owned());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file is a test, an example or a benchmark rather than part of a library or program.
fn is_beside_the_product(path: &Utf8Path) -> bool {
    is_test_file(path) || path.components().any(|c| matches!(c.as_str(), "benches" | "examples"))
}

/// Whether a file holds nothing but tests.
fn is_test_file(path: &Utf8Path) -> bool {
    path.components().any(|c| c.as_str() == "tests") || path.file_name() == Some("tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let checked = check(&Workspace::resolved().unwrap()).unwrap();
        let list: Vec<_> = checked.problems.iter().map(Problem::to_string).collect();
        assert!(list.is_empty(), "{} problems:\n{}", list.len(), list.join("\n"));
        assert!(checked.files > 30 && checked.crates > 10, "{} files were found", checked.files);
    }

    #[test]
    fn a_problem_names_place_rule_and_mend() {
        let problem = Problem {
            file: "crates/a/src/lib.rs".into(),
            line: 7,
            rule: "size",
            message: "700 lines of code".into(),
            mend: "split it",
        };
        assert_eq!(problem.to_string(), "crates/a/src/lib.rs:7: [size] 700 lines of code; split it");
    }
}
