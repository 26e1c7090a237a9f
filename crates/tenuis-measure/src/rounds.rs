//! Warm-up, and rounds in which everything that is compared has its turn.

use crate::clock::Clock;
use crate::error::{MeasureError, check_count, check_not_negative};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use thiserror::Error as ThisError;

/// How long a subject is run before it counts: until one of the limits is reached, but at least once.
///
/// The first runs fault pages in, fill caches, let thread pools start and the clock frequency rise; they say how a cold process
/// behaves ([`ColdStart`](crate::ColdStart) measures that), and would otherwise be charged to whoever runs first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WarmUp {
    /// The most runs of a subject.
    pub runs: usize,
    /// The time in seconds after which no further run is begun.
    pub seconds: f64,
}

impl Default for WarmUp {
    /// 100 runs or 2 s, whichever ends first.
    fn default() -> Self {
        Self { runs: 100, seconds: 2.0 }
    }
}

/// How subjects are measured beside each other.
///
/// In every round each subject runs once. The order changes from round to round: it is rotated by one every second round, and
/// reversed in between. Were the order fixed, whoever comes first would always find the machine as the pause before the round left
/// it (cool, boosted, its cache cold), and everyone would always follow the same neighbour; and a machine that slows down steadily
/// would favour the first. With `n` subjects, in `2n` rounds each is at every place exactly twice, and follows its neighbours of
/// both sides (a counterbalanced design; Georges, Buytaert and Eeckhout 2007, and Kalibera and Jones 2013, say why rounds are repeated).
///
/// ```
/// use tenuis_measure::{Rounds, Subject, VirtualClock};
/// let clock = VirtualClock::default();
/// let mut rounds = Rounds::default();
/// rounds.warm_up.runs = 1;
/// let mut subjects = [
///     Subject::timed("dense", &clock, |_| Ok::<_, std::io::Error>(clock.advance(2.0))),
///     Subject::timed("int4", &clock, |_| Ok(clock.advance(1.0))),
/// ];
/// let measured = rounds.measure(&mut subjects, &clock, |_| {})?;
/// assert_eq!(measured[1].name, "int4");
/// assert_eq!(measured[1].samples, [1.0; 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Rounds {
    /// What is run before.
    pub warm_up: WarmUp,
    /// Rounds that count; each gives one sample of each subject.
    pub rounds: usize,
}

impl Default for Rounds {
    /// Ten rounds after the default warm-up.
    fn default() -> Self {
        Self { warm_up: WarmUp::default(), rounds: 10 }
    }
}

/// Which run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Phase {
    /// One that is not counted, by its number, from 0. It may be shorter than one that is.
    WarmUp(usize),
    /// One that is counted, by its round, from 0.
    Round(usize),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WarmUp(run) => write!(f, "run {run} of the warm-up"),
            Self::Round(round) => write!(f, "round {round}"),
        }
    }
}

/// What is measured: a name, and a closure that runs once and returns a sample.
pub struct Subject<'a, T, E> {
    /// What it is called in results.
    pub name: String,
    run: Box<Run<'a, T, E>>,
}

/// One run of a subject.
type Run<'a, T, E> = dyn FnMut(Phase) -> Result<T, E> + 'a;

impl<'a, T, E> Subject<'a, T, E> {
    /// Takes a closure that measures itself.
    pub fn new(name: impl Into<String>, run: impl FnMut(Phase) -> Result<T, E> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

impl<'a, E> Subject<'a, f64, E> {
    /// Takes a closure whose sample is the time it takes, in seconds.
    pub fn timed<R>(
        name: impl Into<String>,
        clock: &'a impl Clock,
        mut run: impl FnMut(Phase) -> Result<R, E> + 'a,
    ) -> Self {
        Self::new(name, move |phase| {
            let started = clock.now();
            let result = run(phase)?;
            let took = clock.now() - started;
            // Its result is dropped after the clock was read: freeing memory is no part of the work.
            drop(result);
            Ok(took)
        })
    }
}

impl<T, E> fmt::Debug for Subject<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A subject is warm.
    Warm {
        /// Its name.
        name: &'a str,
        /// The runs that it took.
        runs: usize,
    },
    /// A subject ran in a round.
    Ran {
        /// Its name.
        name: &'a str,
        /// The round, from 0.
        round: usize,
    },
    /// A round is over. Between rounds nothing is timed: this is where a [`NoiseWatch`](crate::NoiseWatch) has its turn.
    RoundDone {
        /// The round, from 0.
        round: usize,
        /// The number of rounds.
        of: usize,
    },
}

/// What was measured of a subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SubjectSamples<T> {
    /// Its name.
    pub name: String,
    /// A sample of each round, in the order of rounds: sample `i` of one subject was taken beside sample `i` of the others.
    pub samples: Vec<T>,
    /// Runs of its warm-up.
    pub warm_up_runs: usize,
    /// Seconds that they took.
    pub warm_up_seconds: f64,
}

