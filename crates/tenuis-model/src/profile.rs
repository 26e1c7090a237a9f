//! Where a forward pass spends its time.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::time::Instant;

/// The operations of a forward pass, by name, in the order in which they first occurred.
///
/// ```
/// use tenuis_model::Profile;
/// let (sum, profile) = Profile::of(|| (1..=10).sum::<u32>());
/// assert_eq!(sum, 55);
/// assert!(profile.operations.is_empty() && profile.seconds >= 0.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Profile {
    /// Seconds of the whole.
    pub seconds: f64,
    /// What was attributed; the rest of `seconds` lies between operations.
    pub operations: Vec<OperationProfile>,
}

/// All calls of one operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OperationProfile {
    /// What it is: the last part of a Linear's module, such as `down_proj`, or `attention`, `norm`, `rope`, `activation`,
    /// `embedding`.
    pub name: String,
    /// How its weights are stored; empty where it has none.
    pub representation: String,
    /// How often it ran.
    pub calls: u64,
    /// Seconds of all calls.
    pub seconds: f64,
    /// Bytes read and written at least: weights as they are stored, inputs and outputs, each once per call.
    pub bytes: u64,
    /// Operations, a multiplication and an addition each counting one; those of Linears and of attention.
    pub flops: u64,
}

thread_local! {
    static RECORDING: RefCell<Option<Vec<OperationProfile>>> = const { RefCell::new(None) };
}

/// What an operation moves and computes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) bytes: u64,
    pub(crate) flops: u64,
}

impl Profile {
    /// Runs something and records every operation that models run on this thread meanwhile. Their work on other threads counts
    /// as the time that this one waits for it. Recordings do not nest: an inner one takes what is its own.
    pub fn of<R>(run: impl FnOnce() -> R) -> (R, Self) {
        let outer = RECORDING.with(|recording| recording.replace(Some(Vec::new())));
        let started = Instant::now();
        let result = run();
        let seconds = started.elapsed().as_secs_f64();
        let operations = RECORDING.with(|recording| recording.replace(outer)).unwrap_or_default();
        (result, Self { seconds, operations })
    }
}

/// Runs an operation, and records it where somebody wants to know. What it is called and works is asked only then.
pub(crate) fn operation<'n, R>(
    describe: impl FnOnce() -> (&'n str, &'n str, Work),
    run: impl FnOnce() -> R,
) -> R {
    if RECORDING.with(|recording| recording.borrow().is_none()) {
        return run();
    }
    let started = Instant::now();
    let result = run();
    let seconds = started.elapsed().as_secs_f64();
    let (name, representation, work) = describe();
    RECORDING.with(|recording| {
        if let Some(operations) = recording.borrow_mut().as_mut() {
            add(operations, name, representation, seconds, work);
        }
    });
    result
}

fn add(operations: &mut Vec<OperationProfile>, name: &str, representation: &str, seconds: f64, work: Work) {
    let known = operations.iter().position(|o| o.name == name && o.representation == representation);
    let index = known.unwrap_or_else(|| {
        operations.push(OperationProfile {
            name: name.to_owned(),
            representation: representation.to_owned(),
            calls: 0,
            seconds: 0.0,
            bytes: 0,
            flops: 0,
        });
        operations.len() - 1
    });
    let operation = &mut operations[index];
    operation.calls += 1;
    operation.seconds += seconds;
    operation.bytes += work.bytes;
    operation.flops += work.flops;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_name_are_added_up() {
        let work = Work { bytes: 8, flops: 2 };
        let ((), profile) = Profile::of(|| {
            for _ in 0..3 {
                operation(|| ("norm", "", work), || ());
            }
            operation(|| ("down_proj", "dense", Work::default()), || ());
        });
        let found: Vec<_> = profile.operations.iter().map(|o| (o.name.as_str(), o.calls, o.bytes)).collect();
        assert_eq!(found, [("norm", 3, 24), ("down_proj", 1, 0)]);
        assert!(profile.operations.iter().map(|o| o.seconds).sum::<f64>() <= profile.seconds);
    }

    #[test]
    fn without_a_listener_nothing_is_asked() {
        let result = operation(|| -> (&str, &str, Work) { panic!("nobody listens") }, || 7);
        assert_eq!(result, 7);
    }
}
