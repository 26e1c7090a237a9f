//! The files in which Linux tells about itself.

use std::path::{Path, PathBuf};

/// Where `/proc` and `/sys` are: the root directory, or a directory that looks like it.
///
/// Everything read through it may be missing, as on another system; then it is `None` and never 0.
///
/// ```
/// use tenuis_measure::SystemRoot;
/// let root = SystemRoot::default();
/// assert!(root.path("proc/cpuinfo").ends_with("proc/cpuinfo"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemRoot {
    root: PathBuf,
}

impl Default for SystemRoot {
    /// The root of this machine.
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl SystemRoot {
    /// Takes a directory with `proc` and `sys` in it, such as a copy of another machine's.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Gives the path of a file below the root.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        let below = below.as_ref();
        self.root.join(below.strip_prefix("/").unwrap_or(below))
    }

    /// Reads a file without the white space around it.
    pub(crate) fn text(&self, below: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(self.path(below)).ok().map(|text| text.trim().to_owned())
    }

    /// Reads a file that holds one number.
    pub(crate) fn number<T: std::str::FromStr>(&self, below: impl AsRef<Path>) -> Option<T> {
        self.text(below)?.parse().ok()
    }

    /// Whether a file or directory is there.
    pub(crate) fn has(&self, below: impl AsRef<Path>) -> bool {
        self.path(below).exists()
    }

    /// Lists the names in a directory in ascending order; none where there is no such directory.
    pub(crate) fn names(&self, below: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(below)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Lists the directories of logical processors, `cpu0` and so on, in ascending order of their numbers.
    pub(crate) fn processors(&self) -> Vec<PathBuf> {
        let directory = Path::new("sys/devices/system/cpu");
        let number = |name: &String| name.strip_prefix("cpu")?.parse::<u32>().ok();
        let mut numbers: Vec<u32> = self.names(directory).iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| directory.join(format!("cpu{number}"))).collect()
    }
}

/// Finds the value of a line `key: 12 kB` and gives it in bytes.
pub(crate) fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A directory that looks like the root of a machine.
    pub(crate) fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, SystemRoot) {
        let directory = tempfile::tempdir().unwrap();
        let root = SystemRoot::at(directory.path());
        for (path, text) in files {
            write(&root, path, text);
        }
        (directory, root)
    }

    pub(crate) fn write(root: &SystemRoot, path: &str, text: &str) {
        let path = root.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn lines_with_units_are_read_and_others_are_not() {
        let text = "VmHWM:\t    1234 kB\nVmHW: 1 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(text, "VmHWM"), Some(1234 << 10));
        assert_eq!(kibibytes(text, "Threads"), None);
        assert_eq!(kibibytes(text, "VmRSS"), None);
        assert_eq!(kibibytes("A: 99999999999999999999 kB", "A"), None);
        assert_eq!(kibibytes("A: 18446744073709551615 kB", "A"), None, "more bytes than there are");
    }

    #[test]
    fn processors_are_counted_in_order() {
        let files =
            ["cpu10", "cpu2", "cpufreq", "cpu0"].map(|name| format!("sys/devices/system/cpu/{name}/x"));
        let files: Vec<_> = files.iter().map(|path| (path.as_str(), "")).collect();
        let (_directory, root) = tree(&files);
        let names: Vec<_> = root.processors().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["cpu0", "cpu2", "cpu10"]);
    }
}
