//! The result of a task, as reports hold it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tenuis_metrics::Direction;
use tenuis_tasks::{FewShot, Kind, SliceScore, Summary, TaskSpec, TextMetric};

/// What a task asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Questions with choices, as in MMLU (Hendrycks et al. 2020, 2009.03300).
    ///
    /// Every choice is scored by its log-likelihood after the prompt, the sum `Σᵢ log p(tokenᵢ | all before it)` over its
    /// tokens. The highest wins, the first of equal ones.
    MultipleChoice,
    /// Word problems whose answer is a text that ends in `#### N`, as in GSM8K (Cobbe et al. 2021, 2110.14168).
    ///
    /// The model continues the prompt, taking the likeliest token every time. What follows the last `####` must be what
    /// follows it in the reference, commas and a final full stop aside.
    WorkedProblems,
    /// Texts whose last word is to be predicted, as in LAMBADA (Paperno et al. 2016, 1606.06031).
    ///
    /// The answer is right where every token of the last word, without the punctuation after it, is the likeliest one
    /// after the text before it.
    LastWord,
    /// Other texts that the model writes, taking the likeliest token every time.
    Generation,
}

impl Layout {
    pub(super) fn of(spec: &TaskSpec) -> Self {
        match spec.kind {
            Kind::Choices => Self::MultipleChoice,
            Kind::LastWord => Self::LastWord,
            _ if spec.name == "gsm8k" => Self::WorkedProblems,
            _ => Self::Generation,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MultipleChoice => "multiple choice",
            Self::WorkedProblems => "worked problems",
            Self::LastWord => "last word",
            Self::Generation => "generation",
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
    /// The share of items whose written number is that of the reference.
    NumericMatch,
    /// The share of items whose written answer is the reference after SQuAD's normalisation.
    SquadEm,
    /// Words shared with the reference after SQuAD's normalisation, F1.
    SquadF1,
    /// BLEU, divided by 100.
    Bleu,
    /// chrF, divided by 100.
    Chrf,
    /// chrF++, divided by 100.
    #[serde(rename = "chrf++")]
    ChrfPlusPlus,
    /// Edits per word of the reference.
    Ter,
    /// Words shared with the reference, F1.
    Rouge1,
    /// Pairs of words shared with the reference, F1.
    Rouge2,
    /// The longest common subsequence with the reference, F1.
    #[serde(rename = "rougeL")]
    RougeL,
    /// Common subsequences by sentence, F1.
    #[serde(rename = "rougeLsum")]
    RougeLsum,
}

impl Metric {
    pub(super) fn of(spec: &TaskSpec) -> Self {
        let Some(generate) = &spec.generate else { return Self::Accuracy };
        match generate.metric {
            TextMetric::NumericMatch => Self::NumericMatch,
            TextMetric::SquadEm => Self::SquadEm,
            TextMetric::SquadF1 => Self::SquadF1,
            TextMetric::Bleu => Self::Bleu,
            TextMetric::Chrf => Self::Chrf,
            TextMetric::ChrfPlusPlus => Self::ChrfPlusPlus,
            TextMetric::Ter => Self::Ter,
            TextMetric::Rouge1 => Self::Rouge1,
            TextMetric::Rouge2 => Self::Rouge2,
            TextMetric::RougeL => Self::RougeL,
            TextMetric::RougeLsum => Self::RougeLsum,
            _ => Self::ExactMatch,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::ExactMatch => "exact match",
            Self::NumericMatch => "numeric match",
            Self::SquadEm => "exact match (SQuAD)",
            Self::SquadF1 => "F1 of words (SQuAD)",
            Self::Bleu => "BLEU",
            Self::Chrf => "chrF",
            Self::ChrfPlusPlus => "chrF++",
            Self::Ter => "TER",
            Self::Rouge1 => "ROUGE-1",
            Self::Rouge2 => "ROUGE-2",
            Self::RougeL => "ROUGE-L",
            Self::RougeLsum => "ROUGE-Lsum",
        })
    }
}

/// The result of a task and the protocol it was measured under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskScore {
    /// The metric's value, a share: where items are right or wrong `correct / items`; BLEU, chrF and TER are divided by 100.
    pub value: f64,
    /// What it counts.
    pub metric: Metric,
    /// Which values are better; a report without it is of metrics of which higher values are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Items of the task; all were asked.
    pub items: usize,
    /// Items that were answered right, or have a value of 1.
    pub correct: usize,
    /// `√(value · (1 − value) / items)` where items are right or wrong, `s / √items` for another mean with the items' standard
    /// deviation `s`, the deviation over resamples for BLEU, chrF and TER; 1 where a single item tells nothing of it.
    pub standard_error: f64,
    /// The value to expect of blind guesses, the mean of 1 ÷ choices; null where there are no choices.
    pub chance: Option<f64>,
    /// The share of items whose right choice has the highest log-likelihood per byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acc_norm: Option<f64>,
    /// Further metrics by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// The form of the task.
    pub layout: Layout,
    /// The file as it was named.
    pub data_file: String,
    /// blake3 of its bytes.
    pub data_hash: String,
    /// blake3 of the TOML that defines the task; absent for a built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_hash: Option<String>,
    /// What the model is given, encoded with the tokenizer's special tokens; examples stand before it where `few_shot` says so,
    /// and the model's chat template around all where `chat` does.
    pub prompt: String,
    /// Whether prompts went through the model's chat template.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chat: bool,
    /// The solved examples before every prompt; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_shot: Option<FewShot>,
    /// The most tokens an answer was given, fewer where the model's positions end; null where none was written.
    pub max_new_tokens: Option<usize>,
    /// Scores of parts of the items: name of the field, its value. `length` groups items by the length of what they ask.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, BTreeMap<String, SliceScore>>,
    /// The hash of all that the value depends on beside the model. Empty where an older version wrote the report.
    #[serde(default)]
    pub protocol: String,
}

