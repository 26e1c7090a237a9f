//! Which candidate is a scenario's answer.

use super::{Constraint, LOSS, Objective, Scenario, ScenarioError, Term};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use tenuis_metrics::Direction;

/// Describes a compressed model by what was measured of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// What it keeps of the baseline's quality, in percent.
    pub retention: f64,
    /// The lower bound of that, in percent; constraints on [`LOSS`] hold this against their limit where it is given.
    pub retention_low: Option<f64>,
    /// Figures by their names in the report; what was not measured is missing.
    pub figures: BTreeMap<String, f64>,
}

impl Candidate {
    /// Creates a candidate with its retention in percent.
    pub fn new(name: &str, retention: f64) -> Self {
        Self { name: name.to_owned(), retention, retention_low: None, figures: BTreeMap::new() }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, figure: &str, value: f64) -> Self {
        self.figures.insert(figure.to_owned(), value);
        self
    }

    /// Adds the lower bound of the retention, in percent.
    #[must_use]
    pub fn with_bound(self, retention_low: f64) -> Self {
        Self { retention_low: Some(retention_low), ..self }
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let bound = self.retention_low.map(|low| ("retention_low", low));
        let figures = self.figures.iter().map(|(name, value)| (name.as_str(), *value));
        match figures.chain([("retention", self.retention)]).chain(bound).find(|(_, v)| !v.is_finite()) {
            Some((figure, value)) => Err(ScenarioError::NotFinite {
                candidate: self.name.clone(),
                figure: figure.to_owned(),
                value,
            }),
            None => Ok(()),
        }
    }
}

/// Reports a constraint before a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// The figure.
    pub figure: String,
    /// The candidate's value, the pessimistic bound for [`LOSS`]; nothing if it was not measured.
    pub value: Option<f64>,
    /// The limit in the figure's unit; nothing if the baseline's figure was not measured.
    pub limit: Option<f64>,
    /// Whether the limit is from above.
    pub from_above: bool,
    /// Whether breaking it rules the candidate out.
    pub hard: bool,
    /// By how much the limit is exceeded, as a share of it (of 1 where it is 0); 0 if it holds, nothing if that is undecided.
    pub excess: Option<f64>,
}

impl Check {
    /// Tells whether the constraint holds; what is undecided never does.
    pub fn holds(&self) -> bool {
        self.excess == Some(0.0)
    }
}

/// Reports a candidate before a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Assessment {
    /// Its index among the candidates.
    pub index: usize,
    /// Its name.
    pub candidate: String,
    /// Its score, penalties of soft constraints taken off; the baseline without any has 0. Nothing if a figure is missing.
    pub score: Option<f64>,
    /// Whether every hard constraint holds and there is a score.
    pub feasible: bool,
    /// `Σ` of the excesses of hard constraints.
    pub excess: f64,
    /// How many hard constraints are undecided, for want of a figure.
    pub undecided: usize,
    /// Every constraint, in the scenario's order.
    pub checks: Vec<Check>,
}

/// Says what the first of the ranking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// It meets every hard constraint, with the best score of those that do.
    Feasible,
    /// None does; it exceeds the limits least.
    Closest,
    /// There were no candidates.
    Nothing,
}

/// Answers a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// The scenario's name.
    pub scenario: String,
    /// What the first of the ranking is.
    pub outcome: Outcome,
    /// All candidates, best first: feasible ones by score, then the others by undecided constraints, excess and score.
    pub ranking: Vec<Assessment>,
    /// Terms that count for nobody, because the baseline's figure was not measured or is not positive.
    pub left_out: Vec<String>,
}

impl Choice {
    /// Yields the best candidate, or the closest.
    pub fn best(&self) -> Option<&Assessment> {
        self.ranking.first()
    }

