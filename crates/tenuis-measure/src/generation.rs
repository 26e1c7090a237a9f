//! Times of generated text: first token, distances between tokens, and rates.

use crate::clock::Clock;
use crate::distribution::Distribution;
use crate::error::{MeasureError, check_count};
use serde::{Deserialize, Serialize};

/// The shortest time that is believed, in seconds: a thousandth of what clocks resolve. It keeps every rate finite.
const SHORTEST_SECONDS: f64 = 1e-12;

/// When the tokens of one generation came, in seconds since it was asked for.
///
/// ```
/// use tenuis_measure::{GenerationTimes, VirtualClock};
/// let clock = VirtualClock::default();
/// let times = GenerationTimes::record(&clock, 1, 128, |token| {
///     clock.advance(0.5); // the prompt
///     token();
///     for _ in 0..4 {
///         clock.advance(0.1);
///         token();
///     }
///     Ok::<_, std::io::Error>(())
/// })?;
/// assert_eq!(times.first_token_seconds(), Some(0.5));
/// assert_eq!(times.token_seconds.len(), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GenerationTimes {
    /// Sequences that were generated together; each gets a token at each of the times.
    pub batch_size: usize,
    /// Tokens of the prompt of each sequence.
    pub prompt_tokens: usize,
    /// When each token came.
    pub token_seconds: Vec<f64>,
    /// When it was over.
    pub end_seconds: f64,
}

impl GenerationTimes {
    /// Runs `generate`, which calls its argument when a token is there.
    ///
    /// # Errors
    /// What `generate` returns.
    pub fn record<E>(
        clock: &impl Clock,
        batch_size: usize,
        prompt_tokens: usize,
        generate: impl FnOnce(&mut dyn FnMut()) -> Result<(), E>,
    ) -> Result<Self, E> {
        let started = clock.now();
        let mut token_seconds = Vec::new();
        generate(&mut || token_seconds.push(clock.now() - started))?;
        Ok(Self { batch_size, prompt_tokens, token_seconds, end_seconds: clock.now() - started })
    }

    /// Gives the time to the first token (TTFT), in seconds; `None` where none came.
    pub fn first_token_seconds(&self) -> Option<f64> {
        self.token_seconds.first().copied()
    }

    /// Gives the distances between tokens that follow each other, in seconds.
    pub fn between_tokens_seconds(&self) -> impl Iterator<Item = f64> + '_ {
        self.token_seconds.windows(2).map(|pair| pair[1] - pair[0])
    }
}

/// How fast text is generated, of several generations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GenerationSpeed {
    /// Seconds from the request to the first token: the prompt and one step.
    pub first_token_seconds: Distribution,
    /// Seconds between tokens, of all generations together; `None` where no generation has two.
    pub between_tokens_seconds: Option<Distribution>,
    /// Seconds of a whole generation.
    pub latency_seconds: Distribution,
    /// Sequences per second: all sequences ÷ the sum of all latencies.
    pub samples_per_second: f64,
    /// Tokens of prompts ÷ the sum of times to the first token, of all sequences of a batch.
    pub prefill_tokens_per_second: f64,
    /// Tokens after the first ÷ the sum of their distances, of all sequences of a batch. `None` where there are none.
    pub decode_tokens_per_second: Option<f64>,
}

