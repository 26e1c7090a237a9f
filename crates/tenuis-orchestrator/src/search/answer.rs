//! What a search comes to, measured on text that it has not seen.

use super::{Found, choices, figures};
use crate::error::RunError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tenuis_eval::report::{
    Entry, Report, ScenarioReport, SearchObjective, SearchReport, SearchScore, TrialReport, TrialState,
    figure, violation,
};
use tenuis_metrics::Direction;
use tenuis_plan::scenario::{Assessment, Candidate, Outcome, Scenario};
use tenuis_plan::search::{TrialId, TrialResult};

/// What the front weighs: the room that a candidate takes against what it costs in predictions.
const FRONT: [&str; 2] = ["bytes", "kl_mean"];

/// Says what a search found, in the report of the finalists and the built-in recipes on unseen text.
///
/// The answer is chosen by what the search had seen of quality and by what was measured of speed and memory, which the text
/// does not change; how good it is, is said by the text that it had not seen.
pub(crate) fn conclude(found: &Found, report: &mut Report) -> Result<Option<String>, RunError> {
    let scenario = &found.request.scenario;
    let names: Vec<&str> = found.finalists.iter().map(|loaded| loaded.recipe.name.as_str()).collect();
    let base = figures::measured(scenario, &report.baseline);
    let is_finalist = |entry: &&Entry| names.contains(&entry.name.as_str());
    let finalists: Vec<&Entry> = report.candidates.iter().filter(is_finalist).collect();
    let by_what_was_seen: Vec<Candidate> =
        finalists.iter().map(|entry| seen(found, scenario, entry)).collect();
    let choice = scenario.judge(&base, &by_what_was_seen)?;
    let answer = choice.best().map(|best| best.candidate.clone());
    let scores = |entry: &Entry| -> Result<SearchScore, RunError> {
        let judged = scenario.judge(&base, &[figures::measured(scenario, entry)])?;
        Ok(score(entry, judged.ranking.first(), chosen(found, &entry.name)))
    };
    let best = finalists
        .iter()
        .find(|entry| Some(&entry.name) == answer.as_ref())
        .map(|entry| scores(entry))
        .transpose()?;
    let builtin: Vec<SearchScore> =
        report.candidates.iter().filter(|entry| !is_finalist(entry)).map(scores).collect::<Result<_, _>>()?;
    let outcome = match &best {
        Some(best) if best.feasible => Outcome::Feasible,
        Some(_) => Outcome::Closest,
        None => Outcome::Nothing,
    };
    let mut search = SearchReport {
        scenario: ScenarioReport::of(scenario),
        method: found.method.clone(),
        seed: found.request.seed,
        planned: found.saved.search.planned(),
        measured: 0,
        failed: 0,
        pruned: 0,
        seconds: Some(found.saved.seconds),
        trials: trials(found),
        objectives: FRONT
            .map(|figure| SearchObjective { figure: figure.to_owned(), direction: Direction::LowerIsBetter })
            .to_vec(),
        front: Vec::new(),
        knee: None,
        outcome,
        best,
        builtin,
        comparison: None,
        unseen: format!(
            "the search chose by {}; all figures of this report are of {}",
            found.seen, report.protocol.data.file
        ),
        left_out: choice.left_out,
    };
    search.failed = search.trials.iter().filter(|trial| trial.state == TrialState::Failed).count();
    search.measured = search.trials.len() - search.failed;
    let goes_on = |trial: &&TrialReport| {
        search.trials.iter().any(|other| other.choices == trial.choices && other.rung > trial.rung)
    };
    search.pruned =
        search.trials.iter().filter(|t| t.state == TrialState::Partial).filter(|t| !goes_on(t)).count();
    search.mark_front();
    search.compare();
    report.search = Some(search);
    Ok(answer)
}

/// A finalist by what the search knew of its quality, and by what was measured of the rest.
fn seen(found: &Found, scenario: &Scenario, entry: &Entry) -> Candidate {
    let measured = figures::measured(scenario, entry);
    let note = found.saved.notes.values().rev().find(|note| note.name == entry.name);
    let Some(note) = note else { return measured };
    let kept = note.figures.get("retention.perplexity").copied().unwrap_or(measured.retention);
    let mut candidate = Candidate::new(&entry.name, kept);
    candidate.figures = measured.figures;
    match note.figures.get("loss") {
        Some(loss) => candidate.with_bound(100.0 - loss),
        None => candidate,
    }
}

fn score(entry: &Entry, judged: Option<&Assessment>, choices: Map<String, Value>) -> SearchScore {
    let figures = ["bytes", "perplexity", "kl_mean", "peak_memory", "latency_p50_ms", "retention.perplexity"];
    let figures: BTreeMap<String, f64> =
        figures.iter().filter_map(|name| Some(((*name).to_owned(), figure(entry, name)?))).collect();
    SearchScore {
        name: entry.name.clone(),
        candidate: Some(entry.name.clone()),
        choices,
        figures,
        score: judged.and_then(|judged| judged.score),
        feasible: judged.is_some_and(|judged| judged.feasible),
        violations: judged
            .map(|judged| judged.checks.iter().filter(|c| c.hard && !c.holds()).map(violation).collect())
            .unwrap_or_default(),
    }
}

/// The choices of the trial with a recipe of this name.
fn chosen(found: &Found, name: &str) -> Map<String, Value> {
    let of_name = found.saved.notes.iter().find(|(_, note)| note.name == name).map(|(id, _)| id.clone());
    let id: Option<TrialId> = of_name.and_then(|id| id.try_into().ok());
    let trial = found.saved.search.results().find(|(trial, _)| Some(trial.id) == id);
    trial.map(|(trial, _)| choices(&trial)).unwrap_or_default()
}

fn trials(found: &Found) -> Vec<TrialReport> {
    let trial = |(trial, result): (tenuis_plan::search::Trial, &TrialResult)| {
        let note = found.saved.notes.get(&trial.id.to_string()).cloned().unwrap_or_default();
        let (state, failure) = match result {
            TrialResult::Failed { reason } => (TrialState::Failed, Some(reason.clone())),
            _ if trial.resource >= 1.0 => (TrialState::Done, None),
            _ => (TrialState::Partial, None),
        };
        TrialReport {
            name: trial.id.to_string(),
            choices: choices(&trial),
            rung: trial.id.rung,
            data_share: trial.resource,
            state,
            figures: note.figures,
            score: note.score,
            feasible: note.feasible,
            violations: note.violations,
            failure,
            seconds: Some(note.seconds),
        }
    };
    found.saved.search.results().map(trial).collect()
}
