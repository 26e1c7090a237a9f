//! Opening and reading a checkpoint.

use super::error::CheckpointError;
use super::gguf::{GgufPart, is_gguf};
use super::index::{read_index, read_json};
use super::manifest::Manifest;
use super::root::Root;
use super::shard::Shard;
use super::side_files;
use super::{CONFIG_NAME, INDEX_NAME, MANIFEST_NAME, SINGLE_NAME, TOKENIZER_NAME};
use crate::bytes::Bytes;
use crate::dtype::{DType, StoredType};
use crate::gguf::names::HeadRows;
use crate::tensor::Tensor;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where a tensor lies and what it is.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// The element type.
    pub dtype: StoredType,
    /// The shape, outermost dimension first.
    pub shape: Vec<usize>,
    shard: usize,
    range: Range<usize>,
    /// The order of the rows in the file, where it is another.
    rows: Option<HeadRows>,
}

impl TensorInfo {
    /// A tensor of a checkpoint's only file.
    pub(super) fn new(dtype: DType, shape: Vec<usize>, range: Range<usize>, rows: Option<HeadRows>) -> Self {
        Self { dtype: dtype.into(), shape, shard: 0, range, rows }
    }

    /// The bytes of the data.
    pub fn bytes(&self) -> u64 {
        self.range.len() as u64
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shard's number in the order of its name.
    pub const fn shard(&self) -> usize {
        self.shard
    }

    /// The bytes of the shard that hold the data.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

/// An open checkpoint: mapped, checked, read-only.
///
/// ```no_run
/// use tenuis_core::Checkpoint;
/// let checkpoint = Checkpoint::open("models/llama".as_ref())?;
/// for name in checkpoint.names() {
///     let tensor = checkpoint.tensor(name)?; // no copy: the bytes stay in the file
///     assert_eq!(checkpoint.info(name).map(|i| &i.shape[..]), Some(tensor.shape()));
/// }
/// # Ok::<(), tenuis_core::CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) root: Root,
    pub(super) config: Value,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    pub(super) header_bytes: u64,
    pub(super) side_files: Vec<PathBuf>,
    pub(super) manifest: Option<Result<Manifest, String>>,
    pub(super) warnings: Vec<String>,
    pub(super) hash: OnceLock<blake3::Hash>,
    pub(super) gguf: Option<GgufPart>,
}

impl Checkpoint {
    /// Opens a directory in Hugging Face layout: `config.json` and `model.safetensors`, or
    /// `model.safetensors.index.json` and the shards it names.
    ///
    /// Every header is checked, no data are read. Where both layouts are there, the single file is read, as
    /// transformers does.
    ///
    /// A GGUF file, named itself or alone in a directory without safetensors, is opened as the checkpoint that it was made
    /// of: with a configuration out of its metadata, tensors under their names there and rows in their order there.
    ///
    /// # Errors
    /// A [`CheckpointError`] that names the file and the tensor.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        if let Some(name) = dir.file_name().and_then(|n| n.to_str()).filter(|n| is_gguf(n) && dir.is_file()) {
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return Self::open_gguf(Root::open(parent)?, name, true);
        }
        let root = Root::open(dir)?;
        let names = root.names()?;
        if !root.contains(SINGLE_NAME) && !root.contains(INDEX_NAME) {
            match &names.iter().filter(|n| is_gguf(n)).collect::<Vec<_>>()[..] {
                [] => {}
                [name] => return Self::open_gguf(root, name, false),
                several => {
                    let names = several.iter().map(|n| (*n).clone()).collect();
                    return Err(CheckpointError::SeveralGguf { dir: dir.to_owned(), names });
                }
            }
        }
        if !root.contains(CONFIG_NAME) {
            return Err(CheckpointError::NoFile { dir: dir.to_owned(), name: CONFIG_NAME });
        }
        let config: Value = read_json(&root, CONFIG_NAME)?;
        if !config.is_object() {
            let problem = "is not a JSON object; replace it with the model's configuration".to_owned();
            return Err(CheckpointError::Json { file: root.path(CONFIG_NAME), problem });
        }
        let mut warnings = Vec::new();
        let mut opened = Opened::default();
        if root.contains(SINGLE_NAME) {
            if root.contains(INDEX_NAME) {
                warnings.push(format!("{INDEX_NAME} is ignored because {SINGLE_NAME} is there"));
            }
            opened.open_single(&root)?;
        } else if root.contains(INDEX_NAME) {
            opened.open_indexed(&root, &mut warnings)?;
        } else if let Some(pickle) = names.iter().find(|n| side_files::is_pickle(n)) {
            return Err(CheckpointError::Pickle { file: root.path(pickle) });
        } else {
            return Err(CheckpointError::NoFile { dir: dir.to_owned(), name: SINGLE_NAME });
        }
        let read: BTreeSet<_> = opened.shards.iter().filter_map(|s| s.path().file_name()?.to_str()).collect();
        for name in names.iter().filter(|n| n.ends_with(".safetensors") && !read.contains(n.as_str())) {
            warnings.push(format!("{name} is not part of the checkpoint and is ignored"));
        }
        let side_files =
            side_files::collect(&root, &names, &mut warnings).iter().map(|n| root.path(n)).collect();
        let mut checkpoint = Self {
            config,
            shards: opened.shards,
            tensors: opened.tensors,
            header_bytes: opened.header_bytes,
            side_files,
            manifest: Manifest::read(&root),
            warnings,
            hash: OnceLock::new(),
            gguf: None,
            root,
        };
        checkpoint.match_manifest();
        Ok(checkpoint)
    }

    /// Turns a manifest that does not describe these tensors into a problem, with a warning.
    pub(super) fn match_manifest(&mut self) {
        if let Some(Ok(manifest)) = &self.manifest
            && let Some(problem) = self.disagreement(manifest)
        {
            self.manifest = Some(Err(problem));
        }
        if let Some(Err(problem)) = &self.manifest {
            self.warnings.push(format!("{MANIFEST_NAME} is ignored: {problem}"));
        }
    }

    fn disagreement(&self, manifest: &Manifest) -> Option<String> {
        if let Some(name) = manifest.tensors.keys().find(|name| !self.contains(name)) {
            return Some(format!("the manifest lists tensor {name:?}, which is not there"));
        }
        for (name, info) in &self.tensors {
            let Some(record) = manifest.tensors.get(name) else {
                return Some(format!("the manifest does not list tensor {name:?}"));
            };
            if record.dtype != info.dtype.safetensors_name() || record.shape != info.shape {
                return Some(format!("tensor {name:?} has another type or shape than the manifest says"));
            }
            if blake3::Hash::from_hex(&record.blake3).is_err() {
                return Some(format!("the manifest's hash of tensor {name:?} is malformed"));
            }
        }
        None
    }

    /// The directory as it was passed to [`Checkpoint::open`].
    pub fn dir(&self) -> &Path {
        self.root.dir()
    }

    /// What an output must not touch: the directory, or the one file of it that is read.
    pub fn location(&self) -> &Path {
        match (&self.gguf, self.shards.first()) {
            (Some(gguf), Some(shard)) if gguf.is_alone() => shard.path(),
            _ => self.root.dir(),
        }
    }

    /// The content of `config.json`, an object.
    pub const fn config(&self) -> &Value {
        &self.config
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The names that begin with `prefix`, sorted.
    pub fn names_with_prefix<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a str> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names = self.tensors.range::<str, _>(from).map(|(name, _)| name.as_str());
        names.take_while(move |name| name.starts_with(prefix))
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Type, shape and place of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The path of the file that holds a tensor.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        Some(self.shards[self.info(name)?.shard].path())
    }

    /// The paths of the weight files, in the order of [`TensorInfo::shard`].
    pub fn shard_files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|s| s.path())
    }

    /// A tensor whose bytes stay in the mapped file.
    ///
    /// A type that Tenuis does not know comes as [`StoredType::Unknown`]: it can be written again, and reading its
    /// elements fails with [`crate::TensorError::Type`].
    ///
    /// # Errors
    /// [`CheckpointError::NoTensor`], or [`CheckpointError::Changed`] where the file was truncated meanwhile.
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let info = self.info(name).ok_or_else(|| CheckpointError::NoTensor {
            dir: self.dir().to_owned(),
            tensor: name.to_owned(),
        })?;
        let shard = &self.shards[info.shard];
        shard.check_length()?;
        let owner: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::<Shard>::clone(shard);
        let data = Bytes::from_owner(owner).slice(info.range.clone());
        let data = info.rows.map_or(data.clone(), |rows| in_order(&data, info.shape[0], rows));
        Tensor::new(info.dtype.clone(), info.shape.clone(), data).map_err(|source| CheckpointError::Tensor {
            file: shard.path().to_owned(),
            tensor: name.to_owned(),
            source: Box::new(source),
        })
    }

    /// Gives the pages of these tensors back to the operating system, so that resident memory falls; the tensors stay
    /// readable. Unknown names are skipped. Does nothing where the operating system cannot.
    ///
    /// Neighbouring tensors are joined first and only whole pages are released, so pass a block's names at once.
    pub fn release<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut places: Vec<_> = names
            .into_iter()
            .filter_map(|n| self.info(n))
            .map(|i| (i.shard, i.range.start, i.range.end))
            .collect();
        places.sort_unstable();
        let mut joined: Option<(usize, Range<usize>)> = None;
        for (shard, start, end) in places {
            match &mut joined {
                Some((s, range)) if *s == shard && start <= range.end => range.end = range.end.max(end),
                _ => {
                    if let Some((s, range)) = joined.replace((shard, start..end)) {
                        self.shards[s].release(range);
                    }
                }
            }
        }
        if let Some((shard, range)) = joined {
            self.shards[shard].release(range);
        }
    }

    /// The bytes of all tensors' data.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.values().map(TensorInfo::bytes).sum()
    }

    /// The bytes of the weight files, headers included.
    pub fn file_bytes(&self) -> u64 {
        self.shards.iter().map(|s| s.len() as u64).sum()
    }

    /// The bytes of the weight files' headers: their lengths and padding included.
    pub const fn header_bytes(&self) -> u64 {
        self.header_bytes
    }

    /// The files beside the weights that travel with them: tokenizer, generation config, licence; sorted.
    pub fn side_files(&self) -> &[PathBuf] {
        &self.side_files
    }

    /// The real path of a file of the directory, checked as the weights' are.
    pub(super) fn resolve_file(&self, name: &str) -> Result<PathBuf, CheckpointError> {
        self.root.resolve(name)
    }

    /// Whether the weights lie in a GGUF file.
    pub const fn is_gguf(&self) -> bool {
        self.gguf.is_some()
    }

    /// The content of `tokenizer.json`, or what stands for it in the metadata of a GGUF file; `None` where there is neither.
    ///
    /// # Errors
    /// [`CheckpointError`] where the file cannot be read, or the metadata cannot be translated.
    pub fn tokenizer_json(&self) -> Result<Option<Vec<u8>>, CheckpointError> {
        if self.root.contains(TOKENIZER_NAME) {
            let file = self.root.resolve(TOKENIZER_NAME)?;
            let path = self.root.path(TOKENIZER_NAME);
            return std::fs::read(file).map(Some).map_err(CheckpointError::io("read", path));
        }
        let broken = |source| CheckpointError::Gguf {
            file: self.shards.first().map(|s| s.path().to_owned()).unwrap_or_default(),
            source: Box::new(source),
        };
        self.gguf.as_ref().map(|gguf| gguf.tokenizer().map_err(broken)).transpose()
    }

    /// The content of a JSON file beside the weights; `None` where there is none.
    ///
    /// # Errors
    /// [`CheckpointError`] where it is a link that leaves the checkpoint, too large or malformed.
    pub fn json_beside(&self, name: &str) -> Result<Option<Value>, CheckpointError> {
        self.root.contains(name).then(|| read_json(&self.root, name)).transpose()
    }

    /// What was found odd and passed over, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The manifest, where there is one that lists exactly these tensors.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()?.as_ref().ok()
    }

    /// A hash of the configuration and of every tensor's name, type, shape and data; computed once.
    ///
    /// Sharding, file order and side files do not enter. Data hashes come from the manifest where there is one, and
    /// from the data otherwise; call [`Checkpoint::verify`] first where the files are not to be trusted.
    pub fn hash(&self) -> blake3::Hash {
        *self.hash.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            let mut part = |bytes: &[u8]| {
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            };
            part(b"tenuis.checkpoint/1");
            part(self.config.to_string().as_bytes());
            for (name, info) in &self.tensors {
                part(name.as_bytes());
                part(info.dtype.safetensors_name().as_bytes());
                part(format!("{:?}", info.shape).as_bytes());
                let recorded =
                    self.manifest().and_then(|m| blake3::Hash::from_hex(&m.tensors[name].blake3).ok());
                part(recorded.unwrap_or_else(|| self.data_hash(name, info)).as_bytes());
            }
            hasher.finalize()
        })
    }

    fn data_hash(&self, name: &str, info: &TensorInfo) -> blake3::Hash {
        let hash = blake3::hash(&(*self.shards[info.shard]).as_ref()[info.range.clone()]);
        self.release([name]);
        hash
    }

    /// Compares every tensor and every file with the hashes in the manifest.
    ///
    /// # Errors
    /// [`CheckpointError::Manifest`] where there is none that describes these tensors, [`CheckpointError::Corrupt`]
    /// for the first tensor or file that differs.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        let broken = |problem: String| CheckpointError::Manifest { dir: self.dir().to_owned(), problem };
        let manifest = match &self.manifest {
            None => return Err(broken(format!("has no {MANIFEST_NAME}"))),
            Some(Err(problem)) => return Err(broken(problem.clone())),
            Some(Ok(manifest)) => manifest,
        };
        for (name, info) in &self.tensors {
            let shard = &self.shards[info.shard];
            shard.check_length()?;
            if self.data_hash(name, info).to_hex().as_str() != manifest.tensors[name].blake3 {
                return Err(CheckpointError::Corrupt {
                    file: shard.path().to_owned(),
                    what: format!("tensor {name:?}"),
                });
            }
        }
        for (name, record) in &manifest.files {
            let path = self.root.path(name);
            let file = File::open(self.root.resolve(name)?).map_err(CheckpointError::io("open", &path))?;
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(file).map_err(CheckpointError::io("read", &path))?;
            if hasher.finalize().to_hex().as_str() != record.blake3 {
                return Err(CheckpointError::Corrupt { file: path, what: "its content".to_owned() });
            }
        }
        Ok(())
    }
}

