//! What can go wrong with a plugin: finding and loading it, starting it, and what it hands back.

use crate::schema::SchemaProblem;
use crate::worker::WorkerFault;
use std::fmt;
use std::path::PathBuf;
use tenuis_abi as abi;
use tenuis_core::{TensorError, WeightError};
use thiserror::Error;

/// Why a plugin could not be found or loaded. No code of the library has run unless the variant says so.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A plugin path that is empty, does not exist or cannot be read.
    #[error("plugin path {}: {source}", path.display())]
    Path {
        /// The path as it was given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the plugin cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A dynamic library without a manifest.
    #[error("{}: has no manifest; put {} beside it", library.display(), manifest.display())]
    NoManifest {
        /// The library.
        library: PathBuf,
        /// The manifest that is expected.
        manifest: PathBuf,
    },
    /// A manifest without a library.
    #[error("{}: its library {} is not there", manifest.display(), library.display())]
    NoLibrary {
        /// The manifest.
        manifest: PathBuf,
        /// The library that is expected.
        library: PathBuf,
    },
    /// A manifest that cannot be parsed.
    #[error("{}: {problem}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A plugin for another major version of the ABI.
    #[error("{}: built for plugin ABI {found}, this program has ABI {expected}; rebuild the plugin", path.display())]
    AbiMajor {
        /// The manifest or library.
        path: PathBuf,
        /// The plugin's major version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// A `plugins.lock` that cannot be parsed.
    #[error("{}: line {line}: expected \"<blake3 in hex>  <file name>\"", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A library that the directory's `plugins.lock` does not list.
    #[error("{}: is not listed in {}; its blake3 is {hash}", library.display(), lock.display())]
    NotLocked {
        /// The library.
        library: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// The library's hash.
        hash: String,
    },
    /// A library whose hash is not the one that `plugins.lock` pins.
    #[error("{}: its blake3 is {found}, {} pins {expected}", library.display(), lock.display())]
    HashMismatch {
        /// The library.
        library: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// The pinned hash.
        expected: String,
        /// The library's hash.
        found: String,
    },
    /// A file that is not a dynamic library of any system.
    #[error("{}: is not a dynamic library ({problem})", library.display())]
    NotALibrary {
        /// The file.
        library: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A library for another processor or system.
    #[error("{}: built for {found}, this program runs on {expected}", library.display())]
    Architecture {
        /// The library.
        library: PathBuf,
        /// What it was built for.
        found: String,
        /// What is running.
        expected: String,
    },
    /// A library that does not export the entry point.
    #[error("{}: does not export {symbol}; is it a Tenuis plugin?", library.display())]
    NoSymbol {
        /// The library.
        library: PathBuf,
        /// The symbol.
        symbol: &'static str,
    },
    /// The system's loader refused; the library's initialisers may have run.
    #[error("{}: cannot be loaded: {problem}", library.display())]
    Open {
        /// The library.
        library: PathBuf,
        /// The loader's message.
        problem: String,
    },
    /// The entry point returned something that is not a plugin of this ABI. Its code has run.
    #[error("{}: {problem}", library.display())]
    Malformed {
        /// The library.
        library: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The plugin's process could not load it. The code of the library may have run, in that process alone.
    #[error("{}: its process {fault}", library.display())]
    Worker {
        /// The library.
        library: PathBuf,
        /// What happened.
        fault: Box<WorkerFault>,
    },
    /// The plugin is to run in a process of its own, and no program for that was named.
    #[error("{}: is outside the installation and would run in a process of its own, but no worker program is named", library.display())]
    NoWorker {
        /// The library.
        library: PathBuf,
    },
    /// The plugin needs a newer minor version of the ABI. Its entry point has run.
    #[error("{}: needs plugin ABI {}.{needs} or later, this program has {}.{has}", library.display(), abi::TN_ABI_MAJOR, abi::TN_ABI_MAJOR)]
    HostTooOld {
        /// The library.
        library: PathBuf,
        /// The minor version that it needs.
        needs: u32,
        /// Ours.
        has: u32,
    },
    /// The techniques of manifest and library differ. The entry point has run.
    #[error("{}: the manifest lists techniques [{}], the library has [{}]", library.display(), manifest.join(", "), found.join(", "))]
    Techniques {
        /// The library.
        library: PathBuf,
        /// The manifest's.
        manifest: Vec<String>,
        /// The library's.
        found: Vec<String>,
    },
    /// A technique's schema does not compile or does not follow the rules.
    #[error("{}: options schema of technique {technique:?}: {problem}", library.display())]
    Schema {
        /// The library.
        library: PathBuf,
        /// The technique.
        technique: String,
        /// What is wrong with its schema.
        problem: String,
    },
    /// A technique or representation kind that is taken already.
    #[error("{}: {what} {name:?} is already provided by {taken_by}", library.display())]
    Taken {
        /// The library.
        library: PathBuf,
        /// "technique" or "representation kind".
        what: &'static str,
        /// The name.
        name: String,
        /// Who provides it.
        taken_by: String,
    },
}

/// A status that a plugin returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// An argument, option or descriptor is wrong.
    Invalid,
    /// The technique cannot do it.
    Unsupported,
    /// The numbers do not allow it.
    Numerical,
    /// Not enough memory.
    OutOfMemory,
    /// Reading or writing failed.
    Io,
    /// A number that the ABI does not define.
    Unknown(i32),
}

impl Status {
    pub(crate) const fn from_code(code: i32) -> Self {
        match code {
            abi::TN_INVALID => Self::Invalid,
            abi::TN_UNSUPPORTED => Self::Unsupported,
            abi::TN_NUMERICAL => Self::Numerical,
            abi::TN_OOM => Self::OutOfMemory,
            abi::TN_IO => Self::Io,
            other => Self::Unknown(other),
        }
    }
}

impl From<TensorError> for OutputProblem {
    fn from(error: TensorError) -> Self {
        Self::Weight(error.into())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("invalid argument"),
            Self::Unsupported => f.write_str("not supported"),
            Self::Numerical => f.write_str("numerical failure"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Io => f.write_str("input/output failure"),
            Self::Unknown(code) => write!(f, "undefined status {code}"),
        }
    }
}

/// Why a technique could not be started or did not do its work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PluginError {
    /// No plugin that could be loaded provides the technique.
    #[error("technique {id:?} is not available: {reason}")]
    UnknownTechnique {
        /// The technique that was asked for.
        id: String,
        /// Why, with the techniques that are there and the plugins that failed.
        reason: String,
    },
    /// The options do not satisfy the technique's schema.
    #[error("options of technique {technique:?}: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Options {
        /// The technique.
        technique: String,
        /// Every problem with its path and what is allowed.
        problems: Vec<SchemaProblem>,
    },
    /// The technique has no function for what was asked.
    #[error("technique {technique:?} has scope {scope}, asked for scope {asked}")]
    Scope {
        /// The technique.
        technique: String,
        /// Its scope.
        scope: &'static str,
        /// The scope that was asked for.
        asked: &'static str,
    },
    /// The caller did not provide what the technique's capability flags ask for, or something that does not fit.
    #[error("technique {technique:?}: {problem}")]
    Input {
        /// The technique.
        technique: String,
        /// What is missing or wrong.
        problem: String,
    },
    /// A weight cannot be decoded for the plugin.
    #[error("technique {technique:?}: input weight {name:?}: {source}")]
    InputWeight {
        /// The technique.
        technique: String,
        /// The weight.
        name: String,
        /// What is wrong with it.
        source: Box<WeightError>,
    },
    /// The plugin said no.
    #[error("technique {technique:?} failed in {call}: {message} ({status})")]
    Failed {
        /// The technique.
        technique: String,
        /// The function of the plugin that failed.
        call: &'static str,
        /// Its status.
        status: Status,
        /// Its message.
        message: String,
    },
    /// Stopped because [`HostEvents::cancelled`](crate::HostEvents::cancelled) said so.
    #[error("technique {technique:?} was cancelled")]
    Cancelled {
        /// The technique.
        technique: String,
    },
    /// The plugin panicked; the job can only be dropped.
    #[error("technique {technique:?} panicked in {call}: {message}")]
    Panicked {
        /// The technique.
        technique: String,
        /// The function of the plugin.
        call: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The job panicked or lost its process before and can only be dropped.
    #[error("technique {technique:?} panicked or died earlier; its job cannot be used again")]
    Poisoned {
        /// The technique.
        technique: String,
    },
    /// The plugin's process died, hung or could not be started; the job can only be dropped.
    #[error("technique {technique:?} of {}, in {call}: its process {fault}", library.display())]
    Worker {
        /// The technique.
        technique: String,
        /// The plugin's library.
        library: PathBuf,
        /// The function of the plugin.
        call: &'static str,
        /// What happened to the process.
        fault: Box<WorkerFault>,
    },
    /// What the plugin handed back cannot be kept.
    #[error("technique {technique:?} returned a bad {weight:?}: {problem}")]
    Output {
        /// The technique.
        technique: String,
        /// The weight, tensor or file.
        weight: String,
        /// What is wrong with it.
        problem: Box<OutputProblem>,
    },
}

/// What is wrong with something that a plugin handed back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputProblem {
    /// Nothing was emitted.
    #[error("it was not emitted")]
    Missing,
    /// The name is none of the group's.
    #[error("it is no member of the group")]
    NotInGroup,
    /// A component, or a tensor (then the component's name is empty), was not lent a buffer.
    #[error("{} was never allocated", part(component))]
    NotAllocated {
        /// The component.
        component: String,
    },
    /// The plugin asked for a buffer of an impossible type or shape.
    #[error("{}: {problem}", part(component))]
    Allocation {
        /// The component.
        component: String,
        /// What is wrong with the request.
        problem: String,
    },
    /// Bytes still hold the pattern that the host filled the buffer with.
    #[error("{} was not written at byte {byte} of {bytes}", part(component))]
    Unwritten {
        /// The component.
        component: String,
        /// The first byte that was not written.
        byte: usize,
        /// The bytes of the component.
        bytes: usize,
    },
    /// Something was written behind the end of a buffer; memory may be corrupt.
    #[error("{} was written past its end", part(component))]
    Overrun {
        /// The component.
        component: String,
    },
    /// The descriptor is not JSON.
    #[error("its descriptor is not JSON: {problem}")]
    Descriptor {
        /// The parser's message.
        problem: String,
    },
    /// The components do not make up a weight of that descriptor and of the input's shape.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// A value is NaN or infinite.
    #[error("value {value} at row {row}, column {column}")]
    NonFinite {
        /// The value.
        value: f32,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// The technique's manifest does not say that it makes such weights.
    #[error("its kind is {kind:?}, but the manifest says that the technique produces {}", declared.join(", "))]
    UndeclaredKind {
        /// The kind of what was emitted.
        kind: String,
        /// What the manifest says.
        declared: Vec<String>,
    },
    /// A dense tensor came back with its stored shape changed.
    #[error("the stored shape changed from {expected:?} to {found:?}")]
    StoredShape {
        /// The shape that went in.
        expected: Vec<usize>,
        /// The shape that came out.
        found: Vec<usize>,
    },
    /// A pruned entry is not zero any more.
    #[error("the pruned entry at row {row}, column {column} became {value}")]
    Mask {
        /// The value.
        value: f32,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// A fold scale has the wrong length, or is not finite and positive.
    #[error("fold scale: {problem}")]
    Fold {
        /// What is wrong with it.
        problem: String,
    },
    /// An element of a tensor is NaN or infinite, and none was in the tensor that it replaces.
    #[error("value {value} at element {element}")]
    NonFiniteElement {
        /// The value.
        value: f64,
        /// Its place in row-major order.
        element: usize,
    },
    /// The name was emitted before, alone or as a part of a weight.
    #[error("it was emitted before; retract that first")]
    Duplicate,
    /// The name was removed before, alone or with its weight.
    #[error("it was removed before; retract that first")]
    Removed,
    /// The checkpoint has no such tensor or module.
    #[error("the checkpoint has no tensor or weight of that name")]
    NotInModel,
    /// Nothing was emitted, removed or refused under the name.
    #[error("nothing was emitted or removed under that name")]
    NothingToRetract,
    /// Something of the teacher was asked for.
    #[error("there is no teacher to copy from")]
    NoTeacher,
    /// The component of a compressed weight on its own.
    #[error(
        "it belongs to weight {module:?}, which is stored as {kind}; emit or remove the weight as a whole"
    )]
    PartOfWeight {
        /// The weight.
        module: String,
        /// Its representation.
        kind: String,
    },
    /// Integers in the place of floating-point numbers, or the other way round.
    #[error("its element type is {found}, and the tensor that it replaces is {replaced}")]
    ElementType {
        /// The type that was emitted.
        found: String,
        /// The type that was there.
        replaced: String,
    },
    /// A name that cannot be stored.
    #[error("{problem}")]
    Name {
        /// What is wrong with it.
        problem: String,
    },
    /// The new configuration is not an object.
    #[error("the new configuration {problem}")]
    Config {
        /// What is wrong with it.
        problem: String,
    },
    /// The host's loss of a candidate could not be computed.
    #[error("loss of the candidate: {problem}")]
    Loss {
        /// Why.
        problem: String,
    },
    /// A function of the host panicked while the plugin called it.
    #[error("the host panicked: {message}")]
    HostPanic {
        /// The panic's message.
        message: String,
    },
}

/// How a component is called; without a name it is a tensor as a whole.
fn part(component: &str) -> String {
    if component.is_empty() { "it".to_owned() } else { format!("component {component:?}") }
}
