//! Tasks: how often a model gives the right answer, beside its baseline.
//!
//! A task is a file of records and a definition of what is asked of each, see [`tenuis_tasks`]: a TOML, or a built-in one
//! that the file's keys tell. Three kinds of things are asked of a model:
//!
//! | kind | what the model does | metric |
//! |---|---|---|
//! | choices, as MMLU | finds one of several continuations likeliest | accuracy |
//! | generation, as GSM8K | writes an answer, the likeliest token every time | exact match, or another metric of texts |
//! | last word, as LAMBADA | finds the last word likeliest, token by token | accuracy |
//!
//! For `c` right answers to `n` items the value is `p = c / n`, and its standard error that of a binomial share,
//! `√(p (1 − p) / n)`. All candidates answer the same items, so a difference between two of them is usually known
//! better than the two errors suggest.
//!
//! Items are answered one by one or in groups of few, and the kernels compute few rows each by itself: a result does
//! not depend on the number of threads or on what else is in the file.

mod choices;
mod continuation;
mod error;
mod generation;
mod last_word;
mod score;
#[cfg(test)]
mod tests;
mod workers;

pub use error::{ItemProblem, TaskError};
pub use score::{Layout, Metric, TaskScore};
pub use tenuis_tasks::Sample;

use crate::error::EvalError;
use crate::quality::Subject;
use choices::Choices;
use continuation::Encoder;
use generation::{Prompt, Prompts};
use last_word::LastWord;
use std::path::Path;
use tenuis_metrics::Statistic;
use tenuis_model::{Model, ModelError, Session, Tokenizer};
use tenuis_tasks::{ChatTemplate, ChatUse, JudgeError, Outcome, Request, SpecProblem, Stop};

/// A task that was read, checked and tokenised, ready to be put to any model with the same tokenizer.
#[derive(Clone, Debug)]
pub struct Task {
    task: tenuis_tasks::Task,
    items: Items,
}

/// The items, tokenised; each kind in the order of the task's items.
#[derive(Clone, Debug)]
enum Items {
    Choices(Vec<(usize, Choices)>),
    Generate(Box<Prompts>),
    LastWord(Vec<(usize, LastWord)>),
}

