//! The plugins that were found, and the techniques that could be loaded from them.

use crate::binary;
use crate::discover::{DiscoverOptions, Isolation};
use crate::error::{LoadError, PluginError};
use crate::library::{self, Loaded};
use crate::lock::PluginLock;
use crate::manifest::{MANIFEST_SUFFIX, Manifest};
use crate::schema::OptionsSchema;
use crate::technique::Technique;
use crate::worker::IsolatedPlugin;
use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::CodecRegistry;

/// A plugin that was found, loaded or not.
#[derive(Debug)]
pub struct PluginEntry {
    library: PathBuf,
    manifest_path: PathBuf,
    manifest: Option<Manifest>,
    hash: Option<String>,
    abi_minor: Option<u32>,
    isolated: bool,
    techniques: Vec<Technique>,
    error: Option<LoadError>,
}

impl PluginEntry {
    /// The library, whether it exists or not.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The manifest's path, whether it exists or not.
    pub fn manifest_path(&self) -> &Path {
        &self.manifest_path
    }

    /// The manifest, if it could be read.
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The plugin's name by its manifest, or else by its file.
    pub fn name(&self) -> &str {
        match &self.manifest {
            Some(manifest) => &manifest.name,
            None => self
                .manifest_path
                .file_name()
                .and_then(|n| n.to_str())
                .map_or("?", |n| n.strip_suffix(MANIFEST_SUFFIX).unwrap_or(n)),
        }
    }

    /// The plugin's version by its manifest.
    pub fn version(&self) -> Option<&str> {
        self.manifest.as_ref().map(|m| m.version.as_str())
    }

    /// The plugin's ABI: the major version by the manifest, the minor one by the library once it is loaded.
    pub fn abi(&self) -> Option<(u32, Option<u32>)> {
        self.manifest.as_ref().map(|m| (m.abi, self.abi_minor))
    }

    /// The library's blake3 in hex, once it was read.
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// Whether its code runs, or was to run, in processes of its own.
    pub const fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// The techniques that it provides; empty where it was not loaded.
    pub fn techniques(&self) -> &[Technique] {
        &self.techniques
    }

    /// Why it was not loaded.
    pub const fn error(&self) -> Option<&LoadError> {
        self.error.as_ref()
    }

    /// The technique ids that its manifest promises.
    fn promised(&self) -> impl Iterator<Item = &str> {
        self.manifest.iter().flat_map(|m| m.techniques.iter().map(String::as_str))
    }
}

/// The plugins of some directories.
#[derive(Debug, Default)]
pub struct PluginRegistry {
    searched: Vec<PathBuf>,
    plugins: Vec<PluginEntry>,
    by_id: BTreeMap<String, (usize, usize)>,
}

impl PluginRegistry {
    /// Loads the plugins of the given directories into this process, and those of nowhere else. A path may also name a library or a
    /// manifest; a name without a directory is looked up in no search path.
    ///
    /// A plugin that cannot be loaded becomes an entry with an error. Where two provide a technique of the same
    /// name, the first one found keeps it, and the second is refused.
    ///
    /// # Errors
    /// [`LoadError::Path`] for a path that does not exist or cannot be read.
    pub fn discover(paths: &[PathBuf]) -> Result<Self, LoadError> {
        Self::discover_with(
            paths,
            &DiscoverOptions { isolation: Isolation::InProcess, ..DiscoverOptions::default() },
        )
    }

    /// As [`discover`](Self::discover), but says which plugins run in processes of their own. Of these no code runs in this
    /// process, not even to find out what they provide.
    ///
    /// # Errors
    /// As [`discover`](Self::discover).
    pub fn discover_with(paths: &[PathBuf], options: &DiscoverOptions) -> Result<Self, LoadError> {
        let mut registry = Self::default();
        let mut seen = BTreeSet::new();
        for given in paths {
            let failed = |source| LoadError::Path { path: given.clone(), source };
            // Absolute from here on, so that no loader search path can come into play.
            let path = given.canonicalize().map_err(failed)?;
            let candidates =
                if path.is_dir() { candidates_in(&path).map_err(failed)? } else { candidate_of(&path) };
            registry.searched.push(path);
            for (library, manifest_path) in candidates {
                if seen.insert(library.clone()) {
                    let entry = registry.load(library, manifest_path, options);
                    registry.add(entry);
                }
            }
        }
        Ok(registry)
    }

