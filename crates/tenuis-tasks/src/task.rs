//! Tasks that were read, checked and filled in.

use crate::builtin::Builtin;
use crate::chat::ChatTemplate;
use crate::error::{JudgeError, SpecProblem, TaskError};
use crate::extract::Extractor;
use crate::item::Item;
use crate::outcome::{Outcome, Sample, judge};
use crate::prompt::Prompter;
use crate::records::{Records, read_text};
use crate::spec::{ChatUse, DrawOrder, TaskSpec};
use crate::summary::{Summary, statistic, summarise};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tenuis_metrics::Statistic;

/// The examples that stood before every item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FewShot {
    /// How many.
    pub examples: usize,
    /// The file that they come from.
    pub data_file: String,
    /// blake3 of its bytes.
    pub data_hash: String,
    /// What decided a random draw; null where the first ones were taken.
    pub seed: Option<u64>,
}

/// A task with all its items, ready to be put to any model.
///
/// ```
/// use tenuis_tasks::{Outcome, Request, Task};
/// let path = std::env::temp_dir().join(format!("tenuis-tasks-doc-{}.jsonl", std::process::id()));
/// std::fs::write(&path, r#"{"question": "Which is a fruit?", "choices": ["stone", "plum"], "answer": 1}"#)?;
/// let task = Task::open(&path, None)?;
/// assert_eq!(task.spec().name, "mmlu");
/// let Request::Choices { variants, .. } = &task.items()[0].request else { unreachable!() };
/// assert_eq!(variants[1].context, "Question: Which is a fruit?\nAnswer:");
/// assert_eq!(variants[1].continuation, " plum");
///
/// // A model has found these log-likelihoods.
/// let sample = task.judge(0, Outcome::LogLikelihoods(vec![-7.0, -3.5]))?;
/// assert_eq!(sample.right, Some(true));
/// assert_eq!(task.summarise(&[sample])?.value, 1.0);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Task {
    name: String,
    spec: TaskSpec,
    data: PathBuf,
    hash: String,
    definition: Option<(PathBuf, String)>,
    few_shot: Option<FewShot>,
    extractor: Option<Extractor>,
    uses_chat: bool,
    items: Vec<Item>,
}

impl Task {
    /// Opens a task by what names it: a TOML, a data file whose layout is recognised, or `name=file` for a built-in task and
    /// its data.
    ///
    /// `chat` is the model's chat template, if it has one.
    ///
    /// # Errors
    /// [`TaskError`], which names the file, the line and the field.
    pub fn open(path: &Path, chat: Option<&ChatTemplate>) -> Result<Self, TaskError> {
        if !path.exists()
            && let Some((name, file)) = path.to_str().and_then(|text| text.split_once('='))
        {
            return Self::new(Builtin::find(name)?.spec()?, Path::new(file), chat);
        }
        if path.extension().is_none_or(|extension| extension != "toml") {
            return Self::new(Builtin::recognise(path)?.spec()?, path, chat);
        }
        let (text, hash) = read_text(path)?;
        let spec = TaskSpec::parse(&text, path)?;
        let refused = |problem| TaskError::Spec { path: path.to_owned(), problem: Box::new(problem) };
        let beside = |file: &Path| path.parent().unwrap_or(Path::new("")).join(file);
        let data = spec.data.as_deref().map(beside).ok_or_else(|| {
            refused(SpecProblem::Empty { field: "data", mend: "name the file with the items" })
        })?;
        let pool = spec.few_shot.data.as_deref().map(beside);
        let mut task = Self::build(spec, path, &data, pool.as_deref(), chat)?;
        task.name.clone_from(&task.spec.name);
        task.definition = Some((path.to_owned(), hash));
        Ok(task)
    }

    /// Fills in a definition with the items of a file. Examples of another file are looked for where the definition says.
    ///
    /// # Errors
    /// [`TaskError`], which names the file, the line and the field.
    pub fn new(spec: TaskSpec, data: &Path, chat: Option<&ChatTemplate>) -> Result<Self, TaskError> {
        let (path, pool) = (PathBuf::from(&spec.name), spec.few_shot.data.clone());
        Self::build(spec, &path, data, pool.as_deref(), chat)
    }

