//! What a search tried, what of it is worth a look, and its answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tenuis_metrics::Direction;
use tenuis_plan::front::{knee, non_dominated};
use tenuis_plan::scenario::{Check, Constraint, LOSS, Objective, Outcome, Scenario};

/// A search over recipes: what was wanted, what was tried and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchReport {
    /// What was wanted.
    pub scenario: ScenarioReport,
    /// How trials were chosen, such as `halving, 27 trials, eta 3`.
    pub method: String,
    /// The seed of whatever was drawn.
    pub seed: u64,
    /// How many trials the method would make if none failed.
    pub planned: usize,
    /// Trials that were measured, pruned ones included.
    pub measured: usize,
    /// Trials that ended without a result.
    pub failed: usize,
    /// Trials that were measured on a part of the data and did not go on.
    pub pruned: usize,
    /// Seconds of the whole search; null where they are not known.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Every trial, in the order of the search.
    pub trials: Vec<TrialReport>,
    /// What the front is made of.
    pub objectives: Vec<SearchObjective>,
    /// Names of the trials on all of the data that no other beats or equals in every objective.
    pub front: Vec<String>,
    /// Of those the one that gives up the least of everything; null where the front has none.
    #[serde(default)]
    pub knee: Option<String>,
    /// Whether the answer meets every hard constraint or only comes closest.
    pub outcome: Outcome,
    /// The answer, measured anew on text that the search did not see; null where nothing was measured.
    pub best: Option<SearchScore>,
    /// The recipes that come with the program, on the same unseen text.
    #[serde(default)]
    pub builtin: Vec<SearchScore>,
    /// Whether the answer is worth more than every built-in recipe on the unseen text and, where it is not, by what the other one
    /// is better; null where there is nothing to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<String>,
    /// Which text the search saw and which one the report's figures are measured on.
    pub unseen: String,
    /// Figures of the scenario that counted for nobody, as the baseline's were not measured.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// What somebody wanted, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// `max_quality`, `min_cost` or `score`.
    pub objective: String,
    /// What counts, and how much, a line each.
    pub terms: Vec<String>,
    /// What must hold, or should, a line each.
    pub constraints: Vec<String>,
}

/// A figure that the front weighs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchObjective {
    /// Its name among a trial's figures.
    pub figure: String,
    /// Which values are better.
    pub direction: Direction,
}

/// What became of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It was measured on all of the data.
    Done,
    /// It was measured on a part of the data and did not go on, or goes on under another name.
    Partial,
    /// It ended without a result.
    Failed,
}

/// A trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialReport {
    /// Its name, `BRACKET.RUNG.OPTIONS`.
    pub name: String,
    /// What was chosen, by axis.
    pub choices: Map<String, Value>,
    /// How often its data had grown.
    pub rung: usize,
    /// The share of the data that it was measured on, up to 1.
    pub data_share: f64,
    /// What became of it.
    pub state: TrialState,
    /// What was measured, by the names of the report: `bytes`, `perplexity`, `kl_mean`, `loss` in percentage points and others.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
    /// What it was ranked by; the baseline has 0.
    #[serde(default)]
    pub score: Option<f64>,
    /// Whether it meets every hard constraint.
    #[serde(default)]
    pub feasible: bool,
    /// The hard constraints that it breaks or leaves undecided, and by how much.
    #[serde(default)]
    pub violations: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Seconds that it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// A recipe's score on text that the search did not see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchScore {
    /// The recipe, or the trial.
    pub name: String,
    /// The candidate of the report that it is; null where it is none.
    #[serde(default)]
    pub candidate: Option<String>,
    /// What was chosen, by axis; empty for a recipe that was not searched.
    #[serde(default)]
    pub choices: Map<String, Value>,
    /// What was measured.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
    /// Its score; null where a figure that counts is missing.
    pub score: Option<f64>,
    /// Whether it meets every hard constraint.
    pub feasible: bool,
    /// The hard constraints that it breaks or leaves undecided, and by how much.
    #[serde(default)]
    pub violations: Vec<String>,
}

impl ScenarioReport {
    /// Puts a scenario into words.
    pub fn of(scenario: &Scenario) -> Self {
        let objective = match scenario.objective {
            Objective::MaxQuality => "max_quality",
            Objective::MinCost => "min_cost",
            _ => "score",
        };
        let term = |term: &tenuis_plan::scenario::Term| {
            let better = match term.direction {
                Direction::LowerIsBetter => "lower",
                Direction::HigherIsBetter => "higher",
            };
            format!("{}, {better} is better, weight {}", term.figure, term.weight)
        };
        Self {
            name: scenario.name.clone(),
            description: scenario.description.clone(),
            objective: objective.to_owned(),
            terms: scenario.terms.iter().map(term).collect(),
            constraints: scenario.constraints.iter().map(constraint).collect(),
        }
    }
}

