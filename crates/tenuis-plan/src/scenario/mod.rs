//! Scenarios: what somebody wants of a compressed model, and which candidate is the answer.
//!
//! A scenario is a TOML file:
//!
//! ```toml
//! name = "pocket"
//! objective = "score"             # or "max_quality", "min_cost"
//! prompt_tokens = 128             # what latencies are measured with
//! output_tokens = 64
//!
//! [[terms]]                       # what counts, and how much
//! figure = "bytes"
//! weight = 2.0                    # 1 if left out
//!
//! [[constraints]]
//! figure = "loss"                 # 100 % − retention, in percentage points
//! at_most = 2.0
//!
//! [[constraints]]
//! figure = "bytes"
//! at_most = 100e6
//! absolute = true                 # otherwise a multiple of the baseline's figure
//!
//! [[constraints]]
//! figure = "latency_p99_ms"
//! at_most = 0.8
//! hard = false                    # costs score and decides nothing
//! penalty = 0.5                   # score per 100 % of excess
//! ```
//!
//! Figures have the names of the report. `loss` is computed from the retention, from its lower bound where there is one.
//!
//! | objective | score, 0 for the baseline |
//! |---|---|
//! | `max_quality` | −loss / 100 |
//! | `min_cost`, `score` | `Σ w·(1 − cost) / Σ w`; the cost of a figure is candidate ÷ baseline where lower is better, baseline ÷ candidate otherwise; that of `loss` is 1 + loss / 100 |
//!
//! `min_cost` takes no term for `loss`: quality is a constraint there.

mod builtin;
mod error;
mod judge;
mod parse;

pub use builtin::{builtin, builtin_names};
pub use error::{Place, ScenarioError};
pub use judge::{Assessment, Candidate, Check, Choice, Outcome};

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use tenuis_metrics::Direction;

/// The figure that is computed from the retention: `100 − retention`, in percentage points.
pub const LOSS: &str = "loss";

/// Says what is made best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// The least loss; the constraints are budgets.
    MaxQuality,
    /// The least weighted cost; the constraints keep the quality.
    MinCost,
    /// The greatest weighted mean of what was gained, of which quality may be a part.
    Score,
}

/// Names a figure that counts, and how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Term {
    /// The figure's name in the report, or [`LOSS`].
    pub figure: String,
    /// Its weight among the terms; positive.
    #[serde(default = "one")]
    pub weight: f64,
    /// Which values are better.
    #[serde(default = "lower")]
    pub direction: Direction,
}

impl Term {
    /// Creates a term of which less is better.
    pub fn lower(figure: &str, weight: f64) -> Self {
        Self { figure: figure.to_owned(), weight, direction: Direction::LowerIsBetter }
    }

    /// Creates a term of which more is better.
    pub fn higher(figure: &str, weight: f64) -> Self {
        Self { figure: figure.to_owned(), weight, direction: Direction::HigherIsBetter }
    }
}

/// Bounds a figure from above or from below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Constraint {
    /// The figure's name in the report, or [`LOSS`].
    pub figure: String,
    /// The greatest value, a multiple of the baseline's unless `absolute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The least value; exactly one of both is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Whether the bound is in the figure's own unit. That of [`LOSS`] always is: percentage points.
    #[serde(default)]
    pub absolute: bool,
    /// Whether a candidate that breaks it is out; otherwise it only loses score.
    #[serde(default = "yes")]
    pub hard: bool,
    /// What a soft constraint costs: score per 100 % of excess over the bound.
    #[serde(default = "one")]
    pub penalty: f64,
}

impl Constraint {
    /// Creates a hard bound from above, relative to the baseline (in percentage points for [`LOSS`]).
    pub fn at_most(figure: &str, bound: f64) -> Self {
        let figure = figure.to_owned();
        Self { figure, at_most: Some(bound), at_least: None, absolute: false, hard: true, penalty: 1.0 }
    }

    /// Creates a hard bound from below, relative to the baseline.
    pub fn at_least(figure: &str, bound: f64) -> Self {
        Self { at_most: None, at_least: Some(bound), ..Self::at_most(figure, bound) }
    }

    /// Takes the bound in the figure's own unit.
    #[must_use]
    pub fn absolute(self) -> Self {
        Self { absolute: true, ..self }
    }

    /// Lets an excess cost `penalty` of score per 100 % instead of ruling the candidate out.
    #[must_use]
    pub fn soft(self, penalty: f64) -> Self {
        Self { hard: false, penalty, ..self }
    }
}

