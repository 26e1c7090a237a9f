//! The method `gptq`, versions 1 and 2, as AutoGPTQ and GPTQModel write it.
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `qweight` | i32 | `[in·bits/32, out]` | the codes of a column as one bit stream along `in` |
//! | `qzeros` | i32 | `[groups, out·bits/32]` | the zero points of a group as one bit stream along `out`; version 1 stores `z − 1` |
//! | `scales` | f16 | `[groups, out]` | |
//! | `g_idx` | i32 | `[in]` | the group of every input feature |
//!
//! Streams are packed as those of `grouped_int` are, low bits first and without gaps, so that each tensor is the
//! transpose of one of its components.

use super::StorageError;
use super::foreign::{Described, Misfit, Module, scale_tensor, select, turned};
use super::transpose::transpose;
use crate::checkpoint::Checkpoint;
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::units::Bits;
use crate::weight::{
    Component, Components, G_IDX, GroupSize, GroupedInt, GroupedIntSpec, PACKED, Representation, SCALE,
    SHAPE, WeightError, ZERO_POINT, pack_codes, shape_tensor, unpack_codes,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The widths that the format has kernels for.
pub const BITS: [u8; 4] = [2, 3, 4, 8];

/// The file beside `config.json` that repeats the configuration.
pub const CONFIG_FILE: &str = "quantize_config.json";

const QWEIGHT: &str = "qweight";
const QZEROS: &str = "qzeros";
const SCALES: &str = "scales";
const INDEX: &str = "g_idx";

/// How zero points are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GptqVersion {
    /// `checkpoint_format: "gptq"`: one less than they are.
    V1,
    /// `checkpoint_format: "gptq_v2"`: as they are.
    V2,
}

impl GptqVersion {
    /// The value of `checkpoint_format`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "gptq",
            Self::V2 => "gptq_v2",
        }
    }
}

#[derive(Deserialize)]
struct Declared {
    bits: u8,
    group_size: i64,
    #[serde(default)]
    desc_act: bool,
    #[serde(default = "yes")]
    sym: bool,
    #[serde(alias = "format")]
    checkpoint_format: Option<String>,
    pack_dtype: Option<String>,
    dynamic: Option<Map<String, Value>>,
}

const fn yes() -> bool {
    true
}

/// The configuration, and what it allows single modules to differ in.
struct Settings {
    version: GptqVersion,
    desc_act: bool,
    sym: bool,
    schemes: Vec<(Bits, i64)>,
}

impl Settings {
    fn read(declared: &Value) -> Result<Self, String> {
        // GPTQModel writes the format under both names.
        let mut declared = declared.clone();
        if let Some(fields) = declared.as_object_mut()
            && fields.contains_key("checkpoint_format")
        {
            fields.remove("format");
        }
        let config = Declared::deserialize(&declared).map_err(|e| e.to_string())?;
        let version = match config.checkpoint_format.as_deref() {
            None | Some("gptq") => GptqVersion::V1,
            Some("gptq_v2") => GptqVersion::V2,
            Some(other) => {
                return Err(format!(
                    "checkpoint_format {other:?} cannot be read, only \"gptq\" and \"gptq_v2\"; save it in one of these"
                ));
            }
        };
        if let Some(other) = config.pack_dtype.as_deref().filter(|d| *d != "int32") {
            return Err(format!("pack_dtype {other:?} cannot be read, only \"int32\"; save it with that"));
        }
        let mut schemes = vec![scheme(config.bits, config.group_size)?];
        // Rules for single modules: "-:REGEX" leaves them dense, the others change settings. Which module a rule is
        // for shows in its tensors.
        for (rule, changes) in config.dynamic.iter().flatten().filter(|(rule, _)| !rule.starts_with("-:")) {
            let field = |key: &str, usual: i64| match changes.get(key) {
                None => Ok(usual),
                Some(value) => value.as_i64().ok_or_else(|| format!("dynamic {rule:?}: {key} is {value}")),
            };
            let bits = field("bits", i64::from(config.bits))?;
            let bits = u8::try_from(bits).map_err(|_| format!("dynamic {rule:?}: bits is {bits}"))?;
            schemes.push(scheme(bits, field("group_size", config.group_size)?)?);
        }
        Ok(Self { version, desc_act: config.desc_act, sym: config.sym, schemes })
    }
}

