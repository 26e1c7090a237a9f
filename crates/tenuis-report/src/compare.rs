//! A candidate beside its baseline, every figure there is.

use crate::data::{Distribution, Entry, Stage};
use tenuis_metrics::{
    Direction, change_percent, compression_fraction, compression_ratio, retention, speed_up,
};

/// Standard errors by which two scores of a task must differ to be called different.
pub const CLEAR_ERRORS: f64 = 2.0;

/// How fast a candidate is beside the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pace {
    /// Median seconds of the baseline.
    pub baseline: f64,
    /// Median seconds of the candidate.
    pub candidate: f64,
    /// The baseline's median ÷ the candidate's.
    pub speed_up: f64,
    /// Change of the median in percent.
    pub change: f64,
    /// Whether the difference stands out of the spread: neither median lies between the other's minimum and 90th percentile.
    /// None where the spread is not known.
    pub clear: Option<bool>,
}

impl Pace {
    /// Compares two distributions of seconds; none where a median is missing.
    pub fn of(baseline: Option<&Distribution>, candidate: Option<&Distribution>) -> Option<Self> {
        let (base, own) = (baseline?, candidate?);
        let (from, to) = (base.median?, own.median?);
        let within = |value: f64, of: &Distribution| Some(of.min? <= value && value <= of.p90?);
        let overlap = within(from, own).zip(within(to, base)).map(|(a, b)| a || b);
        Some(Self {
            baseline: from,
            candidate: to,
            speed_up: speed_up(from, to).ok()?,
            change: change_percent(from, to).ok()?,
            clear: overlap.map(|o| !o),
        })
    }

    /// The speed-up that may be claimed: 1 where the difference does not stand out of the spread.
    pub fn claimed(&self) -> f64 {
        if self.clear == Some(false) { 1.0 } else { self.speed_up }
    }
}

/// A task's score beside the baseline's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskChange {
    /// The task's name.
    pub name: String,
    /// The baseline's score, 0 to 1.
    pub baseline: f64,
    /// The candidate's score.
    pub candidate: f64,
    /// Share of the score that is left, in percent.
    pub retention: Option<f64>,
    /// Whether the difference is significant: its interval leaves out 0, or without an interval it exceeds [`CLEAR_ERRORS`]
    /// standard errors. None where neither is known.
    pub clear: Option<bool>,
    /// Whether the candidate's score is the worse one.
    pub worse: bool,
}

/// A candidate beside its baseline. What was not measured is none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// Baseline's bytes ÷ the candidate's.
    pub ratio: Option<f64>,
    /// The candidate's bytes ÷ the baseline's.
    pub fraction: Option<f64>,
    /// Bits of the tensors per weight.
    pub bits_per_weight: Option<f64>,
    /// Perplexity left, in percent.
    pub retention: Option<f64>,
    /// Change of the perplexity in percent.
    pub perplexity_change: Option<f64>,
    /// Mean divergence in nats.
    pub kl: Option<f64>,
    /// Share of predictions that agree.
    pub top1: Option<f64>,
    /// Tasks that both have.
    pub tasks: Vec<TaskChange>,
    /// A decoding step.
    pub decode: Option<Pace>,
    /// A prefill.
    pub prefill: Option<Pace>,
    /// Peak memory of baseline and candidate.
    pub memory: Option<(f64, f64)>,
}

impl Facts {
    /// Puts a candidate beside its baseline.
    pub fn of(baseline: &Entry, candidate: &Entry) -> Self {
        let (from, to) = (baseline.size.bytes as f64, candidate.size.bytes as f64);
        let comparable = measured_alike(baseline, candidate);
        let perplexities = perplexity(baseline).zip(perplexity(candidate)).filter(|_| comparable);
        let speeds = |pick: fn(&crate::data::Speed) -> Option<&Distribution>| {
            Pace::of(baseline.speed.as_ref().and_then(pick), candidate.speed.as_ref().and_then(pick))
        };
        let quality = candidate.quality.as_ref();
        Self {
            ratio: compression_ratio(from, to).ok(),
            fraction: compression_fraction(from, to).ok(),
            bits_per_weight: bits_per_weight(candidate),
            retention: perplexities.and_then(|(a, b)| retention(Direction::LowerIsBetter, a, b).ok()),
            perplexity_change: perplexities.and_then(|(a, b)| change_percent(a, b).ok()),
            kl: quality.and_then(|q| q.kl_mean),
            top1: quality.and_then(|q| q.top1_agreement),
            tasks: tasks(baseline, candidate),
            decode: speeds(|s| s.decode_step_seconds.as_ref()),
            prefill: speeds(|s| s.prefill_seconds.as_ref()),
            memory: peak(baseline).zip(peak(candidate)),
        }
    }

