//! Builds the program and its plugins, and gathers the plugins where the program looks for them.

use crate::error::Error;
use crate::files::{create_dir, replace};
use crate::workspace::{PROGRAM_PACKAGE, Workspace, check};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Artifact, Message, Package};
use std::collections::BTreeSet;
use std::env::consts::{DLL_EXTENSION, DLL_PREFIX};
use std::fs;
use std::io::BufReader;
use std::process::Stdio;

/// What the file name of a plugin's manifest ends with.
const MANIFEST_SUFFIX: &str = ".plugin.json";

/// Small packages that are selected with the program so that its dependencies get the features they get in
/// `cargo test --workspace`: the two then share one build of candle.
const SAME_FEATURES: [&str; 2] = ["xtask", "tenuis-tests"];

/// What is compiled beside the program and the plugins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing but what makes the features agree.
    Product,
    /// Every library and test of the workspace, with the features that `cargo test --workspace` selects: what is built
    /// here is then not built a second time by the tests.
    Tests,
}

/// The program and its plugins in the release directory.
pub(crate) struct Artifacts {
    /// The `tenuis` binary.
    pub(crate) program: Utf8PathBuf,
    /// The directory with every plugin's library and manifest: `plugins` beside the binary.
    pub(crate) plugin_dir: Utf8PathBuf,
    /// The names of the files in it.
    pub(crate) plugin_files: BTreeSet<String>,
}

/// Builds in release and gathers the plugins; cargo's progress goes to stderr.
///
/// # Errors
/// [`Error::Cargo`] where the build fails, [`Error::MissingArtifact`] where it leaves something out, [`Error::File`]
/// where the plugins cannot be gathered.
pub(crate) fn build(workspace: &Workspace, scope: Scope) -> Result<Artifacts, Error> {
    let plugins = workspace.plugins();
    let mut cargo = workspace.cargo("build");
    cargo.args(["--release", "--message-format=json-render-diagnostics"]);
    match scope {
        Scope::Product => {
            cargo.args(["--package", PROGRAM_PACKAGE]);
            for package in SAME_FEATURES {
                cargo.args(["--package", package]);
            }
            for plugin in &plugins {
                cargo.args(["--package", plugin.name.as_str()]);
            }
        }
        Scope::Tests => {
            cargo.args(["--workspace", "--lib", "--bins", "--tests"]);
        }
    }
    let start = |source| Error::Start { program: "cargo".into(), source };
    let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(start)?;
    let mut built = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message.map_err(start)? {
                built.push(artifact);
            }
        }
    }
    check(child.wait().map_err(start)?, "build")?;

    let program = built
        .iter()
        .filter(|artifact| {
            artifact.target.is_bin() && artifact.target.name == "tenuis" && !artifact.profile.test
        })
        .find_map(|artifact| artifact.executable.clone())
        .ok_or(Error::MissingArtifact {
            artifact: "`tenuis` binary".into(),
            mend: "crates/tenuis-cli must have a [[bin]] of that name",
        })?;
    let plugin_dir = workspace.release_dir().join("plugins");
    let mut sources = Vec::new();
    for plugin in plugins {
        let library = library(&built, plugin)?;
        sources.push((manifest(plugin)?, manifest_name(&library)));
        sources.push((library.clone(), library.file_name().unwrap_or_default().to_owned()));
    }
    let plugin_files = gather(&sources, &plugin_dir)?;
    Ok(Artifacts { program, plugin_dir, plugin_files })
}

fn library(built: &[Artifact], plugin: &Package) -> Result<Utf8PathBuf, Error> {
    let own = |artifact: &&Artifact| artifact.package_id == plugin.id && artifact.target.is_cdylib();
    let files = built.iter().filter(own).filter(|a| !a.profile.test).flat_map(|a| &a.filenames);
    files.into_iter().find(|file| file.extension() == Some(DLL_EXTENSION)).cloned().ok_or(
        Error::MissingArtifact {
            artifact: format!("dynamic library of {}", plugin.name),
            mend: "its Cargo.toml needs crate-type = [\"cdylib\"]",
        },
    )
}

