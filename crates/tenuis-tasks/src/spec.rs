//! The definition of a task, as its TOML holds it.

use crate::error::{SpecProblem, TaskError};
use crate::extract::Extract;
use crate::text_metric::TextMetric;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tenuis_metrics::Normalization;

/// What a model does with the items of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// It finds one of several continuations likeliest.
    Choices,
    /// It writes a text.
    Generate,
    /// It finds every token of a text's last word likeliest.
    LastWord,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Choices => "choices",
            Self::Generate => "generate",
            Self::LastWord => "last_word",
        }
    }
}

/// Whether prompts go through the model's chat template: `true`, `false` or `"auto"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ChatWord")]
#[non_exhaustive]
pub enum ChatUse {
    /// They do, and a model without one cannot be measured.
    Always,
    /// They do not.
    #[default]
    Never,
    /// They do where the model has one.
    Auto,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "chat must be true, false or \"auto\"")]
enum ChatWord {
    Fixed(bool),
    Word(Auto),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auto {
    Auto,
}

impl From<ChatWord> for ChatUse {
    fn from(word: ChatWord) -> Self {
        match word {
            ChatWord::Fixed(true) => Self::Always,
            ChatWord::Fixed(false) => Self::Never,
            ChatWord::Word(Auto::Auto) => Self::Auto,
        }
    }
}

/// What a field of every record must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldType {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// An integer of at least 0.
    Index,
    /// Anything but nothing.
    Any,
}

/// A list of texts: an expression that gives one, or a template for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give an expression (a text) or a list of templates")]
#[non_exhaustive]
pub enum Texts {
    /// An expression such as `choices.text`.
    Expression(String),
    /// Templates such as `["{{ sol1 }}", "{{ sol2 }}"]`.
    Templates(Vec<String>),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Expression("choices".to_owned())
    }
}

/// How the right choice is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AnswerForm {
    /// Its index from 0, as a number or its digits.
    #[default]
    Index,
    /// Its number from 1, as a number or its digits.
    Number,
    /// A letter, `A` for the first.
    Letter,
    /// One of `labels`.
    Label,
    /// The choice itself.
    Text,
}

/// The continuations that a model chooses from.
///
/// The default reads the fields `choices` and `answer`, an index from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ChoicesConfig {
    /// The texts to choose from.
    pub texts: Texts,
    /// A template that every text goes through, as `choice`.
    pub each: Option<String>,
    /// An expression for the right one.
    pub answer: String,
    /// How that is written.
    pub answer_is: AnswerForm,
    /// An expression for the choices' labels, where the answer is one of them.
    pub labels: Option<String>,
    /// What stands between the context and a continuation; nothing does where a chat template is used.
    pub delimiter: String,
    /// A template for what follows every choice. Given, the choices are contexts: each goes in the place of `prompt`, and
    /// the likelihood of this shared continuation decides (the form of WinoGrande).
    pub continuation: Option<String>,
}

impl Default for ChoicesConfig {
    fn default() -> Self {
        Self {
            texts: Texts::default(),
            each: None,
            answer: "answer".to_owned(),
            answer_is: AnswerForm::default(),
            labels: None,
            delimiter: " ".to_owned(),
            continuation: None,
        }
    }
}

/// What a model writes and how that is judged.
///
/// The default compares the whole answer with the field `answer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GenerateConfig {
    /// A template for the answer that an example shows.
    pub target: String,
    /// An expression for one reference or a list of them; the target without it.
    pub references: Option<String>,
    /// What stands between the prompt of an example and its target.
    pub delimiter: String,
    /// What ends an answer, beside the model's own end.
    pub stop: Vec<String>,
    /// Where a reference contains what ends an answer, such as a line's end, that counts only after this.
    pub stop_after: Option<String>,
    /// The most tokens of an answer; twice those of the longest target without it.
    pub max_new_tokens: Option<usize>,
    /// What of the answer is judged.
    pub extract: Extract,
    /// Whether the references go through that too.
    pub extract_references: bool,
    /// What is removed of what was extracted, of answer and reference.
    pub remove: Vec<String>,
    /// Characters that do not count at the end of what was extracted.
    pub trim_end: String,
    /// What does not matter to `exact_match`.
    pub normalization: Normalization,
    /// The metric that is the task's value.
    pub metric: TextMetric,
    /// Metrics that are given beside it.
    pub also: Vec<TextMetric>,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            target: "{{ answer }}".to_owned(),
            references: None,
            delimiter: " ".to_owned(),
            stop: vec!["\n".to_owned()],
            stop_after: None,
            max_new_tokens: None,
            extract: Extract::default(),
            extract_references: false,
            remove: Vec::new(),
            trim_end: String::new(),
            normalization: Normalization::default(),
            metric: TextMetric::default(),
            also: Vec::new(),
        }
    }
}

/// Which records become examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DrawOrder {
    /// The first ones.
    #[default]
    First,
    /// Others for every item, as the seed has it.
    Random,
}

/// Solved examples that stand before an item.
///
/// The default takes none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FewShotConfig {
    /// How many.
    pub examples: usize,
    /// A file that they are taken from, relative to the TOML; the task's own without it, and then never the item itself.
    pub data: Option<PathBuf>,
    /// Which ones are taken.
    pub draw: DrawOrder,
    /// What decides a random draw.
    pub seed: u64,
    /// What stands between two examples and after the last.
    pub separator: String,
    /// A template of an example, which has the solution as `target`; prompt, delimiter and target without it.
    pub example: Option<String>,
    /// Whether a chat template shows each example as a turn of the user and one of the assistant, not all in one.
    pub turns: bool,
}

