//! Searches over declared options: grid, random, successive halving and Hyperband, by ask and tell.
//!
//! A search proposes trials ([`Search::ask`]) and is told their results ([`Search::tell`]). What it proposes follows from its configuration and
//! the results alone, never from when it was asked: a search that was saved after any step, killed and loaded again proposes what it would
//! have proposed, first of all the trials that were under way.
//!
//! | method | trials | source |
//! |---|---|---|
//! | [`Method::Grid`] | every combination, in the order of the axes | |
//! | [`Method::Random`] | `trials` different ones | Bergstra and Bengio 2012, "Random search for hyper-parameter optimization" |
//! | [`Method::SuccessiveHalving`] | `trials` at the least resource, the best `1/η` of them at `η` times as much, and so on | Jamieson and Talwalkar 2015, arXiv:1502.07943 |
//! | [`Method::Hyperband`] | several of those, from many trials on little to few on everything | Li and others 2016, arXiv:1603.06560 |
//!
//! The resource of a trial is a share of the data (or of the steps): 1 is all of it.

mod axis;
mod brackets;
mod error;
mod space;
mod trial;

pub use axis::{Axis, Range, Scale, Value};
pub use error::SearchError;
pub use space::{Options, Space};
pub use trial::{Trial, TrialId, TrialResult};

use crate::front::{FrontError, non_dominated};
use brackets::{Bracket, brackets};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use tenuis_metrics::Direction;

/// Says how trials are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Method {
    /// Every combination; ranges must declare `steps`.
    Grid,
    /// Different combinations drawn at random, on all of the data.
    Random {
        /// How many.
        trials: usize,
    },
    /// Many trials on a slice of the data, the best of them on ever more.
    SuccessiveHalving {
        /// How many trials begin.
        trials: usize,
        /// η: the best `1/η` go on, with `η` times the data; at least 2.
        eta: usize,
        /// The share of the data that trials begin with.
        min_resource: f64,
    },
    /// Successive halving with every starting share from `min_resource` to 1.
    Hyperband {
        /// η; the paper uses 3 or 4.
        eta: usize,
        /// The least share of the data.
        min_resource: f64,
    },
}

/// Configures a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SearchConfig {
    /// How trials are chosen.
    pub method: Method,
    /// The seed of whatever is drawn.
    pub seed: u64,
}

impl Default for SearchConfig {
    /// Successive halving of 27 trials with η = 3 from a ninth of the data.
    fn default() -> Self {
        Self { method: Method::SuccessiveHalving { trials: 27, eta: 3, min_resource: 1.0 / 9.0 }, seed: 0 }
    }
}

impl SearchConfig {
    /// Creates a configuration.
    pub fn new(method: Method, seed: u64) -> Self {
        Self { method, seed }
    }
}

/// Answers a caller that asks for work.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ask {
    /// Try this.
    Trial(Trial),
    /// The next trials depend on results that are still out; only callers that run several at once see this.
    Wait,
    /// Everything was tried.
    Done,
}

/// Searches for the best options.
///
/// ```
/// use tenuis_plan::search::{Ask, Axis, Method, Search, SearchConfig, Space, TrialResult};
/// let space = Space::default().with("bits", Axis::values([2, 3, 4, 8])).with("lr", Axis::log(1e-5, 1e-3));
/// let halving = Method::SuccessiveHalving { trials: 9, eta: 3, min_resource: 1.0 / 9.0 };
/// let mut search = Search::new(space, SearchConfig::new(halving, 7))?;
/// while let Ask::Trial(trial) = search.ask() {
///     // Compress with trial.options, measure on trial.resource of the data ...
///     let bits = trial.options["bits"].as_f64().unwrap_or(0.0);
///     search.tell(trial.id, TrialResult::measured(-bits))?;
///     let saved = serde_json::to_string(&search)?; // write this to disk, and a kill costs one trial
///     search = serde_json::from_str(&saved)?;
/// }
/// let (best, score) = search.best().expect("something was measured");
/// assert_eq!((best.resource, score), (1.0, -best.options["bits"].as_f64().unwrap_or(0.0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "State", try_from = "State")]
pub struct Search {
    state: State,
    /// What is tried, by index; follows from the state.
    options: Vec<Options>,
    brackets: Vec<Bracket>,
    /// Trials that somebody is at. Not saved: whoever was at them is gone when a search is loaded.
    out: BTreeSet<TrialId>,
}

/// What is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    space: Space,
    config: SearchConfig,
    results: BTreeMap<TrialId, TrialResult>,
}

impl From<Search> for State {
    fn from(search: Search) -> Self {
        search.state
    }
}

impl TryFrom<State> for Search {
    type Error = SearchError;

    fn try_from(state: State) -> Result<Self, SearchError> {
        let mut search = Self::new(state.space, state.config)?;
        // In the order of brackets and rungs, so that each follows from what came before.
        for (id, result) in state.results {
            search.tell(id, result)?;
        }
        Ok(search)
    }
}

impl Search {
    /// Creates a search that has tried nothing.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if the space is empty, an axis makes no sense, or the method's numbers do not.
    pub fn new(space: Space, config: SearchConfig) -> Result<Self, SearchError> {
        space.check()?;
        let brackets = brackets(config.method)?;
        let options = match config.method {
            Method::Grid => space.grid()?,
            _ => space.draw(brackets.iter().map(|bracket| bracket.begin).sum(), config.seed),
        };
        let brackets = if config.method == Method::Grid {
            vec![Bracket::flat(options.len())]
        } else {
            brackets::fit(brackets, options.len())
        };
        let state = State { space, config, results: BTreeMap::new() };
        Ok(Self { state, options, brackets, out: BTreeSet::new() })
    }

