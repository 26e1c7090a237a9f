//! The method `compressed-tensors`, formats `pack-quantized` and `int-quantized`, as its reference library reads and
//! writes them.

use super::{COMPRESSED_TENSORS, INT8_DYNAMIC, StorageError};
use crate::checkpoint::Checkpoint;
use crate::dtype::DType;
use crate::units::Bits;
use crate::weight::{G_IDX, GroupSize, GroupedIntSpec, Int8Dynamic, PACKED, SCALE, SHAPE, ZERO_POINT};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The format in which integers of any width are packed into words.
const PACK_QUANTIZED: &str = "pack-quantized";
/// The format of eight-bit integers, one a byte, here always with activations that are rounded per token.
const INT_QUANTIZED: &str = "int-quantized";
/// What stands for the whole where groups differ in their format.
const MIXED: &str = "mixed-precision";
/// The release of the library whose conventions are written.
const VERSION: &str = "0.20.0";
/// The class that a target names to mean every Linear.
const LINEAR: &str = "Linear";

/// What two weights share that belong to one config group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scheme {
    Packed(Packed),
    Int8Dynamic,
}

/// Packed integers of any width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed {
    bits: Bits,
    /// Columns per scale; `None` for one scale a row.
    group_size: Option<usize>,
    symmetric: bool,
    group_index: bool,
}

impl Scheme {
    fn of(module: &str, descriptor: &Value) -> Result<Self, StorageError> {
        if descriptor.get("kind").and_then(Value::as_str) == Some(INT8_DYNAMIC) {
            return Ok(Self::Int8Dynamic);
        }
        let spec = GroupedIntSpec::from_descriptor(descriptor)
            .map_err(|e| StorageError::Descriptor { module: module.to_owned(), problem: e.to_string() })?;
        Ok(Self::Packed(Packed {
            bits: spec.bits,
            group_size: match spec.group_size {
                GroupSize::Channel => None,
                GroupSize::Columns(n) => Some(n),
            },
            symmetric: spec.symmetric,
            group_index: spec.group_index,
        }))
    }

    const fn format(self) -> &'static str {
        match self {
            Self::Packed(_) => PACK_QUANTIZED,
            Self::Int8Dynamic => INT_QUANTIZED,
        }
    }

    fn to_json(self, targets: &[&str]) -> Value {
        match self {
            Self::Packed(packed) => packed.to_json(targets),
            Self::Int8Dynamic => {
                let eight = |strategy: &str, dynamic: bool| {
                    json!({
                        "num_bits": 8,
                        "type": "int",
                        "symmetric": true,
                        "group_size": null,
                        "strategy": strategy,
                        "dynamic": dynamic,
                    })
                };
                json!({
                    "targets": targets,
                    "weights": eight("channel", false),
                    "input_activations": eight("token", true),
                    "output_activations": null,
                    "format": INT_QUANTIZED,
                })
            }
        }
    }
}

impl Packed {
    fn to_json(self, targets: &[&str]) -> Value {
        let mut weights = json!({
            "num_bits": self.bits,
            "type": "int",
            "symmetric": self.symmetric,
            "group_size": self.group_size,
            "strategy": if self.group_size.is_some() { "group" } else { "channel" },
            "dynamic": false,
        });
        // The library leaves the key out where columns keep their order.
        if self.group_index {
            weights["actorder"] = json!("group");
        }
        json!({
            "targets": targets,
            "weights": weights,
            "input_activations": null,
            "output_activations": null,
            "format": PACK_QUANTIZED,
        })
    }
}

/// The configuration for weights that are all `grouped_int` or `int8_dynamic`.
pub(super) fn write(weights: &BTreeMap<&str, &Value>, ignore: &[String]) -> Result<Value, StorageError> {
    let mut schemes: BTreeMap<Scheme, Vec<&str>> = BTreeMap::new();
    for (module, descriptor) in weights {
        schemes.entry(Scheme::of(module, descriptor)?).or_default().push(module);
    }
    if let [targets] = &mut schemes.values_mut().collect::<Vec<_>>()[..] {
        **targets = vec![LINEAR];
    }
    let mut formats = schemes.keys().map(|scheme| scheme.format());
    let first = formats.next().unwrap_or(PACK_QUANTIZED);
    let format = if formats.all(|format| format == first) { first } else { MIXED };
    let groups: Map<String, Value> = schemes
        .iter()
        .enumerate()
        .map(|(number, (scheme, targets))| (format!("group_{number}"), scheme.to_json(targets)))
        .collect();
    Ok(json!({
        "config_groups": groups,
        "format": format,
        "global_compression_ratio": null,
        "ignore": ignore,
        "kv_cache_scheme": null,
        "moe_sparsity_config": null,
        "quant_method": COMPRESSED_TENSORS,
        "quantization_status": "compressed",
        "sparsity_config": {},
        "transform_config": {},
        "version": VERSION,
    }))
}

