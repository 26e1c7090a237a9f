//! The ladder of a stage and the gate after it: accept, try the next rung, or roll back, with the reason on record.
//!
//! Progressive compression runs stages in order of harm. Each stage has rungs from the boldest to the most careful (`int4`,
//! `int4 with act-order`, `int8`); after a rung the gate holds conditions. The first rung that passes is kept; if none does, the stage is rolled
//! back, and the plan stops at the last good state or goes on without the stage ([`Exhausted`]).
//!
//! A condition on something that was estimated passes only if the whole confidence interval does: the gate looks at the bound that is
//! worse, not at the point. What was not measured never passes.
//!
//! ```
//! use tenuis_plan::gate::{Condition, Evidence, Exhausted, Limit, Progression, Stage};
//! let stages = vec![Stage::new("quantise", &["int4", "int8"])];
//! let mut plan = Progression::new(stages, Exhausted::Stop)?;
//!
//! let perplexity = |value, low, high| {
//!     Condition::new("perplexity <= 1.03x baseline", Limit::AtMost(10.3), Evidence::Interval { value, low, high })
//! };
//! // int4: the point is within, the bound is not.
//! let decision = plan.judge(vec![perplexity(10.2, 10.0, 10.4)])?;
//! assert!(decision.reason.contains("10.4"), "{}", decision.reason);
//! assert_eq!(plan.next().map(|attempt| attempt.rung), Some("int8".to_owned()));
//! plan.judge(vec![perplexity(10.05, 10.0, 10.1)])?;
//! assert_eq!(plan.accepted()[0].rung, "int8");
//! # Ok::<(), tenuis_plan::gate::GateError>(())
//! ```

mod condition;

pub use condition::{Condition, Evidence, Limit, Verdict};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Describes a stage by its rungs, the boldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// The names of its rungs.
    pub rungs: Vec<String>,
}

impl Stage {
    /// Creates a stage.
    pub fn new(name: &str, rungs: &[&str]) -> Self {
        Self { name: name.to_owned(), rungs: rungs.iter().map(|&rung| rung.to_owned()).collect() }
    }
}

/// Says what happens when no rung of a stage passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exhausted {
    /// The plan ends at the last good state: what comes later does more harm.
    #[default]
    Stop,
    /// The stage is left out, and the next one begins at the last good state.
    Skip,
}

/// Names what is to be run next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The stage.
    pub stage: String,
    /// The rung.
    pub rung: String,
    /// The index of the rung, from 0.
    pub rung_index: usize,
}

/// Says what became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Its result is kept.
    Accept,
    /// Its result is dropped, and another rung of the stage is tried from the same state.
    NextRung {
        /// That rung.
        rung: String,
    },
    /// Its result is dropped and the stage with it; the plan goes on.
    SkipStage,
    /// Its result is dropped, and the plan ends at the last good state.
    Stop,
}

impl Action {
    /// Names it in one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::NextRung { .. } => "next_rung",
            Self::SkipStage => "skip_stage",
            Self::Stop => "stop",
        }
    }
}

/// Records an attempt, what the gate said and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// What was attempted.
    pub attempt: Attempt,
    /// What became of it.
    pub action: Action,
    /// Why, in one line.
    pub reason: String,
    /// The conditions that were held; empty if the attempt failed before there was anything to judge.
    pub conditions: Vec<Condition>,
}

/// Says why a plan cannot begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GateError {
    /// A stage has nothing to try.
    #[error("stage {stage} has no rungs; give at least one, the boldest first")]
    NoRungs {
        /// The stage.
        stage: String,
    },
    /// Two stages or two rungs of one have the same name, so that a record would be ambiguous.
    #[error("{name} occurs twice; give every stage, and every rung of a stage, a name of its own")]
    Repeated {
        /// The name.
        name: String,
    },
    /// What was saved does not belong to these stages.
    #[error(
        "the saved decision on {rung} of stage {stage} does not follow from the plan; were its stages changed? then begin anew"
    )]
    OtherPlan {
        /// The stage of the decision.
        stage: String,
        /// Its rung.
        rung: String,
    },
    /// There is nothing left to judge.
    #[error("every stage was decided already; there is nothing to judge")]
    Over,
}

/// Walks through stages and rungs; what is saved of it is its stages and its decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "State", try_from = "State")]
pub struct Progression {
    stages: Vec<Stage>,
    exhausted: Exhausted,
    decisions: Vec<Decision>,
    /// The stage and rung to be tried next; the number of stages when all are decided. Follows from the decisions.
    stage: usize,
    rung: usize,
}