    /// Proposes the next trial: the first that has no result and that nobody is at.
    pub fn ask(&mut self) -> Ask {
        match self.next() {
            Ask::Trial(trial) => {
                self.out.insert(trial.id);
                Ask::Trial(trial)
            }
            other => other,
        }
    }

    fn next(&self) -> Ask {
        let mut waiting = false;
        for (bracket, plan) in self.brackets.iter().enumerate() {
            for (rung, step) in plan.rungs.iter().enumerate() {
                let Some(members) = self.members(bracket, rung) else {
                    waiting = true;
                    break;
                };
                for options in members {
                    let id = TrialId { bracket, rung, options };
                    if self.state.results.contains_key(&id) {
                        continue;
                    }
                    if !self.out.contains(&id) {
                        let options = self.options[options].clone();
                        return Ask::Trial(Trial { id, options, resource: step.resource });
                    }
                    waiting = true;
                }
            }
        }
        if waiting { Ask::Wait } else { Ask::Done }
    }

    /// The indices of the options on a rung; nothing while results of the rung below are out.
    fn members(&self, bracket: usize, rung: usize) -> Option<Vec<usize>> {
        let plan = &self.brackets[bracket];
        let mut members: Vec<usize> = (plan.first..plan.first + plan.begin).collect();
        for below in 0..rung {
            let result = |options: &usize| {
                self.state.results.get(&TrialId { bracket, rung: below, options: *options })
            };
            let mut ranked = members
                .iter()
                .map(|options| result(options).map(|result| (*options, result.score())))
                .collect::<Option<Vec<_>>>()?;
            // What failed does not go on, whatever else did. The sort is stable: of equals the first proposed goes on.
            ranked.retain(|(_, score)| score.is_some());
            ranked.sort_by(|(_, a), (_, b)| descending(*a, *b));
            members =
                ranked.into_iter().take(plan.rungs[below + 1].count).map(|(options, _)| options).collect();
            members.sort_unstable();
        }
        Some(members)
    }

    /// Takes the result of a trial.
    ///
    /// # Errors
    ///
    /// [`SearchError::UnknownTrial`] if the search does not propose it, [`SearchError::Told`] if it has another result already,
    /// [`SearchError::NotFinite`] if a score or a figure is a NaN or an infinity.
    pub fn tell(&mut self, id: TrialId, result: TrialResult) -> Result<(), SearchError> {
        let proposed = self.brackets.get(id.bracket).is_some_and(|plan| id.rung < plan.rungs.len())
            && self.members(id.bracket, id.rung).is_some_and(|members| members.contains(&id.options));
        if !proposed {
            return Err(SearchError::UnknownTrial { trial: id });
        }
        if let TrialResult::Measured { score, figures } = &result {
            let figures = figures.iter().map(|(name, value)| (name.as_str(), *value));
            if let Some((name, value)) = figures.chain([("score", *score)]).find(|(_, v)| !v.is_finite()) {
                return Err(SearchError::NotFinite { trial: id, figure: name.to_owned(), value });
            }
        }
        match self.state.results.get(&id) {
            Some(known) if *known != result => return Err(SearchError::Told { trial: id }),
            _ => self.state.results.insert(id, result),
        };
        self.out.remove(&id);
        Ok(())
    }

    /// Yields the best so far and its score: of the trials on the most data that any was measured on, the greatest score, and of equals
    /// the first proposed. Nothing before the first measurement.
    pub fn best(&self) -> Option<(Trial, f64)> {
        let measured = self.results().filter_map(|(trial, result)| Some((trial, result.score()?)));
        let better = |a: &(Trial, f64), b: &(Trial, f64)| {
            a.0.resource.total_cmp(&b.0.resource).then(a.1.total_cmp(&b.1)).then(b.0.id.cmp(&a.0.id))
        };
        measured.max_by(better)
    }

    /// Iterates over what was tried, in the order of brackets, rungs and options.
    pub fn results(&self) -> impl Iterator<Item = (Trial, &TrialResult)> {
        self.state.results.iter().map(|(&id, result)| {
            let resource = self.brackets[id.bracket].rungs[id.rung].resource;
            (Trial { id, options: self.options[id.options].clone(), resource }, result)
        })
    }

    /// Finds the non-dominated trials among those that were measured on all of the data and have every objective.
    ///
    /// # Errors
    ///
    /// [`FrontError::NoObjectives`] if there is none.
    pub fn front(&self, objectives: &[(&str, Direction)]) -> Result<Vec<Trial>, FrontError> {
        let measured = self.results().filter(|(trial, _)| trial.resource >= 1.0);
        let values = |result: &TrialResult| match result {
            TrialResult::Measured { figures, .. } => {
                objectives.iter().map(|(name, _)| figures.get(*name).copied()).collect::<Option<Vec<_>>>()
            }
            TrialResult::Failed { .. } => None,
        };
        let (trials, points): (Vec<_>, Vec<_>) =
            measured.filter_map(|(trial, result)| Some((trial, values(result)?))).unzip();
        let directions: Vec<_> = objectives.iter().map(|(_, direction)| *direction).collect();
        let front = non_dominated(&points, &directions)?;
        Ok(front.into_iter().map(|index| trials[index].clone()).collect())
    }

    /// Counts the trials of the whole search, if none fails.
    pub fn planned(&self) -> usize {
        self.brackets.iter().flat_map(|bracket| &bracket.rungs).map(|rung| rung.count).sum()
    }

    /// Yields the declared options.
    pub fn space(&self) -> &Space {
        &self.state.space
    }

    /// Yields the configuration.
    pub fn config(&self) -> &SearchConfig {
        &self.state.config
    }
}

fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    let key = |score: Option<f64>| score.unwrap_or(f64::NEG_INFINITY);
    key(b).total_cmp(&key(a))
}

#[cfg(test)]
mod tests;
