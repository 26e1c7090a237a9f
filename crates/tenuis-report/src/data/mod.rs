//! What the page reads of a report: the fields of `docs/report.schema.json`, of which most may be absent.
//!
//! Fields that are not listed here are ignored, and `null` is the same as absence, so that reports of later versions are
//! shown as far as they are understood.

mod figures;
mod planning;
mod resources;
mod serving;

pub use figures::{Compressed, Difference, Figures, Retention, SpeedUp};
pub use planning::{
    Bought, CompressionCost, CurveFit, CurvePoint, CurveSample, GateCondition, GateDecision, Recovery,
    ResourceCurve, Search, SearchObjective, SearchScenario, SearchScore, Trial,
};
pub use resources::{Cost, Elsewhere, Energy, Environment, MemorySplit, Noise, Start, Starts};
pub use serving::{
    Arrivals, Load, LoadResult, Operation, Profile, Queue, SpeedProfile, Sweep, SweepPoint, SweepRow,
    SweepSkipped, SweepSpeed,
};

use crate::error::ReportError;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tenuis_metrics::Direction;

/// The form that is understood, the report's field `schema`.
pub const SCHEMA: &str = "tenuis.report/1";

/// A report.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of the form.
    pub schema: String,
    /// The version of the program that wrote it.
    pub version: Option<String>,
    /// Seconds since 1970 UTC.
    pub created_unix: Option<u64>,
    /// Where it was measured.
    pub machine: Option<Machine>,
    /// How it was measured.
    pub protocol: Option<Protocol>,
    /// The model as it was given.
    pub baseline: Entry,
    /// The compressed models.
    #[serde(default, deserialize_with = "or_default")]
    pub candidates: Vec<Entry>,
    /// What the reader should know.
    #[serde(default, deserialize_with = "or_default")]
    pub warnings: Vec<String>,
    /// What candidates had to meet.
    #[serde(default, deserialize_with = "or_default")]
    pub requirements: Vec<Requirement>,
    /// What each resource buys.
    #[serde(default, deserialize_with = "or_default")]
    pub curves: Vec<ResourceCurve>,
    /// What each candidate keeps and takes, and when its compression is paid back.
    #[serde(default, deserialize_with = "or_default")]
    pub bought: Vec<Bought>,
    /// The search that candidates come from.
    pub search: Option<Search>,
    /// The same models on other machines.
    #[serde(default, deserialize_with = "or_default")]
    pub elsewhere: Vec<Elsewhere>,
}

/// A condition and what became of it.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Requirement {
    /// The condition, such as `perplexity <= 1.03x baseline`.
    pub requirement: String,
    /// Every candidate, in the report's order.
    #[serde(default, deserialize_with = "or_default")]
    pub candidates: Vec<Judgement>,
}

/// A candidate before a condition.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Judgement {
    /// The candidate's name.
    pub candidate: String,
    /// Its figure.
    pub value: Option<f64>,
    /// What it was held against.
    pub limit: Option<f64>,
    /// Whether the condition holds.
    pub verdict: Holds,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Something was not measured, which never counts as passed.
    #[serde(other)]
    Undecided,
}

/// The machine of a report.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Machine {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Worker threads.
    pub threads: Option<u64>,
    /// Architecture and operating system.
    pub platform: Option<String>,
    /// What else is known of it.
    pub environment: Option<Environment>,
    /// Whether it was quiet.
    pub noise: Option<Noise>,
}

/// How things were measured.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Protocol {
    /// The evaluated text.
    pub data: Option<Source>,
    /// The calibration text.
    pub calibration: Option<Source>,
    /// How speed was measured.
    pub speed: Option<SpeedProtocol>,
    /// The type of activations.
    pub compute_dtype: Option<String>,
}

/// A text that was read.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Source {
    /// The file as it was named.
    pub file: Option<String>,
    /// blake3 of its bytes.
    pub hash: Option<String>,
    /// Windows taken from it.
    pub samples: Option<u64>,
    /// Tokens per window.
    pub seq_len: Option<u64>,
}

