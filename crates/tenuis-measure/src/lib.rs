//! Measures.

mod clock;
mod distribution;
mod error;
mod load;
mod random;
mod rounds;

pub use clock::{Clock, VirtualClock, WallClock};
pub use distribution::{Distribution, nearest_rank_of};
pub use error::MeasureError;
pub use load::{ArrivalTimes, Arrivals, Deadline, Load, LoadError, Queue, RequestTimes, serve};
pub use rounds::{Phase, Progress, Rounds, RoundsError, Subject, SubjectSamples, WarmUp};
