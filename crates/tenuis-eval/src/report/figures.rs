//! What a candidate gained and lost beside its baseline, every ratio both ways round and named.

use super::Entry;
use crate::quality::{Quality, WindowScore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenuis_metrics::{
    BootstrapConfig, Criteria, Direction, Interval, Statistic, Weights, change_percent, compression_fraction,
    compression_ratio, efficiency, paired_bootstrap, retention, speed_up,
};

/// The share of a theoretical gain from which on a measured one counts as reached.
const REACHED: f64 = 0.9;
/// Bytes of a parameter in f32.
const F32_BYTES: u64 = 4;

/// A candidate beside its baseline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// What became smaller, by name: `params`, `nonzero_params`, `bytes` (against the baseline as it is stored), `bytes_f32`
    /// (against the baseline in f32), `flops_decode`, `flops_prefill`, `peak_memory`.
    pub compression: BTreeMap<String, Compressed>,
    /// What is left of the quality, by the name of its metric: `perplexity`, `top1`, `task.NAME`, `robustness.NAME`, `business.NAME`.
    pub retention: BTreeMap<String, Retention>,
    /// What became faster: `prefill`, `decode`.
    pub speed_up: BTreeMap<String, SpeedUp>,
    /// Retention of the perplexity in % ÷ the fraction of bytes; the baseline has 100.
    pub efficiency: Option<f64>,
    /// One score of quality, latency, size and memory, 0 to 1, where the baseline has 0.5: each criterion's gain `g` counts
    /// `g / (1 + g)`, weighted. Null where one of them was not measured.
    pub score: Option<f64>,
    /// The weights of that score.
    pub score_weights: Option<Weights>,
}

/// A quantity of which less is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compressed {
    /// The baseline's.
    pub original: f64,
    /// The candidate's.
    pub compressed: f64,
    /// Original ÷ compressed.
    pub compression_ratio: f64,
    /// Compressed ÷ original.
    pub fraction: f64,
    /// `100 · (compressed − original) / original`.
    pub change_percent: f64,
}

impl Compressed {
    fn of(original: f64, compressed: f64) -> Option<Self> {
        Some(Self {
            original,
            compressed,
            compression_ratio: compression_ratio(original, compressed).ok()?,
            fraction: compression_fraction(original, compressed).ok()?,
            change_percent: change_percent(original, compressed).ok()?,
        })
    }
}

/// What is left of a quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// Which values are better.
    pub direction: Direction,
    /// The baseline's value.
    pub baseline: f64,
    /// The candidate's value.
    pub candidate: f64,
    /// 100 · candidate ÷ baseline where higher is better, 100 · baseline ÷ candidate where lower is.
    pub percent: f64,
    /// `100 · (candidate − baseline) / |baseline|`; null where the baseline is 0.
    pub change_percent: Option<f64>,
    /// An interval of candidate − baseline by paired bootstrap: both answer the same items, so that what they share cancels.
    /// Null where there is nothing to draw from.
    pub difference: Option<Interval>,
}

impl Retention {
    /// Whether the interval of the difference leaves out zero.
    pub fn is_significant(&self) -> Option<bool> {
        self.difference.as_ref().map(|d| d.low > 0.0 || d.high < 0.0)
    }

    fn of(direction: Direction, baseline: f64, candidate: f64, difference: Option<Interval>) -> Option<Self> {
        Some(Self {
            direction,
            baseline,
            candidate,
            percent: retention(direction, baseline, candidate).ok()?,
            change_percent: change_percent(baseline, candidate).ok(),
            difference,
        })
    }
}

/// A speed-up beside what could be had.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeedUp {
    /// Median time of the baseline ÷ median time of the candidate.
    pub measured: f64,
    /// What a machine would give that does nothing but the bound work: for decoding, which reads every weight once per token,
    /// the ratio of tensor bytes; for a prefill, which reuses them, the ratio of operations.
    pub theoretical: Option<f64>,
    /// Whether the measured gain is less than nine tenths of the theoretical one.
    pub falls_short: bool,
}

impl SpeedUp {
    fn of(baseline: f64, candidate: f64, theoretical: Option<f64>) -> Option<Self> {
        let measured = speed_up(baseline, candidate).ok()?;
        let falls_short = theoretical.is_some_and(|theory| measured < REACHED * theory);
        Some(Self { measured, theoretical, falls_short })
    }
}

