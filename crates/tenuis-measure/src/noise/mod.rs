//! Whether a machine was quiet enough for its figures to mean something.

mod activity;
mod limits;
mod watch;

pub use activity::{Activity, ActivitySnapshot};
pub use limits::NoiseLimits;
pub use watch::{NoiseWatch, SpinProbe};

use crate::distribution::Distribution;
use serde::{Deserialize, Serialize};

/// What was seen of a machine while something was measured on it, and what that says about the figures.
///
/// A quiet verdict says that nothing was seen, by whatever could be seen: [`Noise::unseen`] names what could not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Noise {
    /// Seconds that one and the same arithmetic took, before, between and after rounds.
    pub probe_seconds: Option<Distribution>,
    /// The load of the minute before the watch began ÷ logical cores.
    pub load_per_core: Option<f64>,
    /// Who used the processor meanwhile.
    pub activity: Option<Activity>,
    /// The difference between the highest and the lowest frequency that was seen ÷ the highest, 0 to 1.
    pub frequency_drift: Option<f64>,
    /// What it all says.
    pub verdict: NoiseVerdict,
    /// What could not be seen, in sentences.
    pub unseen: Vec<String>,
}

/// Whether figures of a machine can be held against each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NoiseVerdict {
    /// Nothing was seen that would change a figure by more than a few percent.
    Quiet,
    /// Something was.
    Noisy {
        /// What, in sentences.
        reasons: Vec<String>,
    },
}

/// What was seen, before it is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) probes: Vec<f64>,
    pub(crate) load_per_core: Option<f64>,
    pub(crate) activity: Option<Activity>,
    pub(crate) frequencies: Vec<f64>,
}

/// The fewest probes that say something about their variation.
const FEWEST_PROBES: usize = 3;

impl Noise {
    /// Judges what was seen.
    pub(crate) fn judge(seen: Seen, limits: &NoiseLimits) -> Self {
        let mut reasons = Vec::new();
        let mut unseen = Vec::new();
        let mut over =
            |value: Option<f64>, limit: f64, reason: &dyn Fn(f64) -> String, missing: &str| match value {
                Some(value) if value > limit => reasons.push(reason(value)),
                Some(_) => {}
                None => unseen.push(missing.to_owned()),
            };
        let probe_seconds = Distribution::of(seen.probes);
        let probes = probe_seconds.filter(|probes| probes.samples >= FEWEST_PROBES);
        over(
            probes.and_then(|probes| probes.coefficient_of_variation()),
            limits.probe_variation,
            &|value| {
                format!(
                    "the same arithmetic took times that vary by {} (coefficient of variation; a quiet machine stays below {})",
                    percent(value),
                    percent(limits.probe_variation)
                )
            },
            "the fixed arithmetic was timed fewer than three times",
        );
        // That there were too few probes is said once.
        if let Some(ratio) = probes.and_then(|probes| probes.worst_to_best()) {
            over(
                Some(ratio),
                limits.probe_worst_to_best,
                &|value| {
                    format!(
                        "the same arithmetic once took {value:.2} times as long as at its best (a quiet machine stays below {:.2})",
                        limits.probe_worst_to_best
                    )
                },
                "",
            );
        }
        over(
            seen.load_per_core,
            limits.load_per_core,
            &|value| {
                format!(
                    "in the minute before, {value:.2} processes per core wanted to run (a quiet machine stays below {:.2}); \
                     wait until other work is done",
                    limits.load_per_core
                )
            },
            "the system tells no load average",
        );
        over(
            seen.activity.map(|activity| activity.steal_share),
            limits.steal_share,
            &|value| {
                format!(
                    "the hypervisor gave {} of the processor's time to other machines (limit {}); measure on a machine of your own",
                    percent(value),
                    percent(limits.steal_share)
                )
            },
            "the system tells no stolen time, or the watch was too short to count it",
        );
        over(
            seen.activity.map(|activity| activity.others_share),
            limits.others_share,
            &|value| {
                format!(
                    "other processes used {} of the processor's time meanwhile (limit {}); end them, or say so beside the figures",
                    percent(value),
                    percent(limits.others_share)
                )
            },
            "the system does not tell what other processes used, or the watch was too short to count it",
        );
        let frequency_drift = drift(&seen.frequencies);
        over(
            frequency_drift,
            limits.frequency_drift,
            &|value| {
                format!(
                    "the frequency of the processor fell by up to {} (limit {}); let it cool, or set a fixed frequency",
                    percent(value),
                    percent(limits.frequency_drift)
                )
            },
            "the system tells no current frequency",
        );
        let verdict = if reasons.is_empty() { NoiseVerdict::Quiet } else { NoiseVerdict::Noisy { reasons } };
        Self {
            probe_seconds,
            load_per_core: seen.load_per_core,
            activity: seen.activity,
            frequency_drift,
            verdict,
            unseen,
        }
    }

