//! How much a candidate lost, in one word.

use crate::compare::Facts;
use serde::Serialize;

/// How much was lost. The order is from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Grade {
    /// 99 % of perplexity and tasks are left, 98 % of predictions agree.
    Negligible,
    /// 95 % are left, 90 % agree.
    Slight,
    /// 80 % are left, 75 % agree.
    Noticeable,
    /// Less than that.
    Severe,
    /// Nothing was measured.
    Unknown,
}

/// What must be left for a grade: percent of perplexity and tasks, share of equal predictions.
const STEPS: [(Grade, f64, f64); 3] =
    [(Grade::Negligible, 99.0, 0.98), (Grade::Slight, 95.0, 0.90), (Grade::Noticeable, 80.0, 0.75)];

impl Grade {
    /// The worst grade of what was measured: retention of perplexity, top-1 agreement, and retention of every task whose drop
    /// is clear of its noise ([`TaskChange::clear`](crate::TaskChange::clear)).
    pub fn of(facts: &Facts) -> Self {
        let retained = |left: f64| grade(|step| left >= step.1);
        let drops = facts.tasks.iter().filter(|task| task.clear != Some(false) && task.worse);
        let measured = [facts.retention.map(retained), facts.top1.map(|share| grade(|step| share >= step.2))];
        let tasks = drops.filter_map(|task| task.retention).map(retained);
        measured.into_iter().flatten().chain(tasks).max().unwrap_or(Self::Unknown)
    }

    /// The grade in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Negligible => "next to no loss",
            Self::Slight => "a slight loss",
            Self::Noticeable => "a noticeable loss",
            Self::Severe => "a severe loss",
            Self::Unknown => "loss not measured",
        }
    }
}

fn grade(holds: impl Fn(&(Grade, f64, f64)) -> bool) -> Grade {
    STEPS.iter().find(|step| holds(step)).map_or(Grade::Severe, |step| step.0)
}