/// The manifest beside the plugin's `Cargo.toml`, which the loader reads before it opens the library.
fn manifest(plugin: &Package) -> Result<Utf8PathBuf, Error> {
    let home = plugin.manifest_path.parent().unwrap_or(Utf8Path::new("."));
    let mut found = list(home)?.into_iter().filter(|file| is_manifest(file));
    match (found.next(), found.next()) {
        (Some(manifest), None) => Ok(manifest),
        _ => Err(Error::MissingArtifact {
            artifact: format!("plugin of {} with one manifest", plugin.name),
            mend: "put one NAME.plugin.json beside its Cargo.toml",
        }),
    }
}

/// The name under which the loader looks for a library's manifest: `NAME.plugin.json` for `libNAME.so` or `NAME.dll`.
fn manifest_name(library: &Utf8Path) -> String {
    let stem = library.file_stem().unwrap_or_default();
    format!("{}{MANIFEST_SUFFIX}", stem.strip_prefix(DLL_PREFIX).unwrap_or(stem))
}

/// Copies `sources` into `dir` under the names given and removes libraries and manifests of plugins that no longer exist.
fn gather(sources: &[(Utf8PathBuf, String)], dir: &Utf8Path) -> Result<BTreeSet<String>, Error> {
    create_dir(dir)?;
    let mut names = BTreeSet::new();
    for (source, name) in sources {
        replace(source, &dir.join(name))?;
        names.insert(name.clone());
    }
    for file in list(dir)? {
        let stale = is_manifest(&file) || file.extension() == Some(DLL_EXTENSION);
        if stale && file.file_name().is_some_and(|name| !names.contains(name)) {
            fs::remove_file(&file).map_err(Error::file("removing", file.as_path()))?;
        }
    }
    Ok(names)
}

fn is_manifest(file: &Utf8Path) -> bool {
    file.file_name().is_some_and(|name| name.ends_with(MANIFEST_SUFFIX) && !name.starts_with('.'))
}

fn list(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let entries = dir.read_dir_utf8().map_err(Error::file("listing", dir))?;
    entries.map(|entry| Ok(entry.map_err(Error::file("listing", dir))?.into_path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_replaces_the_old_and_removes_what_is_gone() {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        let (from, to) = (root.join("from"), root.join("to"));
        create_dir(&from).unwrap();
        create_dir(&to).unwrap();
        let library = format!("libnew.{DLL_EXTENSION}");
        fs::write(from.join(&library), "code").unwrap();
        fs::write(from.join("new.plugin.json"), "{}").unwrap();
        fs::write(to.join(format!("libold.{DLL_EXTENSION}")), "code").unwrap();
        fs::write(to.join("old.plugin.json"), "{}").unwrap();
        fs::write(to.join("plugins.lock"), "kept").unwrap();

        let names = gather(
            &[
                (from.join(&library), library.clone()),
                (from.join("new.plugin.json"), "new.plugin.json".to_owned()),
            ],
            &to,
        )
        .unwrap();
        assert_eq!(names, BTreeSet::from([library.clone(), "new.plugin.json".to_owned()]));
        let mut present: Vec<_> =
            list(&to).unwrap().iter().filter_map(|f| f.file_name().map(str::to_owned)).collect();
        present.sort();
        let mut expected = vec![library, "new.plugin.json".to_owned(), "plugins.lock".to_owned()];
        expected.sort();
        assert_eq!(present, expected);
    }

    #[test]
    fn a_manifest_is_known_by_its_suffix_and_named_after_its_library() {
        assert!(is_manifest(Utf8Path::new("plugins/quant/quant.plugin.json")));
        assert!(!is_manifest(Utf8Path::new("Cargo.toml")));
        assert!(!is_manifest(Utf8Path::new(".quant.plugin.json.123")));
        let library =
            Utf8PathBuf::from(format!("target/release/{DLL_PREFIX}tenuis_quant_plugin.{DLL_EXTENSION}"));
        assert_eq!(manifest_name(&library), "tenuis_quant_plugin.plugin.json");
    }
}
