//! What a control group leaves a process of the machine.

use crate::system::SystemRoot;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const MOUNT: &str = "sys/fs/cgroup";

/// Limits from here on are none: the first version of control groups writes the largest multiple of a page below 2⁶³.
const UNLIMITED_BYTES: u64 = 1 << 62;

/// Limits of the control groups that this process is in, the tightest of all levels; `None` where there is none or none is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    /// Cores' worth of time per time. A process that exceeds it is stopped until the next period, which shows as latency.
    pub cpu_cores: Option<f64>,
    /// Bytes of memory, the page cache of its files included.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// Reads the limits of this process, of either version of control groups.
    pub fn read(root: &SystemRoot) -> Self {
        let groups = root.text("proc/self/cgroup").unwrap_or_default();
        let mut limits = Self::default();
        for (controllers, group) in entries(&groups) {
            if controllers.is_empty() {
                for directory in unified(group) {
                    limits.tighten(quota(root, &directory), None);
                }
            }
            if has(controllers, "cpu") {
                for mount in [format!("{MOUNT}/cpu"), format!("{MOUNT}/{controllers}")] {
                    for directory in levels(&mount, group) {
                        limits.tighten(old_quota(root, &directory), None);
                    }
                }
            }
        }
        for memory in memory_groups(root) {
            limits.tighten(None, Some(memory.limit));
        }
        limits
    }

    fn tighten(&mut self, cpu_cores: Option<f64>, memory_bytes: Option<u64>) {
        self.cpu_cores = match (self.cpu_cores, cpu_cores) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (own, other) => own.or(other),
        };
        self.memory_bytes = match (self.memory_bytes, memory_bytes) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (own, other) => own.or(other),
        };
    }
}

/// A control group that limits the memory of this process.
pub(super) struct MemoryGroup {
    /// Bytes that it may have.
    pub(super) limit: u64,
    /// Bytes that it has, the page cache of its files included.
    pub(super) used: Option<u64>,
    /// Of these, bytes of file pages that were not touched lately and would be given up at once.
    pub(super) idle_files: Option<u64>,
}

impl MemoryGroup {
    fn read(root: &SystemRoot, directory: &Path, [limit, used, idle]: [&str; 3]) -> Option<Self> {
        let statistics = root.text(directory.join("memory.stat")).unwrap_or_default();
        let idle = statistics.lines().find_map(|line| line.strip_prefix(idle)?.trim().parse().ok());
        Some(Self {
            limit: root.number(directory.join(limit)).filter(|&bytes| bytes < UNLIMITED_BYTES)?,
            used: root.number(directory.join(used)),
            idle_files: idle,
        })
    }
}

/// The groups of all levels that limit the memory of this process, of either version.
pub(super) fn memory_groups(root: &SystemRoot) -> Vec<MemoryGroup> {
    let groups = root.text("proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for (controllers, group) in entries(&groups) {
        if controllers.is_empty() {
            let files = ["memory.max", "memory.current", "inactive_file "];
            found.extend(unified(group).iter().filter_map(|at| MemoryGroup::read(root, at, files)));
        } else if has(controllers, "memory") {
            let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
            let levels = levels(&format!("{MOUNT}/memory"), group);
            found.extend(levels.iter().filter_map(|at| MemoryGroup::read(root, at, files)));
        }
    }
    found
}

/// Controllers and group of each line `hierarchy:controllers:group`, where the second version has no controllers.
fn entries(groups: &str) -> impl Iterator<Item = (&str, &str)> {
    groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

fn has(controllers: &str, controller: &str) -> bool {
    controllers.split(',').any(|name| name == controller)
}

/// The directories of a group of the second version. A machine that has both versions mounts it below the first.
fn unified(group: &str) -> Vec<PathBuf> {
    [MOUNT.to_owned(), format!("{MOUNT}/unified")].iter().flat_map(|mount| levels(mount, group)).collect()
}

/// The directories of a group and all above it. A container often sees the path of its group, but has that group mounted as the root:
/// directories that are missing are passed over.
fn levels(mount: &str, group: &str) -> Vec<PathBuf> {
    let below = Path::new(group.trim_start_matches('/'));
    below.ancestors().map(|level| Path::new(mount).join(level)).collect()
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn quota(root: &SystemRoot, directory: &Path) -> Option<f64> {
    let text = root.text(directory.join("cpu.max"))?;
    let (quota, period) = text.split_once(' ')?;
    cores(quota.parse().ok()?, period.trim().parse().ok()?)
}

/// The same of the first version, where −1 is no limit.
fn old_quota(root: &SystemRoot, directory: &Path) -> Option<f64> {
    let number = |file| root.number(directory.join(file));
    cores(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn cores(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::tree;

    fn limits(files: &[(&str, &str)]) -> Limits {
        let (_directory, root) = tree(files);
        Limits::read(&root)
    }

    #[test]
    fn the_tightest_level_counts() {
        let found = limits(&[
            ("proc/self/cgroup", "0::/user/job\n"),
            ("sys/fs/cgroup/user/job/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/user/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/user/job/memory.max", "1000\n"),
            ("sys/fs/cgroup/user/memory.max", "max\n"),
        ]);
        assert_eq!(found, Limits { cpu_cores: Some(1.5), memory_bytes: Some(1000) });
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root_is_limited_all_the_same() {
        let found = limits(&[
            ("proc/self/cgroup", "0::/docker/abc\n"),
            ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/memory.max", "2048\n"),
        ]);
        assert_eq!(found, Limits { cpu_cores: Some(0.5), memory_bytes: Some(2048) });
    }

    #[test]
    fn the_first_version_is_read_too() {
        let found = limits(&[
            ("proc/self/cgroup", "4:memory:/job\n1:cpu,cpuacct:/\n0::/\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4096\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(found, Limits { cpu_cores: Some(2.0), memory_bytes: Some(4096) });
    }

    #[test]
    fn no_limit_is_none() {
        let found = limits(&[
            ("proc/self/cgroup", "4:memory:/\n1:cpu:/\nbroken\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(found, Limits::default());
        assert_eq!(limits(&[]), Limits::default());
    }
}
