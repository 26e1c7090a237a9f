//! What resources buy, what was bought, what gates decided, and what a search found.

use super::or_default;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tenuis_metrics::Direction;

/// Quality against a resource.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ResourceCurve {
    /// The resource, such as `bytes`.
    pub resource: String,
    /// The unit of every resource in here.
    #[serde(default, deserialize_with = "or_default")]
    pub unit: String,
    /// The measured models, the baseline first.
    #[serde(default, deserialize_with = "or_default")]
    pub points: Vec<CurvePoint>,
    /// What the linear ideal buys per unit, in percentage points.
    pub ideal_marginal: Option<f64>,
    /// The marginal benefit below which another unit does not pay.
    pub threshold: Option<f64>,
    /// The curve, or why there is none.
    pub fit: CurveFit,
}

/// A model's place.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct CurvePoint {
    /// The model.
    pub model: String,
    /// What it takes.
    pub resource: f64,
    /// What it keeps, in percent.
    pub quality: f64,
    /// What the linear ideal would keep.
    pub ideal: Option<f64>,
    /// What another unit buys there.
    pub marginal: Option<f64>,
}

/// A fitted curve, or why there is none; a later version's form of a curve is shown by its line.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct CurveFit {
    /// Why there is none.
    pub reason: Option<String>,
    /// Family and parameters.
    #[serde(default, deserialize_with = "or_default")]
    pub curve: Map<String, Value>,
    /// The share of the variance that it explains.
    pub r_squared: Option<f64>,
    /// How far points lie from it, in percentage points.
    pub residual: Option<f64>,
    /// Whether a parameter ended at its bound.
    pub at_bound: Option<bool>,
    /// The least resource that was measured.
    pub measured_from: Option<f64>,
    /// The greatest one.
    pub measured_to: Option<f64>,
    /// The resource from which on another unit does not pay.
    pub payoff: Option<f64>,
    /// The curve at shares of the baseline's resource.
    #[serde(default, deserialize_with = "or_default")]
    pub budgets: Vec<CurveSample>,
    /// The curve itself.
    #[serde(default, deserialize_with = "or_default")]
    pub line: Vec<CurveSample>,
}

/// A place on a curve.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct CurveSample {
    /// The resource.
    pub resource: f64,
    /// The quality in percent.
    pub quality: f64,
    /// What another unit buys.
    pub marginal: Option<f64>,
}

/// What a candidate keeps and takes, in percent of the baseline.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Bought {
    /// The candidate.
    pub model: String,
    /// Quality.
    pub quality_percent: Option<f64>,
    /// Bytes of the files.
    pub bytes_percent: Option<f64>,
    /// Peak memory.
    pub peak_memory_percent: Option<f64>,
    /// Operations of a decoded token.
    pub flops_decode_percent: Option<f64>,
    /// Time of a prefill.
    pub prefill_time_percent: Option<f64>,
    /// Time of a decoding step.
    pub decode_time_percent: Option<f64>,
    /// Energy per token.
    pub energy_percent: Option<f64>,
    /// Price of a token.
    pub cost_percent: Option<f64>,
    /// What the compression itself cost.
    pub compression: Option<CompressionCost>,
    /// When its time is paid back.
    pub payback_time: Option<Recovery>,
    /// When its price is.
    pub payback_price: Option<Recovery>,
}

/// What a compression cost, once.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct CompressionCost {
    /// Seconds.
    pub seconds: Option<f64>,
    /// The price of the machine for that long.
    pub price: Option<f64>,
    /// In what.
    pub currency: Option<String>,
    /// Whether electricity comes on top.
    pub without_electricity: Option<bool>,
}

/// After how much use something is paid back.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Recovery {
    /// `after`, `never` or `unknown`.
    pub state: Option<String>,
    /// Generated tokens.
    pub tokens: Option<f64>,
    /// Hours of generating them.
    pub hours: Option<f64>,
    /// Why never, or why it is not known.
    pub reason: Option<String>,
}

