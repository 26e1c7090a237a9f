//! Measures time, load, memory, energy and cost of whatever is given as a closure or a program, and says what the machine did
//! meanwhile.
//!
//! Nothing here knows of models, and nothing prints. Time comes from a [`Clock`], `/proc` and `/sys` from a [`SystemRoot`], so that
//! everything can be tried in virtual time and on copies of other machines.
//!
//! | what | where |
//! |---|---|
//! | samples of several subjects in turn, after a warm-up | [`Rounds`], [`WarmUp`], [`Subject`] |
//! | their quantiles | [`Distribution`] |
//! | first token, distances between tokens, tokens per second | [`GenerationTimes`], [`GenerationSpeed`] |
//! | batch sizes × sequence lengths | [`Sweep`] |
//! | latency under open-loop load | [`Arrivals`], [`serve`](serve()), [`Load`] |
//! | fresh processes, with files cold or warm | [`ColdStart`], [`FileCache`] |
//! | memory of a process, and what for | [`ProcessMemory`], [`MemorySplit`] |
//! | energy | [`EnergyMeter`], [`Energy`] |
//! | prices | [`Prices`], [`Payback`] |
//! | the machine | [`Machine`], [`Environment`] |
//! | whether it was quiet | [`NoiseWatch`], [`Noise`] |
//!
//! Nothing yields a NaN. What a system does not tell is `None` or says why it is unavailable; it is never 0.
//!
//! ```
//! use tenuis_measure::{Distribution, Rounds, Subject, WallClock};
//! let clock = WallClock::default();
//! let mut subjects = [
//!     Subject::timed("sum", &clock, |_| Ok::<_, std::io::Error>((1..=1000_u64).sum::<u64>())),
//!     Subject::timed("product", &clock, |_| Ok((1..=20_u64).product::<u64>())),
//! ];
//! for subject in Rounds::default().measure(&mut subjects, &clock, |_| {})? {
//!     let seconds = Distribution::of(subject.samples).expect("ten rounds gave samples");
//!     assert_eq!(seconds.samples, 10);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
mod cold_start;
mod cost;
mod distribution;
mod energy;
mod error;
mod file_cache;
mod generation;
mod load;
mod machine;
mod memory;
mod noise;
mod random;
mod rounds;
mod sweep;
mod system;

pub use clock::{Clock, VirtualClock, WallClock};
pub use cold_start::{ColdStart, ColdStartResult, Preparation, Start};
pub use cost::{Cost, Payback, Prices};
pub use distribution::{Distribution, nearest_rank_of};
pub use energy::{DomainEnergy, Energy, EnergyMeter};
pub use error::MeasureError;
pub use file_cache::FileCache;
pub use generation::{GenerationSpeed, GenerationTimes};
pub use load::{ArrivalTimes, Arrivals, Deadline, Load, LoadError, Queue, RequestTimes, serve};
pub use machine::{Cache, CacheKind, Cpu, Environment, Limits, LoadAverage, Machine, available_memory};
pub use memory::{MappedFile, MemoryClaims, MemorySplit, ProcessMemory};
pub use noise::{Activity, ActivitySnapshot, Noise, NoiseLimits, NoiseVerdict, NoiseWatch, SpinProbe};
pub use rounds::{Phase, Progress, Rounds, RoundsError, Subject, SubjectSamples, WarmUp};
pub use sweep::{SkippedPoint, Sweep, SweepPlan, SweepPoint, SweepResult, SweepRow, SweepStep};
pub use system::SystemRoot;
