//! What is asked for.

use super::{AllocateError, Menu};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use tenuis_recipe::CalibrationSpec;

/// What is scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Bytes of all tensors, those that no choice touches included; headers of the files are left out.
    Bytes,
    /// Floating-point operations that the Linears with a choice take for one token, as a report's `work` counts them.
    Flops,
    /// Milliseconds that the Linears with a choice take for one token on this machine, each timed by itself.
    Latency,
}

impl Resource {
    /// Its name in records and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Flops => "operations per token",
            Self::Latency => "milliseconds per token",
        }
    }
}

/// How much of a resource there is.
///
/// ```
/// use tenuis_orchestrator::allocate::Limit;
/// assert_eq!("0.25x".parse(), Ok(Limit::Share(0.25)));
/// assert_eq!("1.5e6".parse(), Ok(Limit::Absolute(1.5e6)));
/// assert!("a lot".parse::<Limit>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// A share of what the model takes as it was given.
    Share(f64),
    /// In the resource's unit.
    Absolute(f64),
}

impl FromStr for Limit {
    type Err = AllocateError;

    fn from_str(text: &str) -> Result<Self, AllocateError> {
        let (number, limit): (&str, fn(f64) -> Self) = match text.strip_suffix('x') {
            Some(share) => (share, Self::Share),
            None => (text, Self::Absolute),
        };
        let number = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        number.map(limit).ok_or_else(|| AllocateError::BudgetForm { text: text.to_owned() })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{share}x"),
            Self::Absolute(number) => write!(f, "{number}"),
        }
    }
}

/// How the harm of a choice is known before the model is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// By the relative squared error of the output, `tr(ΔW·H·ΔWᵀ) / tr(W·H·Wᵀ)`: no further run of the model, and no weight is
    /// kept in memory. It says nothing of how much a Linear matters.
    Error,
    /// By the divergence that one choice in the Linear's place makes of the predictions, and for the others in proportion to
    /// the squared error: one run of the rest of the model per Linear.
    Reference,
    /// By the divergence that each choice makes: one run of the rest of the model per Linear and choice.
    #[default]
    Every,
}

/// Asks for an allocation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AllocateRequest {
    /// Names the recipe.
    pub name: String,
    /// What is scarce, and how much there is; one to three.
    pub budgets: Vec<(Resource, Limit)>,
    /// What may become of each weight; by default [`Menu::builtin`].
    pub menu: Option<Menu>,
    /// How techniques are calibrated, now and when the recipe runs.
    pub calibration: CalibrationSpec,
    /// The recipe's seed.
    pub seed: u64,
    /// How harm is known.
    pub scores: Scores,
    /// How often the scores are taken anew around the best choice so far; with [`Scores::Every`] only.
    pub rounds: usize,
    /// Tokens that divergences are measured on, in windows of the calibration text that no technique is calibrated on.
    pub score_tokens: usize,
    /// Bytes that the weights of all choices may take in memory.
    pub max_candidate_bytes: u64,
    /// A directory that is made and removed again.
    pub scratch: PathBuf,
}

impl AllocateRequest {
    /// A request of this name with `scratch` as its place; everything else as it usually is, and no budget yet.
    pub fn new(name: &str, scratch: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            budgets: Vec::new(),
            menu: None,
            calibration: CalibrationSpec::default(),
            seed: 0,
            scores: Scores::default(),
            rounds: 3,
            score_tokens: 4096,
            max_candidate_bytes: 8 << 30,
            scratch,
        }
    }
}
