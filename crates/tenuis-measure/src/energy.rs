//! Energy that the processor counted.

use crate::clock::{Clock, WallClock};
use crate::machine::is_virtual;
use crate::system::SystemRoot;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where Linux shows the counters.
const POWERCAP: &str = "sys/class/powercap";

/// Energy used between two instants by everything on the machine, or why nobody knows.
///
/// The counters are those of RAPL (Intel, and AMD since Zen), which estimate or measure what a package draws; they agree with a power
/// meter to a few percent (Khan and others 2018, "RAPL in action", doi 10.1145/3177754). They know nothing of processes: what else
/// runs is counted, and so is what the machine draws when idle. Whatever hangs on an unavailable energy is undecided, never passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Energy {
    /// It was counted.
    Measured {
        /// Joules of all packages: cores, caches, memory controllers.
        package_joules: f64,
        /// Joules of the memory modules, which are no part of a package; `None` where the machine does not count them.
        dram_joules: Option<f64>,
        /// The time between the instants, in seconds.
        seconds: f64,
        /// What was summed.
        domains: Vec<DomainEnergy>,
    },
    /// It was not.
    Unavailable {
        /// Why, as a sentence with the mend if there is one.
        reason: String,
    },
}

/// Energy of one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DomainEnergy {
    /// Its name, as `package-0` or `package-0/dram`.
    pub name: String,
    /// Joules between the instants.
    pub joules: f64,
}

impl Energy {
    /// Gives the joules of packages and memory together; `None` where unavailable.
    pub fn joules(&self) -> Option<f64> {
        match self {
            Self::Measured { package_joules, dram_joules, .. } => {
                Some(package_joules + dram_joules.unwrap_or_default())
            }
            Self::Unavailable { .. } => None,
        }
    }

    /// Gives the mean power in watts; `None` where unavailable or no time passed.
    pub fn watts(&self) -> Option<f64> {
        let Self::Measured { seconds, .. } = self else { return None };
        self.joules().map(|joules| joules / seconds).filter(|watts| watts.is_finite())
    }

    /// Divides by something that was done meanwhile, such as a number of tokens; `None` where unavailable or nothing was done.
    pub fn joules_per(&self, units: f64) -> Option<f64> {
        self.joules().map(|joules| joules / units).filter(|each| each.is_finite() && *each >= 0.0)
    }
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Package,
    Dram,
}

/// A counter that only grows, until it begins anew.
#[derive(Clone, Debug)]
struct Counter {
    name: String,
    kind: Kind,
    file: PathBuf,
    /// The largest value in microjoules, after which it is 0.
    range: u64,
    last: u64,
    /// Microjoules so far.
    used: u64,
}

/// Counts energy from its start to its stop.
///
/// ```
/// use tenuis_measure::{Energy, EnergyMeter, SystemRoot};
/// let meter = EnergyMeter::start(&SystemRoot::default());
/// let sum: u64 = (0..1000).sum();
/// match meter.stop() {
///     Energy::Measured { package_joules, .. } => assert!(package_joules >= 0.0),
///     Energy::Unavailable { reason } => assert!(!reason.is_empty(), "{sum}"),
///     _ => {}
/// }
/// ```
#[derive(Clone, Debug)]
pub struct EnergyMeter<C = WallClock> {
    counters: Result<Vec<Counter>, String>,
    clock: C,
    started: f64,
}

impl EnergyMeter {
    /// Finds the counters and reads them. A machine without any gives a meter that says so when it stops.
    pub fn start(root: &SystemRoot) -> Self {
        Self::start_with(root, WallClock::default())
    }
}

impl<C: Clock> EnergyMeter<C> {
    /// The same with a clock of the caller's.
    pub fn start_with(root: &SystemRoot, clock: C) -> Self {
        let counters = find(root);
        let started = clock.now();
        Self { counters, clock, started }
    }

    /// Reads the counters in between.
    ///
    /// A counter that began anew once is noticed, one that did so twice is not: they run full after `max_energy_range_uj`, which is
    /// some 20 minutes at 200 W. What takes longer calls this more often than that.
    pub fn poll(&mut self) {
        let Ok(counters) = &mut self.counters else { return };
        let problem = counters.iter_mut().find_map(|counter| counter.update().err());
        if let Some(problem) = problem {
            self.counters = Err(problem);
        }
    }