/// What intervals are drawn from: a model's windows, and the items of every task.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    /// The windows of the text.
    pub windows: &'a [WindowScore],
    /// Every task's value for any draw of its items, by its name.
    pub tasks: &'a BTreeMap<String, Statistic<'static>>,
    /// The windows of every harder text, by its name, of all runs together.
    pub robustness: &'a BTreeMap<String, Vec<WindowScore>>,
}

impl Figures {
    /// Holds a candidate against its baseline. `baseline` and `candidate` pair a report's entry with its items, which are the
    /// same for both.
    pub fn of(
        (baseline, base_items): (&Entry, Items<'_>),
        (candidate, items): (&Entry, Items<'_>),
        weights: Weights,
    ) -> Self {
        let compression = compression(baseline, candidate);
        let retention = qualities((&baseline.quality, base_items), (&candidate.quality, items));
        let fraction = compression.get("bytes").map(|bytes| bytes.fraction);
        let kept = retention.get("perplexity").map(|perplexity| perplexity.percent);
        let score = criteria(baseline).zip(criteria(candidate)).and_then(|(b, c)| weights.score(&b, &c).ok());
        Self {
            speed_up: speed_ups(baseline, candidate, &compression),
            efficiency: kept.zip(fraction).and_then(|(kept, fraction)| efficiency(kept, fraction).ok()),
            compression,
            retention,
            score,
            score_weights: score.map(|_| weights),
        }
    }
}

fn compression(baseline: &Entry, candidate: &Entry) -> BTreeMap<String, Compressed> {
    let (b, c) = (&baseline.size, &candidate.size);
    let work = |entry: &Entry, of: fn(&crate::size::Work) -> u64| entry.size.work.as_ref().map(of);
    let memory = |entry: &Entry| entry.memory.as_ref().map(|memory| memory.peak_bytes);
    let pairs = [
        ("params", Some(b.params), Some(c.params)),
        ("nonzero_params", Some(b.nonzero_params), Some(c.nonzero_params)),
        ("bytes", Some(b.bytes), Some(c.bytes)),
        ("bytes_f32", Some(F32_BYTES * b.params), Some(c.bytes)),
        (
            "flops_decode",
            work(baseline, |w| w.flops_per_decoded_token),
            work(candidate, |w| w.flops_per_decoded_token),
        ),
        ("flops_prefill", work(baseline, |w| w.flops_per_prefill), work(candidate, |w| w.flops_per_prefill)),
        ("peak_memory", memory(baseline), memory(candidate)),
    ];
    let pair = |(name, original, compressed): (&str, Option<u64>, Option<u64>)| {
        Some((name.to_owned(), Compressed::of(original? as f64, compressed? as f64)?))
    };
    pairs.into_iter().filter_map(pair).collect()
}

fn qualities(
    (baseline, base_items): (&Quality, Items<'_>),
    (candidate, items): (&Quality, Items<'_>),
) -> BTreeMap<String, Retention> {
    let mut found = BTreeMap::new();
    let mut add = |name: String, direction, b: f64, c: f64, difference| {
        found.extend(Retention::of(direction, b, c, difference).map(|retention| (name, retention)));
    };
    let perplexities = [base_items.windows, items.windows].map(perplexity_statistic);
    add(
        "perplexity".to_owned(),
        Direction::LowerIsBetter,
        baseline.perplexity.value,
        candidate.perplexity.value,
        difference(&perplexities[0], &perplexities[1]),
    );
    let agreement = |windows: &[WindowScore]| {
        Statistic::mean(windows.iter().map(|window| window.top1_agreement).collect())
    };
    let agreements = [base_items.windows, items.windows].map(agreement);
    add(
        "top1".to_owned(),
        Direction::HigherIsBetter,
        baseline.top1_agreement,
        candidate.top1_agreement,
        difference(&agreements[0], &agreements[1]),
    );
    for (name, task) in &candidate.tasks {
        let Some(of_baseline) = baseline.tasks.get(name) else { continue };
        let statistics = base_items.tasks.get(name).zip(items.tasks.get(name));
        let difference = statistics.and_then(|(b, c)| difference(b, c));
        let direction = task.direction.unwrap_or(Direction::HigherIsBetter);
        add(format!("task.{name}"), direction, of_baseline.value, task.value, difference);
    }
    for (name, perplexity) in &candidate.robustness {
        let Some(of_baseline) = baseline.robustness.get(name) else { continue };
        let windows = |items: Items<'_>| items.robustness.get(name).cloned().unwrap_or_default();
        let (b, c) = (windows(base_items), windows(items));
        let difference = difference(&perplexity_statistic(&b), &perplexity_statistic(&c));
        let name = format!("robustness.{name}");
        add(name, Direction::LowerIsBetter, of_baseline.value, perplexity.value, difference);
    }
    for (name, business) in &candidate.business {
        let Some(of_baseline) = baseline.business.get(name) else { continue };
        add(format!("business.{name}"), business.direction, of_baseline.value, business.value, None);
    }
    found
}

/// The perplexity of any draw of windows.
fn perplexity_statistic(windows: &[WindowScore]) -> Statistic<'_> {
    Statistic::new(windows.len(), move |drawn| {
        let (mut nll, mut predictions) = (0.0, 0.0);
        for &index in drawn {
            let n = windows[index].predictions as f64;
            nll += n * windows[index].nll;
            predictions += n;
        }
        (predictions > 0.0).then(|| (nll / predictions).exp())
    })
}

fn difference(baseline: &Statistic<'_>, candidate: &Statistic<'_>) -> Option<Interval> {
    paired_bootstrap(baseline, candidate, &BootstrapConfig::default()).ok()
}

fn speed_ups(
    baseline: &Entry,
    candidate: &Entry,
    compression: &BTreeMap<String, Compressed>,
) -> BTreeMap<String, SpeedUp> {
    let Some((b, c)) = baseline.speed.as_ref().zip(candidate.speed.as_ref()) else { return BTreeMap::new() };
    let moved = compression_ratio(baseline.size.tensor_bytes as f64, candidate.size.tensor_bytes as f64).ok();
    let work = compression.get("flops_prefill").map(|flops| flops.compression_ratio);
    let pairs = [
        ("prefill", b.prefill_seconds.median, c.prefill_seconds.median, work),
        ("decode", b.decode_step_seconds.median, c.decode_step_seconds.median, moved),
    ];
    let pair = |(name, b, c, theory): (&str, f64, f64, Option<f64>)| {
        Some((name.to_owned(), SpeedUp::of(b, c, theory)?))
    };
    pairs.into_iter().filter_map(pair).collect()
}

fn criteria(entry: &Entry) -> Option<Criteria> {
    Some(Criteria {
        accuracy: (entry.quality.perplexity.value, Direction::LowerIsBetter),
        latency: entry.speed.as_ref()?.decode_step_seconds.median,
        size: entry.size.bytes as f64,
        memory: entry.memory.as_ref()?.peak_bytes as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(nll: f64, predictions: usize) -> WindowScore {
        WindowScore { start: 0, predictions, nll, kl: 0.0, top1_agreement: 1.0 }
    }

    #[test]
    fn a_draw_s_perplexity_weighs_its_windows() {
        let windows = [window(1.0, 3), window(2.0, 1)];
        let statistic = perplexity_statistic(&windows);
        assert_eq!(statistic.value(&[0, 1]), Some((5.0f64 / 4.0).exp()));
        assert_eq!(statistic.value(&[1, 1]), Some(2f64.exp()));
    }

    #[test]
    fn a_constant_loss_has_a_narrow_interval() {
        let baseline: Vec<WindowScore> = (0..50).map(|i| window(1.0 + f64::from(i) / 100.0, 7)).collect();
        let candidate: Vec<WindowScore> = baseline.iter().map(|w| window(w.nll + 0.1, 7)).collect();
        let found = difference(&perplexity_statistic(&baseline), &perplexity_statistic(&candidate)).unwrap();
        // Between windows the losses differ by a half; between the models always by a tenth, whatever is drawn.
        assert!(found.low > 0.3 && found.high - found.low < 0.05, "{found:?}");
        let retention = Retention::of(Direction::LowerIsBetter, 3.0, 3.0 * 1.25, Some(found)).unwrap();
        assert_eq!((retention.percent, retention.is_significant()), (80.0, Some(true)));
    }

    #[test]
    fn gains_that_stay_away_are_flagged() {
        let gain = |candidate| SpeedUp::of(2.0, candidate, Some(2.0)).unwrap();
        assert!(gain(1.5).falls_short && !gain(1.05).falls_short && !gain(0.5).falls_short);
        assert_eq!(SpeedUp::of(2.0, 0.0, None), None);
    }
}
