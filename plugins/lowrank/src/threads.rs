//! The plugin's own thread pool, within the host's budget.

use rayon::{ThreadPool, ThreadPoolBuilder};
use tenuis_plugin::{FailureKind, Host, TechniqueError};

/// As many threads as the host allows. Without it, rayon would take every core of the machine.
pub(crate) fn pool(host: &Host<'_>) -> Result<ThreadPool, TechniqueError> {
    ThreadPoolBuilder::new()
        .num_threads(host.thread_budget())
        .thread_name(|i| format!("lowrank-{i}"))
        .build()
        .map_err(|e| TechniqueError::new(FailureKind::OutOfMemory, format!("cannot start threads: {e}")))
}
