//! The report: types of every section, its JSON Schema and its Markdown form.

mod bought;
mod curves;
mod decision;
mod figures;
mod markdown;
mod measurement;
mod merge;
mod requirement;
mod search;

pub use bought::{Bought, CompressionCost, Recovery};
pub use curves::{
    CurvePoint, CurveSample, Fit, FittedCurve, PAYING_POINTS_PER_PERCENT, Resource, ResourceCurve,
};
pub use decision::{GateAction, GateCondition, GateDecision};
pub use figures::{Compressed, Figures, Items, Retention, SpeedUp};
pub use markdown::bytes;
pub use measurement::{MEASUREMENT_SCHEMA, MeasuredModel, Measurement};
pub use merge::MergeError;
pub use requirement::{Holds, Judged, Judgement, Needs, Requirement, RequirementError, figure};
pub use search::{
    ScenarioReport, SearchObjective, SearchReport, SearchScore, TrialReport, TrialState, violation,
};

use crate::memory::Memory;
use crate::quality::Quality;
use crate::size::Size;
use crate::speed::{Speed, SpeedProtocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenuis_measure::{Cost, Environment, Noise, SystemRoot};

/// The version of the report's form, its field `schema`.
pub const SCHEMA: &str = "tenuis.report/1";

/// What was compressed, how, and what that cost and brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `tenuis.report/1`.
    pub schema: String,
    /// The version of the program that wrote the report.
    pub version: String,
    /// Seconds since 1970-01-01 UTC at which the report was written.
    pub created_unix: u64,
    /// Where it was measured.
    pub machine: Machine,
    /// How it was measured.
    pub protocol: Protocol,
    /// The model as it was given.
    pub baseline: Entry,
    /// The compressed models, in the order of their recipes.
    pub candidates: Vec<Entry>,
    /// The conditions that candidates had to meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Judged>,
    /// What each resource buys: quality against bytes, memory, time and operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<ResourceCurve>,
    /// What each candidate keeps and takes beside the baseline, and when its compression is paid back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bought: Vec<Bought>,
    /// The search that candidates come from, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// Speed and memory of the same models on other machines, merged from the files of `tenuis measure`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Measurement>,
    /// What the reader should know before trusting a number.
    pub warnings: Vec<String>,
}

/// The machine that the numbers belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's name, where the system tells it.
    pub cpu: Option<String>,
    /// Worker threads.
    pub threads: usize,
    /// Architecture and operating system.
    pub platform: String,
    /// What else is known of it: instruction sets, caches, limits, load, versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Whether it was quiet while speed was measured; null where speed was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
}

impl Machine {
    /// Describes the machine that this process runs on.
    pub fn here() -> Self {
        let environment =
            Environment::read(&SystemRoot::default()).with_version("tenuis", env!("CARGO_PKG_VERSION"));
        Self {
            cpu: environment.machine.cpu.name.clone(),
            threads: rayon::current_num_threads(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            environment: Some(environment),
            noise: None,
        }
    }
}

/// The protocol of the whole report; entries repeat what belongs to a single number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Protocol {
    /// The evaluated text.
    pub data: DataSource,
    /// The calibration text, where any recipe needed one.
    pub calibration: Option<CalibrationSource>,
    /// How speed was measured; absent where it was not.
    pub speed: Option<SpeedProtocol>,
    /// The type that activations are computed in.
    pub compute_dtype: String,
}

/// A text file and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataSource {
    /// The file as it was named.
    pub file: String,
    /// blake3 of its bytes.
    pub hash: String,
    /// Tokens that it holds, without special tokens.
    pub tokens: usize,
}

/// What techniques were calibrated on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationSource {
    /// The text.
    #[serde(flatten)]
    pub data: DataSource,
    /// Windows taken from it, evenly spaced.
    pub samples: usize,
    /// Tokens per window.
    pub seq_len: usize,
}

/// One model: the baseline or a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The recipe's name, or `baseline`.
    pub name: String,
    /// The recipe in full; null for the baseline and for a candidate that was made elsewhere.
    pub recipe: Option<Value>,
    /// The checkpoint directory.
    pub checkpoint: String,
    /// Exact parameters and bytes.
    pub size: Size,
    /// Perplexity and agreement with the baseline.
    pub quality: Quality,
    /// Speed; null where it was not measured.
    pub speed: Option<Speed>,
    /// Peak memory; null where it was not measured.
    pub memory: Option<Memory>,
    /// How the candidate was made; null for the baseline and for a candidate that was made elsewhere.
    pub compression: Option<Compression>,
    /// What it gained and lost beside the baseline; absent for the baseline, and where an older version wrote the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// What generated tokens cost on this machine, at the price that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// How a candidate was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compression {
    /// Whether a finished checkpoint of the same inputs was found and reused.
    pub reused: bool,
    /// Seconds of the run that made it.
    pub seconds: f64,
    /// The stages, in order.
    pub stages: Vec<StageRecord>,
    /// What the gates decided, in order; empty where the recipe has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<GateDecision>,
}

/// What a stage did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// The technique's name.
    pub technique: String,
    /// The technique's version.
    pub version: String,
    /// blake3 of the plugin's library file.
    pub plugin_hash: String,
    /// Weights that were given to the technique and came back changed.
    pub weights: usize,
    /// Weights that it did not get: untouched or not finite.
    pub skipped: Vec<String>,
    /// Calibration rows that every Hessian was made from; 0 where none was needed.
    pub calibration_rows: u64,
    /// Batches dropped because an activation was not finite.
    pub dropped_batches: u64,
    /// Figures that the technique reported, such as damping and fallbacks.
    pub metrics: Vec<Metric>,
    /// What the technique has to say for itself, such as the verdict on a learning curve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What went other than asked.
    pub warnings: Vec<String>,
}

/// A figure that a technique reported about a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// Its name.
    pub key: String,
    /// Its value; null where it is not finite.
    pub value: Option<f64>,
}

impl Report {
    /// The JSON Schema (2020-12) of this version's reports.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Computes [`Report::curves`] and [`Report::bought`] anew from the entries, as they are now.
    pub fn recompute(&mut self) {
        self.curves = ResourceCurve::of(&self.baseline, &self.candidates);
        self.bought = Bought::of(&self.baseline, &self.candidates);
    }
}

/// What a candidate keeps of the quality, in percent: the retention of its perplexity.
fn kept(entry: &Entry) -> Option<f64> {
    let percent = entry.figures.as_ref()?.retention.get("perplexity")?.percent;
    (percent.is_finite() && percent >= 0.0).then_some(percent)
}