/// What is saved.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    stages: Vec<Stage>,
    #[serde(default)]
    exhausted: Exhausted,
    #[serde(default)]
    decisions: Vec<Decision>,
}

impl From<Progression> for State {
    fn from(plan: Progression) -> Self {
        Self { stages: plan.stages, exhausted: plan.exhausted, decisions: plan.decisions }
    }
}

impl TryFrom<State> for Progression {
    type Error = GateError;

    fn try_from(state: State) -> Result<Self, GateError> {
        let mut plan = Self::new(state.stages, state.exhausted)?;
        for decision in state.decisions {
            let expected = plan.next().ok_or(GateError::Over)?;
            let known = match &decision.action {
                Action::NextRung { rung } => plan.stages[plan.stage].rungs.get(plan.rung + 1) == Some(rung),
                Action::Accept | Action::SkipStage | Action::Stop => true,
            };
            if !known || decision.attempt != expected {
                let Attempt { stage, rung, .. } = decision.attempt;
                return Err(GateError::OtherPlan { stage, rung });
            }
            plan.advance(&decision.action);
            plan.decisions.push(decision);
        }
        Ok(plan)
    }
}

impl Progression {
    /// Begins with the first rung of the first stage.
    ///
    /// # Errors
    ///
    /// [`GateError::NoRungs`], [`GateError::Repeated`].
    pub fn new(stages: Vec<Stage>, exhausted: Exhausted) -> Result<Self, GateError> {
        let repeated = |names: &[&String]| {
            (1..names.len()).find(|&i| names[..i].contains(&names[i])).map(|i| names[i].clone())
        };
        if let Some(name) = repeated(&stages.iter().map(|stage| &stage.name).collect::<Vec<_>>()) {
            return Err(GateError::Repeated { name });
        }
        for stage in &stages {
            if stage.rungs.is_empty() {
                return Err(GateError::NoRungs { stage: stage.name.clone() });
            }
            if let Some(name) = repeated(&stage.rungs.iter().collect::<Vec<_>>()) {
                return Err(GateError::Repeated { name });
            }
        }
        Ok(Self { stages, exhausted, decisions: Vec::new(), stage: 0, rung: 0 })
    }

    /// Names what is to be run next, from the last accepted state; nothing at the end.
    pub fn next(&self) -> Option<Attempt> {
        let stage = self.stages.get(self.stage)?;
        let rung = stage.rungs[self.rung].clone();
        Some(Attempt { stage: stage.name.clone(), rung, rung_index: self.rung })
    }

    /// Holds the result of the next attempt against conditions; without any it passes.
    ///
    /// # Errors
    ///
    /// [`GateError::Over`] if every stage was decided.
    pub fn judge(&mut self, conditions: Vec<Condition>) -> Result<Decision, GateError> {
        let failed: Vec<_> =
            conditions.iter().filter(|c| c.verdict() != Verdict::Holds).map(ToString::to_string).collect();
        let reason = match (failed.is_empty(), conditions.len()) {
            (false, _) => failed.join("; "),
            (true, 0) => "there was no condition".to_owned(),
            (true, 1) => conditions[0].to_string(),
            (true, count) => format!("all {count} conditions hold"),
        };
        self.decide(failed.is_empty(), reason, conditions)
    }

    /// Records that the next attempt ended without a result; its rung counts as not passed.
    ///
    /// # Errors
    ///
    /// [`GateError::Over`] if every stage was decided.
    pub fn fail(&mut self, reason: &str) -> Result<Decision, GateError> {
        self.decide(false, format!("failed: {reason}"), Vec::new())
    }

    fn decide(
        &mut self,
        passed: bool,
        reason: String,
        conditions: Vec<Condition>,
    ) -> Result<Decision, GateError> {
        let attempt = self.next().ok_or(GateError::Over)?;
        let action = match (passed, self.stages[self.stage].rungs.get(self.rung + 1), self.exhausted) {
            (true, ..) => Action::Accept,
            (false, Some(rung), _) => Action::NextRung { rung: rung.clone() },
            (false, None, Exhausted::Skip) => Action::SkipStage,
            (false, None, Exhausted::Stop) => Action::Stop,
        };
        self.advance(&action);
        let decision = Decision { attempt, action, reason, conditions };
        self.decisions.push(decision.clone());
        Ok(decision)
    }