    /// Change of the bytes in percent.
    pub fn size_change(&self) -> Option<f64> {
        self.fraction.map(|fraction| 100.0 * (fraction - 1.0))
    }

    /// Change of the peak memory in percent.
    pub fn memory_change(&self) -> Option<f64> {
        self.memory.and_then(|(from, to)| change_percent(from, to).ok())
    }
}

/// A model's perplexity.
pub(crate) fn perplexity(entry: &Entry) -> Option<f64> {
    entry.quality.as_ref()?.perplexity.as_ref()?.value
}

/// Whether two perplexities have one protocol, as far as both say: text, windows and predictions.
pub(crate) fn measured_alike(a: &Entry, b: &Entry) -> bool {
    let protocol = |entry: &Entry| entry.quality.as_ref().and_then(|quality| quality.perplexity.clone());
    let (Some(a), Some(b)) = (protocol(a), protocol(b)) else { return true };
    let same = |x: Option<u64>, y: Option<u64>| x.zip(y).is_none_or(|(x, y)| x == y);
    let text = a.data_hash.zip(b.data_hash).is_none_or(|(x, y)| x == y);
    text && same(a.seq_len, b.seq_len) && same(a.windows, b.windows) && same(a.predictions, b.predictions)
}

/// A model's mean divergence from the baseline.
pub(crate) fn divergence(entry: &Entry) -> Option<f64> {
    entry.quality.as_ref()?.kl_mean
}

/// Median seconds of a decoding step.
pub(crate) fn decode_seconds(entry: &Entry) -> Option<f64> {
    entry.speed.as_ref()?.decode_step_seconds.as_ref()?.median
}

/// Bytes of the weight files, which every model has; optional like the other figures, to stand in a list with them.
#[expect(clippy::unnecessary_wraps, reason = "it has the type of the other figures")]
pub(crate) fn file_bytes(entry: &Entry) -> Option<f64> {
    Some(entry.size.bytes as f64)
}

/// Peak bytes of a model at work.
pub(crate) fn peak(entry: &Entry) -> Option<f64> {
    entry.memory.as_ref()?.peak_bytes.map(|bytes| bytes as f64)
}

/// Stored bits per weight, scales and indices included.
pub(crate) fn bits_per_weight(entry: &Entry) -> Option<f64> {
    let params = entry.size.params.filter(|&params| params > 0)?;
    Some(8.0 * entry.size.tensor_bytes? as f64 / params as f64)
}

/// The stages of a candidate.
pub(crate) fn stages(entry: &Entry) -> &[Stage] {
    entry.compression.as_ref().map_or(&[], |compression| &compression.stages)
}

fn tasks(baseline: &Entry, candidate: &Entry) -> Vec<TaskChange> {
    let (Some(before), Some(after)) = (&baseline.quality, &candidate.quality) else { return Vec::new() };
    let intervals = candidate.figures.as_ref().map(|figures| &figures.retention);
    let compare = |(name, task): (&String, &crate::data::Task)| {
        let own = after.tasks.get(name)?;
        let (from, to) = (task.value?, own.value?);
        let direction = own.direction.or(task.direction).unwrap_or(Direction::HigherIsBetter);
        let errors = task.standard_error.zip(own.standard_error);
        let interval = intervals.and_then(|found| found.get(&format!("task.{name}")));
        let clear = interval.and_then(crate::data::Retention::is_significant);
        Some(TaskChange {
            name: name.clone(),
            baseline: from,
            candidate: to,
            retention: retention(direction, from, to).ok(),
            clear: clear.or_else(|| errors.map(|(a, b)| (to - from).abs() > CLEAR_ERRORS * a.hypot(b))),
            worse: match direction {
                Direction::HigherIsBetter => to < from,
                Direction::LowerIsBetter => to > from,
            },
        })
    };
    before.tasks.iter().filter_map(compare).collect()
}