/// How speed was measured.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SpeedProtocol {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens generated after it.
    pub decode_tokens: Option<u64>,
    /// Rounds not counted.
    pub warmup: Option<u64>,
    /// Rounds counted.
    pub repeats: Option<u64>,
    /// Worker threads.
    pub threads: Option<u64>,
}

/// The baseline or a candidate.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The recipe in full.
    pub recipe: Option<Value>,
    /// The checkpoint directory.
    pub checkpoint: Option<String>,
    /// What it weighs.
    pub size: Size,
    /// How well it predicts.
    pub quality: Option<Quality>,
    /// How fast it is.
    pub speed: Option<Speed>,
    /// What it needs at work.
    pub memory: Option<Memory>,
    /// How it was made.
    pub compression: Option<Compression>,
    /// What it gained and lost, as the evaluation worked it out.
    pub figures: Option<Figures>,
    /// What a million tokens cost.
    pub cost: Option<Cost>,
}

/// What a checkpoint weighs.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Size {
    /// Weights.
    pub params: Option<u64>,
    /// Weights that are not exactly zero.
    pub nonzero_params: Option<u64>,
    /// Bytes of the weight files.
    pub bytes: u64,
    /// Bytes of the tensors.
    pub tensor_bytes: Option<u64>,
    /// Operations of a run.
    pub work: Option<Work>,
}

/// Floating-point operations of a run, a multiplication and an addition counted as two.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Work {
    /// Of a decoded token after the prompt.
    pub flops_per_decoded_token: Option<u64>,
    /// Of the prompt.
    pub flops_per_prefill: Option<u64>,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
}

/// How well a model predicts.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Quality {
    /// Perplexity and its protocol.
    pub perplexity: Option<Perplexity>,
    /// Mean divergence from the baseline in nats.
    pub kl_mean: Option<f64>,
    /// Its median.
    pub kl_median: Option<f64>,
    /// Its 99th percentile.
    pub kl_p99: Option<f64>,
    /// Share of predictions that agree with the baseline's.
    pub top1_agreement: Option<f64>,
    /// Scores of tasks.
    #[serde(default, deserialize_with = "or_default")]
    pub tasks: BTreeMap<String, Task>,
    /// The same figures on parts of the data, in whatever form.
    pub slices: Option<Value>,
    /// Perplexity under harder conditions, by their names.
    #[serde(default, deserialize_with = "or_default")]
    pub robustness: BTreeMap<String, Robustness>,
    /// Figures of the user's own commands, by their names.
    #[serde(default, deserialize_with = "or_default")]
    pub business: BTreeMap<String, Business>,
}

/// Perplexity on a text that is harder than that of the quality.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Robustness {
    /// The perplexity, a mean where there are several runs.
    pub value: Option<f64>,
    /// Mean divergence from the baseline on the same text, in nats.
    pub kl_mean: Option<f64>,
    /// How far the runs lie apart.
    pub spread: Option<Spread>,
}

/// How far values of several seeds lie apart.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// Their standard deviation.
    pub sd: Option<f64>,
    /// How many they are.
    pub count: Option<u64>,
}

/// A figure that a command of the user's own printed.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Business {
    /// The number.
    pub value: Option<f64>,
    /// Which values are better.
    pub direction: Option<Direction>,
    /// The command.
    pub command: Option<String>,
}

/// Perplexity and what it was measured on.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Perplexity {
    /// `exp(mean NLL)`; absent where it is not finite.
    pub value: Option<f64>,
    /// Predictions it is the mean of.
    pub predictions: Option<u64>,
    /// Tokens per window.
    pub seq_len: Option<u64>,
    /// Windows read.
    pub windows: Option<u64>,
    /// Windows that there are.
    pub windows_of: Option<u64>,
    /// blake3 of the text.
    pub data_hash: Option<String>,
    /// Hash of all that the value depends on beside the model.
    pub protocol: Option<String>,
}