#[derive(Deserialize)]
struct Declared {
    config_groups: BTreeMap<String, Group>,
    format: Option<String>,
    kv_cache_scheme: Option<Value>,
    sparsity_config: Option<Value>,
    transform_config: Option<Value>,
}

#[derive(Deserialize)]
struct Group {
    targets: Vec<String>,
    weights: Option<Weights>,
    input_activations: Option<Value>,
    output_activations: Option<Value>,
    format: Option<String>,
}

#[derive(Deserialize)]
struct Weights {
    #[serde(default = "eight")]
    num_bits: u8,
    #[serde(default = "int", rename = "type")]
    number_type: String,
    #[serde(default = "yes")]
    symmetric: bool,
    group_size: Option<i64>,
    strategy: Option<String>,
    dynamic: Option<Value>,
}

/// The library's defaults.
const fn eight() -> u8 {
    8
}

fn int() -> String {
    "int".to_owned()
}

const fn yes() -> bool {
    true
}

/// The config groups that weights may belong to.
struct ReadSchemes {
    packed: Vec<ReadScheme>,
    /// Whether there are eight-bit weights with activations rounded per token.
    int8_dynamic: bool,
}

/// A config group that packed weights may belong to. Whether columns are indexed is up to each weight.
struct ReadScheme {
    targets: Vec<String>,
    bits: Bits,
    group_size: GroupSize,
    symmetric: bool,
}

/// The descriptor of every packed weight.
pub(super) fn read(
    checkpoint: &Checkpoint,
    declared: &Value,
    file: &Path,
) -> Result<BTreeMap<String, Value>, StorageError> {
    let schemes =
        read_schemes(declared).map_err(|problem| StorageError::Config { file: file.to_owned(), problem })?;
    let mut descriptors = BTreeMap::new();
    for module in checkpoint.names().filter_map(|name| name.strip_suffix(PACKED)?.strip_suffix('.')) {
        let descriptor = describe(checkpoint, module, &schemes.packed)?;
        descriptors.insert(module.to_owned(), descriptor);
    }
    for module in checkpoint.names().filter_map(|name| name.strip_suffix(SCALE)?.strip_suffix('.')) {
        let codes = checkpoint.info(&format!("{module}.weight"));
        if codes.is_none_or(|info| info.dtype != DType::I8.into()) {
            continue;
        }
        let no_scheme = |problem: &str| StorageError::NoScheme {
            dir: checkpoint.dir().to_owned(),
            module: module.to_owned(),
            problem: problem.to_owned(),
        };
        if !schemes.int8_dynamic {
            return Err(no_scheme("no config group of format \"int-quantized\" fits its eight-bit codes"));
        }
        let scale = checkpoint.info(&format!("{module}.{SCALE}")).and_then(|info| info.dtype.known());
        let scale = scale.ok_or_else(|| no_scheme("weight_scale has an unknown type"))?;
        descriptors.insert(module.to_owned(), Int8Dynamic::describe(scale));
    }
    Ok(descriptors)
}

fn read_schemes(declared: &Value) -> Result<ReadSchemes, String> {
    let config = Declared::deserialize(declared).map_err(|e| e.to_string())?;
    let is_set = |value: &Option<Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    };
    for (key, value) in [
        ("kv_cache_scheme", &config.kv_cache_scheme),
        ("sparsity_config", &config.sparsity_config),
        ("transform_config", &config.transform_config),
    ] {
        if is_set(value) {
            return Err(format!(
                "{key} is not supported, only compressed weights are; use a checkpoint without it"
            ));
        }
    }
    let mut schemes = ReadSchemes { packed: Vec::new(), int8_dynamic: false };
    for (name, group) in &config.config_groups {
        let wrong =
            |problem: &str| Err(format!("{name}: {problem}; use a checkpoint with packed integer weights"));
        let format = group.format.as_deref().or(config.format.as_deref()).unwrap_or_default();
        if format == INT_QUANTIZED && is_int8_dynamic(group) {
            schemes.int8_dynamic = true;
            continue;
        }
        if is_set(&group.input_activations) || is_set(&group.output_activations) {
            return wrong("of quantized activations only symmetric int8 per token, dynamic, are supported");
        }
        if format != PACK_QUANTIZED {
            return wrong(&format!("format {format:?} is not supported, only {PACK_QUANTIZED:?}"));
        }
        let Some(weights) = &group.weights else { continue };
        if weights.number_type != "int"
            || weights.dynamic.as_ref().is_some_and(|d| *d != json!(false) && !d.is_null())
        {
            return wrong("weights are not static integers");
        }
        let Some(bits) = Bits::new(weights.num_bits) else {
            return wrong(&format!("{} bits are not supported, only 2, 3, 4, 5, 6, 8", weights.num_bits));
        };
        let group_size = match (weights.strategy.as_deref(), weights.group_size) {
            (Some("group") | None, Some(n)) if n > 0 => GroupSize::Columns(n as usize),
            (Some("channel"), None | Some(-1)) | (None, Some(-1)) => GroupSize::Channel,
            (strategy, size) => return wrong(&format!("strategy {strategy:?} with group size {size:?}")),
        };
        let targets = group.targets.clone();
        schemes.packed.push(ReadScheme { targets, bits, group_size, symmetric: weights.symmetric });
    }
    Ok(schemes)
}

