//! Which plugins run in processes of their own.

use crate::manifest::{AskedIsolation, Manifest};
use crate::worker::{WorkerLimits, WorkerProgram};
use std::path::{Path, PathBuf};

/// Where the code of plugins runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isolation {
    /// That of plugins which belong to the installation in this process, unless their manifest asks for one of their own;
    /// that of all others in processes of their own.
    #[default]
    Auto,
    /// That of every plugin in processes of its own.
    Process,
    /// That of every plugin in this process, whatever its manifest asks for.
    InProcess,
}

/// How plugins are loaded.
///
/// ```
/// use tenuis_host::{DiscoverOptions, PluginRegistry, WorkerProgram};
/// let mut options = DiscoverOptions::default();
/// options.installation = vec!["/usr/lib/tenuis/plugins".into()];
/// options.worker = Some(WorkerProgram::new("/usr/bin/tenuis", ["plugin-worker"]));
/// let registry = PluginRegistry::discover_with(&[], &options)?;
/// assert_eq!(registry.plugins().len(), 0);
/// # Ok::<(), tenuis_host::LoadError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DiscoverOptions {
    /// Where plugins run.
    pub isolation: Isolation,
    /// The directories whose plugins are as trusted as the program itself. Those that do not exist are none.
    pub installation: Vec<PathBuf>,
    /// The program that runs a plugin. Without it plugins that have to be isolated are not loaded.
    pub worker: Option<WorkerProgram>,
    /// What that program is allowed.
    pub limits: WorkerLimits,
}

impl DiscoverOptions {
    /// Whether a library, whose path is canonical, is to run in processes of its own.
    pub(crate) fn isolates(&self, library: &Path, manifest: &Manifest) -> bool {
        match self.isolation {
            Isolation::Process => true,
            Isolation::InProcess => false,
            Isolation::Auto => {
                // A link in a trusted directory to a library elsewhere is not trusted: what is followed counts.
                let file = library.canonicalize().unwrap_or_else(|_| library.to_owned());
                let inside = |dir: &PathBuf| dir.canonicalize().is_ok_and(|dir| file.parent() == Some(&dir));
                manifest.isolation == Some(AskedIsolation::Process) || !self.installation.iter().any(inside)
            }
        }
    }
}
