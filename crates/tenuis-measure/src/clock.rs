//! Clocks: that of the machine, and one that only moves when told.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Tells the time, and waits for it.
///
/// Everything here that takes time takes a clock, so that it can be tried in virtual time, where an hour of load takes no time and
/// the result is the same on every machine.
pub trait Clock {
    /// Seconds since some fixed instant; never goes back.
    fn now(&self) -> f64;

    /// Returns when [`Clock::now`] is at least `seconds`; at once where it already is.
    fn wait_until(&self, seconds: f64);
}

/// How long before its end a wait turns from sleeping to spinning, in seconds: Linux may wake a sleeper some tens of microseconds
/// late (timer slack is 50 µs by default) and a virtual machine later, and that would count as latency.
const SPIN_SECONDS: f64 = 0.001;

/// The longest single sleep, in seconds; far longer than any wait, and short enough for a [`Duration`].
const LONGEST_SLEEP: f64 = 3600.0;

/// Reads the monotonic clock of the machine.
///
/// ```
/// use tenuis_measure::{Clock, WallClock};
/// let clock = WallClock::default();
/// clock.wait_until(0.001);
/// assert!(clock.now() >= 0.001);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    origin: Instant,
}

impl Default for WallClock {
    /// Starts at 0.
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for WallClock {
    fn now(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }

    fn wait_until(&self, seconds: f64) {
        loop {
            let left = seconds - self.now();
            if left.is_nan() || left <= 0.0 {
                return;
            }
            if left > SPIN_SECONDS {
                std::thread::sleep(Duration::from_secs_f64((left - SPIN_SECONDS).min(LONGEST_SLEEP)));
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Stands still until it is moved.
///
/// ```
/// use tenuis_measure::{Clock, VirtualClock};
/// let clock = VirtualClock::default();
/// clock.advance(2.5);
/// clock.wait_until(60.0);
/// assert_eq!(clock.now(), 60.0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    now: Cell<f64>,
}

impl VirtualClock {
    /// Moves the time on; what is negative or not finite does not move it.
    pub fn advance(&self, seconds: f64) {
        if seconds.is_finite() && seconds > 0.0 {
            self.now.set(self.now.get() + seconds);
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> f64 {
        self.now.get()
    }

    fn wait_until(&self, seconds: f64) {
        if seconds.is_finite() && seconds > self.now.get() {
            self.now.set(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_never_goes_back() {
        let clock = VirtualClock::default();
        clock.advance(3.0);
        clock.advance(-1.0);
        clock.advance(f64::NAN);
        clock.wait_until(1.0);
        clock.wait_until(f64::INFINITY);
        assert_eq!(clock.now(), 3.0);
    }

    #[test]
    fn a_wall_clock_does_not_wait_for_what_is_past() {
        let clock = WallClock::default();
        let before = clock.now();
        clock.wait_until(f64::NAN);
        clock.wait_until(before - 1.0);
        assert!(clock.now() >= before);
    }
}