/// Says what somebody wants of a compressed model.
///
/// ```
/// use tenuis_plan::scenario::{Candidate, Outcome, Scenario};
/// let scenario = Scenario::parse(
///     "name = 'small'\nobjective = 'max_quality'\n[[constraints]]\nfigure = 'bytes'\nat_most = 0.5",
///     "small.toml",
/// )?;
/// let baseline = Candidate::new("f32", 100.0).with("bytes", 4e6);
/// let choice = scenario.judge(&baseline, &[
///     Candidate::new("int8", 99.5).with("bytes", 1.1e6),
///     Candidate::new("int4", 97.0).with("bytes", 0.6e6),
/// ])?;
/// assert_eq!(choice.outcome, Outcome::Feasible);
/// assert_eq!(choice.best().map(|best| best.candidate.as_str()), Some("int8"));
/// # Ok::<(), tenuis_plan::scenario::ScenarioError>(())
/// ```
///
/// It is read by [`Scenario::parse`] alone, which checks it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// What is made best.
    pub objective: Objective,
    /// Tokens of a prompt in what is measured for it.
    pub prompt_tokens: usize,
    /// Tokens of an answer.
    pub output_tokens: usize,
    /// What counts; for [`Objective::MaxQuality`] nothing may be given.
    pub terms: Vec<Term>,
    /// What must hold, or should.
    pub constraints: Vec<Constraint>,
}

impl Default for Scenario {
    /// The most quality in at most half of the baseline's bytes.
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            description: String::new(),
            objective: Objective::MaxQuality,
            prompt_tokens: 128,
            output_tokens: 128,
            terms: Vec::new(),
            constraints: vec![Constraint::at_most("bytes", 0.5)],
        }
    }
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn lower() -> Direction {
    Direction::LowerIsBetter
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Read`], [`ScenarioError::Toml`] or [`ScenarioError::Value`], the latter with line and column.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file),
            Err(source) => Err(ScenarioError::Read { file, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = 'x'\nobjective = 'score'\n";

    fn message(text: &str) -> String {
        Scenario::parse(text, "x.toml").unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        let term = "[[terms]]\nfigure = 'bytes'\n";
        for (text, wanted) in [
            (format!("{HEAD}goal = 3\n{term}"), ["x.toml:3:1", "goal"]),
            (format!("{HEAD}{term}wight = 3\n"), ["x.toml:5:1", "wight"]),
            ("name = 'x'\nobjective = 'best'\n".into(), ["x.toml:2:13", "max_quality"]),
            ("name = \n".into(), ["x.toml:1:8", "string"]),
            (HEAD.into(), ["x.toml:2:13", "[[terms]]"]),
            (format!("{HEAD}prompt_tokens = 0\n{term}"), ["x.toml:3:17", "prompt_tokens is 0"]),
            (format!("{HEAD}{term}weight = -1\n"), ["x.toml:3:1", "weight is -1"]),
            (format!("{HEAD}{term}{term}"), ["x.toml:3:1", "two terms"]),
            (format!("{HEAD}{term}[[constraints]]\nfigure = 'loss'\n"), ["x.toml:5:1", "exactly one"]),
            (format!("{HEAD}{term}[[constraints]]\nfigure = 'loss'\nat_most = nan\n"), ["x.toml:5:1", "NaN"]),
            (
                "name = 'x'\nobjective = 'min_cost'\n[[terms]]\nfigure = 'loss'\n".into(),
                ["x.toml:3:1", "no cost"],
            ),
            (format!("name = ' '\nobjective = 'score'\n{term}"), ["x.toml:1:8", "name is empty"]),
        ] {
            let found = message(&text);
            assert!(wanted.iter().all(|part| found.contains(part)), "{text}\n{found}");
        }
    }

    #[test]
    fn a_scenario_survives_a_round_trip() {
        for name in builtin_names() {
            let scenario = builtin(name).unwrap();
            let text = toml::to_string(&scenario).unwrap();
            assert_eq!(Scenario::parse(&text, "again").unwrap(), scenario, "{text}");
        }
        let text = toml::to_string(&Scenario::default()).unwrap();
        assert_eq!(Scenario::parse(&text, "again").unwrap(), Scenario::default());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Scenario::read(Path::new("no/such.toml")).unwrap_err();
        assert!(error.to_string().contains("no/such.toml"), "{error}");
    }
}