fn scheme(bits: u8, group_size: i64) -> Result<(Bits, i64), String> {
    let known = Bits::new(bits).filter(|_| BITS.contains(&bits));
    let bits = known.ok_or_else(|| format!("{bits} bits cannot be read, only 2, 3, 4 and 8"))?;
    if group_size == 0 || group_size < -1 {
        return Err(format!("group_size {group_size}: must be -1 or positive"));
    }
    Ok((bits, group_size))
}

/// The version, and the descriptor and shape of every packed weight.
pub(super) fn read(
    checkpoint: &Checkpoint,
    declared: &Value,
    file: &Path,
) -> Result<(GptqVersion, Described), StorageError> {
    let settings = Settings::read(declared)
        .map_err(|problem| StorageError::Config { file: file.to_owned(), problem })?;
    let mut described = Described::default();
    for name in checkpoint.names().filter_map(|name| name.strip_suffix(QWEIGHT)?.strip_suffix('.')) {
        let (spec, shape) = describe(checkpoint, name, &settings, file)?;
        described.insert(name, spec.descriptor(), shape);
    }
    Ok((settings.version, described))
}

fn describe(
    checkpoint: &Checkpoint,
    name: &str,
    settings: &Settings,
    file: &Path,
) -> Result<(GroupedIntSpec, [usize; 2]), StorageError> {
    let module = Module { checkpoint, name, config: file };
    let &[rows, out_features] = module.matrix(QWEIGHT, DType::I32)?;
    let (scale_dtype, &[groups, scale_width]) = module.float_matrix(SCALES)?;
    let index = match checkpoint.info(&module.tensor_name(INDEX)) {
        None => None,
        Some(_) => Some(module.read_i32(INDEX)?),
    };
    // The index has one entry for each input feature, which settles the width of a code.
    let fits = |&&(bits, _): &&(Bits, i64)| match &index {
        Some(index) => {
            bits.words(index.len()) == rows && (index.len() * bits.get() as usize).is_multiple_of(32)
        }
        None => (rows * 32).is_multiple_of(bits.get() as usize),
    };
    let widths: Vec<_> = settings.schemes.iter().filter(fits).collect();
    let Some(&&(bits, _)) = widths.first() else {
        let bits = settings.schemes[0].0;
        let expected = match &index {
            Some(index) => format!("{bits}-bit codes of {} input features, as {INDEX} has them", index.len()),
            None => format!("whole columns of {bits}-bit codes"),
        };
        return Err(module.contradiction(QWEIGHT, &expected, &format!("[{rows}, {out_features}]")));
    };
    let in_features = rows * 32 / bits.get() as usize;
    let group_of = |size: i64| match usize::try_from(size) {
        Ok(n) if n < in_features => GroupSize::Columns(n),
        _ => GroupSize::Channel,
    };
    let mut sizes = widths.iter().map(|(_, size)| group_of(*size));
    let Some(group_size) = sizes.find(|size| size.groups(in_features).is_ok_and(|n| n == groups)) else {
        let size = settings.schemes[0].1;
        let expected = format!("a row for each group of {size} of its {in_features} input features");
        return Err(module.contradiction(SCALES, &expected, &format!("[{groups}, {scale_width}]")));
    };
    let words = bits.words(out_features);
    module.expect(SCALES, [groups, scale_width], [groups, out_features])?;
    module.expect(QZEROS, *module.matrix(QZEROS, DType::I32)?, [groups, words])?;
    if !(out_features * bits.get() as usize).is_multiple_of(32) {
        let expected = format!("whole words of {bits}-bit codes along {out_features} output features");
        return Err(module.contradiction(QZEROS, &expected, &format!("[{groups}, {words}]")));
    }
    let columns = group_size.columns(in_features);
    let group_index = index.as_ref().is_some_and(|index| {
        index.iter().enumerate().any(|(column, &group)| usize::try_from(group) != Ok(column / columns))
    });
    if let Some(index) = index.filter(|_| group_index) {
        if let Some(column) = index.iter().position(|&g| usize::try_from(g).map_or(true, |g| g >= groups)) {
            let found = format!("{} at {column}", index[column]);
            return Err(module.contradiction(INDEX, &format!("groups 0 to {}", groups - 1), &found));
        }
        if !settings.desc_act {
            let expected = "groups of neighbouring columns, because desc_act is false";
            return Err(module.contradiction(INDEX, expected, "another order"));
        }
    }
    let spec = GroupedIntSpec { bits, group_size, symmetric: settings.sym, scale_dtype, group_index };
    Ok((spec, [out_features, in_features]))
}