    /// Whether nothing was seen that would change a figure.
    pub fn is_quiet(&self) -> bool {
        self.verdict == NoiseVerdict::Quiet
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The largest drop among frequencies, of which there must be two.
fn drift(frequencies: &[f64]) -> Option<f64> {
    let high = frequencies.iter().copied().fold(0.0, f64::max);
    let low = frequencies.iter().copied().fold(high, f64::min);
    (frequencies.len() > 1 && high > 0.0).then(|| (high - low) / high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Activity = Activity { own_share: 0.5, others_share: 0.01, steal_share: 0.0 };

    fn quiet() -> Seen {
        Seen {
            probes: vec![0.010, 0.0101, 0.01, 0.0099],
            load_per_core: Some(0.1),
            activity: Some(IDLE),
            frequencies: vec![3000.0, 2950.0],
        }
    }

    fn reasons(seen: Seen) -> Vec<String> {
        match Noise::judge(seen, &NoiseLimits::default()).verdict {
            NoiseVerdict::Quiet => Vec::new(),
            NoiseVerdict::Noisy { reasons } => reasons,
        }
    }

    #[test]
    fn a_quiet_machine_is_quiet() {
        let noise = Noise::judge(quiet(), &NoiseLimits::default());
        assert!(noise.is_quiet(), "{:?}", noise.verdict);
        assert_eq!(noise.unseen, [] as [String; 0]);
        assert!((noise.frequency_drift.unwrap() - 50.0 / 3000.0).abs() < 1e-12);
    }

    #[test]
    fn each_disturbance_is_named_by_a_sentence_of_its_own() {
        let spikes = Seen { probes: vec![0.010; 9].into_iter().chain([0.0115]).collect(), ..quiet() };
        let jitter = Seen { probes: [0.0100, 0.0108].repeat(5), ..quiet() };
        let loaded = Seen { load_per_core: Some(0.9), ..quiet() };
        let stolen = Seen { activity: Some(Activity { steal_share: 0.02, ..IDLE }), ..quiet() };
        let shared = Seen { activity: Some(Activity { others_share: 0.2, ..IDLE }), ..quiet() };
        let hot = Seen { frequencies: vec![3000.0, 2000.0, 2500.0], ..quiet() };
        for (seen, words) in [
            (jitter, "vary by"),
            (loaded, "per core wanted to run"),
            (stolen, "hypervisor gave 2.0 %"),
            (shared, "other processes used 20.0 %"),
            (hot, "fell by up to 33.3 %"),
        ] {
            let reasons = reasons(seen);
            assert!(reasons.len() == 1 && reasons[0].contains(words), "{words}: {reasons:?}");
        }
        let reasons = reasons(spikes);
        assert!(reasons.iter().any(|reason| reason.contains("1.15 times as long")), "{reasons:?}");
    }

    #[test]
    fn what_cannot_be_seen_is_said_and_judges_nothing() {
        let noise = Noise::judge(Seen { probes: vec![1.0, 9.0], ..Seen::default() }, &NoiseLimits::default());
        assert!(noise.is_quiet());
        assert_eq!(noise.unseen.len(), 5, "{:?}", noise.unseen);
        assert_eq!((noise.load_per_core, noise.activity, noise.frequency_drift), (None, None, None));
    }

    #[test]
    fn limits_are_the_caller_s() {
        let limits = NoiseLimits { load_per_core: 0.05, ..NoiseLimits::default() };
        assert!(!Noise::judge(quiet(), &limits).is_quiet());
        assert!(serde_json::from_str::<NoiseLimits>(r#"{"steal": 1}"#).is_err());
    }

    #[test]
    fn a_verdict_survives_writing() {
        let noise = Noise::judge(Seen { load_per_core: Some(3.0), ..quiet() }, &NoiseLimits::default());
        let text = serde_json::to_string(&noise).unwrap();
        assert!(text.contains(r#""verdict":"noisy""#), "{text}");
        assert_eq!(serde_json::from_str::<Noise>(&text).unwrap(), noise);
    }
}
