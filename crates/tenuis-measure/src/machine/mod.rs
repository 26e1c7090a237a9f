//! The machine that something was measured on.

mod available;
mod cpu;
mod environment;
mod limits;

pub use available::available_memory;
pub use cpu::{Cache, CacheKind, Cpu};
pub use environment::{Environment, LoadAverage};
pub use limits::Limits;

pub(crate) use cpu::is_virtual;

use crate::system::{SystemRoot, kibibytes};
use serde::{Deserialize, Serialize};

/// A machine, as it describes itself. What it does not tell is `None`, never 0.
///
/// ```
/// use tenuis_measure::{Machine, SystemRoot};
/// let machine = Machine::read(&SystemRoot::default());
/// assert!(machine.cpu.logical_cores > 0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Machine {
    /// Its processor.
    pub cpu: Cpu,
    /// Bytes of memory of the whole machine.
    pub memory_bytes: Option<u64>,
    /// What this process may use of it.
    pub limits: Limits,
    /// The operating system, as `linux`.
    pub operating_system: String,
    /// The release of its kernel.
    pub kernel: Option<String>,
    /// Whether it is a virtual machine: its cores may be shared with other machines, which [`Noise`](crate::Noise) sees as stolen time
    /// at best.
    pub virtual_machine: Option<bool>,
    /// What kind of container the process runs in, as `docker`; `None` where there is no sign of any.
    pub container: Option<String>,
}

impl Machine {
    /// Reads what the machine tells of itself.
    pub fn read(root: &SystemRoot) -> Self {
        Self {
            cpu: Cpu::read(root),
            memory_bytes: root.text("proc/meminfo").and_then(|text| kibibytes(&text, "MemTotal")),
            limits: Limits::read(root),
            operating_system: std::env::consts::OS.to_owned(),
            kernel: root.text("proc/sys/kernel/osrelease"),
            virtual_machine: is_virtual(root),
            container: container(root),
        }
    }

    /// Gives the cores that this process can keep busy: those it may run on, and no more than its quota.
    pub fn usable_cores(&self) -> f64 {
        let cores = self.cpu.usable_cores as f64;
        self.limits.cpu_cores.map_or(cores, |quota| quota.min(cores))
    }
}

/// Runtimes leave a mark each: a file at the root, a line of systemd's, or their name in the control group of the first process.
fn container(root: &SystemRoot) -> Option<String> {
    if let Some(name) = root.text("run/systemd/container").filter(|name| !name.is_empty()) {
        return Some(name);
    }
    for (mark, name) in [(".dockerenv", "docker"), ("run/.containerenv", "podman")] {
        if root.has(mark) {
            return Some(name.to_owned());
        }
    }
    let groups = root.text("proc/1/cgroup")?;
    let runtimes = [("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc")];
    let found = runtimes.iter().find(|(mark, _)| groups.contains(mark));
    found.map(|(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::tree;

    #[test]
    fn a_machine_describes_itself() {
        let (_directory, root) = tree(&[
            ("proc/meminfo", "MemTotal:       24683656 kB\nMemFree: 1 kB\n"),
            ("proc/sys/kernel/osrelease", "6.18.44\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor\n"),
            ("proc/1/cgroup", "0::/kubepods/besteffort/pod1\n"),
        ]);
        let machine = Machine::read(&root);
        assert_eq!(machine.memory_bytes, Some(24_683_656 << 10));
        assert_eq!(machine.kernel.as_deref(), Some("6.18.44"));
        assert_eq!(machine.virtual_machine, Some(true));
        assert_eq!(machine.container.as_deref(), Some("kubernetes"));
        let text = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&text).unwrap(), machine);
    }

    #[test]
    fn a_machine_that_tells_nothing_is_not_made_up() {
        let (_directory, root) = tree(&[]);
        let machine = Machine::read(&root);
        assert_eq!((machine.memory_bytes, machine.kernel.clone()), (None, None));
        assert_eq!((machine.virtual_machine, machine.container.clone()), (None, None));
        assert_eq!((machine.cpu.name.clone(), machine.cpu.features.clone()), (None, None));
        assert!(machine.usable_cores() >= 1.0);
    }

    #[test]
    fn containers_leave_marks() {
        let named = |files: &[(&str, &str)]| {
            let (_directory, root) = tree(files);
            container(&root)
        };
        assert_eq!(named(&[(".dockerenv", "")]).as_deref(), Some("docker"));
        assert_eq!(named(&[("run/.containerenv", "")]).as_deref(), Some("podman"));
        assert_eq!(
            named(&[("run/systemd/container", "systemd-nspawn\n")]).as_deref(),
            Some("systemd-nspawn")
        );
        assert_eq!(named(&[("proc/1/cgroup", "0::/init.scope\n")]), None);
    }

    #[test]
    fn a_quota_limits_the_cores() {
        let (_directory, root) = tree(&[]);
        let mut machine = Machine::read(&root);
        machine.cpu.usable_cores = 8;
        machine.limits.cpu_cores = Some(1.5);
        assert_eq!(machine.usable_cores(), 1.5);
        machine.limits.cpu_cores = Some(16.0);
        assert_eq!(machine.usable_cores(), 8.0);
    }
}
