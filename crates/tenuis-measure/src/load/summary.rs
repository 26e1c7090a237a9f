//! What a load says: latency, its parts, throughput, and whether the server kept up.

use super::serve::RequestTimes;
use crate::distribution::Distribution;
use crate::error::{MeasureError, check_positive};
use serde::{Deserialize, Serialize};

/// Stretches of equal length in which a queue is looked at. Four tell a trend from one long burst, and leave each enough requests.
const STRETCHES: usize = 4;

/// The fewest requests of a stretch: fewer are a handful of draws, not a trend.
const REQUESTS_PER_STRETCH: usize = 5;

/// The offered load from which on a growing queue is one that will not drain. Below 1 by what the mean of some ten thousand service
/// times is uncertain by; at 0.95 an M/M/1 queue already holds 19 requests in the mean.
const SATURATION: f64 = 0.95;

/// How a server did under a load. All times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Load {
    /// Answer − scheduled arrival: what the user waits.
    pub latency: Distribution,
    /// Start − scheduled arrival: the part before the server begins.
    pub queueing: Distribution,
    /// Answer − start: the part that the server works.
    pub service: Distribution,
    /// Requests ÷ time from the first scheduled arrival to the last answer.
    pub throughput_per_second: f64,
    /// The share of that time in which the server was at work, 0 to 1. Of several servers, how many were at work.
    pub utilisation: f64,
    /// Arrivals per second × mean service time: what the server would need to be. At 1 and above, it cannot keep up. `None` where
    /// there is one request, or all arrive at once.
    pub offered_load: Option<f64>,
    /// How many kept a deadline; `None` where there is none.
    pub deadline: Option<Deadline>,
    /// Whether the server kept up.
    pub queue: Queue,
}

/// How many requests were answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deadline {
    /// The latency allowed, in seconds.
    pub seconds: f64,
    /// The share of requests within it, 0 to 1.
    pub share: f64,
}

/// Whether a queue kept growing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Queue {
    /// It did not: percentiles of the latency say something about the server.
    Stable,
    /// It did, to the end: the server is overloaded, and percentiles say only how long the load went on.
    Growing {
        /// Seconds by which the wait grew per second of load, by least squares.
        seconds_per_second: f64,
    },
    /// There were too few requests to tell.
    Undecided,
}

impl Load {
    /// Summarises requests in the order of their arrival.
    ///
    /// Whoever runs several servers at once can give times of their own making; they are not bound to come from [`serve`](crate::serve()).
    ///
    /// # Errors
    /// [`MeasureError::Empty`] without requests, [`MeasureError::Sample`] where times are not finite or not in order, and
    /// [`MeasureError::Config`] for a deadline that is not finite and above 0.
    pub fn of(requests: &[RequestTimes], deadline: Option<f64>) -> Result<Self, MeasureError> {
        let what = "load";
        check_order(what, requests)?;
        let distribution = |part: fn(&RequestTimes) -> f64| {
            Distribution::of(requests.iter().map(part).collect()).ok_or(MeasureError::Empty { what })
        };
        let latency = distribution(RequestTimes::latency)?;
        let service = distribution(RequestTimes::service)?;
        let count = requests.len() as f64;
        let first = requests.first().map_or(0.0, |r| r.scheduled);
        let last_arrival = requests.last().map_or(0.0, |r| r.scheduled);
        let end = requests.iter().map(|r| r.finished).fold(first, f64::max);
        let span = end - first;
        let throughput_per_second = count / span;
        if !throughput_per_second.is_finite() {
            let problem = "answered at the instant of its arrival".to_owned();
            return Err(MeasureError::Sample { what, sample: 0, problem, allowed: "served in some time" });
        }
        let window = last_arrival - first;
        // Between n arrivals there are n − 1 distances.
        let offered_load = Some((count - 1.0) / window * service.mean).filter(|load| load.is_finite());
        let deadline = deadline
            .map(|seconds| {
                check_positive("deadline", seconds)?;
                let kept = requests.iter().filter(|r| r.latency() <= seconds).count();
                Ok::<_, MeasureError>(Deadline { seconds, share: kept as f64 / count })
            })
            .transpose()?;
        Ok(Self {
            latency,
            queueing: distribution(RequestTimes::queueing)?,
            service,
            throughput_per_second,
            utilisation: requests.iter().map(RequestTimes::service).sum::<f64>() / span,
            offered_load,
            deadline,
            queue: queue(requests, offered_load),
        })
    }
}

fn check_order(what: &'static str, requests: &[RequestTimes]) -> Result<(), MeasureError> {
    let mut before = f64::NEG_INFINITY;
    for (sample, request) in requests.iter().enumerate() {
        let RequestTimes { scheduled, started, finished } = *request;
        let ordered = before <= scheduled && scheduled <= started && started <= finished;
        if !ordered || !scheduled.is_finite() || !finished.is_finite() {
            let problem =
                format!("scheduled at {scheduled}, started at {started} and finished at {finished}");
            let allowed = "finite, in that order, and not scheduled before the one before it";
            return Err(MeasureError::Sample { what, sample, problem, allowed });
        }
        before = scheduled;
    }
    if requests.is_empty() { Err(MeasureError::Empty { what }) } else { Ok(()) }
}

/// A queue grows where the work offered fills the server and the mean wait rises from each stretch to the next. Either alone also
/// happens to a healthy server: a busy one whose waits go up and down, and an idle one that sees four bursts of growing size.
fn queue(requests: &[RequestTimes], offered_load: Option<f64>) -> Queue {
    let length = requests.len() / STRETCHES;
    if length < REQUESTS_PER_STRETCH {
        return Queue::Undecided;
    }
    let mean =
        |chunk: &[RequestTimes]| chunk.iter().map(RequestTimes::queueing).sum::<f64>() / chunk.len() as f64;
    let stretches: Vec<f64> = requests.chunks(length).take(STRETCHES).map(mean).collect();
    let rises = stretches.windows(2).all(|pair| pair[0] < pair[1]);
    let saturated = offered_load.is_none_or(|load| load >= SATURATION);
    if rises && saturated { Queue::Growing { seconds_per_second: slope(requests) } } else { Queue::Stable }
}

/// The least-squares slope of the wait over the time of arrival; 0 where all arrive at once.
fn slope(requests: &[RequestTimes]) -> f64 {
    let count = requests.len() as f64;
    let mean_of = |part: fn(&RequestTimes) -> f64| requests.iter().map(part).sum::<f64>() / count;
    let (at, wait) = (mean_of(|r| r.scheduled), mean_of(RequestTimes::queueing));
    let spread: f64 = requests.iter().map(|r| (r.scheduled - at).powi(2)).sum();
    let together: f64 = requests.iter().map(|r| (r.scheduled - at) * (r.queueing() - wait)).sum();
    let slope = together / spread;
    if slope.is_finite() { slope } else { 0.0 }
}
