//! Searches over recipes: which choices of a template's options answer a scenario best.

mod answer;
mod figures;
mod saved;

pub(crate) use answer::conclude;

use crate::error::RunError;
use crate::gate::Gatekeeper;
use crate::store::StageStore;
use crate::text::Text;
use crate::workshop::Workshop;
use saved::{Note, Saved};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenuis_core::Checkpoint;
use tenuis_eval::report::{figure, violation};
use tenuis_model::Model;
use tenuis_plan::ledger::Status;
use tenuis_plan::scenario::{Assessment, Scenario, ScenarioError};
use tenuis_plan::search::{Ask, Method, Search, SearchConfig, SearchError, Space, Trial, TrialResult};
use tenuis_recipe::LoadedRecipe;

/// The directory of the best candidate so far, beside the report.
pub const BEST: &str = "best";

/// The data that trials of successive halving begin with, and how much more those get that go on.
const HALVING: (f64, usize) = (0.25, 2);
/// Trials where neither the template nor the caller says how many.
const TRIALS: usize = 24;
/// A trial that breaks a hard constraint ranks below all that do not, the less the more it breaks.
const INFEASIBLE: f64 = -1e6;

/// What to search for.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// What is wanted.
    pub scenario: Scenario,
    /// The recipe whose axes are varied.
    pub template: LoadedRecipe,
    /// How many trials, where not as many as the template says.
    pub trials: Option<usize>,
    /// Seeds what is drawn.
    pub seed: u64,
    /// How many of the best are measured in full.
    pub finalists: usize,
    /// When no further trial is begun.
    pub time_limit: Option<Duration>,
}

/// What a search has found.
pub(crate) struct Found {
    pub(crate) finalists: Vec<LoadedRecipe>,
    request: SearchRequest,
    saved: Saved,
    method: String,
    seen: String,
}

/// What a search works with.
pub(crate) struct Searcher<'a> {
    pub(crate) workshop: &'a Workshop<'a>,
    pub(crate) model: &'a Model,
    pub(crate) calibration: Option<&'a Text>,
    pub(crate) gates: &'a Gatekeeper<'a>,
    pub(crate) store: &'a StageStore,
    pub(crate) out: &'a Path,
}

