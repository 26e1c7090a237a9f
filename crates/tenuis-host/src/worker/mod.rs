//! Plugins in processes of their own.
//!
//! A [`WorkerProgram`] is started with the library as its last argument and a socket as standard input; there it calls
//! [`serve`]. Each function of the ABI is one message (`wire`), in a frame (`frame`) that may carry one file: shared memory that
//! holds the message's tensors (`shared`). The host packs its views into messages (`pack`), the worker makes the same views of
//! them (`unpack`) and lends the plugin functions that ask the host (`proxy`); the host answers them by the functions that
//! it lends to libraries of its own process (`relay`), so that the same code checks what comes back.
//!
//! A worker works on one job. It ends with it, or with its host.

mod fault;
mod program;

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod frame;
#[cfg(unix)]
mod pack;
#[cfg(unix)]
mod plugin;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod relay;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod shared;
#[cfg(unix)]
mod unpack;
#[cfg(unix)]
mod wire;

#[cfg(unix)]
pub(crate) use plugin::IsolatedPlugin;
#[cfg(unix)]
pub(crate) use relay::JobWorker;
#[cfg(unix)]
pub use serve::serve;

#[cfg(not(unix))]
mod absent;
#[cfg(not(unix))]
pub use absent::serve;
#[cfg(not(unix))]
pub(crate) use absent::{IsolatedPlugin, JobWorker};

pub use fault::{ServeError, WorkerFault};
pub use program::{WorkerLimits, WorkerProgram};