/// What a gate decided.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct GateDecision {
    /// The stage.
    pub stage: String,
    /// The rung that was tried.
    pub rung: Option<String>,
    /// The group of weights, where it is about one.
    pub group: Option<String>,
    /// `accept`, `next_rung`, `skip` or `stop`.
    pub action: Option<String>,
    /// The rung that was tried next.
    pub next_rung: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The conditions.
    #[serde(default, deserialize_with = "or_default")]
    pub conditions: Vec<GateCondition>,
}

/// A condition of a gate.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct GateCondition {
    /// The condition and what decided it.
    pub text: String,
    /// `holds`, `broken` or `undecided`.
    pub verdict: Option<String>,
}

/// A search.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Search {
    /// What was wanted.
    pub scenario: Option<SearchScenario>,
    /// How trials were chosen.
    pub method: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
    /// Trials that the method makes.
    pub planned: Option<u64>,
    /// Trials that were measured.
    pub measured: Option<u64>,
    /// Trials without a result.
    pub failed: Option<u64>,
    /// Trials that did not go on.
    pub pruned: Option<u64>,
    /// Seconds of the search.
    pub seconds: Option<f64>,
    /// Every trial.
    #[serde(default, deserialize_with = "or_default")]
    pub trials: Vec<Trial>,
    /// What the front weighs.
    #[serde(default, deserialize_with = "or_default")]
    pub objectives: Vec<SearchObjective>,
    /// Names of its trials.
    #[serde(default, deserialize_with = "or_default")]
    pub front: Vec<String>,
    /// The one that gives up the least.
    pub knee: Option<String>,
    /// `feasible`, `closest` or `nothing`.
    pub outcome: Option<String>,
    /// The answer.
    pub best: Option<SearchScore>,
    /// Recipes that were not searched.
    #[serde(default, deserialize_with = "or_default")]
    pub builtin: Vec<SearchScore>,
    /// The answer beside the best of those, in words.
    pub comparison: Option<String>,
    /// Which text the search saw.
    pub unseen: Option<String>,
    /// Figures that counted for nobody.
    #[serde(default, deserialize_with = "or_default")]
    pub left_out: Vec<String>,
}

/// What was wanted of a search.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct SearchScenario {
    /// Its name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// One line for people.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// What is made best.
    pub objective: Option<String>,
    /// What counts.
    #[serde(default, deserialize_with = "or_default")]
    pub terms: Vec<String>,
    /// What must hold.
    #[serde(default, deserialize_with = "or_default")]
    pub constraints: Vec<String>,
}

/// A figure that the front weighs.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SearchObjective {
    /// Its name.
    pub figure: String,
    /// Which values are better.
    pub direction: Direction,
}

/// A trial.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// Its name.
    pub name: String,
    /// What was chosen.
    #[serde(default, deserialize_with = "or_default")]
    pub choices: Map<String, Value>,
    /// The share of the data.
    pub data_share: Option<f64>,
    /// `done`, `partial` or `failed`.
    pub state: Option<String>,
    /// What was measured.
    #[serde(default, deserialize_with = "or_default")]
    pub figures: BTreeMap<String, f64>,
    /// What it was ranked by.
    pub score: Option<f64>,
    /// Whether it meets every hard constraint.
    pub feasible: Option<bool>,
    /// What it breaks.
    #[serde(default, deserialize_with = "or_default")]
    pub violations: Vec<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A score on text that the search did not see.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SearchScore {
    /// The recipe, or the trial.
    pub name: String,
    /// The candidate that it is.
    pub candidate: Option<String>,
    /// What was chosen.
    #[serde(default, deserialize_with = "or_default")]
    pub choices: Map<String, Value>,
    /// What was measured.
    #[serde(default, deserialize_with = "or_default")]
    pub figures: BTreeMap<String, f64>,
    /// Its score.
    pub score: Option<f64>,
    /// Whether it meets every hard constraint.
    pub feasible: Option<bool>,
    /// What it breaks.
    #[serde(default, deserialize_with = "or_default")]
    pub violations: Vec<String>,
}
