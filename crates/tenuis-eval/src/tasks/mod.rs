//! Tasks: how often a model gives the right answer, beside its baseline.
//!
//! A task is a file of JSON lines in one of three published layouts. The layout is recognised by the keys of the first
//! line, and every line must have it:
//!
//! | keys | layout | what the model does | metric |
//! |---|---|---|---|
//! | `question`, `choices`, `answer` (index) | [`Layout::MultipleChoice`], as MMLU | finds one of the choices likeliest | accuracy |
//! | `question`, `answer` (ends in `#### N`) | [`Layout::WorkedProblems`], as GSM8K | writes an answer | exact match |
//! | `text` | [`Layout::LastWord`], as LAMBADA | finds the last word likeliest, token by token | accuracy |
//!
//! For `c` right answers to `n` items the value is `p = c / n`, and its standard error that of a binomial share,
//! `√(p (1 − p) / n)`. All candidates answer the same items, so a difference between two of them is usually known
//! better than the two errors suggest.
//!
//! Items are answered one by one or in groups of few, and the kernels compute few rows each by itself: a result does
//! not depend on the number of threads or on what else is in the file.

mod continuation;
mod error;
mod last_word;
mod lines;
mod multiple_choice;
#[cfg(test)]
mod tests;
mod worked_problems;
mod workers;

pub use error::{ItemProblem, TaskError};

use crate::error::EvalError;
use crate::quality::Subject;
use continuation::Encoder;
use last_word::LastWord;
use lines::Line;
use multiple_choice::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use tenuis_model::{Model, ModelError, Session, Tokenizer};
use worked_problems::Problems;

/// The form of a task's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Questions with choices, as in MMLU (Hendrycks et al. 2020, 2009.03300).
    ///
    /// After `Question: {question}\nAnswer:` every choice is scored by the log-likelihood of ` {choice}`, the sum
    /// `Σᵢ log p(tokenᵢ | all before it)` over its tokens. The highest wins, the first of equal ones.
    MultipleChoice,
    /// Word problems whose answer is a text that ends in `#### N`, as in GSM8K (Cobbe et al. 2021, 2110.14168).
    ///
    /// The model continues `Question: {question}\nAnswer:`, taking the likeliest token every time. What follows the
    /// last `####` must be what follows it in the reference, commas and a final full stop aside.
    WorkedProblems,
    /// Texts whose last word is to be predicted, as in LAMBADA (Paperno et al. 2016, 1606.06031).
    ///
    /// The answer is right where every token of the last word, without the punctuation after it, is the likeliest one
    /// after the text before it.
    LastWord,
}

impl Layout {
    const fn metric(self) -> Metric {
        match self {
            Self::MultipleChoice | Self::LastWord => Metric::Accuracy,
            Self::WorkedProblems => Metric::ExactMatch,
        }
    }

    const fn prompt(self) -> &'static str {
        match self {
            Self::MultipleChoice => "Question: {question}\nAnswer: {choice}",
            Self::WorkedProblems => "Question: {question}\nAnswer:",
            Self::LastWord => "{text without its last word}",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MultipleChoice => "multiple choice",
            Self::WorkedProblems => "worked problems",
            Self::LastWord => "last word",
        })
    }
}

/// What the value of a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of items whose right answer the model finds likeliest.
    Accuracy,
    /// The share of items whose written answer is the reference.
    ExactMatch,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::ExactMatch => "exact match",
        })
    }
}

/// The result of a task and the protocol it was measured under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskScore {
    /// `correct / items`, between 0 and 1.
    pub value: f64,
    /// What it counts.
    pub metric: Metric,
    /// Items of the task; all were asked.
    pub items: usize,
    /// Items that were answered right.
    pub correct: usize,
    /// `√(value · (1 − value) / items)`.
    pub standard_error: f64,
    /// The value to expect of blind guesses, the mean of 1 ÷ choices; null where there are no choices.
    pub chance: Option<f64>,
    /// The form of the file.
    pub layout: Layout,
    /// The file as it was named.
    pub data_file: String,
    /// blake3 of its bytes.
    pub data_hash: String,
    /// What the model is given, encoded with the tokenizer's special tokens; no examples stand before it.
    pub prompt: String,
    /// The most tokens an answer was given, fewer where the model's positions end; null where none was written.
    pub max_new_tokens: Option<usize>,
}

/// A task that was read, checked and tokenised, ready to be put to any model with the same tokenizer.
#[derive(Clone, Debug)]
pub struct Task {
    name: String,
    path: PathBuf,
    hash: String,
    items: Items,
}

#[derive(Clone, Debug)]
enum Items {
    MultipleChoice(Vec<Question>),
    WorkedProblems(Box<Problems>),
    LastWord(Vec<LastWord>),
}

