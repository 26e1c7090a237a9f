//! What each candidate bought: shares of the baseline, what the compression itself cost, and after how much use that is paid back.

use super::{Entry, Resource, kept};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_measure::{Distribution, Payback};

const SECONDS_PER_HOUR: f64 = 3600.0;
const TOKENS_PER_MILLION: f64 = 1e6;

/// What a candidate keeps and takes, in percent of the baseline, and when its compression has paid for itself. What was not
/// measured is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bought {
    /// The candidate.
    pub model: String,
    /// Retention of the perplexity; lower than 100 is a loss.
    pub quality_percent: Option<f64>,
    /// Bytes of the weight files; from here on lower is better.
    pub bytes_percent: Option<f64>,
    /// Peak memory.
    pub peak_memory_percent: Option<f64>,
    /// Operations of a decoded token.
    pub flops_decode_percent: Option<f64>,
    /// Median time of a prefill.
    pub prefill_time_percent: Option<f64>,
    /// Median time of a decoding step.
    pub decode_time_percent: Option<f64>,
    /// Joules per generated token.
    pub energy_percent: Option<f64>,
    /// Price of a million tokens.
    pub cost_percent: Option<f64>,
    /// What the compression itself cost; null for a candidate that was made elsewhere.
    pub compression: Option<CompressionCost>,
    /// When the time that faster decoding saves has made up for the time of the compression.
    pub payback_time: Recovery,
    /// When the money that is saved has made up for the price of the compression; null where no prices were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payback_price: Option<Recovery>,
}

/// What a compression cost, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompressionCost {
    /// Its seconds on this machine, those of the run that made it where it was reused.
    pub seconds: f64,
    /// The machine's price for that long; null where no prices were given.
    pub price: Option<f64>,
    /// The currency of the price.
    pub currency: Option<String>,
    /// Whether electricity has a price of its own, which is then missing here: that of a compression is not metered.
    pub without_electricity: bool,
}

/// After how much use a compression is paid back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Recovery {
    /// After so much decoding, one sequence at a time.
    After {
        /// Generated tokens.
        tokens: f64,
        /// Hours in which the candidate generates them.
        hours: f64,
    },
    /// Never: nothing is saved.
    Never {
        /// Why.
        reason: String,
    },
    /// Something that it takes was not measured.
    Unknown {
        /// What.
        reason: String,
    },
}

impl Bought {
    /// Holds every candidate against the baseline, in the report's order.
    pub fn of(baseline: &Entry, candidates: &[Entry]) -> Vec<Self> {
        candidates.iter().map(|candidate| Self::of_one(baseline, candidate)).collect()
    }

    fn of_one(baseline: &Entry, candidate: &Entry) -> Self {
        let share = |pick: &dyn Fn(&Entry) -> Option<f64>| percent(pick(baseline)?, pick(candidate)?);
        let speed = |pick: fn(&crate::speed::Speed) -> Option<f64>| {
            share(&|entry| entry.speed.as_ref().and_then(pick))
        };
        let compression = candidate.compression.as_ref().map(|made| compression_cost(baseline, made.seconds));
        Self {
            model: candidate.name.clone(),
            quality_percent: kept(candidate),
            bytes_percent: share(&|entry| Resource::Bytes.of(entry)),
            peak_memory_percent: share(&|entry| Resource::PeakMemory.of(entry)),
            flops_decode_percent: share(&|entry| Resource::FlopsDecode.of(entry)),
            prefill_time_percent: speed(|speed| Some(speed.prefill_seconds.median)),
            decode_time_percent: speed(|speed| Some(speed.decode_step_seconds.median)),
            energy_percent: speed(|speed| speed.joules_per_token),
            cost_percent: share(&|entry| entry.cost.as_ref()?.per_million_tokens),
            payback_time: payback_time(baseline, candidate, compression.as_ref()),
            payback_price: baseline
                .cost
                .as_ref()
                .and(candidate.cost.as_ref())
                .map(|_| payback_price(baseline, candidate, compression.as_ref())),
            compression,
        }
    }
}

fn percent(baseline: f64, candidate: f64) -> Option<f64> {
    let percent = 100.0 * candidate / baseline;
    (baseline > 0.0 && percent.is_finite()).then_some(percent)
}

/// The price per hour is what the baseline's tokens cost at its speed: reports hold that, and not the prices.
fn compression_cost(baseline: &Entry, seconds: f64) -> CompressionCost {
    let cost = baseline.cost.as_ref();
    let per_second = cost.zip(baseline.speed.as_ref()).map(|(cost, speed)| {
        cost.machine_per_million_tokens / TOKENS_PER_MILLION * speed.decode_tokens_per_s
    });
    CompressionCost {
        seconds,
        price: per_second.map(|price| price * seconds),
        currency: cost.map(|cost| cost.currency.clone()),
        // Without a price of electricity the cost of a million tokens is known and has no part for it.
        without_electricity: cost.is_some_and(|cost| {
            cost.energy_per_million_tokens.is_some() || cost.per_million_tokens.is_none()
        }),
    }
}

/// The seconds of a compression, or why they are not known.
fn seconds_of(cost: Option<&CompressionCost>) -> Result<f64, Recovery> {
    let unknown = |reason: &str| Recovery::Unknown { reason: reason.to_owned() };
    match cost {
        None => Err(unknown("it was made elsewhere, and how long that took is not on record")),
        Some(cost) if cost.seconds > 0.0 => Ok(cost.seconds),
        Some(_) => Err(unknown("how long the compression took is not on record")),
    }
}

