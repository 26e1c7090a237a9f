//! How a checkpoint says which weights it holds in which representation.
//!
//! `config.json` has a `quantization_config` with a `quant_method`. These methods are read and written:
//!
//! | method | holds | read by |
//! |---|---|---|
//! | `compressed-tensors`, formats `pack-quantized` and `int-quantized` | grouped integers, W8A8 | transformers, vLLM, Tenuis |
//! | `tenuis` | any representation, one descriptor a weight | Tenuis |
//! | `gptq`, formats `gptq` and `gptq_v2` ([`gptq`]) | grouped integers of 2, 3, 4 and 8 bits | GPTQModel, vLLM, Tenuis |
//! | `awq`, version `gemm` ([`awq`]) | grouped integers of 4 bits | AutoAWQ, GPTQModel, vLLM, Tenuis |
//! | `gguf` | what an opened GGUF file holds | only that reader says so |
//!
//! The first two store a weight's components as `{module}.{suffix}`; the others have tensors of their own, which become
//! components when a weight is read. A module without a descriptor is dense and is stored as `{module}.weight`.
//! `docs/format.md` of the repository specifies all bit by bit.

pub mod awq;
mod compressed_tensors;
mod error;
mod foreign;
mod gguf;
pub mod gptq;
mod tenuis;
mod transpose;

pub use error::StorageError;
use foreign::Described;
pub use foreign::Misfit;
pub(crate) use foreign::f16_scales;
pub(crate) use gguf::suffix as gguf_suffix;

use crate::checkpoint::Checkpoint;
use crate::dtype::DType;
use crate::weight::{CodecRegistry, Components, Dense, GroupedIntSpec, Layout, SHAPE, Weight, WeightError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The `quant_method` of the ecosystem.
const COMPRESSED_TENSORS: &str = "compressed-tensors";
/// The `quant_method` of everything that the ecosystem has no form for.
const TENUIS: &str = "tenuis";
/// The `quant_method` of GPTQ checkpoints.
const GPTQ: &str = "gptq";
/// The `quant_method` of AWQ checkpoints.
const AWQ: &str = "awq";
/// The `quant_method` that the reader of GGUF files declares.
const GGUF: &str = "gguf";
/// The `kind` of a dense descriptor.
const DENSE: &str = "dense";
/// The `kind` of a grouped integer descriptor.
const GROUPED_INT: &str = "grouped_int";
/// The `kind` of eight-bit weights whose inputs are rounded too.
const INT8_DYNAMIC: &str = "int8_dynamic";

/// The representation of every weight of a checkpoint, as its configuration declares it.
///
/// ```no_run
/// use tenuis_core::{Checkpoint, CodecRegistry, Layout, StoredWeights};
/// let checkpoint = Checkpoint::open("models/llama-w4".as_ref())?;
/// let stored = StoredWeights::from_checkpoint(&checkpoint)?;
/// let codecs = CodecRegistry::builtin();
/// let weight = stored.weight(&checkpoint, &codecs, "model.layers.0.mlp.up_proj", [11008, 4096], Layout::OutIn)?;
/// println!("{} in {} bytes", weight.kind(), weight.stored_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeights {
    method: Option<&'static str>,
    convention: Convention,
    descriptors: BTreeMap<String, Value>,
    /// `[out, in]` of every weight whose convention tells it without a component of its own.
    shapes: BTreeMap<String, [usize; 2]>,
}

/// What the tensors of a compressed weight are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convention {
    /// The components of its representation.
    Components,
    /// Those of [`gptq`].
    Gptq(gptq::GptqVersion),
    /// Those of [`awq`].
    Awq,
    /// Blocks of a GGUF file.
    Gguf,
}

