//! Everything around a measurement that another one would have to share to be compared with it.

use super::Machine;
use crate::system::SystemRoot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Processes that ran or waited for a disk, in the mean of the minutes before (decaying exponentially).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoadAverage {
    /// Of one minute.
    pub one_minute: f64,
    /// Of five.
    pub five_minutes: f64,
    /// Of fifteen.
    pub fifteen_minutes: f64,
}

impl LoadAverage {
    /// Reads it; `None` where the system does not tell.
    pub fn read(root: &SystemRoot) -> Option<Self> {
        let text = root.text("proc/loadavg")?;
        let mut numbers = text
            .split_whitespace()
            .map(|number| number.parse::<f64>().ok().filter(|load| load.is_finite() && *load >= 0.0));
        let mut next = || numbers.next().flatten();
        Some(Self { one_minute: next()?, five_minutes: next()?, fifteen_minutes: next()? })
    }
}

/// The machine, what ran on it, and the programs that measured.
///
/// ```
/// use tenuis_measure::{Environment, SystemRoot};
/// let environment = Environment::read(&SystemRoot::default()).with_threads(4).with_version("tenuis", "0.1.0");
/// assert_eq!(environment.versions["tenuis"], "0.1.0");
/// assert!(environment.versions.contains_key("rustc"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Environment {
    /// The machine.
    pub machine: Machine,
    /// Its load when this was read.
    pub load: Option<LoadAverage>,
    /// Worker threads of whatever was measured; `None` where the caller did not say.
    pub threads: Option<usize>,
    /// Versions of programs and libraries by name. The compiler of this crate is among them.
    pub versions: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the machine and its load.
    pub fn read(root: &SystemRoot) -> Self {
        let compiler = ("rustc".to_owned(), env!("TENUIS_RUSTC_VERSION").to_owned());
        Self {
            machine: Machine::read(root),
            load: LoadAverage::read(root),
            threads: None,
            versions: BTreeMap::from([compiler]),
        }
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub const fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Adds the version of a program or library.
    #[must_use]
    pub fn with_version(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.versions.insert(name.into(), version.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::tree;

    #[test]
    fn load_is_read_or_absent() {
        let of = |text| LoadAverage::read(&tree(&[("proc/loadavg", text)]).1);
        let expected = LoadAverage { one_minute: 1.6, five_minutes: 1.48, fifteen_minutes: 1.98 };
        let (_directory, root) = tree(&[("proc/loadavg", "1.60 1.48 1.98 3/83 8812\n")]);
        assert_eq!(LoadAverage::read(&root), Some(expected));
        assert_eq!(of("1.60 nan 1.98"), None);
        assert_eq!(LoadAverage::read(&tree(&[]).1), None);
    }

    #[test]
    fn the_compiler_is_known() {
        let environment = Environment::read(&tree(&[]).1);
        assert!(environment.versions["rustc"].starts_with("rustc "), "{:?}", environment.versions);
        assert_eq!(environment.load, None);
    }
}
