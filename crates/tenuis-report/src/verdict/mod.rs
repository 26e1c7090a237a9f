//! The verdict: which candidate to take, what it brings, what it costs and what to try next. `docs/report.md` has the rules.

mod advice;
mod choice;
mod devices;
mod grade;
mod requirements;
mod words;

pub(crate) use advice::recipe_bits;
pub(crate) use choice::score;
pub use grade::Grade;
pub use requirements::Check;

use crate::compare::Facts;
use crate::data::Report;
use serde::Serialize;

/// What is to be said of a report.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The answer in one sentence.
    pub headline: String,
    /// The candidates to look at first, the recommended one in front; at most three.
    pub picks: Vec<Pick>,
    /// Every candidate's name and its requirements, where there are any.
    pub checks: Vec<(String, Vec<Check>)>,
    /// What a reader should have measured besides.
    pub missing: Vec<String>,
}

/// A candidate to look at.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Pick {
    /// Its index among the candidates.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What it is picked for.
    pub roles: Vec<&'static str>,
    /// How much it lost.
    pub grade: Grade,
    /// The grade in words.
    pub grade_words: &'static str,
    /// What was gained.
    pub gained: Vec<Line>,
    /// What was lost.
    pub lost: Vec<Line>,
    /// The one beside the other.
    pub trade_off: String,
    /// What it had to meet.
    pub checks: Vec<Check>,
    /// Where it fits.
    pub devices: String,
    /// What to try next.
    pub next: Vec<String>,
}

/// A figure with its words.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// Of what.
    pub label: String,
    /// The figure itself.
    pub figure: String,
    /// What it comes from.
    pub detail: String,
    /// `good`, `bad`, `even` or `missing`.
    pub tone: &'static str,
}

impl Verdict {
    /// Judges a report by the rules of `docs/report.md`.
    pub fn of(report: &Report) -> Self {
        let facts: Vec<Facts> = report.candidates.iter().map(|c| Facts::of(&report.baseline, c)).collect();
        let checks: Vec<Vec<Check>> = (0..facts.len()).map(|i| requirements::checks(report, i)).collect();
        let chosen = choice::choose(report, &facts, &checks);
        let picks: Vec<Pick> = chosen
            .iter()
            .map(|(index, roles)| {
                words::pick(report, *index, roles.clone(), &facts[*index], checks[*index].clone())
            })
            .collect();
        let headline = words::headline(report, picks.first(), &facts);
        let named = report.candidates.iter().map(|candidate| candidate.name.clone()).zip(checks);
        let checks = if report.requirements.is_empty() { Vec::new() } else { named.collect() };
        Self { headline, picks, checks, missing: advice::missing(report) }
    }
}