/// The decoding steps of both, where speed was measured.
fn steps(baseline: &Entry, candidate: &Entry) -> Option<(Distribution, Distribution)> {
    Some((baseline.speed.as_ref()?.decode_step_seconds, candidate.speed.as_ref()?.decode_step_seconds))
}

fn payback_time(baseline: &Entry, candidate: &Entry, cost: Option<&CompressionCost>) -> Recovery {
    let seconds = match seconds_of(cost) {
        Ok(seconds) => seconds,
        Err(unknown) => return unknown,
    };
    let Some((before, after)) = steps(baseline, candidate) else {
        return Recovery::Unknown { reason: "speed was not measured".to_owned() };
    };
    if let Some(reason) = no_faster(&before, &after) {
        return Recovery::Never { reason };
    }
    recovery(seconds, before.median, after.median, after.median)
}

fn payback_price(baseline: &Entry, candidate: &Entry, cost: Option<&CompressionCost>) -> Recovery {
    if let Err(unknown) = seconds_of(cost) {
        return unknown;
    }
    let per_token = |entry: &Entry| Some(entry.cost.as_ref()?.per_million_tokens? / TOKENS_PER_MILLION);
    let prices = cost.and_then(|cost| cost.price).zip(per_token(baseline)).zip(per_token(candidate));
    let (Some(((price, before), after)), Some((slow, fast))) = (prices, steps(baseline, candidate)) else {
        let reason = "electricity has a price, and how much is used could not be measured".to_owned();
        return Recovery::Unknown { reason };
    };
    // The machine's price follows the time; only electricity can save money where no time is saved.
    let electricity = cost.is_some_and(|cost| cost.without_electricity);
    if let (Some(reason), false) = (no_faster(&slow, &fast), electricity) {
        return Recovery::Never { reason };
    }
    recovery(price, before, after, fast.median)
}

/// Why decoding saves no time, where it saves none: the median is not lower, or each lies within the other's spread.
fn no_faster(before: &Distribution, after: &Distribution) -> Option<String> {
    let within = |value: f64, of: &Distribution| of.min <= value && value <= of.p90;
    if after.median >= before.median {
        Some("decoding is not faster than the baseline's".to_owned())
    } else if within(before.median, after) || within(after.median, before) {
        Some("decoding is faster by less than the times of one model vary".to_owned())
    } else {
        None
    }
}

fn recovery(one_off: f64, before: f64, after: f64, seconds_per_token: f64) -> Recovery {
    match Payback::of(one_off, before, after) {
        Ok(Payback::After { units }) => {
            Recovery::After { tokens: units, hours: units * seconds_per_token / SECONDS_PER_HOUR }
        }
        Ok(Payback::Never) => {
            Recovery::Never { reason: "a token costs as much as the baseline's, or more".to_owned() }
        }
        Err(error) => Recovery::Unknown { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Products and quotients of a few decimal numbers.
    const ROUNDING: f64 = 1e-9;

    fn times(median: f64, spread: f64) -> Distribution {
        Distribution::of(vec![median - spread, median, median + spread]).unwrap()
    }

    #[test]
    fn a_compression_is_paid_back_by_what_each_token_saves() {
        // 90 s for the compression; a token takes 5 ms instead of 8 ms: 90 / 0.003 tokens, at 5 ms each.
        let Recovery::After { tokens, hours } = recovery(90.0, 0.008, 0.005, 0.005) else { panic!() };
        assert!((tokens - 30_000.0).abs() < 1e-6, "{tokens}");
        assert!((hours - 150.0 / 3600.0).abs() < ROUNDING, "{hours}");
        assert!(matches!(recovery(90.0, 0.008, 0.008, 0.008), Recovery::Never { .. }));
        // Free of charge: at once.
        assert_eq!(recovery(0.0, 2.0, 1.0, 0.005), Recovery::After { tokens: 0.0, hours: 0.0 });
    }

    #[test]
    fn what_lies_within_the_spread_saves_nothing() {
        let before = times(0.008, 0.001);
        assert_eq!(no_faster(&before, &times(0.005, 0.001)), None);
        assert!(no_faster(&before, &times(0.009, 0.001)).unwrap().contains("not faster"));
        assert!(no_faster(&before, &times(0.0078, 0.001)).unwrap().contains("vary"));
    }

    #[test]
    fn seconds_that_nobody_noted_are_not_nought() {
        let cost =
            |seconds| CompressionCost { seconds, price: None, currency: None, without_electricity: false };
        assert_eq!(seconds_of(Some(&cost(3.0))), Ok(3.0));
        for unknown in [None, Some(&cost(0.0))] {
            assert!(matches!(seconds_of(unknown), Err(Recovery::Unknown { .. })));
        }
    }

    #[test]
    fn shares_of_nothing_are_none_and_states_are_named() {
        assert_eq!((percent(4.0, 1.0), percent(0.0, 1.0)), (Some(25.0), None));
        let never = Recovery::Never { reason: "r".to_owned() };
        assert_eq!(serde_json::to_value(never).unwrap(), json!({ "state": "never", "reason": "r" }));
    }
}