    fn build(
        spec: TaskSpec,
        path: &Path,
        data: &Path,
        pool: Option<&Path>,
        chat: Option<&ChatTemplate>,
    ) -> Result<Self, TaskError> {
        let refused = |problem| TaskError::Spec { path: path.to_owned(), problem: Box::new(problem) };
        let chat = match (spec.chat, chat) {
            (ChatUse::Never, _) | (ChatUse::Auto, None) => None,
            (_, Some(chat)) => Some(chat),
            (ChatUse::Always, None) => return Err(refused(SpecProblem::NoChatTemplate)),
        };
        let extractor = spec.generate.as_ref().map(|generate| Extractor::new(&generate.extract));
        let extractor = extractor.transpose().map_err(refused)?;
        let records = Records::read(data, &spec.columns)?;
        let other =
            pool.filter(|_| spec.few_shot.examples > 0).map(|pool| Records::read(pool, &spec.columns));
        let other = other.transpose()?;
        let pool = other.as_ref().unwrap_or(&records);
        let prompter = Prompter::new(&spec, extractor.as_ref(), chat).map_err(refused)?;
        let items = prompter.items(&records, pool)?;
        let few_shot = (spec.few_shot.examples > 0).then(|| FewShot {
            examples: spec.few_shot.examples,
            data_file: pool.path.display().to_string(),
            data_hash: pool.hash.clone(),
            seed: (spec.few_shot.draw == DrawOrder::Random).then_some(spec.few_shot.seed),
        });
        Ok(Self {
            name: data.file_stem().unwrap_or(data.as_os_str()).to_string_lossy().into_owned(),
            data: data.to_owned(),
            hash: records.hash,
            definition: None,
            few_shot,
            uses_chat: chat.is_some(),
            spec,
            extractor,
            items,
        })
    }

    /// What reports call it: the name in the TOML, without one the data file's name without its extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its definition.
    pub const fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// The file of its items.
    pub fn data_file(&self) -> &Path {
        &self.data
    }

    /// blake3 of that file's bytes.
    pub fn data_hash(&self) -> &str {
        &self.hash
    }

    /// The TOML that defines it and the blake3 of its bytes; `None` for a built-in task.
    pub fn definition(&self) -> Option<(&Path, &str)> {
        self.definition.as_ref().map(|(path, hash)| (path.as_path(), hash.as_str()))
    }

    /// The examples before every item.
    pub const fn few_shot(&self) -> Option<&FewShot> {
        self.few_shot.as_ref()
    }

    /// Whether the prompts went through the model's chat template.
    pub const fn uses_chat(&self) -> bool {
        self.uses_chat
    }

    /// What to ask; at least one.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Judges what a model did with an item, by its index.
    ///
    /// # Errors
    /// [`JudgeError`] where the outcome does not belong to the item, or holds what is not finite.
    pub fn judge(&self, index: usize, outcome: Outcome) -> Result<Sample, JudgeError> {
        let items = self.items.len();
        let item = self.items.get(index).ok_or(JudgeError::Index { index, items })?;
        judge(&self.spec, self.extractor.as_ref(), item, outcome)
    }

    /// Summarises samples of this task.
    ///
    /// # Errors
    /// [`JudgeError::NoSamples`], [`JudgeError::Metric`].
    pub fn summarise(&self, samples: &[Sample]) -> Result<Summary, JudgeError> {
        summarise(&self.spec, &self.items, samples)
    }

    /// Gives the task's value for any draw of samples, which is what an interval of it is resampled from; it counts corpus metrics
    /// such as BLEU anew over those drawn.
    ///
    /// # Errors
    /// [`JudgeError::Metric`].
    pub fn statistic(&self, samples: &[Sample]) -> Result<Statistic<'static>, JudgeError> {
        statistic(&self.spec, samples)
    }
}
