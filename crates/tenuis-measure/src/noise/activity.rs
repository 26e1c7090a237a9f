//! Who used the processor between two instants.

use crate::system::SystemRoot;
use serde::{Deserialize, Serialize};

/// The fewest ticks between two instants, all cores together. The kernel counts time in ticks of (nearly always) 10 ms: one of a hundred
/// is as fine as the smallest limit.
const FEWEST_TICKS: u64 = 100;

/// Shares of all cores' time between two instants, 0 to 1. What is left was idle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Activity {
    /// Of this process, its threads and the children that it waited for.
    pub own_share: f64,
    /// Of everything else, the kernel's own work for devices included.
    pub others_share: f64,
    /// What the hypervisor gave to other machines while this one had something to run.
    pub steal_share: f64,
}

/// Counters of an instant, in ticks since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivitySnapshot {
    total: u64,
    busy: u64,
    steal: u64,
    own: u64,
}

impl ActivitySnapshot {
    /// Reads the counters; `None` where the system does not show them.
    ///
    /// ```
    /// use tenuis_measure::{ActivitySnapshot, SystemRoot};
    /// let root = SystemRoot::default();
    /// if let (Some(before), Some(after)) = (ActivitySnapshot::read(&root), ActivitySnapshot::read(&root)) {
    ///     assert_eq!(before.until(&after), None, "too short to count");
    /// }
    /// ```
    pub fn read(root: &SystemRoot) -> Option<Self> {
        let machine = root.text("proc/stat")?;
        let line = machine.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user, nice, system, idle, waiting for disks, interrupts, soft interrupts, steal; guests after that are within user and nice.
        let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let &[user, nice, system, idle, waiting, interrupts, soft, steal, ..] = ticks.as_slice() else {
            return None;
        };
        let sum = |parts: &[u64]| parts.iter().fold(0_u64, |sum, &part| sum.saturating_add(part));
        let busy = sum(&[user, nice, system, interrupts, soft]);
        Some(Self { total: sum(&[busy, idle, waiting, steal]), busy, steal, own: own(root)? })
    }

    /// Gives the shares from this instant to a later one; `None` where too little time passed to count it, or a counter went back.
    pub fn until(&self, later: &Self) -> Option<Activity> {
        let total = later.total.checked_sub(self.total).filter(|&ticks| ticks >= FEWEST_TICKS)?;
        let (busy, steal, own) = (
            later.busy.checked_sub(self.busy)?,
            later.steal.checked_sub(self.steal)?,
            later.own.checked_sub(self.own)?,
        );
        // Counters of the machine and of the process are not read at the same instant: by a tick or two, the part may exceed the whole.
        let share = |ticks: u64| (ticks as f64 / total as f64).min(1.0);
        Some(Activity {
            own_share: share(own),
            others_share: share(busy.saturating_sub(own)),
            steal_share: share(steal),
        })
    }
}

/// Ticks of this process and of children that it waited for: fields 14 to 17 of its `stat`. The name before them, in brackets, may
/// hold anything.
fn own(root: &SystemRoot) -> Option<u64> {
    let text = root.text("proc/self/stat")?;
    let (_, after_name) = text.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(4);
    let ticks: Vec<u64> = ticks.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    (ticks.len() == 4).then(|| ticks.iter().fold(0, |sum: u64, &part| sum.saturating_add(part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{tree, write};

    fn set(root: &SystemRoot, cpu: &str, own: &str) {
        write(root, "proc/stat", &format!("cpu  {cpu}\ncpu0 1 1 1 1 1 1 1 1 0 0\nbtime 1\n"));
        write(root, "proc/self/stat", &format!("17 (a ) b) R 1 1 1 0 -1 4 0 0 0 0 {own} 20 0 1 0 5\n"));
    }

    #[test]
    fn time_is_split_among_us_others_and_the_hypervisor() {
        let (_directory, root) = tree(&[]);
        set(&root, "100 10 20 1000 5 1 2 7 50 0", "40 5 3 2");
        let before = ActivitySnapshot::read(&root).unwrap();
        // 400 ticks: 200 busy of which 150 are ours, 8 stolen, the rest idle.
        set(&root, "250 20 50 1180 17 6 7 15 60 0", "150 25 15 10");
        let activity = before.until(&ActivitySnapshot::read(&root).unwrap()).unwrap();
        assert_eq!(activity, Activity { own_share: 0.375, others_share: 0.125, steal_share: 0.02 });
    }

    #[test]
    fn short_or_backward_intervals_say_nothing() {
        let (_directory, root) = tree(&[]);
        set(&root, "100 0 0 1000 0 0 0 0 0 0", "10 0 0 0");
        let before = ActivitySnapshot::read(&root).unwrap();
        set(&root, "110 0 0 1050 0 0 0 0 0 0", "20 0 0 0");
        let soon = ActivitySnapshot::read(&root).unwrap();
        assert_eq!(before.until(&soon), None);
        set(&root, "300 0 0 1500 0 0 0 0 0 0", "5 0 0 0");
        assert_eq!(before.until(&ActivitySnapshot::read(&root).unwrap()), None, "our own time went back");
    }

    #[test]
    fn own_ticks_beyond_the_machine_s_are_not_negative_for_others() {
        let (_directory, root) = tree(&[]);
        set(&root, "0 0 0 0 0 0 0 0 0 0", "0 0 0 0");
        let before = ActivitySnapshot::read(&root).unwrap();
        set(&root, "200 0 0 0 0 0 0 0 0 0", "201 0 0 0");
        let activity = before.until(&ActivitySnapshot::read(&root).unwrap()).unwrap();
        assert_eq!((activity.own_share, activity.others_share), (1.0, 0.0));
    }

    #[test]
    fn other_systems_say_nothing() {
        let (_directory, root) = tree(&[("proc/stat", "cpu 1 2 3\n"), ("proc/self/stat", "1 (x) R\n")]);
        assert_eq!(ActivitySnapshot::read(&root), None);
        assert_eq!(ActivitySnapshot::read(&tree(&[]).1), None);
    }
}
