//! Where decompositions run: nobody can interrupt one, and large ones take minutes.

use rayon::ThreadPool;
use std::sync::Arc;
use tenuis_plugin::{Host, TechniqueError};

/// Threads that a decomposition may go on upon after its job was cancelled.
pub(crate) struct Solver(Arc<ThreadPool>);

impl Solver {
    pub(crate) fn new(host: &Host<'_>) -> Result<Self, TechniqueError> {
        Ok(Self(Arc::new(host.thread_pool("lowrank")?)))
    }

    /// Does the work, or returns soon after the job is cancelled.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        host: &Host<'_>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TechniqueError> {
        let pool = Arc::clone(&self.0);
        host.detached(move || pool.install(work))
    }
}