fn constraint(constraint: &Constraint) -> String {
    let Constraint { figure, hard, penalty, .. } = constraint;
    let (sign, bound) = match (constraint.at_most, constraint.at_least) {
        (Some(bound), _) => ("≤", bound),
        (None, Some(bound)) => ("≥", bound),
        (None, None) => return figure.clone(),
    };
    let unit = match (figure.as_str(), constraint.absolute) {
        (LOSS, _) => " points",
        (_, true) => "",
        (_, false) => " × baseline",
    };
    let soft = if *hard { String::new() } else { format!(" (soft, costs {penalty} per 100 % of excess)") };
    format!("{figure} {sign} {bound}{unit}{soft}")
}

/// Puts a constraint that does not hold into words: the value, the limit and by how much it is exceeded.
///
/// ```
/// use tenuis_eval::report::violation;
/// use tenuis_plan::scenario::{Candidate, Constraint, Scenario};
/// let scenario = Scenario::default(); // bytes at most half of the baseline's
/// let of = |name: &str, bytes| Candidate::new(name, 100.0).with("bytes", bytes);
/// let choice = scenario.judge(&of("f32", 4e6), &[of("bf16", 2.5e6)])?;
/// assert_eq!(violation(choice.violated()[0]), "bytes is 2500000, over its limit 2000000 by 25 %");
/// # Ok::<(), tenuis_plan::scenario::ScenarioError>(())
/// ```
pub fn violation(check: &Check) -> String {
    let figure = &check.figure;
    match (check.value, check.limit, check.excess) {
        (None, ..) => format!("{figure} was not measured"),
        (_, None, _) => format!("{figure} has no limit, as the baseline's was not measured"),
        (Some(value), Some(limit), excess) => {
            let side = if check.from_above { "over" } else { "under" };
            let excess = excess.map_or(String::new(), |excess| format!(" by {} %", number(100.0 * excess)));
            format!("{figure} is {}, {side} its limit {}{excess}", number(value), number(limit))
        }
    }
}

/// By what a score is better than another.
fn advantages(of: &SearchScore, over: &SearchScore) -> String {
    let less = |(figure, word): &(&str, &str)| {
        let (a, b) = (of.figures.get(*figure)?, over.figures.get(*figure)?);
        (a < b).then(|| format!("{} % less {word}", number(100.0 * (1.0 - a / b))))
    };
    let found: Vec<String> = LESS_IS_BETTER.iter().filter_map(less).collect();
    if found.is_empty() {
        "it breaks fewer limits".to_owned()
    } else {
        format!("it has {}", found.join(", "))
    }
}