    /// Every plugin that was found, in the order of the search.
    pub fn plugins(&self) -> &[PluginEntry] {
        &self.plugins
    }

    /// Every technique that can be used, by id.
    pub fn techniques(&self) -> impl Iterator<Item = &Technique> {
        self.by_id.values().map(|&(plugin, technique)| &self.plugins[plugin].techniques[technique])
    }

    /// A technique by its id.
    pub fn technique(&self, id: &str) -> Option<&Technique> {
        let &(plugin, technique) = self.by_id.get(id)?;
        self.plugins.get(plugin)?.techniques.get(technique)
    }

    /// A technique by its id, or the reason why there is none.
    ///
    /// # Errors
    /// [`PluginError::UnknownTechnique`], which names the plugin that should have provided it and its error, or else
    /// the techniques that there are and where they were looked for.
    pub fn require(&self, id: &str) -> Result<&Technique, PluginError> {
        self.technique(id)
            .ok_or_else(|| PluginError::UnknownTechnique { id: id.to_owned(), reason: self.why_not(id) })
    }

    /// Adds a codec for every representation kind of a plugin.
    pub fn register_codecs(&self, codecs: &mut CodecRegistry) {
        for technique in self.techniques() {
            technique.register_codecs(codecs);
        }
    }

    fn why_not(&self, id: &str) -> String {
        let mut broken = self.plugins.iter().filter(|p| p.promised().any(|t| t == id));
        if let Some((name, error)) = broken.find_map(|p| Some((p.name(), p.error()?))) {
            return format!("plugin {name:?} should provide it, but {error}");
        }
        let searched: Vec<_> = self.searched.iter().map(|p| p.display().to_string()).collect();
        let known: Vec<_> = self.by_id.keys().map(String::as_str).collect();
        let (known, searched) = (known.join(", "), searched.join(", "));
        let failed: Vec<_> =
            self.plugins.iter().filter_map(PluginEntry::error).map(ToString::to_string).collect();
        let mut reason = if searched.is_empty() {
            "no plugin directory was given".to_owned()
        } else if known.is_empty() {
            format!("no plugin in {searched} could be loaded")
        } else {
            format!("known are {known} (searched {searched})")
        };
        for error in failed {
            reason.push_str("; ");
            reason.push_str(&error);
        }
        reason
    }

    fn load(&self, library: PathBuf, manifest_path: PathBuf, options: &DiscoverOptions) -> PluginEntry {
        let mut entry = PluginEntry {
            library,
            manifest_path,
            manifest: None,
            hash: None,
            abi_minor: None,
            isolated: false,
            techniques: Vec::new(),
            error: None,
        };
        if let Err(error) = self.fill(&mut entry, options) {
            entry.techniques.clear();
            entry.error = Some(error);
        }
        entry
    }

