//! Tasks that need no TOML: their layouts are published, and a file's keys say which one it has.

use crate::error::{ItemProblem, TaskError};
use crate::records::{Records, delimiter, read_text};
use crate::spec::TaskSpec;
use std::path::Path;

/// A task's definition without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its TOML.
    pub toml: &'static str,
    /// The keys by which its layout is recognised; none for a task that must be named.
    pub keys: &'static [&'static str],
}

macro_rules! builtin {
    ($name:literal, $keys:expr) => {
        Builtin { name: $name, toml: include_str!(concat!("builtin/", $name, ".toml")), keys: $keys }
    };
}

/// Every built-in task. The first one whose keys a file's first record has is its layout, so the order matters: a record
/// of ARC has the keys of MMLU, and nearly all have a question.
///
/// ```
/// use tenuis_tasks::BUILTINS;
/// assert!(BUILTINS.iter().any(|builtin| builtin.name == "hellaswag"));
/// ```
pub const BUILTINS: &[Builtin] = &[
    builtin!("hellaswag", &["ctx", "endings"]),
    builtin!("piqa", &["goal", "sol1"]),
    builtin!("winogrande", &["sentence", "option1"]),
    builtin!("arc", &["question", "choices", "answerKey"]),
    builtin!("ceval", &["question", "A", "B", "C", "D"]),
    builtin!("cmmlu", &["Question", "A", "B", "C", "D"]),
    builtin!("squad", &["context", "question", "answers"]),
    builtin!("mmlu", &["choices"]),
    builtin!("mmlu_letters", &[]),
    builtin!("mmlu_csv", &[]),
    builtin!("translation", &["source", "reference"]),
    builtin!("summarisation", &["document", "summary"]),
    builtin!("gsm8k", &["question"]),
    builtin!("lambada", &["text"]),
];

impl Builtin {
    /// Finds a built-in task by its name.
    ///
    /// # Errors
    /// [`TaskError::UnknownBuiltin`], which lists all names.
    pub fn find(name: &str) -> Result<&'static Self, TaskError> {
        BUILTINS.iter().find(|builtin| builtin.name == name).ok_or_else(|| {
            let known = BUILTINS.iter().map(|builtin| builtin.name).collect::<Vec<_>>().join(", ");
            TaskError::UnknownBuiltin { name: name.to_owned(), known }
        })
    }

    /// Its definition.
    ///
    /// # Errors
    /// [`TaskError`] where the definition itself is wrong, which a test excludes.
    pub fn spec(&self) -> Result<TaskSpec, TaskError> {
        TaskSpec::parse(self.toml, Path::new(self.name))
    }

    /// Recognises the layout of a file by the keys of its first record.
    ///
    /// Tables without a header whose first line has six fields, the last one a letter from A to D, are those of MMLU.
    ///
    /// # Errors
    /// [`TaskError`] where the file cannot be read or its keys are those of no task.
    pub fn recognise(path: &Path) -> Result<&'static Self, TaskError> {
        if let Some(delimiter) = delimiter(path) {
            let (text, _) = read_text(path)?;
            let mut reader = csv::ReaderBuilder::new()
                .delimiter(delimiter)
                .has_headers(false)
                .from_reader(text.as_bytes());
            let first = reader.records().next().and_then(Result::ok);
            if first.is_some_and(|first| first.len() == 6 && matches!(&first[5], "A" | "B" | "C" | "D")) {
                return Self::find("mmlu_csv");
            }
        }
        let records = Records::read(path, &[])?;
        let first = &records.rows[0];
        let is = |builtin: &&Self| {
            !builtin.keys.is_empty() && builtin.keys.iter().all(|key| first.fields.contains_key(*key))
        };
        BUILTINS.iter().find(is).ok_or_else(|| {
            let found: Vec<String> = first.fields.keys().map(|key| format!("{key:?}")).collect();
            records.refused(first.position, ItemProblem::NoLayout { found: found.join(", ") })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_valid_and_has_its_name() {
        for builtin in BUILTINS {
            let spec = builtin.spec().unwrap();
            assert_eq!(spec.name, builtin.name);
            assert!(!spec.description.is_empty() && spec.data.is_none());
        }
        let error = Builtin::find("trivia").unwrap_err().to_string();
        assert!(error.contains("\"trivia\"") && error.contains("winogrande"), "{error}");
    }
}