/// The score of a task.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// Between 0 and 1.
    pub value: Option<f64>,
    /// What it counts.
    pub metric: Option<String>,
    /// Items asked.
    pub items: Option<u64>,
    /// `√(value · (1 − value) / items)`.
    pub standard_error: Option<f64>,
    /// What blind guesses would score.
    pub chance: Option<f64>,
    /// Which values are better; absent, higher ones.
    pub direction: Option<Direction>,
    /// The score where the answers' log-likelihoods are divided by their lengths.
    pub acc_norm: Option<f64>,
    /// Scores of parts of the items, in whatever form.
    pub slices: Option<Value>,
}

/// Speed of a model.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Speed {
    /// Seconds of one prefill.
    pub prefill_seconds: Option<Distribution>,
    /// Seconds of one decoding step.
    pub decode_step_seconds: Option<Distribution>,
    /// Prompt tokens per second.
    pub prefill_tokens_per_s: Option<f64>,
    /// Tokens per second while decoding.
    pub decode_tokens_per_s: Option<f64>,
    /// Whole generations per second.
    pub samples_per_s: Option<f64>,
    /// Seconds of a whole generation.
    pub latency_seconds: Option<Distribution>,
    /// Speed at other batch sizes and lengths.
    pub sweep: Option<Sweep>,
    /// Latency under load, by the name of the arrivals.
    #[serde(default, deserialize_with = "or_default")]
    pub load: BTreeMap<String, LoadResult>,
    /// What it took of energy, or why that is not known.
    pub energy: Option<Energy>,
    /// Joules for each generated token.
    pub joules_per_token: Option<f64>,
    /// Where prefill and decoding spend their time.
    pub profile: Option<SpeedProfile>,
}

/// Quantiles of samples.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Distribution {
    /// The smallest.
    pub min: Option<f64>,
    /// The 50th percentile.
    pub median: Option<f64>,
    /// The 90th percentile.
    pub p90: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The number of samples.
    pub samples: Option<u64>,
}

/// Peak memory.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// Beyond that of a process that does nothing.
    pub peak_bytes: Option<u64>,
    /// Of the process that does nothing.
    pub empty_bytes: Option<u64>,
    /// What the peak is made of.
    pub split: Option<MemorySplit>,
    /// How long a start takes.
    pub start: Option<Starts>,
}

/// How a candidate was made.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Compression {
    /// Whether it was found finished.
    pub reused: Option<bool>,
    /// Seconds of the run.
    pub seconds: Option<f64>,
    /// Its stages.
    #[serde(default, deserialize_with = "or_default")]
    pub stages: Vec<Stage>,
    /// What its gates decided.
    #[serde(default, deserialize_with = "or_default")]
    pub decisions: Vec<GateDecision>,
}

/// What a stage did.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Stage {
    /// The technique's name.
    pub technique: String,
    /// Its version.
    pub version: Option<String>,
    /// Seconds it took.
    pub seconds: Option<f64>,
    /// Weights it changed.
    pub weights: Option<u64>,
    /// Weights it did not get.
    #[serde(default, deserialize_with = "or_default")]
    pub skipped: Vec<String>,
    /// Rows of calibration.
    pub calibration_rows: Option<u64>,
    /// Batches dropped.
    pub dropped_batches: Option<u64>,
    /// What it measured.
    #[serde(default, deserialize_with = "or_default")]
    pub metrics: Vec<Metric>,
    /// What it has to say.
    #[serde(default, deserialize_with = "or_default")]
    pub notes: Vec<String>,
    /// What went other than asked.
    #[serde(default, deserialize_with = "or_default")]
    pub warnings: Vec<String>,
}

/// A figure of a technique.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, `weight/quantity` where it is about one weight.
    pub key: String,
    /// Its value.
    pub value: Option<f64>,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// [`ReportError::Field`] where a field is missing or of the wrong kind, [`ReportError::Schema`] where the form is
    /// another one.
    pub fn from_value(value: &Value) -> Result<Self, ReportError> {
        let report: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let field = error.path().to_string();
            ReportError::Field { field, source: error.into_inner() }
        })?;
        if report.schema != SCHEMA {
            return Err(ReportError::Schema { found: report.schema, expected: SCHEMA });
        }
        Ok(report)
    }
}

impl std::str::FromStr for Report {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, ReportError> {
        Self::from_value(&serde_json::from_str(text).map_err(ReportError::Json)?)
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
