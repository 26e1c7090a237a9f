//! Turns files of questions into what is asked of a model, and what the model does into scores. Runs no model itself.
//!
//! A task is data: a TOML ([`TaskSpec`]) names a file of records, templates for what is asked of each, what counts of the
//! answer, and a metric. For published layouts the TOML is built in ([`BUILTINS`]), and a file's keys say which one it has.
//!
//! | step | where |
//! |---|---|
//! | definition | [`TaskSpec`] with [`ChoicesConfig`], [`GenerateConfig`], [`FewShotConfig`] |
//! | definition and data become items | [`Task::open`], [`Item`], [`Request`] |
//! | prompts of conversations | [`ChatTemplate`] |
//! | what a model did becomes a sample | [`Outcome`], [`Task::judge`], [`Sample`] |
//! | samples become a score, by slice too | [`Task::summarise`], [`Summary`] |
//!
//! Three kinds of requests are made of a model, and their formulas are those of lm-evaluation-harness (Gao et al. 2021,
//! doi 10.5281/zenodo.5371628) unless said otherwise:
//!
//! - [`Request::Choices`]: with `ℓᵢ = Σⱼ log p(tokenⱼ | all before it)` over the tokens of continuation `i`, the model's choice is
//!   `argmaxᵢ ℓᵢ`, the first of equal ones (`accuracy`), or `argmaxᵢ ℓᵢ / bᵢ` with the choice's bytes in UTF-8 `bᵢ`
//!   (`acc_norm`). The harness calls the latter `acc_bytes`; its `acc_norm` divides by characters, which is the same for ASCII.
//! - [`Request::Generate`]: the likeliest text, token by token, of which a part is compared with references.
//! - [`Request::LastWord`]: right where each token of the last word is the likeliest one. Here the word ends before its
//!   punctuation, other than in the harness.
//!
//! A file's records are never changed, and every message about one names the file, the line and the field.

mod answer;
mod builtin;
mod chat;
mod error;
mod extract;
mod few_shot;
mod item;
mod outcome;
mod prompt;
mod records;
mod slices;
mod spec;
mod summary;
mod task;
mod template;
mod text_metric;

pub use builtin::{BUILTINS, Builtin};
pub use chat::{ChatTemplate, Message};
pub use error::{ChatError, ItemProblem, JudgeError, Position, SpecProblem, TaskError};
pub use extract::{Extract, Occurrence};
pub use item::{Item, Request, Stop, Variant};
pub use outcome::{Outcome, Sample};
pub use spec::{
    AnswerForm, ChatUse, ChoicesConfig, DrawOrder, FewShotConfig, FieldType, GenerateConfig, Kind, TaskSpec,
    Texts,
};
pub use summary::{SliceScore, Summary};
pub use task::{FewShot, Task};
pub use text_metric::TextMetric;
