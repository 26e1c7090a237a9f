//! Which program is a worker, and what it is allowed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The program that calls [`serve`](crate::serve): its path and what stands before the library's path among its arguments.
///
/// ```
/// use tenuis_host::WorkerProgram;
/// let program = WorkerProgram::new("/usr/bin/tenuis", ["plugin-worker"]);
/// assert_eq!(program.args.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerProgram {
    /// The program. It is not looked up in any search path.
    pub path: PathBuf,
    /// The arguments before the library's path.
    pub args: Vec<OsString>,
}

impl WorkerProgram {
    /// A program and its arguments.
    pub fn new<A: Into<OsString>>(path: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Self {
        Self { path: path.into(), args: args.into_iter().map(Into::into).collect() }
    }
}

/// What a worker is allowed before it is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerLimits {
    /// To start and to load the library: a minute.
    pub start: Duration,
    /// Without a sign of life, which is any call of a function of the host: five minutes. The ABI asks for one each 100 ms.
    pub silence: Duration,
    /// To return once `cancelled` answers true: five seconds.
    pub cancel_grace: Duration,
    /// Bytes of address space (`RLIMIT_AS`), which an allocation beyond fails at; `None`, the default, for no limit of its
    /// own. Mapped tensors count.
    pub address_space: Option<u64>,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            start: Duration::from_mins(1),
            silence: Duration::from_mins(5),
            cancel_grace: Duration::from_secs(5),
            address_space: None,
        }
    }
}