    /// Lists the hard constraints that the best candidate breaks or leaves undecided.
    pub fn violated(&self) -> Vec<&Check> {
        let checks = self.best().into_iter().flat_map(|best| &best.checks);
        checks.filter(|check| check.hard && !check.holds()).collect()
    }
}

impl Scenario {
    /// Ranks candidates: the best that meets every hard constraint, or the closest and what it violates by how much.
    ///
    /// A constraint whose figure was not measured is undecided, which never counts as met. A term that the baseline lacks is left out
    /// for all and named; one that only a candidate lacks leaves that candidate without a score.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::NotFinite`] if a figure is a NaN or an infinity.
    pub fn judge(&self, baseline: &Candidate, candidates: &[Candidate]) -> Result<Choice, ScenarioError> {
        for candidate in candidates.iter().chain([baseline]) {
            candidate.check()?;
        }
        let counts = |term: &&Term| {
            term.figure == LOSS || baseline.figures.get(&term.figure).is_some_and(|value| *value > 0.0)
        };
        let terms: Vec<&Term> = self.terms.iter().filter(counts).collect();
        let left_out =
            self.terms.iter().filter(|term| !counts(term)).map(|term| term.figure.clone()).collect();
        let assess = |(index, candidate)| self.assess(index, candidate, baseline, &terms);
        let mut ranking: Vec<_> = candidates.iter().enumerate().map(assess).collect();
        // The sort is stable: of equals the first stays first.
        ranking.sort_by(order);
        let outcome = match ranking.first() {
            Some(best) if best.feasible => Outcome::Feasible,
            Some(_) => Outcome::Closest,
            None => Outcome::Nothing,
        };
        Ok(Choice { scenario: self.name.clone(), outcome, ranking, left_out })
    }

    fn assess(
        &self,
        index: usize,
        candidate: &Candidate,
        baseline: &Candidate,
        terms: &[&Term],
    ) -> Assessment {
        let checks: Vec<_> = self.constraints.iter().map(|c| c.check(candidate, baseline)).collect();
        let hard = checks.iter().filter(|check| check.hard);
        let undecided = hard.clone().filter(|check| check.excess.is_none()).count();
        let excess: f64 = hard.clone().filter_map(|check| check.excess).sum();
        // An unmeasured figure of a soft constraint costs nothing: there is no excess to charge for.
        let soft = checks.iter().zip(&self.constraints).filter(|(check, _)| !check.hard);
        let penalty: f64 = soft.map(|(check, c)| c.penalty * check.excess.unwrap_or(0.0)).sum();
        let score = self.score(candidate, baseline, terms).map(|score| score - penalty);
        let feasible = score.is_some() && hard.clone().all(Check::holds);
        Assessment { index, candidate: candidate.name.clone(), score, feasible, excess, undecided, checks }
    }

