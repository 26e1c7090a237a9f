//! `cargo test` and `cargo bench` with the plugins built and named to them.

use crate::artifacts::{self, Artifacts, Scope};
use crate::error::Error;
use crate::report;
use crate::workspace::{Workspace, finish};
use cargo_metadata::camino::Utf8PathBuf;
use std::env;
use std::ffi::OsString;
use std::process::Command;

/// Names the directory with real models and reference numbers.
const SHARED: &str = "TENUIS_SHARED";

/// Builds the plugins, then runs every test of the workspace in release, doc tests included; `args` go to `cargo test`
/// and narrow it to packages where they name any, `harness` goes to the test binaries.
///
/// # Errors
/// [`Error::Cargo`] with the exit code of `cargo test` where a test fails; otherwise as [`artifacts::build`].
pub(crate) fn test(args: &[OsString], harness: &[OsString]) -> Result<(), Error> {
    let workspace = Workspace::members_only()?;
    let narrowed = names_packages(args);
    let scope = if narrowed { Scope::Product } else { Scope::Tests };
    let artifacts = artifacts::build(&workspace, scope)?;
    let mut cargo = workspace.cargo("test");
    cargo.args(["--release", "--no-fail-fast"]);
    if !narrowed {
        cargo.arg("--workspace");
    }
    name_artifacts(&mut cargo, &workspace, &artifacts);
    cargo.args(args);
    if !harness.is_empty() {
        cargo.arg("--").args(harness);
    }
    finish(cargo, "test")
}

/// Runs the benchmarks of every crate that has some; `args` go to criterion.
///
/// # Errors
/// [`Error::MissingArtifact`] where no crate has a benchmark, otherwise as [`test()`].
pub(crate) fn bench(args: &[OsString]) -> Result<(), Error> {
    let workspace = Workspace::members_only()?;
    let benches: Vec<_> = workspace
        .members()
        .flat_map(|package| package.targets.iter().map(move |target| (package, target)))
        .filter(|(_, target)| target.is_bench())
        .map(|(package, target)| (package.name.to_string(), target.name.clone()))
        .collect();
    if benches.is_empty() {
        return Err(Error::MissingArtifact {
            artifact: "benchmark".into(),
            mend: "add a [[bench]] with harness = false to a crate",
        });
    }
    let artifacts = artifacts::build(&workspace, Scope::Product)?;
    let mut cargo = workspace.cargo("bench");
    // Named one by one: `--benches` would also start the unit tests' harness, which knows none of criterion's options.
    for (package, bench) in &benches {
        cargo.args(["--package", package, "--bench", bench]);
    }
    name_artifacts(&mut cargo, &workspace, &artifacts);
    cargo.arg("--").args(args);
    finish(cargo, "bench")
}

/// Whether arguments of `cargo test` choose packages.
fn names_packages(args: &[OsString]) -> bool {
    args.iter().filter_map(|arg| arg.to_str()).any(|arg| {
        ["--package", "--manifest-path"].iter().any(|flag| arg.starts_with(flag))
            || (arg.starts_with("-p") && !arg.starts_with("--"))
    })
}

fn name_artifacts(cargo: &mut Command, workspace: &Workspace, artifacts: &Artifacts) {
    cargo.env("TENUIS_BIN", &artifacts.program).env("TENUIS_PLUGIN_DIR", &artifacts.plugin_dir);
    match shared(workspace) {
        Some(dir) => {
            cargo.env(SHARED, dir);
        }
        None => {
            report(&format!("note: {SHARED} is not set, so tests of real models will say that they skip"));
        }
    }
}

/// The directory with real models: what the environment names, or `shared` beside the workspace.
pub(crate) fn shared(workspace: &Workspace) -> Option<Utf8PathBuf> {
    if let Ok(dir) = env::var(SHARED) {
        Some(dir.into())
    } else {
        let beside = workspace.root().parent().map(|parent| parent.join("shared"));
        beside.filter(|dir| dir.join("models").is_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_seen_in_every_spelling() {
        let given = |args: &[&str]| names_packages(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(given(&["-p", "tenuis-core"]));
        assert!(given(&["-ptenuis-core"]));
        assert!(given(&["--package=tenuis-core", "x"]));
        assert!(!given(&["golden"]));
        assert!(!given(&["--test", "golden"]));
        assert!(!given(&[]));
    }
}
