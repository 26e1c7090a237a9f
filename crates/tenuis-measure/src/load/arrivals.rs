//! When requests arrive.

use crate::error::{MeasureError, check_count, check_positive};
use crate::random::Draw;
use serde::{Deserialize, Serialize};

/// An arrival process: when requests come, independent of when they are answered.
///
/// An open loop, as users are one: they do not wait for each other. A closed loop, which sends the next request when the last one is
/// answered, slows down together with the server and never sees a queue (Schroeder, Wierman and Harchol-Balter 2006).
///
/// ```
/// use tenuis_measure::Arrivals;
/// let times: Vec<f64> = Arrivals::Steady { per_second: 4.0 }.times()?.take(3).collect();
/// assert_eq!(times, [0.0, 0.25, 0.5]);
/// # Ok::<(), tenuis_measure::MeasureError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "process", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Arrivals {
    /// Equal distances of `1 / per_second`.
    Steady {
        /// Requests per second.
        per_second: f64,
    },
    /// Independent arrivals of many users: exponential distances of mean `1 / per_second`.
    Poisson {
        /// Requests per second in the mean.
        per_second: f64,
        /// Decides the draws.
        seed: u64,
    },
    /// Bursts and silence (an on/off process): `burst` requests with exponential distances of mean `1 / burst_per_second`, then a
    /// silence of exponential length whose mean keeps the rate of the whole at `per_second`.
    Bursty {
        /// Requests per second in the mean, silence included.
        per_second: f64,
        /// Requests of a burst.
        burst: usize,
        /// Requests per second within a burst, more than `per_second`.
        burst_per_second: f64,
        /// Decides the draws.
        seed: u64,
    },
}

impl Arrivals {
    /// Gives the mean rate in requests per second.
    pub const fn per_second(&self) -> f64 {
        match *self {
            Self::Steady { per_second }
            | Self::Poisson { per_second, .. }
            | Self::Bursty { per_second, .. } => per_second,
        }
    }

    /// Gives the times of arrival in seconds since the start, in ascending order and without end.
    ///
    /// Steady and bursty arrivals begin at 0. The same process and seed give the same times on every machine up to the last bit of
    /// the logarithm.
    ///
    /// # Errors
    /// [`MeasureError::Config`] where a rate is not finite and above 0, a burst is empty, or the rate within a burst is not above the
    /// mean rate.
    pub fn times(&self) -> Result<ArrivalTimes, MeasureError> {
        check_positive("per_second", self.per_second())?;
        let mut seed = 0;
        let mut longest = 1.0 / self.per_second();
        match *self {
            Self::Steady { .. } => {}
            Self::Poisson { seed: own, .. } => seed = own,
            Self::Bursty { per_second, burst, burst_per_second, seed: own } => {
                check_count("burst", burst)?;
                check_positive("burst_per_second", burst_per_second)?;
                if burst_per_second <= per_second {
                    let (option, value) = ("burst_per_second", burst_per_second.to_string());
                    let allowed = "above per_second, or there is no room for silence";
                    return Err(MeasureError::Config { option, value, allowed });
                }
                seed = own;
                longest *= burst as f64;
            }
        }
        // A rate so small that its distances overflow would yield times that are no numbers.
        check_positive("the mean distance of arrivals (the longest where they come in bursts)", longest)?;
        Ok(ArrivalTimes { process: *self, draw: Draw::new(seed), index: 0, last: 0.0 })
    }
}

/// The times of an arrival process, in seconds since its start; made by [`Arrivals::times`].
#[derive(Clone, Debug)]
pub struct ArrivalTimes {
    process: Arrivals,
    draw: Draw,
    index: u64,
    last: f64,
}

impl Iterator for ArrivalTimes {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let index = self.index;
        self.index += 1;
        self.last = match self.process {
            // A product, as a sum of equal distances would drift.
            Arrivals::Steady { per_second } => index as f64 / per_second,
            Arrivals::Poisson { per_second, .. } => self.last + self.draw.exponential(1.0 / per_second),
            Arrivals::Bursty { .. } if index == 0 => 0.0,
            Arrivals::Bursty { per_second, burst, burst_per_second, .. } => {
                let within = 1.0 / burst_per_second;
                // A burst and the silence after it take `burst / per_second` in the mean, of which the burst has its distances.
                let silence = burst as f64 / per_second - (burst - 1) as f64 * within;
                let begins = index.is_multiple_of(burst as u64);
                self.last + self.draw.exponential(if begins { silence } else { within })
            }
        };
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals of a statistical test.
    const MANY: usize = 100_000;