    /// Reads the counters again and sums what they counted.
    pub fn stop(mut self) -> Energy {
        self.poll();
        let seconds = self.clock.now() - self.started;
        let counters = match self.counters {
            Ok(counters) => counters,
            Err(reason) => return Energy::Unavailable { reason },
        };
        let sum = |kind| {
            let mut of_kind = counters.iter().filter(|counter| counter.kind == kind).peekable();
            of_kind.peek()?;
            Some(of_kind.map(Counter::joules).sum::<f64>())
        };
        match sum(Kind::Package) {
            Some(package_joules) => Energy::Measured {
                package_joules,
                dram_joules: sum(Kind::Dram),
                seconds,
                domains: counters
                    .iter()
                    .map(|counter| DomainEnergy { name: counter.name.clone(), joules: counter.joules() })
                    .collect(),
            },
            None => Energy::Unavailable { reason: "the machine counts no energy of its packages".into() },
        }
    }
}

impl Counter {
    fn open(root: &SystemRoot, directory: &Path, name: String, kind: Kind) -> Result<Self, String> {
        let file = root.path(directory.join("energy_uj"));
        let last = read(&file)?;
        let range = read(&root.path(directory.join("max_energy_range_uj")))?;
        Ok(Self { name, kind, file, range, last, used: 0 })
    }

    fn update(&mut self) -> Result<(), String> {
        let now = read(&self.file)?;
        let passed = match now.checked_sub(self.last) {
            Some(passed) => passed,
            // It began anew: what was left to the end, and what it counted since.
            None => {
                self.range.checked_sub(self.last).and_then(|left| left.checked_add(now)).ok_or_else(|| {
                    format!("{} went back from {} to {now} within its range", self.file.display(), self.last)
                })?
            }
        };
        self.used = self.used.saturating_add(passed);
        self.last = now;
        Ok(())
    }

    fn joules(&self) -> f64 {
        self.used as f64 * 1e-6
    }
}

/// The packages and their memory. Other domains are left out: cores and graphics are inside of packages, `psys` is around them, and
/// `intel-rapl-mmio` is a second view of the same counters.
fn find(root: &SystemRoot) -> Result<Vec<Counter>, String> {
    let mut counters = Vec::new();
    let zones: Vec<String> =
        root.names(POWERCAP).into_iter().filter(|name| name.starts_with("intel-rapl:")).collect();
    for zone in &zones {
        let directory = Path::new(POWERCAP).join(zone);
        let Some(name) = root.text(directory.join("name")) else { continue };
        let is_part = zone.matches(':').count() > 1;
        if !is_part && name.starts_with("package") {
            counters.push(Counter::open(root, &directory, name, Kind::Package)?);
        } else if name == "dram" {
            let parent = zone.rsplit_once(':').map_or(zone.as_str(), |(parent, _)| parent);
            let parent = root.text(Path::new(POWERCAP).join(parent).join("name"));
            let name = parent.map_or_else(|| name.clone(), |parent| format!("{parent}/{name}"));
            counters.push(Counter::open(root, &directory, name, Kind::Dram)?);
        }
    }
    if counters.is_empty() { Err(absence(root, !zones.is_empty())) } else { Ok(counters) }
}

fn absence(root: &SystemRoot, zones: bool) -> String {
    let directory = root.path(POWERCAP);
    if is_virtual(root) == Some(true) {
        "this is a virtual machine, and its host shows it no energy counters; measure on bare metal".into()
    } else if zones {
        format!("no domain in {} is a package", directory.display())
    } else if directory.is_dir() {
        format!("{} has no `intel-rapl` domain; load the module intel_rapl_msr", directory.display())
    } else {
        format!("there is no {}; the kernel has no powercap, or this is not Linux", directory.display())
    }
}

fn read(file: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    text.trim().parse().map_err(|_| format!("{} holds no number but {:?}", file.display(), text.trim()))
}

