//! Latency where requests come by themselves, whether the last one is done or not.

use super::{SpeedProtocol, generate};
use crate::error::EvalError;
use crate::quality::Subject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenuis_measure::{Arrivals, Clock, Load, LoadError, serve};
use tenuis_model::ModelError;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadProtocol {
    /// Requests per second; where absent, so many that the baseline is busy for `utilisation` of the time.
    pub per_second: Option<f64>,
    /// That share.
    pub utilisation: f64,
    /// Requests of each kind of arrivals.
    pub requests: usize,
    /// Requests of a burst.
    pub burst: usize,
    /// The seconds that a request may take; the share of those that do not take longer is part of the result.
    pub deadline_seconds: Option<f64>,
    /// Decides when requests come.
    pub seed: u64,
}

impl Default for LoadProtocol {
    /// 60 requests that keep the baseline busy for seven tenths of the time, in bursts of eight where they come so.
    fn default() -> Self {
        Self { per_second: None, utilisation: 0.7, requests: 60, burst: 8, deadline_seconds: None, seed: 0 }
    }
}

/// Latency under one kind of arrivals. Latency counts from when a request was to come, not from when it was taken up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadResult {
    /// How requests came.
    pub arrivals: Arrivals,
    /// What became of them.
    pub load: Load,
}

pub(super) fn load(
    subject: Subject<'_>,
    protocol: &SpeedProtocol,
    asked: &LoadProtocol,
    service_seconds: f64,
    clock: &impl Clock,
) -> Result<BTreeMap<String, LoadResult>, EvalError> {
    let per_second = asked.per_second.unwrap_or(asked.utilisation / service_seconds.max(f64::MIN_POSITIVE));
    let seed = asked.seed;
    let kinds = [
        ("steady", Arrivals::Steady { per_second }),
        ("poisson", Arrivals::Poisson { per_second, seed }),
        (
            "bursty",
            Arrivals::Bursty { per_second, burst: asked.burst, burst_per_second: BURST * per_second, seed },
        ),
    ];
    let mut found = BTreeMap::new();
    for (name, arrivals) in kinds {
        let times = serve(&arrivals, asked.requests, clock, |_| {
            generate(subject.model, clock, 1, protocol.prompt_tokens, protocol.decode_tokens).map(drop)
        })
        .map_err(from_load)?;
        let load = Load::of(&times, asked.deadline_seconds)?;
        found.insert(name.to_owned(), LoadResult { arrivals, load });
    }
    Ok(found)
}

/// How much faster requests come within a burst than in the mean.
const BURST: f64 = 10.0;

fn from_load(error: LoadError<ModelError>) -> EvalError {
    match error {
        LoadError::Request { source, .. } => source.into(),
        LoadError::Config(source) => source.into(),
        other => EvalError::Rounds { problem: other.to_string() },
    }
}
