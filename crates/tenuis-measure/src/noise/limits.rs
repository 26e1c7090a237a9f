//! From where on a machine counts as noisy.

use serde::{Deserialize, Serialize};

/// Arithmetic in registers has nothing to wait for: on an idle machine its times differ by less than 1 %, and 3 % is less than the
/// smallest speed-up that is worth reporting.
const PROBE_VARIATION: f64 = 0.03;

/// One interruption of a probe of some milliseconds by another process's time slice at least doubles it; a tick of the kernel's own
/// work costs less than 10 %.
const PROBE_WORST_TO_BEST: f64 = 1.10;

/// Half of the cores taken by others before we began leaves too few for a run on all of them; below that, the scheduler can still keep
/// others away.
const LOAD_PER_CORE: f64 = 0.5;

/// A hypervisor takes whole time slices of milliseconds: 1 % of them is enough to be the 99th percentile.
const STEAL_SHARE: f64 = 0.01;

/// The kernel's threads, a shell and a service or two stay below 2 %; 5 % is as much as a small speed-up.
const OTHERS_SHARE: f64 = 0.05;

/// Within a step or two of a processor's frequencies, of 100 MHz at 3 GHz each. Leaving a turbo costs more.
const FREQUENCY_DRIFT: f64 = 0.10;

/// What a machine may do and still be quiet; above any of these, it is noisy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NoiseLimits {
    /// Standard deviation ÷ mean of the times of a fixed piece of arithmetic.
    pub probe_variation: f64,
    /// The longest ÷ the shortest of these times.
    pub probe_worst_to_best: f64,
    /// The load average of a minute ÷ logical cores, before anything was measured.
    pub load_per_core: f64,
    /// The share of all cores' time that the hypervisor gave to others.
    pub steal_share: f64,
    /// The share of all cores' time that other processes used.
    pub others_share: f64,
    /// The largest drop of the frequency, as a share of the highest.
    pub frequency_drift: f64,
}

impl Default for NoiseLimits {
    /// Limits for differences of a few percent.
    fn default() -> Self {
        Self {
            probe_variation: PROBE_VARIATION,
            probe_worst_to_best: PROBE_WORST_TO_BEST,
            load_per_core: LOAD_PER_CORE,
            steal_share: STEAL_SHARE,
            others_share: OTHERS_SHARE,
            frequency_drift: FREQUENCY_DRIFT,
        }
    }
}