impl Searcher<'_> {
    /// Tries what the method proposes, saving after every trial what is known and the best candidate so far.
    pub(crate) fn run(&self, request: &SearchRequest) -> Result<Found, RunError> {
        let (space, config, method) = self.plan(request)?;
        let identity = json!({
            "scenario": request.scenario,
            "template": request.template.content(),
            "space": space,
            "config": config,
            "model": self.model.checkpoint().hash().to_hex().to_string(),
            "calibration": self.calibration.map(|text| &text.data.hash),
            "text": self.gates.text.data.hash,
            "windows": self.gates.windows.count(),
            "plugins": self.workshop.plugins.techniques().map(tenuis_host::Technique::plugin_hash).collect::<Vec<_>>(),
        });
        let fresh = self.workshop.options.fresh;
        let known = if fresh { None } else { Saved::open(self.out, &identity) };
        let mut saved = match known {
            Some(saved) => saved,
            None => Saved {
                identity,
                search: Search::new(space, config).map_err(|e| wrong(request, &e))?,
                notes: BTreeMap::new(),
                seconds: 0.0,
            },
        };
        let before = saved.seconds;
        let started = Instant::now();
        let planned = saved.search.planned() as u64;
        self.workshop.observer.begin("searching", planned);
        while let Ask::Trial(trial) = saved.search.ask() {
            if self.workshop.observer.cancelled() {
                return Err(RunError::Paused { state: self.out.to_owned() });
            }
            let spent = Duration::from_secs_f64(before) + started.elapsed();
            if request.time_limit.is_some_and(|limit| spent >= limit) && saved.search.best().is_some() {
                let told = saved.search.results().count();
                self.workshop
                    .observer
                    .warn(&format!("the time limit ended the search after {told} of {planned} trials"));
                break;
            }
            let begun = Instant::now();
            let choices = choices(&trial);
            let stage = format!("trial {}", trial.id);
            let tried = self.trial(request, &trial, &choices);
            let (result, mut note) = match tried {
                Ok(done) => done,
                Err(error) if error.is_cancelled() => {
                    return Err(RunError::Paused { state: self.out.to_owned() });
                }
                Err(error) if error.ends_an_attempt() => {
                    self.workshop.log.stage(&stage, Status::Failed, &[("error", &error.to_string())])?;
                    (TrialResult::failed(&error.to_string()), Note { name: stage.clone(), ..Note::default() })
                }
                Err(error) => return Err(error),
            };
            note.seconds = begun.elapsed().as_secs_f64();
            for (figure, value) in &note.figures {
                self.workshop.log.metric(&note.name, figure, *value, None, "")?;
            }
            saved.search.tell(trial.id, result).map_err(|e| wrong(request, &e))?;
            saved.notes.insert(trial.id.to_string(), note);
            saved.seconds = before + started.elapsed().as_secs_f64();
            saved.save(self.out)?;
            self.keep_best(request, &saved, &trial)?;
            let done = saved.search.results().count();
            self.workshop.observer.begin("searching", planned);
            self.workshop.observer.advance(done as u64);
        }
        self.workshop.observer.end();
        saved.seconds = before + started.elapsed().as_secs_f64();
        saved.save(self.out)?;
        let finalists = finalists(request, &saved)?;
        let seen = self.gates.text.source().file;
        Ok(Found { finalists, request: request.clone(), saved, method, seen })
    }

    /// The axes and the method, as the template has them.
    fn plan(&self, request: &SearchRequest) -> Result<(Space, SearchConfig, String), RunError> {
        let origin = &request.template.origin;
        let spec = request.template.recipe.search.clone().unwrap_or_default();
        let mut axes = spec.axes.clone();
        // A tied head is the embedding, which is no target.
        if self.model.spec().tied && request.template.content() == tenuis_recipe::builtin_search()?.content()
        {
            axes.insert("head".to_owned(), json!([16]));
        }
        let space: Space = serde_json::from_value(Value::Object(axes))
            .map_err(|e| origin.error("/search/axes", e.to_string()))?;
        let trials = request.trials.or(spec.trials).unwrap_or(TRIALS);
        let (min_resource, eta) = HALVING;
        let name = spec.method.as_deref().unwrap_or("halving");
        let method = match name {
            "grid" => Method::Grid,
            "random" => Method::Random { trials },
            "halving" => Method::SuccessiveHalving { trials, eta, min_resource },
            "hyperband" => Method::Hyperband { eta, min_resource },
            other => {
                let problem =
                    format!("{other:?} is no method; allowed are grid, random, halving and hyperband");
                return Err(origin.error("/search/method", problem).into());
            }
        };
        let words = match method {
            Method::Grid => "grid".to_owned(),
            Method::Hyperband { .. } => format!("hyperband, eta {eta}, from {min_resource} of the data"),
            Method::Random { .. } => format!("random, {trials} trials"),
            _ => format!("halving, {trials} trials, eta {eta}, from {min_resource} of the data"),
        };
        Ok((space, SearchConfig::new(method, request.seed), words))
    }

    /// Makes what the choices say and measures it on the trial's share of the data.
    fn trial(
        &self,
        request: &SearchRequest,
        trial: &Trial,
        choices: &Map<String, Value>,
    ) -> Result<(TrialResult, Note), RunError> {
        let Some(loaded) = request.template.trial(choices)? else {
            let note = Note { name: trial.id.to_string(), ..Note::default() };
            return Ok((TrialResult::failed("its choices leave no stage"), note));
        };
        let name = loaded.recipe.name.clone();
        let observer = &self.workshop.observer;
        self.workshop.check(self.model, &loaded, self.calibration)?;
        self.workshop.refuse_without_room(self.model, &loaded, self.calibration, self.out)?;
        let target = self.out.join(&name);
        let made = self.workshop.make(self.model, &loaded, self.calibration, self.store, &target)?;
        let model = Model::open(Arc::new(Checkpoint::open(&made.dir)?), self.workshop.codecs)?;
        let scenario = figures::predictable(&request.scenario);
        let needs = figures::needs(&scenario);
        let (baseline, candidate) = self.gates.beside(&model, &made.dir, needs, trial.resource, observer)?;
        let base = figures::predicted(&scenario, &baseline.entry, self.model);
        let mut own = figures::predicted(&scenario, &candidate.entry, &model);
        own.name.clone_from(&name);
        let choice = scenario.judge(&base, std::slice::from_ref(&own))?;
        let Some(assessment) = choice.ranking.first() else { return Err(RunError::Cancelled) };
        let mut figures: BTreeMap<String, f64> =
            ["bytes", "perplexity", "kl_mean", "params", "flops_decode", "retention.perplexity"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), figure(&candidate.entry, name)?)))
                .collect();
        figures.insert("loss".to_owned(), 100.0 - own.retention_low.unwrap_or(own.retention));
        let mut result = TrialResult::measured(rank(assessment));
        for (name, value) in &figures {
            result = result.with(name, *value);
        }
        let note = Note {
            name,
            figures,
            score: assessment.score,
            feasible: assessment.feasible,
            violations: assessment.checks.iter().filter(|c| c.hard && !c.holds()).map(violation).collect(),
            seconds: 0.0,
        };
        Ok((result, note))
    }

    /// Puts the best candidate so far at its place, where the trial just told is it.
    fn keep_best(&self, request: &SearchRequest, saved: &Saved, told: &Trial) -> Result<(), RunError> {
        match saved.search.best() {
            Some((best, _)) if best.id == told.id => {
                let Some(loaded) = request.template.trial(&choices(&best))? else { return Ok(()) };
                self.publish(&loaded)
            }
            _ => Ok(()),
        }
    }

    fn publish(&self, loaded: &LoadedRecipe) -> Result<(), RunError> {
        let mut loaded = loaded.clone();
        BEST.clone_into(&mut loaded.recipe.name);
        self.workshop.compress(self.model, &loaded, self.calibration, &self.out.join(BEST)).map(drop)
    }
}

