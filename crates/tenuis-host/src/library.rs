//! Opening a library and reading what its entry point returns.

#![expect(unsafe_code, reason = "loads foreign code and reads its structs")]

use crate::error::LoadError;
use crate::worker::IsolatedPlugin;
use std::mem::size_of;
use std::path::Path;
use std::sync::Arc;
use tenuis_abi as abi;
use tenuis_abi::{read_covered, read_text, tn_plugin, tn_plugin_entry, tn_str, tn_technique};

/// No plugin has more techniques or kinds than this; a larger number is a broken struct.
const LIMIT: u64 = 4096;
/// No identifier, version or schema is longer than this; a larger number is a broken struct.
const TEXT_LIMIT: u64 = 16 << 20;

/// A technique's functions and texts, copied out of the library.
#[derive(Debug)]
pub(crate) struct TechniqueTable {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) schema: String,
    pub(crate) kinds: Vec<&'static str>,
    /// `TN_SCOPE_*`.
    pub(crate) scope: u32,
    /// `TN_NEEDS_*` and so on.
    pub(crate) caps: u64,
    /// Whether it can say how much memory it takes.
    pub(crate) estimates: bool,
    pub(crate) functions: Functions,
}

/// Where a technique's functions are.
#[derive(Debug)]
pub(crate) enum Functions {
    /// In this process.
    Here(Box<tn_technique>),
    /// In processes of their own.
    Worker(Arc<IsolatedPlugin>),
}

// SAFETY: the pointers of `raw` are functions and constants of a library that is never unloaded, and only its
// functions are used after construction; the ABI says which of them may run on which threads.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

/// What an entry point returned.
pub(crate) struct Loaded {
    pub(crate) abi_minor: u32,
    pub(crate) techniques: Vec<TechniqueTable>,
}

/// Opens a library for ever and reads its techniques. The path must be absolute.
pub(crate) fn open(library: &Path) -> Result<Loaded, LoadError> {
    // SAFETY: the function has this type by its name, which carries the major version.
    let plugin = unsafe { open_entry(library)?(abi::TN_ABI_MINOR) };
    // SAFETY: null, or a struct that lives as long as the library, by the ABI.
    unsafe { read_plugin(library, plugin) }
}

/// As [`open`], as a host of another minor version would; `None` where that is refused.
pub(crate) fn open_at_minor(library: &Path, minor: u32) -> Result<Option<Loaded>, LoadError> {
    // SAFETY: as in `open`.
    unsafe {
        let plugin = open_entry(library)?(minor);
        if plugin.is_null() || read_covered(plugin).is_some_and(|p| p.min_host_minor > minor) {
            return Ok(None);
        }
        read_plugin(library, plugin).map(Some)
    }
}

/// Opens a library for ever and finds its entry point.
fn open_entry(library: &Path) -> Result<tn_plugin_entry, LoadError> {
    let cannot = |e: libloading::Error| {
        let detail = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        LoadError::Open { library: library.to_owned(), problem: format!("{e}{detail}") }
    };
    // SAFETY: initialisers of the library run; whoever puts a library, with its manifest, into a plugin directory
    // trusts it.
    let opened = unsafe { load(library) }.map_err(cannot)?;
    // SAFETY: the symbol's name carries the major version, which fixes its type.
    let entry = unsafe { opened.get::<tn_plugin_entry>(abi::ENTRY_SYMBOL) }.map(|symbol| *symbol);
    // Never unloaded: thread-local values of the library may have destructors.
    std::mem::forget(opened);
    entry.map_err(|_| LoadError::NoSymbol { library: library.to_owned(), symbol: abi::ENTRY_SYMBOL })
}

#[cfg(unix)]
unsafe fn load(library: &Path) -> Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // Undefined symbols fail here and not in the middle of a run.
    // SAFETY: the caller vouches for the library.
    unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

#[cfg(not(unix))]
unsafe fn load(library: &Path) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: the caller vouches for the library.
    unsafe { libloading::Library::new(library) }
}

