//! Where the workspace is and which of its packages are the program and its plugins.

use crate::error::Error;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use std::env;
use std::process::{Command, ExitStatus};

/// The package that holds the `tenuis` binary.
pub(crate) const PROGRAM_PACKAGE: &str = "tenuis-cli";

/// The workspace as `cargo metadata` describes it.
pub(crate) struct Workspace {
    /// Its packages, and with [`Workspace::resolved`] those that they depend on.
    pub(crate) metadata: Metadata,
}

impl Workspace {
    /// Reads the members of the workspace alone: fast, and needs neither network nor lock file.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    pub(crate) fn members_only() -> Result<Self, Error> {
        let metadata = command().no_deps().exec()?;
        Ok(Self { metadata })
    }

    /// Reads the members and everything that they depend on, on this platform.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    pub(crate) fn resolved() -> Result<Self, Error> {
        // Without a filter cargo would fetch what only other platforms use.
        let platform = format!("--filter-platform={}", host_triple()?);
        let metadata = command().other_options([platform]).exec()?;
        Ok(Self { metadata })
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.metadata.workspace_root
    }

    /// Where release artifacts go, `CARGO_TARGET_DIR` respected.
    pub(crate) fn release_dir(&self) -> Utf8PathBuf {
        self.metadata.target_directory.join("release")
    }

    /// The packages under `plugins/` that make a dynamic library.
    pub(crate) fn plugins(&self) -> Vec<&Package> {
        let home = self.root().join("plugins");
        self.members()
            .filter(|p| p.manifest_path.starts_with(&home) && p.targets.iter().any(is_cdylib))
            .collect()
    }

    /// The packages of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.metadata.packages.iter().filter(|p| self.metadata.workspace_members.contains(&p.id))
    }

    /// The command `cargo ARG`, run in the root of the workspace.
    pub(crate) fn cargo(&self, arg: &str) -> Command {
        let mut command = Command::new(cargo_program());
        command.arg(arg).current_dir(self.root());
        command
    }
}

/// Whether a target is a C dynamic library.
pub(crate) fn is_cdylib(target: &cargo_metadata::Target) -> bool {
    target.is_cdylib()
}

/// Runs a cargo command to its end.
///
/// # Errors
/// [`Error::Start`], and [`Error::Cargo`] with cargo's exit code.
pub(crate) fn finish(mut cargo: Command, name: &'static str) -> Result<(), Error> {
    let status = cargo.status().map_err(|source| Error::Start { program: "cargo".into(), source })?;
    check(status, name)
}

/// Turns cargo's exit status into a result.
///
/// # Errors
/// [`Error::Cargo`] unless it succeeded.
pub(crate) fn check(status: ExitStatus, command: &'static str) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(101);
    Err(Error::Cargo { command, code })
}

fn command() -> MetadataCommand {
    let mut command = MetadataCommand::new();
    // `cargo run` names the manifest directory of the checkout that is being run; the compiled-in one serves a copy of
    // the binary that is started by hand.
    let home = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    command.manifest_path(Utf8Path::new(&home).join("Cargo.toml"));
    command
}

fn host_triple() -> Result<String, Error> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(&rustc)
        .arg("-vV")
        .output()
        .map_err(|source| Error::Start { program: rustc.clone(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).ok_or(Error::MissingArtifact {
        artifact: format!("host triple in the output of `{rustc} -vV`"),
        mend: "check that RUSTC names a Rust compiler",
    })
}

fn cargo_program() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}