impl GenerationSpeed {
    /// Summarises generations. Rates are sums over sums, not means of rates: a slow generation counts as long as it took.
    ///
    /// ```
    /// use tenuis_measure::{GenerationSpeed, GenerationTimes};
    /// let times = GenerationTimes {
    ///     batch_size: 2,
    ///     prompt_tokens: 50,
    ///     token_seconds: vec![0.5, 0.75, 1.0],
    ///     end_seconds: 1.0,
    /// };
    /// let speed = GenerationSpeed::of(&[times])?;
    /// assert_eq!(speed.prefill_tokens_per_second, 200.0);
    /// assert_eq!(speed.decode_tokens_per_second, Some(8.0));
    /// assert_eq!(speed.samples_per_second, 2.0);
    /// # Ok::<(), tenuis_measure::MeasureError>(())
    /// ```
    ///
    /// # Errors
    /// [`MeasureError::Empty`] without generations, [`MeasureError::Config`] for an empty batch, [`MeasureError::Sample`] where one
    /// gave no token or its times are not finite, positive and in order.
    pub fn of(generations: &[GenerationTimes]) -> Result<Self, MeasureError> {
        let what = "generation";
        for (sample, generation) in generations.iter().enumerate() {
            check_count("batch_size", generation.batch_size)?;
            check(what, sample, generation)?;
        }
        let collect = |part: &dyn Fn(&GenerationTimes) -> Option<f64>| {
            Distribution::of(generations.iter().filter_map(part).collect())
                .ok_or(MeasureError::Empty { what })
        };
        let sum = |part: &dyn Fn(&GenerationTimes) -> f64| generations.iter().map(part).sum::<f64>();
        let first = |g: &GenerationTimes| g.first_token_seconds().unwrap_or_default();
        let between: Vec<f64> =
            generations.iter().flat_map(GenerationTimes::between_tokens_seconds).collect();
        let between_sum: f64 = between.iter().sum();
        let decoded = sum(&|g| g.batch_size as f64 * (g.token_seconds.len() - 1) as f64);
        let rate = decoded / between_sum;
        Ok(Self {
            first_token_seconds: collect(&|g| g.first_token_seconds())?,
            between_tokens_seconds: Distribution::of(between),
            latency_seconds: collect(&|g| Some(g.end_seconds))?,
            samples_per_second: sum(&|g| g.batch_size as f64) / sum(&|g| g.end_seconds),
            prefill_tokens_per_second: sum(&|g| g.batch_size as f64 * g.prompt_tokens as f64) / sum(&first),
            decode_tokens_per_second: (between_sum > 0.0 && rate.is_finite()).then_some(rate),
        })
    }
}

fn check(what: &'static str, sample: usize, generation: &GenerationTimes) -> Result<(), MeasureError> {
    let Some(&first) = generation.token_seconds.first() else {
        let problem = "without a token".to_owned();
        return Err(MeasureError::Sample { what, sample, problem, allowed: "at least one token long" });
    };
    let ordered = generation.token_seconds.is_sorted()
        && generation.token_seconds.last().is_some_and(|&last| last <= generation.end_seconds);
    if !ordered || first < SHORTEST_SECONDS || !generation.end_seconds.is_finite() {
        let problem = format!(
            "one whose tokens came from {first} s to {:?} s, with its end at {} s",
            generation.token_seconds.last(),
            generation.end_seconds
        );
        let allowed = "one whose times are above 0, finite and in order";
        return Err(MeasureError::Sample { what, sample, problem, allowed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(token_seconds: &[f64], end_seconds: f64) -> GenerationTimes {
        GenerationTimes {
            batch_size: 1,
            prompt_tokens: 10,
            token_seconds: token_seconds.to_vec(),
            end_seconds,
        }
    }

    #[test]
    fn rates_are_sums_over_sums() {
        let fast = times(&[1.0, 1.5], 1.5);
        let slow = times(&[3.0, 6.5], 8.5);
        let speed = GenerationSpeed::of(&[fast, slow]).unwrap();
        assert_eq!(speed.prefill_tokens_per_second, 5.0, "20 tokens in 4 s, not the mean of 10 and 3.3");
        assert_eq!(speed.decode_tokens_per_second, Some(0.5));
        assert_eq!(speed.samples_per_second, 0.2);
        assert_eq!(speed.between_tokens_seconds.unwrap().max, 3.5);
        assert_eq!(speed.latency_seconds.max, 8.5);
    }

    #[test]
    fn one_token_has_no_decoding_speed() {
        let speed = GenerationSpeed::of(&[times(&[1.0], 1.0)]).unwrap();
        assert_eq!((speed.between_tokens_seconds, speed.decode_tokens_per_second), (None, None));
        let at_once = GenerationSpeed::of(&[times(&[1.0, 1.0], 1.0)]).unwrap();
        assert_eq!(at_once.decode_tokens_per_second, None, "tokens that come together have no rate");
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            times(&[], 1.0),
            times(&[0.0], 1.0),
            times(&[2.0, 1.0], 3.0),
            times(&[1.0, 2.0], 1.5),
            times(&[f64::NAN], 1.0),
            times(&[1.0], f64::INFINITY),
        ];
        for bad in bad {
            let found = GenerationSpeed::of(std::slice::from_ref(&bad));
            assert!(matches!(found, Err(MeasureError::Sample { .. })), "{bad:?}");
        }
        assert!(matches!(GenerationSpeed::of(&[]), Err(MeasureError::Empty { .. })));
        let empty = GenerationTimes { batch_size: 0, ..times(&[1.0], 1.0) };
        assert!(matches!(GenerationSpeed::of(&[empty]), Err(MeasureError::Config { .. })));
    }
}
