//! Batch sizes and sequence lengths.

use crate::error::{MeasureError, check_count};
use serde::{Deserialize, Serialize};

/// A plan of batch sizes × sequence lengths: powers of two up to limits.
///
/// ```
/// use tenuis_measure::Sweep;
/// let mut sweep = Sweep::default();
/// (sweep.max_batch_size, sweep.min_sequence_length, sweep.max_sequence_length) = (2, 64, 256);
/// sweep.max_tokens = Some(256);
/// let plan = sweep.plan(|_| None)?;
/// assert_eq!(plan.points.len(), 5);
/// assert_eq!(plan.skipped[0].reason, "2 sequences of 256 are 512 tokens, more than the 256 allowed");
/// # Ok::<(), tenuis_measure::MeasureError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Sweep {
    /// The largest number of sequences at once. The smallest is 1.
    pub max_batch_size: usize,
    /// The fewest tokens of a sequence, rounded up to a power of two.
    pub min_sequence_length: usize,
    /// The most tokens of a sequence.
    pub max_sequence_length: usize,
    /// The positions that the model has, if they are limited.
    pub max_positions: Option<usize>,
    /// The most tokens of all sequences together, for time's sake.
    pub max_tokens: Option<usize>,
    /// The most bytes that a point may need, by the caller's estimate.
    pub max_bytes: Option<u64>,
}

impl Default for Sweep {
    /// Batches of 1 to 8 sequences of 32 to 512 tokens.
    fn default() -> Self {
        Self {
            max_batch_size: 8,
            min_sequence_length: 32,
            max_sequence_length: 512,
            max_positions: None,
            max_tokens: None,
            max_bytes: None,
        }
    }
}

/// A batch of sequences of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SweepPoint {
    /// Sequences at once.
    pub batch_size: usize,
    /// Tokens of each.
    pub sequence_length: usize,
}

impl SweepPoint {
    /// Gives the tokens of all sequences, at most [`usize::MAX`].
    pub const fn tokens(&self) -> usize {
        self.batch_size.saturating_mul(self.sequence_length)
    }
}

/// A point that is not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SkippedPoint {
    /// Which.
    pub point: SweepPoint,
    /// Why, as a sentence.
    pub reason: String,
}

/// What is to be measured, and what is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SweepPlan {
    /// Points in order of their batch size, then their sequence length.
    pub points: Vec<SweepPoint>,
    /// What was left out.
    pub skipped: Vec<SkippedPoint>,
}

/// What was measured at a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SweepRow<T> {
    /// Where.
    pub point: SweepPoint,
    /// What.
    pub result: T,
}

/// The table of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SweepResult<T> {
    /// What was measured, in the order of the plan.
    pub rows: Vec<SweepRow<T>>,
    /// What was not, by plan or on the way.
    pub skipped: Vec<SkippedPoint>,
}

/// What becomes of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum SweepStep<T> {
    /// It was measured.
    Measured(T),
    /// It cannot be, and the sweep goes on: the reason, as a sentence.
    Skipped(String),
}

impl Sweep {
    /// Lists the points, and what is left out and why. `bytes_of` estimates what a point needs; without an estimate nothing is left
    /// out for its sake.
    ///
    /// # Errors
    /// [`MeasureError::Config`] where a limit is 0 or the shortest sequence is longer than the longest.
    pub fn plan(&self, bytes_of: impl Fn(SweepPoint) -> Option<u64>) -> Result<SweepPlan, MeasureError> {
        check_count("max_batch_size", self.max_batch_size)?;
        check_count("min_sequence_length", self.min_sequence_length)?;
        let shortest = self.min_sequence_length.checked_next_power_of_two();
        let Some(shortest) = shortest.filter(|&shortest| shortest <= self.max_sequence_length) else {
            let (option, value) = ("max_sequence_length", self.max_sequence_length.to_string());
            let allowed = "at least the power of two that min_sequence_length is rounded up to";
            return Err(MeasureError::Config { option, value, allowed });
        };
        let mut plan = SweepPlan { points: Vec::new(), skipped: Vec::new() };
        for batch_size in powers(1, self.max_batch_size) {
            for sequence_length in powers(shortest, self.max_sequence_length) {
                let point = SweepPoint { batch_size, sequence_length };
                match self.obstacle(point, bytes_of(point)) {
                    Some(reason) => plan.skipped.push(SkippedPoint { point, reason }),
                    None => plan.points.push(point),
                }
            }
        }
        Ok(plan)
    }