/// The trials that are worth a full measurement, of those on the most data: the best of every combination of techniques,
/// best first, then the best of the rest. What a prediction gets wrong about a technique it gets wrong about all its trials.
fn finalists(request: &SearchRequest, saved: &Saved) -> Result<Vec<LoadedRecipe>, RunError> {
    let mut ranked: Vec<(Trial, f64, (u64, u64))> = saved
        .search
        .results()
        .filter_map(|(trial, result)| match result {
            TrialResult::Measured { score, figures } => {
                let of = |name: &str| figures.get(name).map_or(0, |value| value.to_bits());
                Some((trial, *score, (of("bytes"), of("kl_mean"))))
            }
            _ => None,
        })
        .collect();
    let most = ranked.iter().map(|(trial, ..)| trial.resource).fold(0.0, f64::max);
    ranked.retain(|(trial, ..)| trial.resource >= most);
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.id.cmp(&b.0.id)));
    let mut forms = Vec::new();
    let (mut firsts, mut rest, mut families) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (trial, _, form) in ranked {
        // Choices that come to the same weights are one finalist.
        if forms.contains(&form) {
            continue;
        }
        forms.push(form);
        let Some(loaded) = request.template.trial(&choices(&trial))? else { continue };
        let techniques: BTreeSet<String> =
            loaded.recipe.stages.iter().map(|stage| stage.technique.clone()).collect();
        if families.insert(techniques) { firsts.push(loaded) } else { rest.push(loaded) }
    }
    firsts.extend(rest);
    firsts.truncate(request.finalists.max(1));
    Ok(firsts)
}

/// What a trial is ranked by: its score, or how far it is from meeting what it has to.
fn rank(assessment: &Assessment) -> f64 {
    match assessment.score.filter(|_| assessment.feasible) {
        Some(score) => score,
        None => INFEASIBLE * (1.0 + assessment.excess + assessment.undecided as f64),
    }
}

/// A trial's options as recipes write them.
fn choices(trial: &Trial) -> Map<String, Value> {
    let value = |(name, value)| Some((name, serde_json::to_value(value).ok()?));
    trial.options.clone().into_iter().filter_map(value).collect()
}

fn wrong(request: &SearchRequest, error: &SearchError) -> RunError {
    request.template.origin.error("/search", error.to_string()).into()
}

impl From<ScenarioError> for RunError {
    fn from(error: ScenarioError) -> Self {
        Self::Scenario(Box::new(error))
    }
}
