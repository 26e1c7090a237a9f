//! `cargo xtask plugin`: a third party's plugin from nothing, and the check that it conforms.

mod name;

use crate::error::Error;
use crate::files::create_dir;
use crate::hand_over;
use crate::workspace::{Workspace, check};
use cargo_metadata::Message;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use clap::Subcommand;
use name::Name;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::fs;
use std::io::BufReader;
use std::process::{ExitCode, Stdio};

/// What can be done with plugins of others.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Write the crate of a new plugin outside this workspace; it builds and passes as it is
    New {
        /// The crate's name: lower-case letters, digits and hyphens
        name: Name,
        /// The directory that the crate's directory is made in [default: that of this checkout]
        #[arg(long, value_name = "DIR")]
        path: Option<Utf8PathBuf>,
    },
    /// Check that a plugin conforms, each test in a process of its own
    Check {
        /// The library, with its manifest beside it
        file: Utf8PathBuf,
        /// The options of techniques that cannot do with their defaults, as a JSON object by technique
        #[arg(long, value_name = "JSON")]
        options: Option<OsString>,
    },
}

/// The program that tests plugins: an example of the host's crate, so that this one links none of ours.
const CHECKER: &str = "plugin_check";

/// The files of a new crate: where they go, and what is in them.
const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
    ("{{stem}}.plugin.json", include_str!("template/manifest.json.in")),
    ("recipe.toml", include_str!("template/recipe.toml.in")),
    ("README.md", include_str!("template/README.md.in")),
    (".gitignore", "/dist\n/target\n"),
];

/// Does it, and returns the process's exit code.
///
/// # Errors
/// [`Error::File`] and [`Error::Exists`] for a new crate; for a check [`Error::Cargo`] where the checker cannot be built.
pub(crate) fn run(action: Action, say: impl Fn(&str)) -> Result<ExitCode, Error> {
    match action {
        Action::New { name, path } => {
            let workspace = Workspace::members_only()?;
            let beside = workspace.root().parent().unwrap_or(workspace.root());
            let parent = path.unwrap_or_else(|| beside.to_owned());
            let home = write(&name, &parent, workspace.root())?;
            say(&format!("{home}\nNext: cd {home} && cargo test; README.md goes on from there"));
            Ok(ExitCode::SUCCESS)
        }
        Action::Check { file, options } => {
            fs::metadata(&file).map_err(Error::file("looking for", file.as_path()))?;
            let checker = build_checker(&Workspace::members_only()?)?;
            let options = options.into_iter().flat_map(|json| ["--options".into(), json]);
            hand_over::become_program(&checker, std::iter::once(file.into_string().into()).chain(options))
        }
    }
}

/// Writes the crate and returns its directory.
fn write(name: &Name, parent: &Utf8Path, checkout: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    let home = parent.join(name.as_str());
    if home.exists() {
        return Err(Error::Exists { path: home });
    }
    let stem = name.stem();
    let library = format!("{DLL_PREFIX}{stem}{DLL_SUFFIX}");
    let fill = |text: &str| {
        text.replace("{{name}}", name.as_str())
            .replace("{{technique}}", &format!("{name}-pow2"))
            .replace("{{stem}}", &stem)
            .replace("{{library}}", &library)
            .replace("{{checkout}}", checkout.as_str())
    };
    create_dir(&home.join("src"))?;
    for (file, text) in FILES {
        let path = home.join(fill(file));
        fs::write(&path, fill(text)).map_err(Error::file("writing", path.as_path()))?;
    }
    // The versions of dependencies that this checkout is tested with; cargo leaves out what the crate does not need.
    let (lock, copy) = (checkout.join("Cargo.lock"), home.join("Cargo.lock"));
    fs::copy(&lock, &copy).map_err(Error::file("copying", lock))?;
    Ok(home)
}

/// Builds the checker in release and returns its path.
fn build_checker(workspace: &Workspace) -> Result<Utf8PathBuf, Error> {
    let example = CHECKER;
    let mut cargo = workspace.cargo("build");
    cargo.args(["--release", "--quiet", "--message-format=json-render-diagnostics"]);
    // Of the whole workspace, so that dependencies have the features that the tests have built them with.
    cargo.args(["--workspace", "--example", example]);
    let start = |source| Error::Start { program: "cargo".into(), source };
    let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(start)?;
    let mut built = None;
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message.map_err(start)?
                && artifact.target.name == example
            {
                built = artifact.executable;
            }
        }
    }
    check(child.wait().map_err(start)?, "build")?;
    built.ok_or(Error::MissingArtifact {
        artifact: format!("example `{example}`"),
        mend: "crates/tenuis-host/examples must have it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_crate_is_written_once_and_without_a_gap() {
        let guard = tempfile::tempdir().unwrap();
        let parent = Utf8Path::from_path(guard.path()).unwrap();
        let checkout = Workspace::members_only().unwrap().root().to_owned();
        let name: Name = "my-plugin".parse().unwrap();
        let home = write(&name, parent, &checkout).unwrap();
        for (file, _) in FILES {
            let path = home.join(file.replace("{{stem}}", "my_plugin"));
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("{{"), "{path}: {text}");
        }
        let manifest = fs::read_to_string(home.join("my_plugin.plugin.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["techniques"][0], "my-plugin-pow2");
        let code = fs::read_to_string(home.join("src/lib.rs")).unwrap();
        assert!(code.contains("const ID: &'static str = \"my-plugin-pow2\";"));
        assert!(matches!(write(&name, parent, &checkout), Err(Error::Exists { .. })));
    }
}