    fn obstacle(&self, point: SweepPoint, bytes: Option<u64>) -> Option<String> {
        let SweepPoint { batch_size, sequence_length } = point;
        if let Some(positions) = self.max_positions.filter(|&positions| sequence_length > positions) {
            return Some(format!("the model has {positions} positions, fewer than {sequence_length}"));
        }
        let tokens = point.tokens();
        if let Some(allowed) = self.max_tokens.filter(|&allowed| tokens > allowed) {
            return Some(format!(
                "{batch_size} sequences of {sequence_length} are {tokens} tokens, more than the {allowed} allowed"
            ));
        }
        let (bytes, allowed) = (bytes?, self.max_bytes?);
        (bytes > allowed).then(|| format!("it needs about {bytes} bytes, more than the {allowed} allowed"))
    }
}

impl SweepPlan {
    /// Measures every point in order.
    ///
    /// ```
    /// use tenuis_measure::{Sweep, SweepStep};
    /// let plan = Sweep::default().plan(|_| None)?;
    /// let table = plan.run(|point| Ok::<_, std::io::Error>(SweepStep::Measured(point.tokens())))?;
    /// assert_eq!(table.rows[0].result, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first error of `measure`. What a single point cannot do is no error but a [`SweepStep::Skipped`].
    pub fn run<T, E>(
        &self,
        mut measure: impl FnMut(SweepPoint) -> Result<SweepStep<T>, E>,
    ) -> Result<SweepResult<T>, E> {
        let mut result = SweepResult { rows: Vec::new(), skipped: self.skipped.clone() };
        for &point in &self.points {
            match measure(point)? {
                SweepStep::Measured(found) => result.rows.push(SweepRow { point, result: found }),
                SweepStep::Skipped(reason) => result.skipped.push(SkippedPoint { point, reason }),
            }
        }
        Ok(result)
    }
}

/// Powers of two from one of them up to a limit.
fn powers(first: usize, limit: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |power| power.checked_mul(2)).take_while(move |&power| power <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(plan: &SweepPlan) -> Vec<(usize, usize)> {
        plan.points.iter().map(|point| (point.batch_size, point.sequence_length)).collect()
    }

    #[test]
    fn powers_of_two_fill_the_rectangle() {
        let sweep = Sweep {
            max_batch_size: 3,
            min_sequence_length: 33,
            max_sequence_length: 200,
            ..Sweep::default()
        };
        assert_eq!(sizes(&sweep.plan(|_| None).unwrap()), [(1, 64), (1, 128), (2, 64), (2, 128)]);
        let limits: Vec<_> = powers(1, usize::MAX).collect();
        assert_eq!(limits.len(), usize::BITS as usize, "the largest ends it without an overflow");
    }

    #[test]
    fn every_point_is_measured_or_has_a_reason() {
        let sweep = Sweep {
            max_positions: Some(256),
            max_tokens: Some(1024),
            max_bytes: Some(100),
            ..Sweep::default()
        };
        let plan =
            sweep.plan(|point| (point.batch_size == 1).then_some(point.sequence_length as u64)).unwrap();
        assert_eq!(plan.points.len() + plan.skipped.len(), 4 * 5);
        let reason = |batch_size, sequence_length| {
            let point = SweepPoint { batch_size, sequence_length };
            plan.skipped.iter().find(|skipped| skipped.point == point).map(|skipped| skipped.reason.as_str())
        };
        assert_eq!(reason(1, 512), Some("the model has 256 positions, fewer than 512"));
        assert!(reason(8, 256).unwrap().contains("2048 tokens"));
        assert!(reason(1, 128).unwrap().contains("about 128 bytes"));
        assert_eq!(reason(2, 128), None, "there is no estimate");
    }

    #[test]
    fn what_fails_on_the_way_joins_what_was_skipped_by_plan() {
        let sweep = Sweep { max_tokens: Some(1024), ..Sweep::default() };
        let plan = sweep.plan(|_| None).unwrap();
        let table = plan
            .run(|point| match point.batch_size {
                1 => Ok::<_, MeasureError>(SweepStep::Measured(1.0)),
                _ => Ok(SweepStep::Skipped("out of memory".into())),
            })
            .unwrap();
        assert_eq!(table.rows.len(), 5);
        assert_eq!(table.rows.len() + table.skipped.len(), 20);
        let error = plan.run(|_| Err::<SweepStep<()>, _>("broken")).unwrap_err();
        assert_eq!(error, "broken");
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<SweepResult<f64>>(&text).unwrap(), table);
    }

    #[test]
    fn impossible_limits_are_refused() {
        for sweep in [
            Sweep { max_batch_size: 0, ..Sweep::default() },
            Sweep { min_sequence_length: 0, ..Sweep::default() },
            Sweep { min_sequence_length: 600, ..Sweep::default() },
            Sweep { min_sequence_length: usize::MAX, ..Sweep::default() },
        ] {
            assert!(matches!(sweep.plan(|_| None), Err(MeasureError::Config { .. })), "{sweep:?}");
        }
    }
}