    /// The steps in an order in which no code runs before everything that can be known without it is checked.
    fn fill(&self, entry: &mut PluginEntry, options: &DiscoverOptions) -> Result<(), LoadError> {
        let library = entry.library.clone();
        if !entry.manifest_path.exists() {
            return Err(LoadError::NoManifest { library, manifest: entry.manifest_path.clone() });
        }
        let manifest = entry.manifest.insert(Manifest::read(&entry.manifest_path)?).clone();
        if !library.exists() {
            return Err(LoadError::NoLibrary { manifest: entry.manifest_path.clone(), library });
        }
        let bytes =
            std::fs::read(&library).map_err(|source| LoadError::Read { path: library.clone(), source })?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        entry.hash = Some(hash.clone());
        let directory = library.parent().unwrap_or(&library);
        if let Some(lock) = PluginLock::of_directory(directory)? {
            lock.check(&library, &hash)?;
        }
        binary::inspect(&library, &bytes)?;
        drop(bytes);
        entry.isolated = options.isolates(&library, &manifest);
        let Loaded { abi_minor, techniques } = if entry.isolated {
            let no_worker = || LoadError::NoWorker { library: library.clone() };
            let program = options.worker.as_ref().ok_or_else(no_worker)?;
            IsolatedPlugin::load(&library, &hash, program, &options.limits)
                .map_err(|fault| LoadError::Worker { library: library.clone(), fault: Box::new(fault) })?
        } else {
            library::open(&library)?
        };
        entry.abi_minor = Some(abi_minor);
        let found: Vec<String> = techniques.iter().map(|t| t.id.clone()).collect();
        let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        if sorted(&found) != sorted(&manifest.techniques) || sorted(&found).len() != found.len() {
            return Err(LoadError::Techniques { library, manifest: manifest.techniques, found });
        }
        let (shared_path, shared_hash): (Arc<Path>, Arc<str>) = (library.as_path().into(), hash.into());
        for table in techniques {
            self.check_names(&library, &table.id, &table.kinds)?;
            let schema = OptionsSchema::compile(&table.schema).map_err(|problem| LoadError::Schema {
                library: library.clone(),
                technique: table.id.clone(),
                problem,
            })?;
            let produces = manifest.produces.get(&table.id).cloned();
            let (path, hash) = (shared_path.clone(), shared_hash.clone());
            entry.techniques.push(Technique::new(table, schema, path, hash, produces));
        }
        Ok(())
    }

    /// Refuses ids and kinds that an earlier plugin or this program itself provides.
    fn check_names(&self, library: &Path, id: &str, kinds: &[&'static str]) -> Result<(), LoadError> {
        let taken = |what: &'static str, name: &str, taken_by: String| LoadError::Taken {
            library: library.to_owned(),
            what,
            name: name.to_owned(),
            taken_by,
        };
        if let Some(other) = self.technique(id) {
            return Err(taken("technique", id, other.plugin_path().display().to_string()));
        }
        for &kind in kinds {
            if CodecRegistry::builtin().kinds().any(|k| k == kind) {
                return Err(taken("representation kind", kind, "Tenuis itself".to_owned()));
            }
            if let Some(other) = self.techniques().find(|t| t.kinds().any(|k| k == kind)) {
                return Err(taken("representation kind", kind, other.plugin_path().display().to_string()));
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: PluginEntry) {
        for (index, technique) in entry.techniques.iter().enumerate() {
            self.by_id.insert(technique.id().to_owned(), (self.plugins.len(), index));
        }
        self.plugins.push(entry);
    }
}

/// Library and manifest of everything in a directory that is one or the other, by name.
pub(crate) fn candidates_in(directory: &Path) -> std::io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut stems = BTreeSet::new();
    for file in directory.read_dir()? {
        let file = file?.file_name();
        let Some(name) = file.to_str() else { continue };
        stems.extend(stem_of(name).map(str::to_owned));
    }
    Ok(stems.iter().map(|stem| pair(directory, stem)).collect())
}

/// Library and manifest of the plugin that one of them names.
fn candidate_of(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let directory = path.parent().unwrap_or(path);
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match stem_of(name) {
        Some(stem) => vec![pair(directory, stem)],
        // Not named like a library of this system; its manifest says so, or its header will.
        None => vec![(path.to_owned(), directory.join(format!("{name}{MANIFEST_SUFFIX}")))],
    }
}

fn stem_of(file_name: &str) -> Option<&str> {
    file_name
        .strip_suffix(MANIFEST_SUFFIX)
        .or_else(|| file_name.strip_suffix(DLL_SUFFIX)?.strip_prefix(DLL_PREFIX))
}

fn pair(directory: &Path, stem: &str) -> (PathBuf, PathBuf) {
    (
        directory.join(format!("{DLL_PREFIX}{stem}{DLL_SUFFIX}")),
        directory.join(format!("{stem}{MANIFEST_SUFFIX}")),
    )
}
