//! Opening a GGUF file as a checkpoint.

use super::error::CheckpointError;
use super::manifest::Manifest;
use super::reader::{Checkpoint, TensorInfo};
use super::root::Root;
use super::shard::Shard;
use super::side_files;
use crate::dtype::DType;
use crate::gguf::names::{HeadRows, rotated, to_hugging_face};
use crate::gguf::{GgmlType, Gguf, GgufError, GgufTensor, Metadata, config, parse, tokenizer};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The extension of such files.
const EXTENSION: &str = "gguf";

/// Whether a name is that of a GGUF file.
pub(super) fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case(EXTENSION))
}

/// What is kept of a GGUF file beside its tensors.
#[derive(Debug)]
pub(super) struct GgufPart {
    metadata: Metadata,
    alone: bool,
}

impl GgufPart {
    /// Whether the file was named itself, and not its directory.
    pub(super) const fn is_alone(&self) -> bool {
        self.alone
    }

    /// `tokenizer.json` as the file's metadata give it.
    pub(super) fn tokenizer(&self) -> Result<Vec<u8>, GgufError> {
        tokenizer::to_json(&self.metadata).map(|json| json.to_string().into_bytes())
    }
}

impl Checkpoint {
    /// Opens a file in the directory `root`. `alone` says that the file was named itself, so that the files beside it are
    /// none of its own unless its manifest says so.
    pub(super) fn open_gguf(root: Root, name: &str, alone: bool) -> Result<Self, CheckpointError> {
        let shard = Shard::map(&root, name)?;
        let path = shard.path().to_owned();
        let broken = |source| CheckpointError::Gguf { file: path.clone(), source: Box::new(source) };
        let gguf = parse(shard.as_ref()).map_err(broken)?;
        let factors = rope_factors(&gguf, shard.as_ref());
        let network = config::network(&gguf.metadata, &gguf.tensors, factors.as_deref()).map_err(broken)?;
        let head = network.reordered.map(|head_dim| HeadRows { head_dim });
        let mut tensors = BTreeMap::new();
        for tensor in gguf.tensors.iter().filter(|t| t.name != config::ROPE_FACTORS) {
            let (name, info) = translate(tensor, head).map_err(broken)?;
            if tensors.insert(name, info).is_some() {
                return Err(broken(GgufError::Duplicate { what: "tensor", name: tensor.name.clone() }));
            }
        }
        let ours = Manifest::read(&root).filter(|m| m.as_ref().is_ok_and(|m| m.lists(name)));
        let mut warnings = Vec::new();
        let side_files = if alone && ours.is_none() {
            Vec::new()
        } else {
            side_files::collect(&root, &root.names()?, &mut warnings)
        };
        let data: u64 = tensors.values().map(TensorInfo::bytes).sum();
        let mut checkpoint = Self {
            config: network.config,
            header_bytes: shard.len() as u64 - data,
            shards: vec![Arc::new(shard)],
            tensors,
            side_files: side_files.iter().map(|n| root.path(n)).collect(),
            manifest: ours,
            warnings,
            hash: OnceLock::new(),
            gguf: Some(GgufPart { metadata: gguf.metadata, alone }),
            root,
        };
        checkpoint.match_manifest();
        Ok(checkpoint)
    }
}

/// The values of the factors of rotary frequencies, where the file has them.
fn rope_factors(gguf: &Gguf, file: &[u8]) -> Option<Vec<f32>> {
    let tensor = gguf.tensors.iter().find(|t| t.name == config::ROPE_FACTORS && t.kind == GgmlType::F32)?;
    Some(bytemuck::pod_collect_to_vec(&file[tensor.range.clone()]))
}

/// A tensor as a Hugging Face checkpoint has it.
fn translate(tensor: &GgufTensor, head: Option<HeadRows>) -> Result<(String, TensorInfo), GgufError> {
    let refused = |problem| GgufError::Tensor { tensor: tensor.name.clone(), problem };
    let name = to_hugging_face(&tensor.name)
        .ok_or_else(|| refused("is none that a Hugging Face checkpoint of this architecture has"))?;
    let rows = match head.filter(|_| rotated(&name).is_some()) {
        Some(head) if tensor.shape[0].is_multiple_of(head.head_dim) => Some(head),
        Some(_) => return Err(refused("has no whole number of heads")),
        None => None,
    };
    let dtype = match tensor.kind {
        GgmlType::F32 => DType::F32,
        GgmlType::F16 => DType::F16,
        GgmlType::BF16 => DType::BF16,
        GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q8_0 => DType::U8,
    };
    let Some(suffix) = crate::storage::gguf_suffix(tensor.kind) else {
        let shape = tensor.shape.clone();
        return Ok((name, TensorInfo::new(dtype, shape, tensor.range.clone(), rows)));
    };
    let (&[out_features, in_features], Some(module)) = (&tensor.shape[..], name.strip_suffix(".weight"))
    else {
        return Err(refused("is quantised and no matrix"));
    };
    // The parser has checked that rows are whole blocks.
    let row_bytes = tensor.kind.row_bytes(in_features).unwrap_or_default();
    let info = TensorInfo::new(dtype, vec![out_features, row_bytes], tensor.range.clone(), rows);
    Ok((format!("{module}.{suffix}"), info))
}
