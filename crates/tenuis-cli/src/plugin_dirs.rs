//! Where plugins are looked for: explicit directories, never the current one.

use crate::args::PluginDirArgs;
use crate::exit::Failure;
use std::path::PathBuf;
use tenuis_core::CodecRegistry;
use tenuis_orchestrator::plugin::PluginRegistry;

/// The directories that `--plugin-dir` names, else those of `TENUIS_PLUGIN_DIR`, else the two that belong to the
/// program: `plugins` beside it (as a build leaves it) and `../lib/tenuis/plugins` (as an installation has it).
pub(crate) fn directories(args: &PluginDirArgs) -> Vec<PathBuf> {
    if !args.plugin_dirs.is_empty() {
        return args.plugin_dirs.clone();
    }
    if let Some(paths) = std::env::var_os("TENUIS_PLUGIN_DIR") {
        return std::env::split_paths(&paths).filter(|p| !p.as_os_str().is_empty()).collect();
    }
    let Some(program) = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok()) else {
        return vec![];
    };
    let Some(dir) = program.parent() else { return vec![] };
    let mut found = vec![dir.join("plugins")];
    found.extend(dir.parent().map(|prefix| prefix.join("lib").join("tenuis").join("plugins")));
    found.retain(|d| d.is_dir());
    found
}

/// Loads the plugins and adds the representations they bring to the built-in ones.
pub(crate) fn load(args: &PluginDirArgs) -> Result<(PluginRegistry, CodecRegistry), Failure> {
    let registry = PluginRegistry::discover(&directories(args))?;
    let mut codecs = CodecRegistry::builtin();
    registry.register_codecs(&mut codecs);
    Ok((registry, codecs))
}