impl TaskScore {
    pub(super) fn new(task: &tenuis_tasks::Task, summary: Summary, max_new_tokens: Option<usize>) -> Self {
        let mut parts = summary.parts;
        let prompt = prompt(task.spec());
        let examples = task.few_shot().map(|few_shot| format!("{few_shot:?}")).unwrap_or_default();
        let longest = max_new_tokens.map(|most| most.to_string()).unwrap_or_default();
        let protocol = crate::protocol::hash(&[
            ("measure", "task"),
            ("data", task.data_hash()),
            ("definition", task.definition().map_or("", |(_, hash)| hash)),
            ("prompt", &prompt),
            ("chat", if task.uses_chat() { "yes" } else { "no" }),
            ("few_shot", &examples),
            ("max_new_tokens", &longest),
            ("dtype", crate::quality::COMPUTE_DTYPE),
        ]);
        Self {
            value: summary.value,
            metric: Metric::of(task.spec()),
            direction: Some(summary.direction),
            items: summary.items,
            correct: summary.correct,
            standard_error: summary.standard_error.unwrap_or(1.0),
            chance: summary.chance,
            acc_norm: parts.remove("acc_norm"),
            parts,
            layout: Layout::of(task.spec()),
            data_file: task.data_file().display().to_string(),
            data_hash: task.data_hash().to_owned(),
            task_hash: task.definition().map(|(_, hash)| hash.to_owned()),
            prompt,
            chat: task.uses_chat(),
            few_shot: task.few_shot().cloned(),
            max_new_tokens,
            slices: summary.slices,
            protocol,
        }
    }
}

/// What the model is given, with the fields' names in braces.
fn prompt(spec: &TaskSpec) -> String {
    let plain = spec.prompt.replace("{{ ", "{").replace(" }}", "}");
    match (spec.kind, &spec.choices) {
        (Kind::Choices, Some(choices)) => match &choices.continuation {
            Some(continuation) => {
                let continuation = continuation.replace("{{ ", "{").replace(" }}", "}");
                format!("{{choice}}{}{continuation}", choices.delimiter)
            }
            None => format!("{plain}{}{{choice}}", choices.delimiter),
        },
        (Kind::LastWord, _) => match plain.strip_suffix('}') {
            Some(field) => format!("{field} without its last word}}"),
            None => format!("{plain} without its last word"),
        },
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenuis_tasks::Builtin;

    #[test]
    fn reports_keep_the_words_for_a_prompt() {
        for (name, expected, layout) in [
            ("mmlu", "Question: {question}\nAnswer: {choice}", Layout::MultipleChoice),
            ("gsm8k", "Question: {question}\nAnswer:", Layout::WorkedProblems),
            ("lambada", "{text without its last word}", Layout::LastWord),
            ("summarisation", "Article: {document}\n\nSummary:", Layout::Generation),
        ] {
            let spec = Builtin::find(name).unwrap().spec().unwrap();
            assert_eq!((prompt(&spec).as_str(), Layout::of(&spec)), (expected, layout));
        }
    }

    #[test]
    fn metrics_are_called_what_their_package_calls_them() {
        for builtin in ["squad", "translation", "summarisation", "gsm8k"] {
            let spec = Builtin::find(builtin).unwrap().spec().unwrap();
            let name = serde_json::to_value(Metric::of(&spec)).unwrap();
            assert_eq!(name, spec.generate.unwrap().metric.name());
        }
    }
}
