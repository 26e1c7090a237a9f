//! Running the built `tenuis` binary as a user would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Fails the test where the run failed.
    ///
    /// # Panics
    /// If the exit code is not 0.
    #[must_use]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "stderr: {}", self.stderr);
        self
    }

    /// Fails the test unless the run ended with `code` and a single line on standard error that holds all of `parts`.
    ///
    /// # Panics
    /// If it did not.
    pub fn failed_with(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let lines: Vec<&str> = self.stderr.lines().filter(|l| !l.starts_with("warning:")).collect();
        assert_eq!(lines.len(), 1, "one line is promised: {}", self.stderr);
        for part in parts {
            assert!(lines[0].contains(part), "{part:?} is not in {:?}", lines[0]);
        }
    }
}

/// The directory in which `cargo` put the binaries of this profile.
fn build_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(2).expect("tests lie in <profile>/deps").to_owned()
}

/// The binary: `TENUIS_BIN`, else the one of the release build that these tests belong to.
///
/// # Panics
/// If there is none.
pub fn program() -> PathBuf {
    let path = std::env::var_os("TENUIS_BIN").map_or_else(|| build_dir().join("tenuis"), PathBuf::from);
    assert!(path.is_file(), "{} is not built; run `cargo xtask test`, which builds it first", path.display());
    path
}

/// The directory of the gathered plugins: `TENUIS_PLUGIN_DIR`, else `plugins` beside the binary.
///
/// # Panics
/// If there is none.
pub fn plugin_dir() -> PathBuf {
    let path =
        std::env::var_os("TENUIS_PLUGIN_DIR").map_or_else(|| build_dir().join("plugins"), PathBuf::from);
    assert!(path.is_dir(), "{} is not built; run `cargo xtask test`, which builds it first", path.display());
    path
}

/// A command of the binary with the gathered plugins.
pub fn command() -> Command {
    let mut command = Command::new(program());
    command.env("TENUIS_PLUGIN_DIR", plugin_dir());
    command
}

/// Runs the binary with `args`.
///
/// # Panics
/// If it cannot be started.
pub fn tenuis<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Run {
    let output = command().args(args).output().expect("the binary starts");
    output.into()
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The directory with real models, or `None` (said on standard error) where the machine has none.
///
/// # Panics
/// If `TENUIS_SHARED` names something that is no directory.
pub fn shared() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("TENUIS_SHARED").map(PathBuf::from) else {
        let _ = writeln!(std::io::stderr(), "skipped: TENUIS_SHARED names no directory with real models");
        return None;
    };
    assert!(path.is_dir(), "TENUIS_SHARED is {}, which is no directory", path.display());
    Some(path)
}

/// Names and contents of every file of a directory, to see that nothing changed.
///
/// # Panics
/// If the directory cannot be read.
pub fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(dir)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(&path).expect("readable")))
        .collect();
    files.sort();
    files
}
