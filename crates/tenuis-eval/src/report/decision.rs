//! What the gates decided while a candidate was made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_plan::gate::{Action, Decision, Verdict};

/// A decision of a gate, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateDecision {
    /// The stage that was held against the conditions.
    pub stage: String,
    /// The rung of its ladder that was tried.
    pub rung: String,
    /// The group of weights that it is about, where the gate is one of a group; null for that of a whole stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What became of it.
    pub action: GateAction,
    /// The rung that was tried next, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rung: Option<String>,
    /// Why, in one line.
    pub reason: String,
    /// The conditions; empty where there was none, or the attempt failed before there was anything to judge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<GateCondition>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateAction {
    /// Its result was kept.
    Accept,
    /// Its result was dropped, and another rung tried from the same state.
    NextRung,
    /// Its result was dropped and the stage left out; the recipe went on.
    Skip,
    /// Its result was dropped, and the recipe ended with what the last good stage made.
    Stop,
}

/// A condition and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateCondition {
    /// The condition and what decided it, in one line.
    pub text: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

impl From<&Decision> for GateDecision {
    fn from(decision: &Decision) -> Self {
        let (action, next_rung) = match &decision.action {
            Action::Accept => (GateAction::Accept, None),
            Action::NextRung { rung } => (GateAction::NextRung, Some(rung.clone())),
            Action::SkipStage => (GateAction::Skip, None),
            // What is added to a plan's actions later drops the result, too, until it is known here.
            _ => (GateAction::Stop, None),
        };
        let condition = |condition: &tenuis_plan::gate::Condition| GateCondition {
            text: condition.to_string(),
            verdict: condition.verdict(),
        };
        Self {
            stage: decision.attempt.stage.clone(),
            rung: decision.attempt.rung.clone(),
            group: None,
            action,
            next_rung,
            reason: decision.reason.clone(),
            conditions: decision.conditions.iter().map(condition).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenuis_plan::gate::{Condition, Evidence, Exhausted, Limit, Progression, Stage};

    #[test]
    fn every_action_and_the_bound_that_decided_come_over() {
        let condition = |value: f64| {
            let evidence = Evidence::Interval { value, low: value - 0.5, high: value + 0.5 };
            vec![Condition::new("perplexity <= 10", Limit::AtMost(10.0), evidence)]
        };
        let of = |exhausted, values: &[f64]| -> Vec<GateDecision> {
            let stages = vec![Stage::new("quantise", &["int4", "int8"]), Stage::new("prune", &["50 %"])];
            let mut plan = Progression::new(stages, exhausted).unwrap();
            values.iter().map(|value| GateDecision::from(&plan.judge(condition(*value)).unwrap())).collect()
        };
        let skipped = of(Exhausted::Skip, &[9.8, 12.0, 9.0]);
        let actions: Vec<_> = skipped.iter().map(|decision| decision.action).collect();
        assert_eq!(actions, [GateAction::NextRung, GateAction::Skip, GateAction::Accept]);
        let first = &skipped[0];
        assert_eq!((first.stage.as_str(), first.rung.as_str()), ("quantise", "int4"));
        assert_eq!(first.next_rung.as_deref(), Some("int8"));
        // The estimate is within the limit and its bound is not.
        assert_eq!(first.conditions[0].verdict, Verdict::Broken);
        assert!(first.conditions[0].text.contains("9.3 to 10.3"), "{}", first.conditions[0].text);
        assert_eq!(of(Exhausted::Stop, &[12.0, 12.0])[1].action, GateAction::Stop);
        let text = serde_json::to_string(&skipped).unwrap();
        assert_eq!(serde_json::from_str::<Vec<GateDecision>>(&text).unwrap(), skipped);
    }
}