    fn score(&self, candidate: &Candidate, baseline: &Candidate, terms: &[&Term]) -> Option<f64> {
        let lost = (baseline.retention - candidate.retention) / 100.0;
        if self.objective == Objective::MaxQuality {
            return Some(-lost);
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for term in terms {
            let cost = if term.figure == LOSS {
                1.0 + lost
            } else {
                let (own, base) =
                    (*candidate.figures.get(&term.figure)?, *baseline.figures.get(&term.figure)?);
                match term.direction {
                    Direction::LowerIsBetter => own / base,
                    Direction::HigherIsBetter if own > 0.0 => base / own,
                    Direction::HigherIsBetter => return None,
                }
            };
            sum += term.weight * (1.0 - cost);
            weights += term.weight;
        }
        (weights > 0.0).then_some(sum / weights)
    }
}

impl Constraint {
    fn check(&self, candidate: &Candidate, baseline: &Candidate) -> Check {
        let loss = self.figure == LOSS;
        let from_above = self.at_most.is_some();
        let value = if loss {
            Some(100.0 - candidate.retention_low.unwrap_or(candidate.retention))
        } else {
            candidate.figures.get(&self.figure).copied()
        };
        let bound = self.at_most.or(self.at_least);
        let limit = if loss || self.absolute {
            bound
        } else {
            bound.zip(baseline.figures.get(&self.figure)).map(|(bound, base)| bound * base)
        };
        let excess = value.zip(limit).map(|(value, limit)| {
            let over = if from_above { value - limit } else { limit - value };
            let unit = if limit == 0.0 { 1.0 } else { limit.abs() };
            (over / unit).max(0.0)
        });
        Check { figure: self.figure.clone(), value, limit, from_above, hard: self.hard, excess }
    }
}

/// Best first.
fn order(a: &Assessment, b: &Assessment) -> Ordering {
    let score = |x: &Assessment| x.score.unwrap_or(f64::NEG_INFINITY);
    let by_score = score(b).total_cmp(&score(a));
    let by_limits = a.undecided.cmp(&b.undecided).then(a.excess.total_cmp(&b.excess)).then(by_score);
    b.feasible.cmp(&a.feasible).then(if a.feasible && b.feasible { by_score } else { by_limits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::builtin;

    /// Ratios of small decimal numbers.
    const ROUNDING: f64 = 1e-12;

    fn baseline() -> Candidate {
        Candidate::new("baseline", 100.0).with("bytes", 400e6).with("latency_p99_ms", 200.0)
    }

    fn mobile() -> Scenario {
        Scenario {
            objective: Objective::Score,
            terms: vec![Term::lower("bytes", 1.0), Term::lower(LOSS, 1.0)],
            constraints: vec![
                Constraint::at_most("bytes", 100e6).absolute(),
                Constraint::at_most("latency_p99_ms", 100.0).absolute(),
                Constraint::at_most(LOSS, 2.0),
            ],
            ..Scenario::default()
        }
    }

    fn candidate(name: &str, retention: f64, bytes: f64, latency: f64) -> Candidate {
        Candidate::new(name, retention).with("bytes", bytes).with("latency_p99_ms", latency)
    }

    #[test]
    fn the_best_feasible_candidate_wins() {
        let candidates = [
            candidate("large", 99.9, 120e6, 90.0),
            candidate("good", 99.0, 80e6, 90.0),
            candidate("better", 98.5, 60e6, 95.0),
            candidate("lossy", 97.0, 20e6, 50.0),
        ];
        let choice = mobile().judge(&baseline(), &candidates).unwrap();
        assert_eq!((choice.outcome, choice.best().unwrap().index), (Outcome::Feasible, 2));
        // (1 − 60/400 − 0.015) / 2
        assert!((choice.best().unwrap().score.unwrap() - (0.85 - 0.015) / 2.0).abs() < ROUNDING);
        assert_eq!(choice.violated(), Vec::<&Check>::new());
        assert_eq!(choice.ranking.iter().filter(|a| a.feasible).count(), 2);
    }

    #[test]
    fn the_closest_says_what_it_violates_by_how_much() {
        let candidates = [candidate("a", 99.9, 120e6, 150.0), candidate("b", 97.0, 110e6, 90.0)];
        let choice = mobile().judge(&baseline(), &candidates).unwrap();
        // a: 0.2 + 0.5; b: 0.1 + (3 − 2) / 2.
        assert_eq!((choice.outcome, choice.best().unwrap().index), (Outcome::Closest, 1));
        let violated: Vec<_> =
            choice.violated().iter().map(|c| (c.figure.clone(), c.excess.unwrap())).collect();
        assert_eq!(violated.len(), 2);
        assert!(violated[0].0 == "bytes" && (violated[0].1 - 0.1).abs() < ROUNDING, "{violated:?}");
        assert!(violated[1].0 == LOSS && (violated[1].1 - 0.5).abs() < ROUNDING, "{violated:?}");
    }

    #[test]
    fn the_bound_counts_and_not_the_point() {
        let one = candidate("one", 99.0, 80e6, 90.0);
        let unsure = one.clone().with_bound(97.5);
        assert_eq!(mobile().judge(&baseline(), &[one]).unwrap().outcome, Outcome::Feasible);
        assert_eq!(mobile().judge(&baseline(), &[unsure]).unwrap().outcome, Outcome::Closest);
    }

    #[test]
    fn budgets_are_relative_unless_absolute() {
        let scenario = Scenario::default();
        let half = candidate("half", 90.0, 200e6, 90.0);
        let more = candidate("more", 99.0, 201e6, 90.0);
        let choice = scenario.judge(&baseline(), &[more, half]).unwrap();
        assert_eq!((choice.outcome, choice.best().unwrap().index), (Outcome::Feasible, 1));
        assert_eq!(choice.ranking[1].checks[0].limit, Some(200e6));
    }

    #[test]
    fn soft_constraints_cost_score() {
        let scenario = Scenario {
            constraints: vec![Constraint::at_most("latency_p99_ms", 0.5).soft(0.1)],
            ..Scenario::default()
        };
        let slow = candidate("slow", 99.0, 1.0, 200.0);
        let quick = candidate("quick", 95.0, 1.0, 100.0);
        let choice = scenario.judge(&baseline(), &[slow, quick]).unwrap();
        assert_eq!((choice.outcome, choice.best().unwrap().candidate.as_str()), (Outcome::Feasible, "quick"));
        assert!((choice.ranking[1].score.unwrap() - (-0.01 - 0.1)).abs() < ROUNDING);
    }

    #[test]
    fn what_was_not_measured_is_never_met() {
        let bare = Candidate::new("bare", 99.9).with("bytes", 10e6);
        let full = candidate("full", 90.0, 300e6, 150.0);
        let choice = mobile().judge(&baseline(), &[bare, full]).unwrap();
        assert_eq!((choice.outcome, choice.best().unwrap().index), (Outcome::Closest, 1));
        assert_eq!(choice.ranking[1].undecided, 1);

        // The baseline's energy was not measured: the term counts for nobody. A candidate's own gap leaves it without a score.
        let iot = builtin("iot").unwrap();
        let base = baseline().with("latency_p50_ms", 10.0);
        let quick = Candidate::new("quick", 99.0).with("bytes", 10e6).with("latency_p50_ms", 5.0);
        let unknown = Candidate::new("unknown", 99.0).with("bytes", 1e6);
        let choice = iot.judge(&base, &[unknown, quick]).unwrap();
        assert_eq!(choice.left_out, ["joules_per_token", "peak_memory"]);
        assert_eq!((choice.best().unwrap().index, choice.ranking[1].score), (1, None));
    }

    #[test]
    fn rates_gain_what_times_save() {
        let with = |objective, term| Scenario {
            objective,
            terms: vec![term],
            constraints: vec![],
            ..Scenario::default()
        };
        let base = Candidate::new("base", 100.0).with("rate", 10.0).with("time", 0.1);
        let fast = [Candidate::new("fast", 100.0).with("rate", 40.0).with("time", 0.025)];
        let rate = with(Objective::Score, Term::higher("rate", 3.0)).judge(&base, &fast).unwrap();
        let time = with(Objective::MinCost, Term::lower("time", 1.0)).judge(&base, &fast).unwrap();
        let scores = [&rate, &time].map(|choice| choice.ranking[0].score.unwrap());
        assert!(scores.iter().all(|score| (score - 0.75).abs() < ROUNDING), "{scores:?}");
    }

    #[test]
    fn nothing_to_choose_from_and_nothing_to_compare() {
        assert_eq!(mobile().judge(&baseline(), &[]).unwrap().outcome, Outcome::Nothing);
        let error = mobile().judge(&baseline(), &[candidate("a", f64::NAN, 1.0, 1.0)]).unwrap_err();
        assert!(error.to_string().contains("retention of a is NaN"), "{error}");
    }
}
