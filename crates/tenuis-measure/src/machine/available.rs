//! How much memory is left.

use super::limits::memory_groups;
use crate::system::{SystemRoot, kibibytes};

/// Gives the bytes of memory that this process can have: what the system can give without swapping, and what each of its control
/// groups leaves of its limit, whichever is least; `None` where the system does not say.
///
/// File pages of a group that were not touched lately count as free: they are given up before anything fails.
///
/// ```
/// use tenuis_measure::{SystemRoot, available_memory};
/// if let Some(bytes) = available_memory(&SystemRoot::default()) {
///     assert!(bytes < 1 << 62);
/// }
/// ```
pub fn available_memory(root: &SystemRoot) -> Option<u64> {
    let system = root.text("proc/meminfo").and_then(|text| kibibytes(&text, "MemAvailable"));
    let of_groups = memory_groups(root).into_iter().filter_map(|group| {
        let held = group.used?.saturating_sub(group.idle_files.unwrap_or(0));
        Some(group.limit.saturating_sub(held))
    });
    system.into_iter().chain(of_groups).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{tree, write};

    #[test]
    fn the_tightest_of_system_and_groups_counts() {
        let (_directory, root) = tree(&[
            ("proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 4000 kB\n"),
            ("proc/self/cgroup", "0::/user/job\n"),
            ("sys/fs/cgroup/user/memory.max", "max\n"),
        ]);
        assert_eq!(available_memory(&root), Some(4000 << 10));
        for (file, text) in [
            ("memory.max", "2000000\n"),
            ("memory.current", "1500000\n"),
            ("memory.stat", "active_file 9\ninactive_file 300000\n"),
        ] {
            write(&root, &format!("sys/fs/cgroup/user/job/{file}"), text);
        }
        assert_eq!(available_memory(&root), Some(2_000_000 - (1_500_000 - 300_000)));
        // A group above that is nearly full leaves less, whatever the one below may have.
        write(&root, "sys/fs/cgroup/user/memory.max", "5000000\n");
        write(&root, "sys/fs/cgroup/user/memory.current", "4900000\n");
        assert_eq!(available_memory(&root), Some(100_000));
    }

    #[test]
    fn the_first_version_is_read_too() {
        let (_directory, root) = tree(&[
            ("proc/self/cgroup", "4:memory:/job\n1:cpu:/\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4096\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/job/memory.stat", "total_inactive_file 1000\n"),
        ]);
        assert_eq!(available_memory(&root), Some(96));
        let (_directory, silent) = tree(&[]);
        assert_eq!(available_memory(&silent), None);
    }
}