    fn advance(&mut self, action: &Action) {
        match action {
            Action::Accept | Action::SkipStage => (self.stage, self.rung) = (self.stage + 1, 0),
            Action::NextRung { .. } => self.rung += 1,
            Action::Stop => (self.stage, self.rung) = (self.stages.len(), 0),
        }
    }

    /// Lists what was accepted, in order: the last good state is the result of all of these.
    pub fn accepted(&self) -> Vec<&Attempt> {
        let accepted = self.decisions.iter().filter(|decision| decision.action == Action::Accept);
        accepted.map(|decision| &decision.attempt).collect()
    }

    /// Lists everything that was decided, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages() -> Vec<Stage> {
        vec![Stage::new("prune", &["50 %", "30 %"]), Stage::new("quantise", &["int4", "act-order", "int8"])]
    }

    fn verdict(passes: bool) -> Vec<Condition> {
        let evidence = Evidence::Exact(if passes { 1.0 } else { 2.0 });
        vec![Condition::new("it", Limit::AtMost(1.0), evidence)]
    }

    #[test]
    fn rungs_are_climbed_down_until_one_passes() {
        let mut plan = Progression::new(stages(), Exhausted::Stop).unwrap();
        assert_eq!(plan.judge(verdict(true)).unwrap().action, Action::Accept);
        let decision = plan.judge(verdict(false)).unwrap();
        assert_eq!(decision.action, Action::NextRung { rung: "act-order".into() });
        assert_eq!(decision.reason, "it does not hold: 2");
        let decision = plan.fail("no space left").unwrap();
        assert_eq!(decision.action, Action::NextRung { rung: "int8".into() });
        assert!(decision.reason.contains("no space left") && decision.conditions.is_empty());
        plan.judge(vec![]).unwrap();
        let kept: Vec<_> = plan.accepted().iter().map(|a| format!("{}: {}", a.stage, a.rung)).collect();
        assert_eq!(kept, ["prune: 50 %", "quantise: int8"]);
        assert_eq!((plan.next(), plan.judge(vec![])), (None, Err(GateError::Over)));
    }

    #[test]
    fn an_exhausted_ladder_stops_or_is_skipped() {
        for (exhausted, action, next) in
            [(Exhausted::Stop, Action::Stop, None), (Exhausted::Skip, Action::SkipStage, Some("quantise"))]
        {
            let mut plan = Progression::new(stages(), exhausted).unwrap();
            plan.judge(verdict(false)).unwrap();
            assert_eq!(plan.judge(verdict(false)).unwrap().action, action);
            assert_eq!(plan.next().map(|attempt| attempt.stage).as_deref(), next);
            assert!(plan.accepted().is_empty());
        }
    }

    #[test]
    fn a_plan_that_is_loaded_after_every_step_is_the_same() {
        let steps = [true, false, false, true];
        let mut straight = Progression::new(stages(), Exhausted::Stop).unwrap();
        let mut resumed = straight.clone();
        for passes in steps {
            straight.judge(verdict(passes)).unwrap();
            resumed = serde_json::from_str(&serde_json::to_string(&resumed).unwrap()).unwrap();
            resumed.judge(verdict(passes)).unwrap();
            assert_eq!(straight, resumed);
        }
        assert_eq!(straight.next(), None);
    }

    #[test]
    fn decisions_of_another_plan_are_refused() {
        let mut plan = Progression::new(stages(), Exhausted::Stop).unwrap();
        plan.judge(verdict(false)).unwrap();
        let saved = serde_json::to_string(&plan).unwrap();
        // The rung that was tried, and the one that was to be next.
        for (from, to) in [("\"50 %\",", "\"60 %\","), ("\"30 %\"]", "\"20 %\"]")] {
            let changed = saved.replacen(from, to, 1);
            assert_ne!(changed, saved);
            let message = serde_json::from_str::<Progression>(&changed).unwrap_err().to_string();
            assert!(message.contains("50 % of stage prune"), "{message}");
        }
    }

    #[test]
    fn ambiguous_plans_are_refused() {
        let new = |stages| Progression::new(stages, Exhausted::Stop);
        assert!(matches!(new(vec![Stage::new("a", &[])]), Err(GateError::NoRungs { .. })));
        assert!(matches!(new(vec![Stage::new("a", &["x", "x"])]), Err(GateError::Repeated { .. })));
        let twice = vec![Stage::new("a", &["x"]), Stage::new("a", &["y"])];
        assert!(matches!(new(twice), Err(GateError::Repeated { .. })));
    }
}
