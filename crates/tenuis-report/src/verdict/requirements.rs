//! What a candidate had to meet, and whether it does. The report judges; this only reads.

use crate::data::{Holds, Judgement, Report, Requirement};
use crate::format::{MISSING, bytes, figure, seconds};
use serde::Serialize;

/// A requirement and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// The requirement.
    pub requirement: String,
    /// Whether it holds.
    pub holds: Holds,
    /// What was measured, and what it was held against.
    pub detail: String,
}

/// The requirements of one candidate. A judgement belongs to the candidate at its place, or else to the one of its name; where
/// there is none, the requirement is undecided.
pub(crate) fn checks(report: &Report, index: usize) -> Vec<Check> {
    let name = &report.candidates[index].name;
    let own = |requirement: &Requirement| {
        let named = |judgement: &&Judgement| judgement.candidate == *name;
        let judgements = &requirement.candidates;
        judgements.get(index).filter(named).or_else(|| judgements.iter().find(named)).cloned()
    };
    let check = |requirement: &Requirement| {
        let judgement = own(requirement);
        let text = |value: Option<f64>| value.map(|value| words(&requirement.requirement, value));
        let value = text(judgement.as_ref().and_then(|judgement| judgement.value));
        let value = value.map_or(MISSING.to_owned(), |value| format!("measured {value}"));
        let limit = text(judgement.as_ref().and_then(|judgement| judgement.limit));
        Check {
            requirement: requirement.requirement.clone(),
            holds: judgement.map_or(Holds::Undecided, |judgement| judgement.verdict),
            detail: format!("{value}, limit {}", limit.unwrap_or("not known".to_owned())),
        }
    };
    report.requirements.iter().map(check).collect()
}

/// A value of the figure that a requirement begins with.
fn words(requirement: &str, value: f64) -> String {
    match requirement.split(|c: char| c.is_whitespace() || "<>".contains(c)).next() {
        Some("bytes" | "peak_memory") => bytes(value),
        Some("decode_p50" | "decode_p90") => seconds(value),
        _ => figure(value),
    }
}
