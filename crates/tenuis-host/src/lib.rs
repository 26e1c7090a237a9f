//! Finds, checks, loads and runs technique plugins.
//!
//! A plugin is a dynamic library with a manifest beside it (`NAME.plugin.json` beside `libNAME.so`, `libNAME.dylib`
//! or `NAME.dll`). [`PluginRegistry::discover`] looks in the given directories only, reads the manifest first, checks
//! the hash against a `plugins.lock` where there is one, looks at the library's header and symbols, and only then
//! loads it. Whatever is wrong stands in that plugin's [`PluginEntry`] and costs the other plugins nothing.
//!
//! A [`Technique`] checks options against the plugin's JSON Schema and starts a [`Job`]; a job takes one
//! [`GroupInput`] after the other. A technique that works on the whole checkpoint starts a [`ModelJob`], which takes a
//! [`ModelInput`]. What a plugin hands back is distrusted: every component is decoded and checked for
//! unwritten bytes, writes past its end, types, shapes and values that are not finite before it is kept.
//!
//! The code of a plugin that does not belong to the installation runs in a process of its own
//! ([`PluginRegistry::discover_with`], [`WorkerProgram`], [`serve`]): when that crashes, hangs or exits, one job fails with a
//! [`WorkerFault`]. Techniques and jobs look the same wherever they run.
//!
//! A library is never unloaded: destructors of thread-local values that it left behind would run into nothing.

mod binary;
mod buffer;
mod call;
mod callbacks;
pub mod conformance;
mod discover;
mod error;
mod events;
mod group;
mod inputs;
mod instance;
mod job;
mod library;
mod lock;
mod manifest;
mod model;
mod outputs;
mod registry;
mod schema;
mod technique;
mod views;
mod weight;
mod worker;

pub use discover::{DiscoverOptions, Isolation};
pub use error::{LoadError, OutputProblem, PluginError, Status};
pub use events::{HostEvents, LogLevel, NoEvents};
pub use group::{GroupInput, GroupOutput, LinearInput, LogLine, Moments, OutLoss};
pub use job::Job;
pub use lock::{LOCK_FILE, PluginLock};
pub use manifest::{AskedIsolation, MANIFEST_SUFFIX, Manifest, Produces};
pub use model::{EvalLoss, ModelCheckpoint, ModelInput, ModelJob, ModelOutput, TokenSequences, TokenSource};
pub use registry::{PluginEntry, PluginRegistry};
pub use schema::SchemaProblem;
pub use technique::{Capabilities, Scope, Statistics, Technique};
pub use weight::PluginWeight;
pub use worker::{ServeError, WorkerFault, WorkerLimits, WorkerProgram, serve};