impl Task {
    /// Opens a TOML, a data file of a built-in layout, or `name=file`, and checks every item, so that measuring has nothing
    /// left to refuse.
    ///
    /// `model` gives the number of positions that an item must fit into, the tokens that end an answer, and the chat
    /// template.
    ///
    /// # Errors
    /// [`TaskError`], which names the file, the line and the field.
    pub fn open(path: &Path, tokenizer: &Tokenizer, model: &Model) -> Result<Self, TaskError> {
        let dir = model.checkpoint().dir();
        let task = match ChatTemplate::from_dir(dir) {
            Ok(chat) => tenuis_tasks::Task::open(path, chat.as_ref())?,
            // A template that cannot be used is no obstacle to tasks that do not use it.
            Err(source) => {
                let refused = TaskError::Chat { dir: dir.to_owned(), source: Box::new(source) };
                match tenuis_tasks::Task::open(path, None) {
                    Ok(task) if task.spec().chat == ChatUse::Never => task,
                    Ok(_) => return Err(refused),
                    Err(tenuis_tasks::TaskError::Spec { problem, .. })
                        if matches!(*problem, SpecProblem::NoChatTemplate) =>
                    {
                        return Err(refused);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let items = Items::new(&task, tokenizer, model)?;
        Ok(Self { task, items })
    }

    /// What reports call the task: the name that its TOML gives, or the data file's without its extension.
    pub fn name(&self) -> &str {
        self.task.name()
    }

    /// The form of the task.
    pub fn layout(&self) -> Layout {
        Layout::of(self.task.spec())
    }

    /// How many items there are; at least one.
    pub fn items(&self) -> usize {
        self.task.items().len()
    }

    /// Puts every item to a model. `progress` is called with the number of items done, from several threads.
    ///
    /// Gives the score, and what became of each item.
    ///
    /// # Errors
    /// [`EvalError`] where the model fails or gives logits that are not finite.
    pub fn measure(
        &self,
        subject: Subject<'_>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(TaskScore, Vec<Sample>), EvalError> {
        let model = subject.model;
        // Loads every weight before several threads ask for it.
        Session::new(model, 1, 1)?.forward(&[0])?;
        let outcomes = match &self.items {
            Items::Choices(items) => workers::each(items, |(index, item)| {
                let outcome = Outcome::LogLikelihoods(item.log_likelihoods(model)?);
                progress(1);
                Ok(vec![(*index, Some(outcome))])
            })?,
            Items::LastWord(items) => workers::each(items, |(index, item)| {
                let outcome = item.outcome(model)?;
                progress(1);
                Ok(vec![(*index, Some(outcome))])
            })?,
            Items::Generate(prompts) => workers::each(&prompts.groups(model), |group| {
                let answers = prompts.answers(model, group)?;
                progress(group.len());
                let outcome =
                    |(prompt, answer): (&&Prompt, Option<String>)| (prompt.index, answer.map(Outcome::Text));
                Ok(group.iter().zip(answers).map(outcome).collect())
            })?,
        };
        let not_finite =
            || EvalError::NonFiniteTask { model: subject.name.to_owned(), task: self.name().to_owned() };
        let mut outcomes: Vec<(usize, Option<Outcome>)> = outcomes.into_iter().flatten().collect();
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        let mut samples = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes {
            let sample = self.task.judge(index, outcome.ok_or_else(not_finite)?);
            samples.push(sample.map_err(|error| match error {
                JudgeError::NotFinite { .. } => not_finite(),
                error => EvalError::Judge(Box::new(error)),
            })?);
        }
        let summary = self.task.summarise(&samples).map_err(|error| EvalError::Judge(Box::new(error)))?;
        let max_new_tokens = match &self.items {
            Items::Generate(prompts) => Some(prompts.max_new_tokens()),
            _ => None,
        };
        Ok((TaskScore::new(&self.task, summary, max_new_tokens), samples))
    }

    /// Gives the task's value for any draw of samples, for intervals.
    ///
    /// # Errors
    /// [`EvalError::Judge`].
    pub fn statistic(&self, samples: &[Sample]) -> Result<Statistic<'static>, EvalError> {
        self.task.statistic(samples).map_err(|error| EvalError::Judge(Box::new(error)))
    }
}

impl Items {
    fn new(task: &tenuis_tasks::Task, tokenizer: &Tokenizer, model: &Model) -> Result<Self, TaskError> {
        let max_positions = model.spec().max_positions;
        let encoder = Encoder { tokenizer, max_positions, special_tokens: !task.uses_chat() };
        let (mut choices, mut prompts, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let generate = task.spec().generate.as_ref();
        let limit = generate.and_then(|generate| generate.max_new_tokens);
        let delimiter = match generate {
            Some(generate) if !task.uses_chat() => generate.delimiter.as_str(),
            _ => "",
        };
        let mut end = Stop::default();
        for (index, item) in task.items().iter().enumerate() {
            let refused = |problem| TaskError::Item {
                path: task.data_file().to_owned(),
                item: item.id,
                problem: Box::new(problem),
            };
            match &item.request {
                Request::Choices { variants, .. } => {
                    choices.push((index, Choices::new(variants, &encoder).map_err(refused)?));
                }
                Request::Generate { prompt, target, stop, .. } => {
                    end.clone_from(stop);
                    let text = (index, prompt.as_str(), target.as_str());
                    prompts.push(Prompt::new(text, delimiter, limit.is_some(), &encoder).map_err(refused)?);
                }
                Request::LastWord { context, continuation } => {
                    words.push((index, LastWord::new(context, continuation, &encoder).map_err(refused)?));
                }
                // A kind of request that this crate does not know would have no results; there is none.
                _ => {}
            }
        }
        Ok(if !choices.is_empty() {
            Self::Choices(choices)
        } else if !words.is_empty() {
            Self::LastWord(words)
        } else {
            Self::Generate(Box::new(Prompts::new(prompts, limit, end, tokenizer, model)))
        })
    }
}

/// The values of a tensor of logits, row-major.
fn values(logits: &candle_core::Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(logits.flatten_all()?.to_vec1()?)
}