/// The components of `grouped_int` out of a module's tensors, whose shapes were checked.
pub(super) fn convert(
    version: GptqVersion,
    spec: GroupedIntSpec,
    shape: [usize; 2],
    mut stored: Components,
) -> Result<Components, WeightError> {
    let [out_features, in_features] = shape;
    let groups = spec.group_size.groups(in_features)?;
    let mut components = Components::new();
    components.insert(PACKED.to_owned(), turned(&select(&mut stored, QWEIGHT)?)?);
    components.insert(SCALE.to_owned(), turned(&select(&mut stored, SCALES)?)?);
    components.insert(SHAPE.to_owned(), shape_tensor(shape));
    let zeros = select(&mut stored, QZEROS)?;
    let mut words = zeros.cast::<i32>()?.into_owned();
    if version == GptqVersion::V1 {
        shift_zeros(spec.bits, out_features, &mut words, 1);
    }
    if spec.symmetric {
        check_symmetric(spec.bits, out_features, &words, version)?;
    } else {
        let stream = spec.bits.words(out_features);
        let turned = Tensor::from_vec(DType::I32, vec![stream, groups], transpose(groups, stream, &words))?;
        components.insert(ZERO_POINT.to_owned(), turned);
    }
    if let Some(index) = stored.remove(INDEX).filter(|_| spec.group_index) {
        components.insert(G_IDX.to_owned(), index);
    }
    crate::weight::nothing_left(&stored, "gptq")?;
    Ok(components)
}

/// Adds to every zero point.
///
/// Codes that fill words are added to word by word, with the carry between them, because that is how GPTQModel turns one
/// version into the other; it makes no difference unless a stored zero point is the largest code.
fn shift_zeros(bits: Bits, out_features: usize, words: &mut [i32], by: i32) {
    let width = u32::from(bits.get());
    if 32 % width == 0 {
        let ones = (0..32 / width).fold(0u32, |ones, i| ones | 1 << (i * width)) as i32;
        for word in words {
            *word = word.wrapping_add(ones.wrapping_mul(by));
        }
        return;
    }
    let mut codes = vec![0; out_features];
    for stream in words.chunks_exact_mut(bits.words(out_features).max(1)) {
        unpack_codes(bits, bytemuck::cast_slice(stream), &mut codes);
        for code in &mut codes {
            *code = code.wrapping_add(by as u8) & bits.max_code();
        }
        stream.copy_from_slice(&pack_codes(bits, &codes));
    }
}

fn check_symmetric(
    bits: Bits,
    out_features: usize,
    words: &[i32],
    version: GptqVersion,
) -> Result<(), WeightError> {
    let mid = bits.mid_code();
    let mut codes = vec![0; out_features];
    for (group, stream) in words.chunks_exact(bits.words(out_features).max(1)).enumerate() {
        unpack_codes(bits, bytemuck::cast_slice(stream), &mut codes);
        if let Some(row) = codes.iter().position(|&code| code != mid) {
            return Err(WeightError::Value {
                component: QZEROS.to_owned(),
                index: group * out_features + row,
                value: format!("zero point {}", codes[row]),
                allowed: format!(
                    "{mid}, because the configuration says \"sym\": true and \"checkpoint_format\": {:?}",
                    version.name()
                ),
            });
        }
    }
    Ok(())
}