/// Whole numbers as such, others to four significant digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1e4 || value == 0.0 {
        return format!("{value:.0}");
    }
    let decimals = (3 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Figures of a score of which less is better, in words.
const LESS_IS_BETTER: [(&str, &str); 4] = [
    ("bytes", "bytes"),
    ("peak_memory", "memory"),
    ("latency_p50_ms", "median latency"),
    ("perplexity", "perplexity"),
];

impl SearchReport {
    /// Holds the answer against the best built-in recipe that meets every hard constraint; sets `comparison`.
    pub fn compare(&mut self) {
        let worth = |score: &&SearchScore| score.score.filter(|_| score.feasible);
        let rival = self.builtin.iter().filter(|score| worth(score).is_some());
        let rival = rival.max_by(|a, b| a.score.unwrap_or_default().total_cmp(&b.score.unwrap_or_default()));
        self.comparison = self.best.as_ref().map(|best| {
            let own = best.score.unwrap_or(f64::NAN);
            match (worth(&best), rival) {
                (Some(_), None) => "no built-in recipe meets every limit".to_owned(),
                (None, None) => "no built-in recipe meets every limit either".to_owned(),
                (Some(own), Some(rival)) if own > rival.score.unwrap_or_default() => format!(
                    "worth more than every built-in recipe that meets the limits: {own:.4} against {:.4} of {}",
                    rival.score.unwrap_or_default(),
                    rival.name
                ),
                (_, Some(rival)) => format!(
                    "the built-in recipe {} is worth more, {:.4} against {own:.4}: {}",
                    rival.name,
                    rival.score.unwrap_or_default(),
                    advantages(rival, best)
                ),
            }
        });
    }

    /// Finds the front of the trials on all of the data that have every objective, and its knee; sets `front` and `knee`.
    pub fn mark_front(&mut self) {
        let of = |trial: &TrialReport| {
            let values =
                self.objectives.iter().map(|objective| trial.figures.get(&objective.figure).copied());
            values.collect::<Option<Vec<f64>>>().filter(|values| values.iter().all(|value| value.is_finite()))
        };
        let done = self.trials.iter().filter(|trial| trial.state == TrialState::Done);
        let (names, points): (Vec<&str>, Vec<Vec<f64>>) =
            done.filter_map(|trial| Some((trial.name.as_str(), of(trial)?))).unzip();
        let directions: Vec<Direction> =
            self.objectives.iter().map(|objective| objective.direction).collect();
        // Points and objectives fit together by the filter above; without objectives there is no front.
        let front = non_dominated(&points, &directions).unwrap_or_default();
        let knee = knee(&points, &directions).ok().flatten().map(|knee| names[knee.index].to_owned());
        let front = front.into_iter().map(|index| names[index].to_owned()).collect();
        (self.front, self.knee) = (front, knee);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(name: &str, score: f64, feasible: bool, bytes: f64) -> SearchScore {
        SearchScore {
            name: name.to_owned(),
            candidate: None,
            choices: Map::new(),
            figures: BTreeMap::from([("bytes".to_owned(), bytes)]),
            score: Some(score),
            feasible,
            violations: Vec::new(),
        }
    }

    #[test]
    fn the_answer_is_held_against_the_best_built_in_recipe() {
        let against = |best: SearchScore, builtin: Vec<SearchScore>| {
            let mut report: SearchReport = serde_json::from_value(serde_json::json!({
                "scenario": { "name": "", "description": "", "objective": "", "terms": [], "constraints": [] },
                "method": "grid", "seed": 0, "planned": 0, "measured": 0, "failed": 0, "pruned": 0, "trials": [],
                "objectives": [], "front": [], "outcome": "feasible", "best": null, "unseen": "",
            }))
            .unwrap();
            (report.best, report.builtin) = (Some(best), builtin);
            report.compare();
            report.comparison.unwrap()
        };
        let broken = scored("broken", 0.9, false, 1.0);
        let rival = scored("int4", 0.4, true, 80.0);
        let won = against(scored("found", 0.5, true, 100.0), vec![rival.clone(), broken.clone()]);
        assert_eq!(
            won,
            "worth more than every built-in recipe that meets the limits: 0.5000 against 0.4000 of int4"
        );
        let lost = against(scored("found", 0.3, true, 100.0), vec![rival, broken.clone()]);
        assert_eq!(
            lost,
            "the built-in recipe int4 is worth more, 0.4000 against 0.3000: it has 20 % less bytes"
        );
        let alone = against(scored("found", 0.3, true, 100.0), vec![broken]);
        assert_eq!(alone, "no built-in recipe meets every limit");
    }
    use tenuis_plan::scenario::builtin;

    #[test]
    fn scenarios_read_as_they_were_written() {
        let report = ScenarioReport::of(&builtin("phone").unwrap());
        assert_eq!(report.objective, "score");
        assert_eq!(report.terms[0], "bytes, lower is better, weight 2");
        assert_eq!(report.constraints[0], "loss ≤ 3 points");
        assert_eq!(report.constraints[1], "bytes ≤ 0.5 × baseline");
        assert!(report.constraints[2].contains("soft"), "{}", report.constraints[2]);
    }

    #[test]
    fn numbers_keep_four_digits() {
        let texts = [2_500_000.0, 25.0, 0.123_456, 12.0004, 0.0].map(number);
        assert_eq!(texts, ["2500000", "25", "0.1235", "12", "0"]);
    }

    #[test]
    fn the_front_is_of_trials_on_all_of_the_data() {
        let trial = |name: &str, state: &str, bytes: f64, loss: Option<f64>| {
            let mut figures = serde_json::json!({ "bytes": bytes });
            if let Some(loss) = loss {
                figures["loss"] = loss.into();
            }
            serde_json::json!({ "name": name, "choices": {}, "rung": 0, "data_share": 1.0, "state": state, "figures": figures })
        };
        let value = serde_json::json!({
            "scenario": { "name": "s", "description": "", "objective": "score", "terms": [], "constraints": [] },
            "method": "grid", "seed": 0, "planned": 6, "measured": 5, "failed": 0, "pruned": 1,
            "trials": [
                trial("large", "done", 9.0, Some(0.0)), trial("knee", "done", 3.0, Some(1.0)),
                trial("small", "done", 1.0, Some(9.0)), trial("beaten", "done", 4.0, Some(2.0)),
                trial("unmeasured", "done", 0.5, None), trial("partial", "partial", 0.1, Some(0.0)),
            ],
            "objectives": [
                { "figure": "bytes", "direction": "lower_is_better" }, { "figure": "loss", "direction": "lower_is_better" },
            ],
            "front": [], "outcome": "nothing", "best": null, "unseen": "",
        });
        let mut search: SearchReport = serde_json::from_value(value).unwrap();
        search.mark_front();
        assert_eq!(search.front, ["large", "knee", "small"]);
        assert_eq!(search.knee.as_deref(), Some("knee"));
        search.objectives.clear();
        search.mark_front();
        assert!(search.front.is_empty() && search.knee.is_none());
    }
}
