//! What was tried and chosen, as JSON.

use super::{Limit, Menu, Resource, Scores};
use serde::Serialize;

/// The format's name and version.
pub(super) const SCHEMA: &str = "tenuis.allocation/1";

/// Says what was tried, what it costs, what was chosen and how sure that is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// `tenuis.allocation/1`.
    pub schema: &'static str,
    /// The recipe's name.
    pub recipe: String,
    /// blake3 of the model's checkpoint.
    pub model: String,
    /// The calibration text's file and hash.
    pub calibration: tenuis_eval::report::CalibrationSource,
    /// Tokens that divergences were measured on.
    pub score_tokens: usize,
    /// How harm was known.
    pub scores: Scores,
    /// What there was to choose from.
    pub menu: Menu,
    /// What was scarce.
    pub budgets: Vec<Spent>,
    /// The optimum of the sum of the losses of single choices, before any round.
    pub sum: Sum,
    /// The sum of the single losses of what was chosen; with [`Scores::Error`] of relative output errors, otherwise of divergences
    /// in nats. `None` where a choice was never scored by itself.
    pub predicted: Option<f64>,
    /// The divergence of what was chosen as it was measured on the slice, in nats; the techniques saw the model as it was, so that
    /// the finished recipe is another network.
    pub divergence: Option<f64>,
    /// Blocks that are left out.
    pub dropped_blocks: Vec<usize>,
    /// What leaving out each block does, in nats.
    pub block_divergence: Vec<f64>,
    /// Every choice for all Linears, for comparison.
    pub uniform: Vec<Uniform>,
    /// What was tried around the best.
    pub rounds: Vec<Round>,
    /// What was tried and chosen by Linear.
    pub linears: Vec<LinearRecord>,
}

/// A budget, and what is spent of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// What is scarce.
    pub resource: Resource,
    /// As it was asked for.
    pub asked: Limit,
    /// In the resource's unit.
    pub limit: f64,
    /// What the choice takes.
    pub used: f64,
    /// What of that no choice touches.
    pub fixed: f64,
    /// What one more unit would save at the optimum of the sum.
    pub price: f64,
}

/// The optimum of a sum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sum {
    /// The sum.
    pub predicted: f64,
    /// What was measured of it.
    pub divergence: Option<f64>,
    /// How far it can be from the optimum; 0 if it is proven to be it.
    pub gap: f64,
}

/// One choice for all Linears.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Uniform {
    /// The choice.
    pub name: String,
    /// What it costs, by budget.
    pub costs: Vec<f64>,
    /// Whether it keeps all budgets.
    pub fits: bool,
    /// The divergence in nats.
    pub divergence: f64,
    /// The sum of single losses, where all were scored.
    pub predicted: Option<f64>,
}

/// A step that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// The round, from 0.
    pub round: usize,
    /// Linears that changed.
    pub changes: usize,
    /// The divergence that the differences promised, in nats.
    pub expected: f64,
    /// The one that was measured.
    pub divergence: f64,
    /// The solver's gap.
    pub gap: f64,
}

/// A Linear and its choices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinearRecord {
    /// Its module in the model as it was given.
    pub name: String,
    /// `[out_features, in_features]`.
    pub shape: [usize; 2],
    /// The choice; `None` in a block that is left out.
    pub chosen: Option<String>,
    /// All choices.
    pub tried: Vec<Tried>,
}

/// What a choice makes of a Linear.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The choice.
    pub choice: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Operations per token.
    pub flops: f64,
    /// Milliseconds per token, where latency is a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// `tr(ΔW·H·ΔWᵀ) / tr(W·H·Wᵀ)` on the calibration text.
    pub error: f64,
    /// The loss by itself; `None` where another choice beats this one in costs and error.
    pub loss: Option<f64>,
}