/// Whether a group holds symmetric eight-bit weights per channel with activations rounded alike per token.
fn is_int8_dynamic(group: &Group) -> bool {
    let Some(weights) = &group.weights else { return false };
    let inputs = group.input_activations.as_ref().and_then(|value| Weights::deserialize(value).ok());
    let eight = |w: &Weights| w.num_bits == 8 && w.number_type == "int" && w.symmetric;
    let is_dynamic = |w: &Weights| w.dynamic == Some(json!(true));
    let channel = matches!(weights.strategy.as_deref(), Some("channel"));
    let token =
        inputs.as_ref().is_some_and(|i| eight(i) && is_dynamic(i) && i.strategy.as_deref() == Some("token"));
    eight(weights) && !is_dynamic(weights) && channel && token && group.output_activations.is_none()
}

/// Finds the form of a packed weight: the scheme that targets it and that its tensors fit.
///
/// A target is a module's exact name, a class (`Linear`) or a Python regular expression (`re:…`). An exact name
/// decides. The others are not interpreted: whichever of their schemes the shapes of the tensors fit is the one, and
/// where more than one fits they must agree.
fn describe(checkpoint: &Checkpoint, module: &str, schemes: &[ReadScheme]) -> Result<Value, StorageError> {
    let no_scheme = |problem: &str| StorageError::NoScheme {
        dir: checkpoint.dir().to_owned(),
        module: module.to_owned(),
        problem: problem.to_owned(),
    };
    let info = |suffix: &str| checkpoint.info(&format!("{module}.{suffix}"));
    let packed =
        info(PACKED).filter(|i| i.shape.len() == 2).ok_or_else(|| no_scheme("weight_packed is no matrix"))?;
    let scale =
        info(SCALE).filter(|i| i.shape.len() == 2).ok_or_else(|| no_scheme("has no matrix weight_scale"))?;
    let [_, in_features] = stored_shape(checkpoint, module)?
        .ok_or_else(|| no_scheme("weight_shape does not hold two positive numbers"))?;
    let scale_dtype = scale.dtype.known().ok_or_else(|| no_scheme("weight_scale has an unknown type"))?;
    let symmetric = info(ZERO_POINT).is_none();

    let exact: Vec<_> = schemes.iter().filter(|s| s.targets.iter().any(|t| t == module)).collect();
    let candidates = if exact.is_empty() { schemes.iter().collect() } else { exact };
    let mut fitting = candidates.iter().filter(|s| {
        s.symmetric == symmetric
            && s.bits.words(in_features) == packed.shape[1]
            && s.group_size.groups(in_features).is_ok_and(|groups| groups == scale.shape[1])
    });
    let found = fitting.next().ok_or_else(|| {
        no_scheme(
            "no config group fits its packed shape, scales and zero points (releases of compressed-tensors before \
             May 2026 packed 3, 5 and 6 bits with gaps, which is not supported)",
        )
    })?;
    if fitting.any(|s| s.bits != found.bits) {
        return Err(no_scheme("config groups of different widths fit it; name it in the targets of one"));
    }
    let spec = GroupedIntSpec {
        bits: found.bits,
        group_size: found.group_size,
        symmetric,
        scale_dtype,
        group_index: info(G_IDX).is_some(),
    };
    Ok(spec.descriptor())
}

/// The two numbers of `weight_shape`.
fn stored_shape(checkpoint: &Checkpoint, module: &str) -> Result<Option<[usize; 2]>, StorageError> {
    let tensor = checkpoint.tensor(&format!("{module}.{SHAPE}"))?;
    let values: Vec<i64> = match tensor.dtype().known() {
        Some(DType::I64) => tensor.cast::<i64>().map(std::borrow::Cow::into_owned).unwrap_or_default(),
        Some(DType::I32) => {
            tensor.cast::<i32>().map(|v| v.iter().map(|&v| i64::from(v)).collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let positive = |v: i64| usize::try_from(v).ok().filter(|&v| v > 0);
    Ok(match values[..] {
        [rows, columns] => positive(rows).zip(positive(columns)).map(|(r, c)| [r, c]),
        _ => None,
    })
}