/// # Safety
/// `plugin` is null or what an entry point of ABI major 1 returned.
unsafe fn read_plugin(library: &Path, plugin: *const tn_plugin) -> Result<Loaded, LoadError> {
    let malformed = |problem: String| LoadError::Malformed { library: library.to_owned(), problem };
    if plugin.is_null() {
        return Err(malformed(format!(
            "its entry point does not accept plugin ABI {}.{}",
            abi::TN_ABI_MAJOR,
            abi::TN_ABI_MINOR
        )));
    }
    // SAFETY: not null; the magic number is the first field in every version.
    let magic = unsafe { plugin.cast::<u64>().read_unaligned() };
    if magic != abi::TN_MAGIC {
        return Err(malformed(format!(
            "the magic number is {magic:#018x}, expected {:#018x}",
            abi::TN_MAGIC
        )));
    }
    // SAFETY: a plugin struct by its magic number.
    let read = unsafe { read_covered(plugin) }.filter(|p| p.struct_size as usize >= size_of::<tn_plugin>());
    let plugin = read.ok_or_else(|| malformed("its plugin struct is too short".to_owned()))?;
    if plugin.abi_major != abi::TN_ABI_MAJOR {
        let (found, expected) = (plugin.abi_major, abi::TN_ABI_MAJOR);
        return Err(LoadError::AbiMajor { path: library.to_owned(), found, expected });
    }
    if plugin.min_host_minor > abi::TN_ABI_MINOR {
        let (needs, has) = (plugin.min_host_minor, abi::TN_ABI_MINOR);
        return Err(LoadError::HostTooOld { library: library.to_owned(), needs, has });
    }
    if plugin.n_techniques == 0 || plugin.n_techniques > LIMIT || plugin.techniques.is_null() {
        return Err(malformed(format!("it says that it has {} techniques", plugin.n_techniques)));
    }
    let mut techniques = Vec::new();
    for index in 0..plugin.n_techniques as usize {
        // SAFETY: the array has `n_techniques` entries, each null or a technique.
        let technique = unsafe { read_covered(*plugin.techniques.add(index)) };
        let technique = technique.ok_or_else(|| malformed(format!("technique {index} is null or empty")))?;
        // SAFETY: its texts live as long as the library.
        let table = unsafe { read_technique(technique) };
        techniques.push(table.map_err(|problem| malformed(format!("technique {index}: {problem}")))?);
    }
    Ok(Loaded { abi_minor: plugin.abi_minor, techniques })
}

/// # Safety
/// The texts and kinds of `raw` are readable.
unsafe fn read_technique(raw: tn_technique) -> Result<TechniqueTable, String> {
    let field = |name: &str, text: tn_str| {
        // SAFETY: the caller vouches for it.
        unsafe { read_text(text, TEXT_LIMIT) }
            .map(str::to_owned)
            .ok_or_else(|| format!("its {name} is not UTF-8 text"))
    };
    let id = field("id", raw.id)?;
    if id.is_empty() {
        return Err("its id is empty".to_owned());
    }
    let with_id = |problem: &str| format!("{problem} (id {id:?})");
    let version = field("version", raw.version)?;
    let schema = field("config_schema", raw.config_schema)?;
    if u64::from(raw.n_kinds) > LIMIT || (raw.n_kinds > 0 && raw.kinds.is_null()) {
        return Err(with_id("its list of kinds is broken"));
    }
    let mut kinds: Vec<&'static str> = Vec::new();
    for index in 0..raw.n_kinds as usize {
        // SAFETY: the array has `n_kinds` entries.
        let kind = field("kind", unsafe { *raw.kinds.add(index) })?;
        // As long-lived as the library, which is never unloaded.
        kinds.push(kind.leak());
    }
    let complete = match raw.scope {
        abi::TN_SCOPE_GROUP => raw.group_begin.is_some() && raw.group_finish.is_some(),
        abi::TN_SCOPE_MODEL => raw.model_run.is_some(),
        other => return Err(with_id(&format!("its scope is {other}"))),
    };
    let streams = raw.scope == abi::TN_SCOPE_GROUP && raw.caps & abi::TN_NEEDS_INPUTS != 0;
    let tiles = !streams || raw.group_tile.is_some();
    let decodes = kinds.is_empty() || raw.decode.is_some();
    if !(complete && tiles && decodes) || raw.create.is_none() || raw.destroy.is_none() {
        return Err(with_id("a function that its scope, flags or kinds call for is null"));
    }
    let estimates =
        if raw.scope == abi::TN_SCOPE_MODEL { raw.model_estimate.is_some() } else { raw.estimate.is_some() };
    let (scope, caps, functions) = (raw.scope, raw.caps, Functions::Here(Box::new(raw)));
    Ok(TechniqueTable { id, version, schema, kinds, scope, caps, estimates, functions })
}