/// A scheme that all weights of a checkpoint share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GptqScheme {
    /// The width of a code, one of [`BITS`].
    pub bits: Bits,
    /// Input features that share a scale.
    pub group_size: GroupSize,
}

/// The tensors of a weight, in the order in which GPTQModel writes them.
///
/// Groups that are a multiple of the scheme's are split, which repeats their scales. Scales that are not f16 are rounded to
/// it.
///
/// # Errors
/// [`Misfit`] the format cannot hold the weight.
pub fn components(
    weight: &GroupedInt,
    scheme: GptqScheme,
    version: GptqVersion,
) -> Result<Vec<Component>, Misfit> {
    let ([out_features, in_features], spec) = (weight.shape(), weight.spec());
    if spec.bits != scheme.bits {
        return Err(Misfit::Bits { found: spec.bits.get(), expected: scheme.bits.get() });
    }
    let split = super::foreign::split(weight, scheme.group_size)?;
    let groups = weight.groups() * split;
    for (what, n) in [("input", in_features), ("output", out_features)] {
        if !(n * spec.bits.get() as usize).is_multiple_of(32) {
            return Err(Misfit::Words { what, features: n, bits: spec.bits.get() });
        }
    }
    let packed = turned(weight.packed()).map_err(Misfit::from)?;
    let scales = scale_tensor(weight, split)?;
    let columns = scheme.group_size.columns(in_features).min(in_features);
    let index = match weight.group_index() {
        Some(index) => index.into_owned(),
        None => (0..in_features).map(|column| (column / columns) as i32).collect(),
    };
    let mut zeros = Vec::with_capacity(groups * spec.bits.words(out_features));
    for group in 0..groups {
        let mut codes = vec![spec.bits.mid_code(); out_features];
        for (row, code) in codes.iter_mut().enumerate() {
            if let Some(zeros) = weight.zeros_row(row) {
                *code = zeros[group / split];
            }
        }
        if version == GptqVersion::V1 && codes.contains(&0) {
            return Err(Misfit::ZeroPointZero);
        }
        zeros.extend(pack_codes(spec.bits, &codes));
    }
    if version == GptqVersion::V1 {
        shift_zeros(spec.bits, out_features, &mut zeros, -1);
    }
    let words = spec.bits.words(out_features);
    let tensor = |shape, values| Tensor::from_vec(DType::I32, shape, values).map_err(Misfit::from);
    Ok(vec![
        Component::new(INDEX, tensor(vec![in_features], index)?),
        Component::new(SCALES, scales),
        Component::new(QWEIGHT, packed),
        Component::new(QZEROS, tensor(vec![groups, words], zeros)?),
    ])
}

/// What the configuration says beside the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GptqDeclaration {
    /// The scheme.
    pub scheme: GptqScheme,
    /// How zero points are stored.
    pub version: GptqVersion,
    /// Whether every zero point is the middle code.
    pub symmetric: bool,
    /// Whether a weight has columns in another order than that of its groups.
    pub act_order: bool,
    /// Whether the head is packed too.
    pub head: bool,
    /// Linears that stay dense although the method would pack them.
    pub dense: Vec<String>,
}

impl GptqDeclaration {
    /// The content of `quantize_config.json`, which `config.json` repeats as `quantization_config`.
    pub fn to_json(&self) -> Value {
        let mut config = json!({
            "bits": self.scheme.bits,
            "group_size": match self.scheme.group_size {
                GroupSize::Channel => -1,
                GroupSize::Columns(n) => n as i64,
            },
            "desc_act": self.act_order,
            "sym": self.symmetric,
            "lm_head": self.head,
            "quant_method": "gptq",
            "checkpoint_format": self.version.name(),
            "pack_dtype": "int32",
            "meta": { "quantizer": [concat!("tenuis:", env!("CARGO_PKG_VERSION"))] },
        });
        if !self.dense.is_empty() {
            let rules =
                self.dense.iter().map(|name| (format!("-:^{}$", name.replace('.', "\\.")), json!({})));
            config["dynamic"] = Value::Object(rules.collect());
        }
        config
    }
}