    /// What a mean of [`MANY`] exponential distances may be off by: three standard errors are 3 / √100000 ≈ 1 %, and the distances
    /// of a bursty process vary about three times as much.
    const MEAN_TOLERANCE: f64 = 0.03;

    fn distances(arrivals: Arrivals) -> Vec<f64> {
        let times: Vec<f64> = arrivals.times().unwrap().take(MANY + 1).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Mean and squared coefficient of variation.
    fn moments(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean, variance / mean.powi(2))
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < MEAN_TOLERANCE, "{found} is not near {expected}");
    }

    #[test]
    fn all_processes_keep_their_mean_rate() {
        let processes = [
            Arrivals::Steady { per_second: 3.0 },
            Arrivals::Poisson { per_second: 3.0, seed: 1 },
            Arrivals::Bursty { per_second: 3.0, burst: 10, burst_per_second: 30.0, seed: 1 },
            Arrivals::Bursty { per_second: 3.0, burst: 1, burst_per_second: 30.0, seed: 1 },
        ];
        for process in processes {
            assert_near(moments(&distances(process)).0, 1.0 / 3.0);
        }
    }

    #[test]
    fn variation_is_none_one_and_that_of_the_mixture() {
        /// Rounding of products around 30000 s, relative to a distance.
        const ROUNDING: f64 = 1e-6;
        assert!(moments(&distances(Arrivals::Steady { per_second: 3.0 })).1 < ROUNDING);
        assert_near(moments(&distances(Arrivals::Poisson { per_second: 3.0, seed: 2 })).1, 1.0);
        // Distances are exponential of mean 1/30 with probability 9/10 and of mean 10/3 − 9/30 with 1/10.
        let bursty = Arrivals::Bursty { per_second: 3.0, burst: 10, burst_per_second: 30.0, seed: 2 };
        let silence: f64 = 10.0 / 3.0 - 9.0 / 30.0;
        let second_moment = 2.0 * (0.9 / 900.0 + 0.1 * silence.powi(2));
        assert_near(moments(&distances(bursty)).1, second_moment * 9.0 - 1.0);
    }

    #[test]
    fn a_seed_decides_and_time_never_goes_back() {
        let with = |seed| Arrivals::Bursty { per_second: 1.0, burst: 4, burst_per_second: 9.0, seed };
        let take = |seed| with(seed).times().unwrap().take(50).collect::<Vec<_>>();
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert!(distances(with(7)).iter().all(|d| d.is_finite() && *d >= 0.0));
    }

    #[test]
    fn impossible_processes_are_refused() {
        let bad = [
            Arrivals::Steady { per_second: 0.0 },
            Arrivals::Poisson { per_second: f64::NAN, seed: 0 },
            Arrivals::Bursty { per_second: 1.0, burst: 0, burst_per_second: 2.0, seed: 0 },
            Arrivals::Bursty { per_second: 2.0, burst: 3, burst_per_second: 2.0, seed: 0 },
            Arrivals::Bursty { per_second: 2.0, burst: 3, burst_per_second: f64::INFINITY, seed: 0 },
            Arrivals::Poisson { per_second: f64::MIN_POSITIVE / 1e10, seed: 0 },
            Arrivals::Bursty { per_second: f64::MIN_POSITIVE, burst: 100, burst_per_second: 1.0, seed: 0 },
        ];
        for process in bad {
            assert!(matches!(process.times(), Err(MeasureError::Config { .. })), "{process:?}");
        }
    }

    #[test]
    fn the_written_form_is_flat_and_strict() {
        let read = |text| serde_json::from_str::<Arrivals>(text);
        let poisson = Arrivals::Poisson { per_second: 2.0, seed: 1 };
        assert_eq!(read(r#"{"process": "poisson", "per_second": 2.0, "seed": 1}"#).unwrap(), poisson);
        assert!(read(r#"{"process": "poisson", "per_second": 2.0, "seed": 1, "burst": 3}"#).is_err());
    }
}
