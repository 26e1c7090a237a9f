//! One server under an arrival process.

use super::arrivals::Arrivals;
use crate::clock::Clock;
use crate::error::{MeasureError, check_count};
use serde::{Deserialize, Serialize};
use std::error::Error;
use thiserror::Error as ThisError;

/// What became of a request, in seconds since the load began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestTimes {
    /// When it was scheduled to arrive, whether or not the server was free.
    pub scheduled: f64,
    /// When the server began with it.
    pub started: f64,
    /// When it was answered.
    pub finished: f64,
}

impl RequestTimes {
    /// Gives what the user waits: from the scheduled arrival to the answer.
    pub fn latency(&self) -> f64 {
        self.finished - self.scheduled
    }

    /// Gives what passes before the server begins.
    pub fn queueing(&self) -> f64 {
        self.started - self.scheduled
    }

    /// Gives what the server works.
    pub fn service(&self) -> f64 {
        self.finished - self.started
    }
}

/// Why a load was not finished.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum LoadError<E: Error + 'static> {
    /// The load itself cannot be run.
    #[error(transparent)]
    Config(#[from] MeasureError),
    /// A request failed.
    #[error("request {request} failed: {source}")]
    Request {
        /// Its number, from 0.
        request: usize,
        /// What the service said.
        source: E,
    },
}

/// Serves requests one at a time, first come, first served, as they arrive.
///
/// `service` gets the number of a request and returns when it is answered. A request that arrives while another is served waits, and
/// its latency counts from when it was scheduled. A generator that times from when it got round to sending would leave out exactly the
/// requests that a stall delays, and call a second's stall one slow request (coordinated omission; Tene, "How not to measure
/// latency", 2013).
///
/// ```
/// use tenuis_measure::{Arrivals, Load, VirtualClock, serve};
/// let clock = VirtualClock::default();
/// let arrivals = Arrivals::Steady { per_second: 10.0 };
/// // Every request takes 10 ms, and the first one stalls for a second.
/// let times = serve(&arrivals, 100, &clock, |request| {
///     clock.advance(if request == 0 { 1.0 } else { 0.01 });
///     Ok::<_, std::io::Error>(())
/// })?;
/// let load = Load::of(&times, Some(0.1))?;
/// assert!((load.service.p90 - 0.01).abs() < 1e-9);
/// assert!(load.latency.p90 > 0.1, "whoever came during the stall waited as well");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`LoadError::Config`] where the process is impossible or there are no requests, [`LoadError::Request`] with the first request that
/// fails: a load with failures has no latency to speak of.
pub fn serve<E: Error + 'static>(
    arrivals: &Arrivals,
    requests: usize,
    clock: &impl Clock,
    mut service: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<RequestTimes>, LoadError<E>> {
    check_count("the number of requests", requests)?;
    let times = arrivals.times()?;
    let origin = clock.now();
    let mut served = Vec::with_capacity(requests);
    for (request, scheduled) in times.take(requests).enumerate() {
        clock.wait_until(origin + scheduled);
        // Rounding of the origin's sum may leave the clock a bit before the schedule.
        let started = (clock.now() - origin).max(scheduled);
        service(request).map_err(|source| LoadError::Request { request, source })?;
        let finished = (clock.now() - origin).max(started);
        served.push(RequestTimes { scheduled, started, finished });
    }
    Ok(served)
}