fn unreadable(file: &Path, error: &std::io::Error) -> String {
    if error.kind() == ErrorKind::PermissionDenied {
        // Since CVE-2020-8694 (Lipp and others 2021, PLATYPUS) counters are the administrator's alone.
        return format!(
            "{} may be read by root alone; run as root, or let the administrator open the file",
            file.display()
        );
    }
    format!("{} cannot be read: {error}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::system::tests::{tree, write};

    const RANGE: &str = "262143328850\n";

    fn zone(root: &SystemRoot, zone: &str, name: &str, microjoules: u64) {
        let at = |file| format!("{POWERCAP}/{zone}/{file}");
        write(root, &at("name"), &format!("{name}\n"));
        write(root, &at("max_energy_range_uj"), RANGE);
        count(root, zone, microjoules);
    }

    fn count(root: &SystemRoot, zone: &str, microjoules: u64) {
        write(root, &format!("{POWERCAP}/{zone}/energy_uj"), &format!("{microjoules}\n"));
    }

    fn reason(energy: Energy) -> String {
        match energy {
            Energy::Unavailable { reason } => reason,
            Energy::Measured { .. } => panic!("{energy:?}"),
        }
    }

    #[test]
    fn packages_are_summed_memory_stands_apart_and_nothing_counts_twice() {
        let (_directory, root) = tree(&[]);
        zone(&root, "intel-rapl:0", "package-0", 1_000_000);
        zone(&root, "intel-rapl:0:0", "core", 500_000);
        zone(&root, "intel-rapl:0:1", "dram", 100_000);
        zone(&root, "intel-rapl:1", "package-1", 7_000_000);
        zone(&root, "intel-rapl:2", "psys", 9_000_000);
        zone(&root, "intel-rapl-mmio:0", "package-0", 1_000_000);
        let clock = VirtualClock::default();
        let meter = EnergyMeter::start_with(&root, clock);
        meter.clock.advance(2.0);
        for (zone, now) in [("0", 3_000_000), ("0:0", 9_000_000), ("0:1", 600_000), ("1", 8_000_000)] {
            count(&root, &format!("intel-rapl:{zone}"), now);
        }
        let energy = meter.stop();
        let Energy::Measured { package_joules, dram_joules, seconds, domains } = &energy else {
            panic!("{energy:?}")
        };
        assert_eq!((*package_joules, *dram_joules, *seconds), (3.0, Some(0.5), 2.0));
        let names: Vec<_> = domains.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["package-0", "package-0/dram", "package-1"]);
        assert_eq!((energy.joules(), energy.watts()), (Some(3.5), Some(1.75)));
        assert_eq!((energy.joules_per(7.0), energy.joules_per(0.0)), (Some(0.5), None));
    }

    #[test]
    fn a_counter_that_begins_anew_is_followed() {
        let (_directory, root) = tree(&[]);
        let end: u64 = RANGE.trim().parse().unwrap();
        zone(&root, "intel-rapl:0", "package-0", end - 1_000_000);
        let mut meter = EnergyMeter::start(&root);
        count(&root, "intel-rapl:0", 500_000);
        meter.poll();
        count(&root, "intel-rapl:0", 400_000);
        let energy = meter.stop();
        // 1 J to the end and half a joule after it; then once around less 0.1 J.
        let expected = 1.5 + (end - 100_000) as f64 * 1e-6;
        assert!((energy.joules().unwrap() - expected).abs() < 1e-6, "{energy:?}");
        assert!(matches!(&energy, Energy::Measured { dram_joules: None, .. }));
    }

    #[test]
    fn a_counter_beyond_its_range_is_not_believed() {
        let (_directory, root) = tree(&[]);
        zone(&root, "intel-rapl:0", "package-0", 300_000_000_000);
        let meter = EnergyMeter::start(&root);
        count(&root, "intel-rapl:0", 1);
        assert!(reason(meter.stop()).contains("went back"));
    }

    #[test]
    fn absence_has_a_reason() {
        let (_directory, root) = tree(&[("proc/cpuinfo", "flags\t\t: fpu hypervisor\n")]);
        let energy = EnergyMeter::start(&root).stop();
        assert_eq!((energy.joules(), energy.watts(), energy.joules_per(1.0)), (None, None, None));
        assert!(reason(energy).contains("virtual machine"));

        let (_directory, root) = tree(&[("proc/cpuinfo", "flags\t\t: fpu\n")]);
        assert!(reason(EnergyMeter::start(&root).stop()).contains("no powercap"));
        write(&root, "sys/class/powercap/dtpm/name", "dtpm");
        assert!(reason(EnergyMeter::start(&root).stop()).contains("intel_rapl_msr"));
        zone(&root, "intel-rapl:0", "psys", 1);
        assert!(reason(EnergyMeter::start(&root).stop()).contains("is a package"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_mend() {
        let denied = unreadable(Path::new("sys/energy_uj"), &ErrorKind::PermissionDenied.into());
        assert!(denied.contains("sys/energy_uj") && denied.contains("run as root"), "{denied}");
        let (_directory, root) = tree(&[]);
        zone(&root, "intel-rapl:0", "package-0", 1);
        let meter = EnergyMeter::start(&root);
        write(&root, "sys/class/powercap/intel-rapl:0/energy_uj", "none");
        assert!(reason(meter.stop()).contains("holds no number"));
    }
}
