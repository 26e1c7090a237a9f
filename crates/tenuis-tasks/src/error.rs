//! What makes a task unusable.

use std::fmt;
use std::path::PathBuf;
use tenuis_metrics::MetricError;
use thiserror::Error;

/// A task that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("{}: is not UTF-8 text (byte {position}); convert it first", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where it stops being UTF-8.
        position: usize,
    },
    /// It holds nothing.
    #[error("{}: holds no items; give one JSON object on each line, or a table with a header", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A table has no usable header.
    #[error("{}, line 1: column {column:?} {problem}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The column's name, which may be empty.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A record of a file cannot be used.
    #[error("{}, {position}: {problem}", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// Where the record stands.
        position: Position,
        /// What is wrong with it.
        problem: Box<ItemProblem>,
    },
    /// The TOML of a task has a syntax error, an unknown field or a value of another type.
    #[error("{}, line {line}, column {column}: {problem}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What the parser says.
        problem: String,
    },
    /// The TOML of a task is well-formed, but says something that cannot be done.
    #[error("{}: {problem}", path.display())]
    Spec {
        /// The file, or the built-in task's name.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<SpecProblem>,
    },
    /// There is no built-in task of this name.
    #[error("there is no built-in task {name:?}; there are {known}, and a file stands after \"=\"")]
    UnknownBuiltin {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
}

/// Where a record stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Position {
    /// A line, from 1.
    Line(u64),
    /// An element of a JSON array, from 1.
    Element(u64),
}

impl Position {
    /// The number alone, which is the item's id.
    pub const fn number(self) -> u64 {
        match self {
            Self::Line(number) | Self::Element(number) => number,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Element(element) => write!(f, "element {element}"),
        }
    }
}

/// What is wrong with a definition.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpecProblem {
    /// A field has no value.
    #[error("field `{field}` is empty; {mend}")]
    Empty {
        /// The field.
        field: &'static str,
        /// What to write.
        mend: &'static str,
    },
    /// The table that a kind needs is missing.
    #[error("kind = {kind:?} needs a table [{table}]; add it")]
    MissingTable {
        /// The kind.
        kind: &'static str,
        /// The table.
        table: &'static str,
    },
    /// A table belongs to another kind.
    #[error("table [{table}] does not belong to kind = {kind:?}; remove it or change the kind")]
    ForeignTable {
        /// The kind.
        kind: &'static str,
        /// The table.
        table: &'static str,
    },
    /// Two fields exclude each other, or one needs the other.
    #[error("field `{field}` {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A template or expression cannot be parsed.
    #[error("field `{field}`{}: {problem}", line.map(|line| format!(", its line {line}")).unwrap_or_default())]
    Template {
        /// The field.
        field: String,
        /// The line within the template, where known.
        line: Option<usize>,
        /// What the parser says.
        problem: String,
    },
    /// A pattern cannot be parsed.
    #[error("field `generate.extract`: the pattern {pattern:?} {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it, on one line.
        problem: String,
    },
    /// The task asks for a chat template and the model has none.
    #[error(
        "chat = true, but the model has no chat template; give the task chat = \"auto\" or the model a template"
    )]
    NoChatTemplate,
}

