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
        for line in groups.lines() {
            // `hierarchy:controllers:path`, where the second version has no controllers.
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let has = |controller: &str| controllers.split(',').any(|name| name == controller);
            if controllers.is_empty() {
                // A machine that has both versions mounts the second one below the first.
                for mount in [MOUNT.to_owned(), format!("{MOUNT}/unified")] {
                    for directory in levels(&mount, group) {
                        limits.tighten(quota(root, &directory), memory(root, &directory, "memory.max"));
                    }
                }
            }
            if has("cpu") {
                for mount in [format!("{MOUNT}/cpu"), format!("{MOUNT}/{controllers}")] {
                    for directory in levels(&mount, group) {
                        limits.tighten(old_quota(root, &directory), None);
                    }
                }
            }
            if has("memory") {
                for directory in levels(&format!("{MOUNT}/memory"), group) {
                    limits.tighten(None, memory(root, &directory, "memory.limit_in_bytes"));
                }
            }
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

fn memory(root: &SystemRoot, directory: &Path, file: &str) -> Option<u64> {
    root.number(directory.join(file)).filter(|&bytes| bytes < UNLIMITED_BYTES)
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