/// A copy of a matrix's bytes with the rows where the checkpoint that the file was made of has them.
fn in_order(data: &[u8], rows: usize, order: HeadRows) -> Bytes {
    let row_bytes = data.len() / rows.max(1);
    // Words, so that the copy is aligned for every type.
    let mut words = vec![0u64; data.len().div_ceil(size_of::<u64>())];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    for (row, to) in bytes[..data.len()].chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let from = order.in_gguf(row) * row_bytes;
        to.copy_from_slice(&data[from..from + row_bytes]);
    }
    Bytes::from_vec(words).slice(0..data.len())
}

/// The weight files while they are being opened.
#[derive(Default)]
struct Opened {
    shards: Vec<Arc<Shard>>,
    tensors: BTreeMap<String, TensorInfo>,
    header_bytes: u64,
}

impl Opened {
    fn open_single(&mut self, root: &Root) -> Result<(), CheckpointError> {
        self.add(root, SINGLE_NAME)
    }

    /// Opens what the index lists; collects everything that is missing before failing.
    fn open_indexed(&mut self, root: &Root, warnings: &mut Vec<String>) -> Result<(), CheckpointError> {
        let weight_map = read_index(root)?;
        let mut missing = Vec::new();
        for name in weight_map.values().collect::<BTreeSet<_>>() {
            if root.contains(name) {
                self.add(root, name)?;
            } else {
                missing.push(format!("shard {name:?}"));
            }
        }
        for (tensor, shard) in &weight_map {
            let stored = self.tensors.get(tensor).and_then(|i| self.shards[i.shard].path().file_name());
            if root.contains(shard) && stored.is_none_or(|s| s != shard.as_str()) {
                missing.push(format!("tensor {tensor:?} in {shard:?}"));
            }
        }
        if !missing.is_empty() {
            return Err(CheckpointError::Missing { dir: root.dir().to_owned(), missing });
        }
        let shards = &self.shards;
        self.tensors.retain(|name, info| {
            let listed = weight_map.contains_key(name);
            if !listed {
                let file = shards[info.shard].path().display();
                warnings.push(format!("tensor {name:?} in {file} is not in {INDEX_NAME} and is ignored"));
            }
            listed
        });
        Ok(())
    }

    fn add(&mut self, root: &Root, name: &str) -> Result<(), CheckpointError> {
        let (shard, header) = Shard::open(root, name)?;
        self.header_bytes += header.bytes as u64;
        let number = self.shards.len();
        for entry in header.entries {
            let info = TensorInfo {
                dtype: entry.dtype,
                shape: entry.shape,
                shard: number,
                range: entry.range,
                rows: None,
            };
            if let Some(other) = self.tensors.get(&entry.name) {
                return Err(CheckpointError::TwoShards {
                    first: self.shards[other.shard].path().to_owned(),
                    second: shard.path().to_owned(),
                    tensor: entry.name,
                });
            }
            self.tensors.insert(entry.name, info);
        }
        self.shards.push(Arc::new(shard));
        Ok(())
    }
}
