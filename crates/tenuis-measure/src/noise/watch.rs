//! Watches a machine while something else is measured on it.

use super::activity::ActivitySnapshot;
use super::limits::NoiseLimits;
use super::{Noise, Seen};
use crate::clock::{Clock, WallClock};
use crate::machine::LoadAverage;
use crate::system::SystemRoot;
use std::hint::black_box;

/// Steps of a probe: some 5 ms at 3 GHz and six cycles a step, long against the resolution of a clock and short against a round.
const STEPS: u64 = 2_500_000;

/// A fixed amount of arithmetic, whose time says how fast the machine is at the moment.
///
/// Each step needs the result of the one before, and nothing is read from memory: the time depends on the frequency of the core and on
/// whether it was taken away, on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpinProbe {
    /// Steps of arithmetic.
    pub steps: u64,
}

impl Default for SpinProbe {
    /// Some milliseconds.
    fn default() -> Self {
        Self { steps: STEPS }
    }
}

impl SpinProbe {
    /// Does the arithmetic and gives the seconds that it took.
    ///
    /// ```
    /// use tenuis_measure::{SpinProbe, WallClock};
    /// assert!(SpinProbe::default().run(&WallClock::default()) > 0.0);
    /// ```
    pub fn run(&self, clock: &impl Clock) -> f64 {
        let started = clock.now();
        let mut state = black_box(1_u64);
        for _ in 0..self.steps {
            // Xorshift (Marsaglia 2003): six operations of one cycle in a chain that no compiler shortens.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        black_box(state);
        clock.now() - started
    }
}

/// Watches a machine from its start to its end, and probes it whenever it is told to.
///
/// ```
/// use tenuis_measure::{NoiseLimits, NoiseVerdict, NoiseWatch, Progress, Rounds, Subject, SystemRoot, WallClock};
/// let clock = WallClock::default();
/// let mut watch = NoiseWatch::start(&SystemRoot::default());
/// let mut subjects = [Subject::timed("sum", &clock, |_| Ok::<_, std::io::Error>((0..1000_u64).sum::<u64>()))];
/// Rounds::default().measure(&mut subjects, &clock, |progress| {
///     if let Progress::RoundDone { .. } = progress {
///         watch.probe();
///     }
/// })?;
/// let noise = watch.finish(&NoiseLimits::default());
/// if let NoiseVerdict::Noisy { reasons } = &noise.verdict {
///     assert!(!reasons.is_empty());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NoiseWatch<C = WallClock> {
    root: SystemRoot,
    clock: C,
    spin: SpinProbe,
    before: Option<ActivitySnapshot>,
    seen: Seen,
}

impl NoiseWatch {
    /// Looks at the machine, probes it, and watches from then on. This comes before the warm-up, so that the load average is that of
    /// others.
    pub fn start(root: &SystemRoot) -> Self {
        Self::start_with(root, WallClock::default(), SpinProbe::default())
    }
}

impl<C: Clock> NoiseWatch<C> {
    /// The same with a clock and a probe of the caller's.
    pub fn start_with(root: &SystemRoot, clock: C, spin: SpinProbe) -> Self {
        let cores = match root.processors().len() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            cores => cores,
        };
        let load_per_core = LoadAverage::read(root).map(|load| load.one_minute / cores as f64);
        // A core that was idle is at its lowest frequency, which is not that of the measurement.
        spin.run(&clock);
        let before = ActivitySnapshot::read(root);
        let seen = Seen { load_per_core, ..Seen::default() };
        let mut watch = Self { root: root.clone(), clock, spin, before, seen };
        watch.probe();
        watch
    }

    /// Times the fixed arithmetic and reads the frequency. Between rounds, never within one.
    pub fn probe(&mut self) {
        self.seen.probes.push(self.spin.run(&self.clock));
        self.seen.frequencies.extend(frequency(&self.root));
    }

    /// Probes once more and judges.
    pub fn finish(mut self, limits: &NoiseLimits) -> Noise {
        self.probe();
        let after = ActivitySnapshot::read(&self.root);
        self.seen.activity = self.before.zip(after).and_then(|(before, after)| before.until(&after));
        Noise::judge(self.seen, limits)
    }
}

/// The highest frequency among cores at the moment, in kHz: right after a probe that is the core that did it, while others may idle.
fn frequency(root: &SystemRoot) -> Option<f64> {
    let of = |processor: &std::path::PathBuf| root.number::<f64>(processor.join("cpufreq/scaling_cur_freq"));
    let highest = root.processors().iter().filter_map(of).filter(|f| f.is_finite()).fold(0.0, f64::max);
    (highest > 0.0).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::system::tests::{tree, write};

    const SHORT: SpinProbe = SpinProbe { steps: 1 };

    fn stat(root: &SystemRoot, busy: u64, idle: u64, steal: u64) {
        write(root, "proc/stat", &format!("cpu  {busy} 0 0 {idle} 0 0 0 {steal} 0 0\n"));
        write(root, "proc/self/stat", "1 (x) R 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20\n");
    }

    #[test]
    fn a_watch_sees_what_changed_between_its_ends() {
        let (_directory, root) = tree(&[
            ("proc/loadavg", "3.0 0.1 0.1 1/1 1\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "800000\n"),
        ]);
        stat(&root, 0, 0, 0);
        let mut watch = NoiseWatch::start_with(&root, VirtualClock::default(), SHORT);
        write(&root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1500000\n");
        watch.probe();
        stat(&root, 100, 850, 50);
        let noise = watch.finish(&NoiseLimits::default());
        assert_eq!(noise.load_per_core, Some(1.5), "3 on two cores");
        assert_eq!(noise.frequency_drift, Some(0.5), "the idle core does not count");
        let activity = noise.activity.unwrap();
        assert_eq!((activity.others_share, activity.steal_share), (0.1, 0.05));
        assert_eq!(noise.probe_seconds.unwrap().samples, 3, "before, between and after");
        let super::super::NoiseVerdict::Noisy { reasons } = &noise.verdict else { panic!("{noise:?}") };
        assert_eq!(reasons.len(), 4, "{reasons:?}");
    }

    #[test]
    fn a_probe_takes_time() {
        assert!(SpinProbe::default().run(&WallClock::default()) > 0.0);
    }
}