/// Why rounds were not finished.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum RoundsError<E: Error + 'static> {
    /// The rounds themselves cannot be run.
    #[error(transparent)]
    Config(#[from] MeasureError),
    /// A subject failed.
    #[error("{name} failed in {phase}: {source}")]
    Subject {
        /// Its name.
        name: String,
        /// Which run it was.
        phase: Phase,
        /// What it said.
        source: E,
    },
}

impl Rounds {
    /// Gives the order of `subjects` in a round, as indices.
    ///
    /// ```
    /// use tenuis_measure::Rounds;
    /// let orders: Vec<_> = (0..4).map(|round| Rounds::order(2, round)).collect();
    /// assert_eq!(orders, [[0, 1], [1, 0], [1, 0], [0, 1]]);
    /// ```
    pub fn order(subjects: usize, round: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..subjects).collect();
        if subjects > 0 {
            order.rotate_left(round / 2 % subjects);
        }
        if round % 2 == 1 {
            order.reverse();
        }
        order
    }

    /// Warms every subject up and runs them in turn, round by round. The result has the order of `subjects`.
    ///
    /// # Errors
    /// [`RoundsError::Config`] where there are no rounds or no subjects or the warm-up's time is not finite, and
    /// [`RoundsError::Subject`] with the first failure of a subject; nothing is run after it.
    pub fn measure<T, E: Error + 'static>(
        &self,
        subjects: &mut [Subject<'_, T, E>],
        clock: &impl Clock,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<Vec<SubjectSamples<T>>, RoundsError<E>> {
        check_count("rounds", self.rounds)?;
        check_count("the number of subjects", subjects.len())?;
        check_not_negative("warm_up.seconds", self.warm_up.seconds)?;
        let mut measured = Vec::with_capacity(subjects.len());
        for subject in subjects.iter_mut() {
            let (runs, seconds) = self.warm_up.warm(subject, clock)?;
            progress(Progress::Warm { name: &subject.name, runs });
            measured.push(SubjectSamples {
                name: subject.name.clone(),
                samples: Vec::with_capacity(self.rounds),
                warm_up_runs: runs,
                warm_up_seconds: seconds,
            });
        }
        for round in 0..self.rounds {
            for index in Self::order(subjects.len(), round) {
                let sample = subjects[index].once(Phase::Round(round))?;
                measured[index].samples.push(sample);
                progress(Progress::Ran { name: &subjects[index].name, round });
            }
            progress(Progress::RoundDone { round, of: self.rounds });
        }
        Ok(measured)
    }
}

impl WarmUp {
    fn warm<T, E: Error + 'static>(
        self,
        subject: &mut Subject<'_, T, E>,
        clock: &impl Clock,
    ) -> Result<(usize, f64), RoundsError<E>> {
        let started = clock.now();
        let mut runs = 0;
        loop {
            subject.once(Phase::WarmUp(runs))?;
            runs += 1;
            let seconds = clock.now() - started;
            if runs >= self.runs || seconds >= self.seconds {
                return Ok((runs, seconds));
            }
        }
    }
}