impl StoredWeights {
    /// Interprets the checkpoint's `quantization_config`; without one, everything is dense.
    ///
    /// # Errors
    /// [`StorageError`] for a method that is not known, a configuration that is malformed or asks for more than
    /// compressed weights, or tensors that fit no scheme of it.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self, StorageError> {
        let Some((declared, file)) = declaration(checkpoint)? else { return Ok(Self::dense()) };
        let method = declared.get("quant_method").and_then(Value::as_str).unwrap_or_default();
        let mut stored = Self::dense();
        match method {
            COMPRESSED_TENSORS => {
                stored.method = Some(COMPRESSED_TENSORS);
                stored.descriptors = compressed_tensors::read(checkpoint, &declared, &file)?;
            }
            TENUIS => {
                stored.method = Some(TENUIS);
                stored.descriptors = tenuis::read(&declared, &file)?;
            }
            GPTQ => {
                let (version, Described { descriptors, shapes }) = gptq::read(checkpoint, &declared, &file)?;
                let (method, convention) = (Some(GPTQ), Convention::Gptq(version));
                stored = Self { method, convention, descriptors, shapes };
            }
            AWQ => {
                let Described { descriptors, shapes } = awq::read(checkpoint, &declared, &file)?;
                let (method, convention) = (Some(AWQ), Convention::Awq);
                stored = Self { method, convention, descriptors, shapes };
            }
            GGUF if checkpoint.is_gguf() => {
                let Described { descriptors, shapes } = gguf::read(checkpoint);
                let (method, convention) = (Some(GGUF), Convention::Gguf);
                stored = Self { method, convention, descriptors, shapes };
            }
            other => return Err(StorageError::Method { file, method: other.to_owned() }),
        }
        Ok(stored)
    }

    const fn dense() -> Self {
        Self {
            method: None,
            convention: Convention::Components,
            descriptors: BTreeMap::new(),
            shapes: BTreeMap::new(),
        }
    }

    /// Whether a compressed weight's tensors are the components of its representation, so that they may be copied as
    /// they are; otherwise [`StoredWeights::weight`] makes the components of them.
    pub fn has_components(&self) -> bool {
        self.convention == Convention::Components
    }

    /// `[out_features, in_features]` of a compressed weight, as far as its tensors state it by themselves.
    pub fn shape(&self, checkpoint: &Checkpoint, module: &str) -> Option<[usize; 2]> {
        if let Some(shape) = self.shapes.get(module) {
            return Some(*shape);
        }
        let stated = checkpoint.tensor(&format!("{module}.{SHAPE}")).ok()?;
        if stated.dtype().known() != Some(DType::I64) {
            return None;
        }
        match stated.cast::<i64>().ok()?[..] {
            [rows, columns] => Some([rows.try_into().ok()?, columns.try_into().ok()?]),
            _ => None,
        }
    }

    /// The `quant_method`, or `None` where everything is dense.
    pub const fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// The descriptor of a module's weight, or `None` where it is dense.
    pub fn descriptor(&self, module: &str) -> Option<&Value> {
        self.descriptors.get(module)
    }

    /// The modules that have a descriptor, sorted, with it.
    pub fn descriptors(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.descriptors.iter().map(|(module, descriptor)| (module.as_str(), descriptor))
    }

    /// The names of the tensors that make up a module's weight.
    pub fn tensor_names(&self, checkpoint: &Checkpoint, module: &str) -> Vec<String> {
        if self.descriptors.contains_key(module) {
            let suffixes = suffixes(checkpoint, module);
            suffixes.into_iter().map(|suffix| format!("{module}.{suffix}")).collect()
        } else {
            vec![format!("{module}.weight")]
        }
    }

    /// Reads the weight of a module without copying its bytes.
    ///
    /// # Shapes
    /// `shape`: `[out_features, in_features]` whatever the layout, which only says how a dense matrix is stored.
    ///
    /// # Errors
    /// [`StorageError::Checkpoint`] where a tensor is missing, [`StorageError::Weight`] where its type or shape is
    /// not what the shape and the descriptor call for.
    pub fn weight(
        &self,
        checkpoint: &Checkpoint,
        codecs: &CodecRegistry,
        module: &str,
        shape: [usize; 2],
        layout: Layout,
    ) -> Result<Weight, StorageError> {
        let Some(descriptor) = self.descriptors.get(module) else {
            return dense(checkpoint, module, shape, layout);
        };
        let mut components = Components::new();
        for suffix in suffixes(checkpoint, module) {
            let tensor = checkpoint.tensor(&format!("{module}.{suffix}"))?;
            components.insert(suffix.to_owned(), tensor);
        }
        self.convert(module, shape, descriptor, components)
            .and_then(|components| codecs.decode(shape, descriptor, components))
            .map_err(|e| in_checkpoint(checkpoint, module, e))
    }

    /// The components of the representation out of a weight's tensors.
    fn convert(
        &self,
        module: &str,
        shape: [usize; 2],
        descriptor: &Value,
        stored: Components,
    ) -> Result<Components, WeightError> {
        if self.has_components() {
            return Ok(stored);
        }
        if let Some(found) = self.shapes.get(module).filter(|found| **found != shape) {
            return Err(WeightError::Component {
                component: "weight".to_owned(),
                expected: format!("of a {shape:?} weight"),
                found: format!("of a {found:?} weight"),
            });
        }
        let spec = || GroupedIntSpec::from_descriptor(descriptor);
        match self.convention {
            Convention::Components => Ok(stored),
            Convention::Gptq(version) => gptq::convert(version, spec()?, shape, stored),
            Convention::Awq => awq::convert(spec()?, shape, stored),
            Convention::Gguf => gguf::convert(shape, stored),
        }
    }
}

