//! Where plugins are looked for: explicit directories, never the current one.

use crate::args::{IsolationArg, PluginDirArgs};
use crate::exit::Failure;
use std::ffi::OsString;
use std::path::PathBuf;
use tenuis_core::CodecRegistry;
use tenuis_orchestrator::plugin::{DiscoverOptions, Isolation, PluginRegistry, WorkerProgram};

/// The directories that `--plugin-dir` names, else those of `TENUIS_PLUGIN_DIR`, else the two that belong to the
/// program: `plugins` beside it (as a build leaves it) and `../lib/tenuis/plugins` (as an installation has it).
pub(crate) fn directories(args: &PluginDirArgs) -> Vec<PathBuf> {
    if !args.plugin_dirs.is_empty() {
        return args.plugin_dirs.clone();
    }
    if let Some(paths) = std::env::var_os("TENUIS_PLUGIN_DIR") {
        return std::env::split_paths(&paths).filter(|p| !p.as_os_str().is_empty()).collect();
    }
    let mut found = installation();
    found.retain(|d| d.is_dir());
    found
}

/// The two directories that belong to the program, whether they exist or not: their plugins are as trusted as it is.
fn installation() -> Vec<PathBuf> {
    let Some(program) = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok()) else {
        return vec![];
    };
    let Some(dir) = program.parent() else { return vec![] };
    let mut own = vec![dir.join("plugins")];
    own.extend(dir.parent().map(|prefix| prefix.join("lib").join("tenuis").join("plugins")));
    own
}

/// Which plugins run in processes of their own. Such a process is this very program.
fn options(args: &PluginDirArgs) -> DiscoverOptions {
    let mut options = DiscoverOptions::default();
    options.isolation = match args.isolation {
        IsolationArg::Auto => Isolation::Auto,
        IsolationArg::Process => Isolation::Process,
        IsolationArg::None => Isolation::InProcess,
    };
    options.installation = installation();
    options.worker =
        std::env::current_exe().ok().map(|program| WorkerProgram::new(program, ["plugin-worker"]));
    options
}

/// The arguments with which another process of this program finds and runs the same plugins.
pub(crate) fn arguments(args: &PluginDirArgs) -> Vec<OsString> {
    let isolation = match args.isolation {
        IsolationArg::Auto => "auto",
        IsolationArg::Process => "process",
        IsolationArg::None => "none",
    };
    let mut arguments: Vec<OsString> = vec!["--isolation".into(), isolation.into()];
    for dir in directories(args) {
        arguments.extend(["--plugin-dir".into(), dir.into_os_string()]);
    }
    arguments
}

/// Loads the plugins and adds the representations they bring to the built-in ones.
pub(crate) fn load(args: &PluginDirArgs) -> Result<(PluginRegistry, CodecRegistry), Failure> {
    let registry = PluginRegistry::discover_with(&directories(args), &options(args))?;
    let mut codecs = CodecRegistry::builtin();
    registry.register_codecs(&mut codecs);
    Ok((registry, codecs))
}