impl<T, E: Error + 'static> Subject<'_, T, E> {
    fn once(&mut self, phase: Phase) -> Result<T, RoundsError<E>> {
        (self.run)(phase).map_err(|source| RoundsError::Subject { name: self.name.clone(), phase, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use std::cell::RefCell;

    type Never = std::convert::Infallible;

    /// Sums of sixteen numbers near 2 round by less than this.
    const ROUNDING: f64 = 1e-9;

    #[test]
    fn every_subject_is_at_every_place_equally_often() {
        for subjects in 1..6 {
            let mut places = vec![vec![0; subjects]; subjects];
            for round in 0..2 * subjects {
                for (place, index) in Rounds::order(subjects, round).into_iter().enumerate() {
                    places[index][place] += 1;
                }
            }
            assert!(places.iter().flatten().all(|&count| count == 2), "{subjects} subjects: {places:?}");
        }
        assert_eq!(Rounds::order(0, 3), [] as [usize; 0]);
    }

    #[test]
    fn a_steady_drift_reaches_both_alike() {
        // Two subjects of the same speed on a machine that slows down by the same amount with every run.
        let clock = VirtualClock::default();
        let speed = RefCell::new(1.0);
        let slower = |_| {
            *speed.borrow_mut() += 0.01;
            clock.advance(*speed.borrow());
            Ok::<_, Never>(())
        };
        let mut subjects = [Subject::timed("a", &clock, slower), Subject::timed("b", &clock, slower)];
        let rounds = Rounds { rounds: 8, ..Rounds::default() };
        let measured = rounds.measure(&mut subjects, &clock, |_| {}).unwrap();
        let sum = |i: usize| measured[i].samples.iter().sum::<f64>();
        assert!((sum(0) - sum(1)).abs() < ROUNDING, "{} and {}", sum(0), sum(1));
    }

    #[test]
    fn warm_up_ends_at_either_limit_and_runs_at_least_once() {
        let clock = VirtualClock::default();
        let runs = |warm_up, each: f64| {
            let rounds = Rounds { warm_up, rounds: 1 };
            let run = |_| {
                clock.advance(each);
                Ok::<_, Never>(())
            };
            let mut subject = [Subject::timed("a", &clock, run)];
            rounds.measure(&mut subject, &clock, |_| {}).unwrap()[0].warm_up_runs
        };
        assert_eq!(runs(WarmUp::default(), 0.001), 100);
        assert_eq!(runs(WarmUp::default(), 0.5), 4);
        assert_eq!(runs(WarmUp::default(), 60.0), 1);
        assert_eq!(runs(WarmUp { runs: 0, seconds: 0.0 }, 0.0), 1);
    }

    #[test]
    fn progress_follows_the_order_and_samples_keep_that_of_the_subjects() {
        let clock = VirtualClock::default();
        let mut subjects = ["a", "b"].map(|name| {
            Subject::new(name, move |phase| match phase {
                Phase::Round(round) => Ok::<_, Never>(format!("{name}{round}")),
                Phase::WarmUp(_) => Ok(String::new()),
            })
        });
        let rounds = Rounds { warm_up: WarmUp { runs: 1, seconds: 1.0 }, rounds: 2 };
        let mut seen = Vec::new();
        let measured =
            rounds.measure(&mut subjects, &clock, |event| seen.push(format!("{event:?}"))).unwrap();
        assert_eq!(measured[0].samples, ["a0", "a1"]);
        assert_eq!(measured[1].samples, ["b0", "b1"]);
        let names: Vec<_> = seen.iter().filter(|event| event.starts_with("Ran")).collect();
        assert_eq!(names.len(), 4);
        assert!(names[1].contains("\"b\"") && names[2].contains("\"b\""), "reversed: {names:?}");
        assert_eq!(seen.iter().filter(|event| event.starts_with("RoundDone")).count(), 2);
    }

    #[test]
    fn a_failure_names_subject_and_round() {
        let clock = VirtualClock::default();
        let mut subjects = [Subject::new("int4", |phase| match phase {
            Phase::Round(1) => Err(std::io::Error::other("out of memory")),
            _ => Ok(()),
        })];
        let error = Rounds::default().measure(&mut subjects, &clock, |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "int4 failed in round 1: out of memory");
    }

    #[test]
    fn nonsense_is_refused() {
        let clock = VirtualClock::default();
        let refused = |rounds: Rounds, subjects: usize| {
            let mut subjects: Vec<_> =
                (0..subjects).map(|i| Subject::new(i.to_string(), |_| Ok::<_, Never>(()))).collect();
            matches!(rounds.measure(&mut subjects, &clock, |_| {}), Err(RoundsError::Config(_)))
        };
        assert!(refused(Rounds { rounds: 0, ..Rounds::default() }, 1));
        assert!(refused(Rounds::default(), 0));
        let endless = WarmUp { runs: 1, seconds: f64::NAN };
        assert!(refused(Rounds { warm_up: endless, rounds: 1 }, 1));
    }

    #[test]
    fn options_are_spelled_as_they_are() {
        let read: Rounds = serde_json::from_str(r#"{"rounds": 3, "warm_up": {"runs": 5}}"#).unwrap();
        assert_eq!(read, Rounds { rounds: 3, warm_up: WarmUp { runs: 5, seconds: 2.0 } });
        assert!(serde_json::from_str::<Rounds>(r#"{"round": 3}"#).is_err());
    }
}