/// The configuration of the weights and the file it stands in; none where all are dense.
fn declaration(checkpoint: &Checkpoint) -> Result<Option<(Value, PathBuf)>, StorageError> {
    let config = checkpoint.config();
    // Older releases of compressed-tensors wrote the second name.
    let declared = ["quantization_config", "compression_config"].into_iter().find_map(|key| config.get(key));
    let declared = declared.filter(|v| !v.is_null());
    let method = declared.and_then(|d| d.get("quant_method")).and_then(Value::as_str);
    let packed = declared.is_none() && checkpoint.names().any(|name| name.ends_with(".qweight"));
    // Beside weights of another method the file is a leftover.
    let beside =
        if method == Some(GPTQ) || packed { checkpoint.json_beside(gptq::CONFIG_FILE)? } else { None };
    let file = checkpoint.dir().join(gptq::CONFIG_FILE);
    match (declared, beside) {
        (Some(declared), None) => Ok(Some((declared.clone(), checkpoint.dir().join("config.json")))),
        (Some(declared), Some(beside)) => {
            for key in ["bits", "group_size", "sym", "desc_act", "checkpoint_format"] {
                if let (Some(expected), Some(found)) = (declared.get(key), beside.get(key))
                    && expected != found
                {
                    let (expected, found) = (expected.to_string(), found.to_string());
                    return Err(StorageError::TwoConfigs { file, key, expected, found });
                }
            }
            Ok(Some((declared.clone(), checkpoint.dir().join("config.json"))))
        }
        // As AutoGPTQ left it before transformers knew the method.
        (None, Some(mut beside)) => {
            if let Some(fields) = beside.as_object_mut() {
                fields.entry("quant_method").or_insert_with(|| GPTQ.into());
            }
            Ok(Some((beside, file)))
        }
        (None, None) => Ok(None),
    }
}

fn dense(
    checkpoint: &Checkpoint,
    module: &str,
    shape: [usize; 2],
    layout: Layout,
) -> Result<Weight, StorageError> {
    let tensor = checkpoint.tensor(&format!("{module}.weight"))?;
    let weight = Dense::with_layout(tensor, layout).and_then(|dense| {
        let found = crate::weight::Representation::shape(&dense);
        if found == shape {
            return Ok(dense);
        }
        Err(WeightError::Component {
            component: "weight".to_owned(),
            expected: format!("{shape:?}"),
            found: format!("{found:?}"),
        })
    });
    Ok(Arc::new(weight.map_err(|e| in_checkpoint(checkpoint, module, e))?))
}

/// The components of a module: every tensor below it but its bias.
fn suffixes<'a>(checkpoint: &'a Checkpoint, module: &str) -> Vec<&'a str> {
    let prefix = format!("{module}.");
    let names = checkpoint.names_with_prefix(&prefix);
    names.map(|name| &name[prefix.len()..]).filter(|&suffix| suffix != "bias").collect()
}

fn in_checkpoint(checkpoint: &Checkpoint, module: &str, source: WeightError) -> StorageError {
    StorageError::Weight {
        dir: checkpoint.dir().to_owned(),
        module: module.to_owned(),
        source: Box::new(source),
    }
}

/// The `quantization_config` of a checkpoint that holds these weights, or `None` where all of them are dense.
///
/// Where everything that is not dense is `grouped_int` or `int8_dynamic`, this is compressed-tensors' own form, which transformers
/// loads; otherwise it is the method `tenuis`. `untouched_linears` are the Linears that are not in `weights` (the
/// head, say): compressed-tensors must be told to leave them alone.
///
/// ```
/// use serde_json::json;
/// use std::collections::BTreeMap;
/// let int4 = json!({ "kind": "grouped_int", "bits": 4, "group_size": 32, "symmetric": true, "scale_dtype": "f16" });
/// let weights = BTreeMap::from([("model.layers.0.mlp.up_proj".to_owned(), int4)]);
/// let config = tenuis_core::quantization_config_for(&weights, &["lm_head".to_owned()])?.unwrap();
/// assert_eq!(config["quant_method"], "compressed-tensors");
/// assert_eq!(config["config_groups"]["group_0"]["targets"], json!(["Linear"]));
/// # Ok::<(), tenuis_core::StorageError>(())
/// ```
///
/// # Errors
/// [`StorageError::Descriptor`] for a descriptor without a `kind`, or one of `grouped_int` that is malformed.
pub fn quantization_config_for(
    weights: &BTreeMap<String, Value>,
    untouched_linears: &[String],
) -> Result<Option<Value>, StorageError> {
    let mut compressed = BTreeMap::new();
    let mut untouched = untouched_linears.to_vec();
    let mut grouped_only = true;
    for (module, descriptor) in weights {
        let kind =
            descriptor.get("kind").and_then(Value::as_str).ok_or_else(|| StorageError::Descriptor {
                module: module.clone(),
                problem: format!("{descriptor} has no \"kind\""),
            })?;
        if kind == DENSE {
            untouched.push(module.clone());
        } else {
            compressed.insert(module.as_str(), descriptor);
            grouped_only &= kind == GROUPED_INT || kind == INT8_DYNAMIC;
        }
    }
    if compressed.is_empty() {
        return Ok(None);
    }
    untouched.sort_unstable();
    untouched.dedup();
    if grouped_only {
        return compressed_tensors::write(&compressed, &untouched).map(Some);
    }
    Ok(Some(tenuis::write(&compressed)))
}
