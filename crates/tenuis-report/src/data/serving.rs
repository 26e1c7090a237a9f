//! Speed at other sizes and under load.

use super::{Distribution, or_default};
use serde::Deserialize;

/// Speed by batch size and length.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Sweep {
    /// The points that were measured.
    #[serde(default, deserialize_with = "or_default")]
    pub rows: Vec<SweepRow>,
    /// The points that were not.
    #[serde(default, deserialize_with = "or_default")]
    pub skipped: Vec<SweepSkipped>,
}

/// A point and its speed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct SweepRow {
    /// Where.
    pub point: SweepPoint,
    /// How fast.
    pub result: SweepSpeed,
}

/// A batch size and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[non_exhaustive]
pub struct SweepPoint {
    /// Sequences together.
    pub batch_size: u64,
    /// Tokens of each prompt.
    pub sequence_length: u64,
}

/// The speed at a point, of all sequences together.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct SweepSpeed {
    /// Prompt tokens per second.
    pub prefill_tokens_per_s: Option<f64>,
    /// Generated tokens per second.
    pub decode_tokens_per_s: Option<f64>,
}

/// A point that was left out.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SweepSkipped {
    /// Where.
    pub point: SweepPoint,
    /// Why.
    pub reason: Option<String>,
}

/// Latency under one kind of arrivals.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct LoadResult {
    /// How requests came.
    pub arrivals: Option<Arrivals>,
    /// What became of them.
    pub load: Load,
}

/// How requests came.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct Arrivals {
    /// Requests per second.
    pub per_second: Option<f64>,
    /// Requests of a burst.
    pub burst: Option<u64>,
}

/// What became of the requests.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Load {
    /// Seconds from when a request was to come to its answer.
    pub latency: Option<Distribution>,
    /// Seconds of that spent waiting.
    pub queueing: Option<Distribution>,
    /// Answers per second.
    pub throughput_per_second: Option<f64>,
    /// The share of the time that the model was busy.
    pub utilisation: Option<f64>,
    /// Arrivals per second × mean seconds of work: above 1 no queue ever ends.
    pub offered_load: Option<f64>,
    /// How the queue went.
    pub queue: Option<Queue>,
}

/// How a queue went.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Queue {
    /// `stable`, `growing` or `undecided`.
    pub state: Option<String>,
    /// Seconds of waiting that each second adds, where it grows.
    pub seconds_per_second: Option<f64>,
}

impl Load {
    /// Whether more came than could be served: the queue grew, or the offered load is 1 or more.
    pub fn is_overloaded(&self) -> bool {
        let growing = self.queue.as_ref().and_then(|queue| queue.state.as_deref()) == Some("growing");
        growing || self.offered_load.is_some_and(|load| load >= 1.0)
    }
}

/// Where a generation spends its time.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SpeedProfile {
    /// One prefill.
    pub prefill: Option<Profile>,
    /// All decoding steps after it.
    pub decode: Option<Profile>,
}

/// The operations of a pass.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Profile {
    /// Seconds of the whole.
    pub seconds: Option<f64>,
    /// What was attributed.
    #[serde(default, deserialize_with = "or_default")]
    pub operations: Vec<Operation>,
}

/// All calls of an operation.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// What it is.
    pub name: String,
    /// How its weights are stored.
    pub representation: Option<String>,
    /// How often it ran.
    pub calls: Option<u64>,
    /// Seconds of all calls.
    pub seconds: Option<f64>,
    /// Bytes read and written at least.
    pub bytes: Option<f64>,
    /// Operations.
    pub flops: Option<f64>,
}