/// What is wrong with a record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ItemProblem {
    /// It is no JSON.
    #[error("is not JSON ({problem}); give one JSON object on each line")]
    NotJson {
        /// What the parser says.
        problem: String,
    },
    /// It is JSON, but no object.
    #[error("is not a JSON object; give one JSON object on each line")]
    NotObject,
    /// It is no record of its table.
    #[error("is no record of this table: {problem}")]
    Csv {
        /// What the parser says.
        problem: String,
    },
    /// The first record's keys are those of no built-in layout.
    #[error(
        "its keys ({found}) are those of no task; give those of a layout, such as \"question\", \"choices\" and \
         \"answer\" (multiple choice), \"question\" and \"answer\" (worked problems) or \"text\" (last word), or write a \
         TOML for the file"
    )]
    NoLayout {
        /// The keys found.
        found: String,
    },
    /// A field is missing or has another type.
    #[error("field \"{field}\" must be {expected}, as in every record of {task}; it is {found}")]
    Field {
        /// The field.
        field: String,
        /// What it must hold.
        expected: &'static str,
        /// What it holds.
        found: String,
        /// The task's name.
        task: String,
    },
    /// A template or an expression fails on this record.
    #[error("`{field}` of the task cannot be filled in: {problem}")]
    Template {
        /// The template's field in the task's TOML.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// An expression gives something else than it must.
    #[error("`{field}` of the task gives {found}, but must give {expected}")]
    Value {
        /// The expression's field in the task's TOML.
        field: String,
        /// What it must give.
        expected: &'static str,
        /// What it gives.
        found: String,
    },
    /// The right answer is none of the choices.
    #[error("the answer is {answer}, but there are {choices} choices; {mend}")]
    Answer {
        /// The answer given.
        answer: String,
        /// How many choices there are.
        choices: usize,
        /// How to write it.
        mend: &'static str,
    },
    /// There is nothing to choose from.
    #[error("there are fewer than two choices; give at least two")]
    Choices,
    /// A choice without text cannot be scored.
    #[error("choice {number} is empty; give it a text")]
    EmptyChoice {
        /// Its number, from 1.
        number: usize,
    },
    /// An item has nothing to be compared with.
    #[error("there is no reference; give at least one")]
    NoReference,
    /// No answer can be extracted from a reference.
    #[error("the reference {reference:?} has {problem}")]
    NoResult {
        /// The reference, shortened.
        reference: String,
        /// What it lacks.
        problem: String,
    },
    /// A text of one word.
    #[error("the text has no words before its last; give a longer text")]
    OneWord,
    /// A text that ends in something that is no word.
    #[error("the text ends in {word:?}, which is no word; end it in the word to be predicted")]
    NoWord {
        /// Its last part.
        word: String,
    },
    /// There are too few other records to take examples from.
    #[error(
        "few_shot.examples = {asked}, but only {available} other records are there; ask for fewer or give more"
    )]
    FewShot {
        /// Examples asked for.
        asked: usize,
        /// Records that are not the item itself.
        available: usize,
    },
    /// The model's chat template fails.
    #[error("the chat template: {0}")]
    Chat(#[from] ChatError),
}

/// A chat template that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChatError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is no JSON, or its templates are neither a text nor a list of named texts.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There are templates, but none of the name.
    #[error("there is no chat template {name:?}; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// The template cannot be parsed.
    #[error("it cannot be parsed{}: {problem}", line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Syntax {
        /// The line, where known.
        line: Option<usize>,
        /// What the parser says.
        problem: String,
    },
    /// The template refuses the conversation, by `raise_exception` or because it cannot be rendered.
    #[error("it refuses the conversation{}: {problem}", line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Render {
        /// The line, where known.
        line: Option<usize>,
        /// What it says.
        problem: String,
    },
}

/// An answer that cannot be judged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The task has no such item.
    #[error("there is no item {index}; the task has {items}")]
    Index {
        /// The index asked for.
        index: usize,
        /// How many items there are.
        items: usize,
    },
    /// The outcome is not of the kind that the item asks for.
    #[error("item {id}: a {expected} request was answered by {found}")]
    Kind {
        /// The item's id.
        id: u64,
        /// What was asked.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// There are not as many log-likelihoods as choices.
    #[error("item {id}: {found} log-likelihoods for {expected} choices")]
    Count {
        /// The item's id.
        id: u64,
        /// The choices.
        expected: usize,
        /// The log-likelihoods.
        found: usize,
    },
    /// A log-likelihood is a NaN or an infinity.
    #[error("item {id}: a log-likelihood is not finite; the weights or the activations overflowed")]
    NotFinite {
        /// The item's id.
        id: u64,
    },
    /// There are no samples to summarise.
    #[error("there are no samples; judge at least one item")]
    NoSamples,
    /// The metric cannot be computed.
    #[error(transparent)]
    Metric(#[from] MetricError),
}
