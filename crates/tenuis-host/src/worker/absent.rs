//! Systems without Unix sockets: every attempt to isolate a plugin is refused.

use crate::call::Call;
use crate::callbacks::Context;
use crate::worker::{ServeError, WorkerFault, WorkerLimits, WorkerProgram};
use serde_json::Value;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

/// Nothing: there is no isolated plugin here.
#[derive(Debug)]
pub(crate) struct IsolatedPlugin(Infallible);

impl IsolatedPlugin {
    pub(crate) fn load(
        _library: &Path,
        _hash: &str,
        _program: &WorkerProgram,
        _limits: &WorkerLimits,
    ) -> Result<crate::library::Loaded, WorkerFault> {
        Err(WorkerFault::System)
    }

    pub(crate) fn decode(
        &self,
        _technique: &str,
        _id: u64,
        _weight: &tenuis_abi::tn_weight,
        _row: u64,
        _out: &mut [f32],
    ) -> Result<(), String> {
        match self.0 {}
    }
}

/// Nothing: there is no worker here.
pub(crate) struct JobWorker(Infallible);

impl JobWorker {
    pub(crate) fn create(
        plugin: &Arc<IsolatedPlugin>,
        _technique: &str,
        _options: &Value,
        _context: &Arc<Context>,
    ) -> Result<(Self, i32, String), WorkerFault> {
        match plugin.0 {}
    }

    pub(crate) fn call(&mut self, _call: Call<'_>) -> Result<(i32, String, u64), WorkerFault> {
        match self.0 {}
    }
}

/// Does nothing on this system.
///
/// # Errors
/// [`ServeError::System`].
pub fn serve(_library: &Path) -> Result<(), ServeError> {
    Err(ServeError::System)
}
