//! Open-loop load: requests that arrive when they arrive, whether or not the last one is done.

mod arrivals;
mod serve;
mod summary;

pub use arrivals::{ArrivalTimes, Arrivals};
pub use serve::{LoadError, RequestTimes, serve};
pub use summary::{Deadline, Load, Queue};