impl Task {
    /// Reads a file of JSON lines and checks every item, so that measuring has nothing left to refuse.
    ///
    /// `model` gives the number of positions that an item must fit into and the tokens that end an answer.
    ///
    /// # Errors
    /// [`TaskError`], which names the file, the line and the key.
    pub fn open(path: &Path, tokenizer: &Tokenizer, model: &Model) -> Result<Self, TaskError> {
        let bytes =
            std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), source })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| TaskError::NotUtf8 { path: path.to_owned(), position: e.valid_up_to() })?;
        let encoder = Encoder { tokenizer, max_positions: model.spec().max_positions };
        let (layout, lines) = lines::read(path, text)?;
        let items = match layout {
            Layout::MultipleChoice => {
                Items::MultipleChoice(prepare(&lines, |line| Question::new(line, &encoder))?)
            }
            Layout::WorkedProblems => Items::WorkedProblems(Box::new(Problems::new(
                prepare(&lines, |line| worked_problems::problem(line, &encoder))?,
                tokenizer,
                model,
            ))),
            Layout::LastWord => Items::LastWord(prepare(&lines, |line| LastWord::new(line, &encoder))?),
        };
        Ok(Self {
            name: path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            path: path.to_owned(),
            hash: blake3::hash(&bytes).to_hex().to_string(),
            items,
        })
    }

    /// What reports call the task: the file's name without its extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The form of the file.
    pub const fn layout(&self) -> Layout {
        match &self.items {
            Items::MultipleChoice(_) => Layout::MultipleChoice,
            Items::WorkedProblems(_) => Layout::WorkedProblems,
            Items::LastWord(_) => Layout::LastWord,
        }
    }

    /// How many items there are; at least one.
    pub fn items(&self) -> usize {
        match &self.items {
            Items::MultipleChoice(questions) => questions.len(),
            Items::WorkedProblems(problems) => problems.len(),
            Items::LastWord(texts) => texts.len(),
        }
    }

    /// Puts every item to a model. `progress` is called with the number of items done, from several threads.
    ///
    /// # Errors
    /// [`EvalError`] where the model fails or gives logits that are not finite.
    pub fn measure(
        &self,
        subject: Subject<'_>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<TaskScore, EvalError> {
        let model = subject.model;
        // Loads every weight before several threads ask for it.
        Session::new(model, 1, 1)?.forward(&[0])?;
        let verdicts = match &self.items {
            Items::MultipleChoice(questions) => workers::each(questions, |question| {
                let verdict = question.is_answered(model)?;
                progress(1);
                Ok(vec![verdict])
            })?,
            Items::LastWord(texts) => workers::each(texts, |text| {
                let verdict = text.is_found(model)?;
                progress(1);
                Ok(vec![verdict])
            })?,
            Items::WorkedProblems(problems) => workers::each(&problems.groups(model), |group| {
                let verdicts = problems.are_solved(model, group)?;
                progress(group.len());
                Ok(verdicts)
            })?,
        };
        let mut correct = 0;
        for verdict in verdicts.into_iter().flatten() {
            match verdict {
                Verdict::Right => correct += 1,
                Verdict::Wrong => {}
                Verdict::NotFinite => {
                    let (model, task) = (subject.name.to_owned(), self.name.clone());
                    return Err(EvalError::NonFiniteTask { model, task });
                }
            }
        }
        Ok(self.score(correct))
    }

    fn score(&self, correct: usize) -> TaskScore {
        let (items, layout) = (self.items(), self.layout());
        let value = correct as f64 / items as f64;
        TaskScore {
            value,
            metric: layout.metric(),
            items,
            correct,
            standard_error: (value * (1.0 - value) / items as f64).sqrt(),
            chance: match &self.items {
                Items::MultipleChoice(questions) => {
                    Some(questions.iter().map(Question::chance).sum::<f64>() / items as f64)
                }
                _ => None,
            },
            layout,
            data_file: self.path.display().to_string(),
            data_hash: self.hash.clone(),
            prompt: layout.prompt().to_owned(),
            max_new_tokens: match &self.items {
                Items::WorkedProblems(problems) => Some(problems.max_new_tokens()),
                _ => None,
            },
        }
    }
}

fn prepare<T>(
    lines: &[Line<'_>],
    item: impl Fn(&Line<'_>) -> Result<T, ItemProblem>,
) -> Result<Vec<T>, TaskError> {
    lines.iter().map(|line| item(line).map_err(|problem| line.refused(problem))).collect()
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    /// The logits were not finite, so there is no answer.
    NotFinite,
}

impl From<bool> for Verdict {
    fn from(right: bool) -> Self {
        if right { Self::Right } else { Self::Wrong }
    }
}

/// The values of a tensor of logits, row-major.
fn values(logits: &candle_core::Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(logits.flatten_all()?.to_vec1()?)
}