impl Default for FewShotConfig {
    fn default() -> Self {
        Self {
            examples: 0,
            data: None,
            draw: DrawOrder::default(),
            seed: 0,
            separator: "\n\n".to_owned(),
            example: None,
            turns: false,
        }
    }
}

/// A task as data.
///
/// Texts are templates of [Jinja](https://docs.rs/minijinja) with the record's fields as variables, those named
/// *expression* are what stands between `{{` and `}}`. Python's methods of strings, such as `question.strip()`, work.
///
/// ```
/// use tenuis_tasks::TaskSpec;
/// let spec = TaskSpec::parse(r#"
///     name = "capitals"
///     kind = "generate"
///     data = "capitals.jsonl"
///     prompt = "The capital of {{ country }} is"
///     [generate]
///     target = "{{ capital }}"
///     metric = "exact_match"
/// "#, "capitals.toml".as_ref())?;
/// assert_eq!(spec.generate.unwrap().stop, ["\n"]);
///
/// let wrong = TaskSpec::parse("name = \"x\"\nkindd = \"generate\"", "x.toml".as_ref()).unwrap_err();
/// assert!(wrong.to_string().starts_with("x.toml, line 2, column 1: unknown field `kindd`"));
/// # Ok::<(), tenuis_tasks::TaskError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TaskSpec {
    /// What reports call it.
    pub name: String,
    /// What it measures and where it comes from, for readers.
    #[serde(default)]
    pub description: String,
    /// What a model does.
    pub kind: Kind,
    /// JSON lines, a JSON array, or a table (`.csv`, `.tsv`), relative to the TOML.
    #[serde(default)]
    pub data: Option<PathBuf>,
    /// The names of a table's columns, where its first line is already a record.
    #[serde(default)]
    pub columns: Vec<String>,
    /// A template for what stands before everything else; the system's turn where a chat template is used.
    #[serde(default)]
    pub instruction: String,
    /// A template for what an item asks.
    #[serde(default)]
    pub prompt: String,
    /// What fields must hold, checked in every record before anything is filled in.
    #[serde(default)]
    pub fields: BTreeMap<String, FieldType>,
    /// Fields whose values give slices with scores of their own. The length of the prompt always gives some.
    #[serde(default)]
    pub slices: Vec<String>,
    /// Whether prompts go through the model's chat template.
    #[serde(default)]
    pub chat: ChatUse,
    /// Of kind `choices`.
    #[serde(default)]
    pub choices: Option<ChoicesConfig>,
    /// Of kind `generate`.
    #[serde(default)]
    pub generate: Option<GenerateConfig>,
    /// Examples before an item.
    #[serde(default)]
    pub few_shot: FewShotConfig,
}

impl TaskSpec {
    /// Parses a TOML and checks that its parts go together; `path` is for messages.
    ///
    /// # Errors
    /// [`TaskError::Toml`] with line and column, [`TaskError::Spec`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, TaskError> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let before = text.get(..at).unwrap_or_default();
            let start = before.rfind('\n').map_or(0, |end| end + 1);
            TaskError::Toml {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[start..].chars().count() + 1,
                problem: error.message().replace('\n', " "),
            }
        })?;
        spec.check()
            .map_err(|problem| TaskError::Spec { path: path.to_owned(), problem: Box::new(problem) })?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), SpecProblem> {
        let kind = self.kind.name();
        if self.name.trim().is_empty() {
            return Err(SpecProblem::Empty { field: "name", mend: "name the task" });
        }
        let shared = self.choices.as_ref().is_some_and(|choices| choices.continuation.is_some());
        match (self.prompt.is_empty(), shared) {
            (true, false) => {
                let mend = "write a template for what an item asks";
                return Err(SpecProblem::Empty { field: "prompt", mend });
            }
            (false, true) => {
                let problem = "is not used where `choices.continuation` is given: the choices are the contexts; remove it";
                return Err(SpecProblem::Field { field: "prompt", problem });
            }
            _ => {}
        }
        for (table, there, of) in [
            ("choices", self.choices.is_some(), Kind::Choices),
            ("generate", self.generate.is_some(), Kind::Generate),
        ] {
            match (there, self.kind == of) {
                (false, true) => return Err(SpecProblem::MissingTable { kind, table }),
                (true, false) => return Err(SpecProblem::ForeignTable { kind, table }),
                _ => {}
            }
        }
        if self.kind == Kind::LastWord && self.chat != ChatUse::Never {
            let problem =
                "must be false for kind = \"last_word\": a chat's answer is no continuation of the text";
            return Err(SpecProblem::Field { field: "chat", problem });
        }
        if let Some(choices) = &self.choices
            && choices.labels.is_some() != (choices.answer_is == AnswerForm::Label)
        {
            let problem = "is given exactly where `choices.answer_is` is \"label\"";
            return Err(SpecProblem::Field { field: "choices.labels", problem });
        }
        if let Some(generate) = &self.generate {
            if generate.stop.iter().any(String::is_empty) {
                let mend = "an empty text ends every answer; remove it";
                return Err(SpecProblem::Empty { field: "generate.stop", mend });
            }
            if generate.max_new_tokens == Some(0) {
                let problem = "is 0, so that nothing is written; give at least 1";
                return Err(SpecProblem::Field { field: "generate.max_new_tokens", problem });
            }
        }
        Ok(())
    }
}
