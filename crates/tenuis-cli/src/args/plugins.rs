//! Plugins: where they are, what they offer, and the worker that runs one.

use clap::Subcommand;
use std::path::PathBuf;

/// Where plugins are looked for.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginDirArgs {
    /// Look for plugins in this directory only; may be given several times [default: TENUIS_PLUGIN_DIR, else
    /// `plugins` beside the program and `../lib/tenuis/plugins`].
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// Where the code of plugins runs: `auto` gives those from outside the installation processes of their own, `process`
    /// every one, `none` no one.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) isolation: IsolationArg,
}

/// Where the code of plugins runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IsolationArg {
    /// Plugins from outside the installation, and those whose manifest asks for it, in processes of their own.
    Auto,
    /// Every plugin in processes of its own.
    Process,
    /// Every plugin in this process.
    None,
}

/// Show the plugins and their techniques.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginsArgs {
    #[command(subcommand)]
    pub(crate) action: PluginsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsAction {
    /// List what was found where.
    List {
        #[command(flatten)]
        plugins: PluginDirArgs,
    },
    /// Pin the plugins of a directory: write the hashes of their libraries to its plugins.lock.
    Lock {
        /// The directory.
        dir: PathBuf,
    },
    /// Print the JSON Schema of a technique's options.
    Schema {
        /// The technique.
        technique: String,
        #[command(flatten)]
        plugins: PluginDirArgs,
    },
}

/// Runs one plugin for the host at the other end of standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginWorkerArgs {
    /// The plugin's library.
    pub(crate) library: PathBuf,
}
