//! The method `awq`, version `gemm`, as AutoAWQ and GPTQModel write it: four bits, packed along the output.
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `qweight` | i32 | `[in, out/8]` | nibble `i` of word `c` is the code of output `8c + ORDER[i]` |
//! | `qzeros` | i32 | `[groups, out/8]` | zero points, in the same order |
//! | `scales` | f16 | `[groups, out]` | |

use super::StorageError;
use super::foreign::{Described, Misfit, Module, scale_tensor, select, split, turned};
use crate::checkpoint::Checkpoint;
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::units::Bits;
use crate::weight::{
    Component, Components, GroupSize, GroupedInt, GroupedIntSpec, Representation, SCALE, WeightError,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

const QWEIGHT: &str = "qweight";
const QZEROS: &str = "qzeros";
const SCALES: &str = "scales";

/// Codes in a word.
const PER_WORD: usize = 8;
/// The output that each nibble of a word belongs to.
const ORDER: [usize; PER_WORD] = [0, 2, 4, 6, 1, 3, 5, 7];

#[derive(Deserialize)]
struct Declared {
    #[serde(alias = "w_bit")]
    bits: u8,
    #[serde(alias = "q_group_size")]
    group_size: i64,
    #[serde(default = "yes")]
    zero_point: bool,
    #[serde(alias = "checkpoint_format", alias = "format")]
    version: Option<String>,
}

const fn yes() -> bool {
    true
}

/// The descriptor and shape of every packed weight.
pub(super) fn read(
    checkpoint: &Checkpoint,
    declared: &Value,
    file: &Path,
) -> Result<Described, StorageError> {
    let wrong = |problem: String| StorageError::Config { file: file.to_owned(), problem };
    let config = parse(declared).map_err(wrong)?;
    let mut described = Described::default();
    for name in checkpoint.names().filter_map(|name| name.strip_suffix(QWEIGHT)?.strip_suffix('.')) {
        let (spec, shape) = describe(checkpoint, name, &config, file)?;
        described.insert(name, spec.descriptor(), shape);
    }
    Ok(described)
}

fn parse(declared: &Value) -> Result<Declared, String> {
    // GPTQModel writes the version under several names; the first counts.
    let mut declared = declared.clone();
    if let Some(fields) = declared.as_object_mut() {
        let names = ["version", "checkpoint_format", "format"];
        if let Some(first) = names.iter().position(|name| fields.contains_key(*name)) {
            for name in &names[first + 1..] {
                fields.remove(*name);
            }
        }
    }
    let config = Declared::deserialize(&declared).map_err(|e| e.to_string())?;
    if config.bits != 4 {
        return Err(format!("{} bits cannot be read, version gemm has 4", config.bits));
    }
    if let Some(version) = config.version.as_deref().filter(|v| !v.eq_ignore_ascii_case("gemm")) {
        return Err(format!("version {version:?} cannot be read, only \"gemm\"; save it in that"));
    }
    if config.group_size == 0 || config.group_size < -1 {
        return Err(format!("group_size {}: must be -1 or positive", config.group_size));
    }
    Ok(config)
}

fn describe(
    checkpoint: &Checkpoint,
    name: &str,
    config: &Declared,
    file: &Path,
) -> Result<(GroupedIntSpec, [usize; 2]), StorageError> {
    let module = Module { checkpoint, name, config: file };
    let &[in_features, words] = module.matrix(QWEIGHT, DType::I32)?;
    let (scale_dtype, &[groups, out_features]) = module.float_matrix(SCALES)?;
    let group_size = match usize::try_from(config.group_size) {
        Ok(n) if n < in_features => GroupSize::Columns(n),
        _ => GroupSize::Channel,
    };
    if !group_size.groups(in_features).is_ok_and(|n| n == groups) {
        let expected =
            format!("a row for each group of {} of its {in_features} input features", config.group_size);
        return Err(module.contradiction(SCALES, &expected, &format!("[{groups}, {out_features}]")));
    }
    module.expect(SCALES, [groups, out_features], [groups, words * PER_WORD])?;
    if config.zero_point || checkpoint.contains(&module.tensor_name(QZEROS)) {
        module.expect(QZEROS, *module.matrix(QZEROS, DType::I32)?, [groups, words])?;
    }
    let symmetric = !config.zero_point;
    let spec = GroupedIntSpec { bits: Bits::FOUR, group_size, symmetric, scale_dtype, group_index: false };
    Ok((spec, [out_features, in_features]))
}

/// The weight out of a module's tensors, whose shapes were checked.
pub(super) fn convert(
    spec: GroupedIntSpec,
    shape: [usize; 2],
    mut stored: Components,
) -> Result<Components, WeightError> {
    let [out_features, in_features] = shape;
    let groups = spec.group_size.groups(in_features)?;
    let codes = unpack(&select(&mut stored, QWEIGHT)?.cast::<i32>()?, in_features, out_features);
    let scales = turned(&select(&mut stored, SCALES)?)?;
    let zeros = match stored.remove(QZEROS) {
        Some(zeros) => Some(unpack(&zeros.cast::<i32>()?, groups, out_features)),
        None => None,
    };
    crate::weight::nothing_left(&stored, "awq")?;
    let mid = spec.bits.mid_code();
    if let Some(index) = zeros.iter().flatten().position(|&z| spec.symmetric && z != mid) {
        return Err(WeightError::Value {
            component: QZEROS.to_owned(),
            index,
            value: format!("zero point {}", zeros.iter().flatten().nth(index).copied().unwrap_or_default()),
            allowed: format!("{mid}, because the configuration says \"zero_point\": false"),
        });
    }
    let zeros = zeros.as_deref().filter(|_| !spec.symmetric);
    let weight = GroupedInt::from_codes(spec, shape, &codes, &scales.to_f32()?, zeros, None)?;
    let mut components: Components =
        weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
    // As stored, whatever a conversion to f32 and back would make of values that are not numbers.
    components.insert(SCALE.to_owned(), scales);
    Ok(components)
}

/// `[rows, out/8]` words to `[out, rows]` codes.
fn unpack(words: &[i32], rows: usize, out_features: usize) -> Vec<u8> {
    let mut codes = vec![0; rows * out_features];
    for (row, words) in words.chunks_exact((out_features / PER_WORD).max(1)).enumerate() {
        for (word, &value) in words.iter().enumerate() {
            for (nibble, output) in ORDER.iter().enumerate() {
                codes[(word * PER_WORD + output) * rows + row] = (value as u32 >> (4 * nibble)) as u8 & 15;
            }
        }
    }
    codes
}

/// `[out, rows]` codes to `[rows, out/8]` words.
fn pack(codes: &[u8], rows: usize, out_features: usize) -> Vec<i32> {
    let mut packed = Vec::with_capacity(rows * out_features / PER_WORD);
    for row in 0..rows {
        for word in 0..out_features / PER_WORD {
            let nibbles = ORDER.iter().enumerate();
            packed.push(nibbles.fold(0u32, |value, (nibble, output)| {
                value | u32::from(codes[(word * PER_WORD + output) * rows + row]) << (4 * nibble)
            }) as i32);
        }
    }
    packed
}

/// The tensors of a weight, in the order in which AutoAWQ writes them.
///
/// Groups that are a multiple of `group_size` are split, which repeats their scales. Scales that are not f16 are rounded to
/// it.
///
/// # Errors
/// [`Misfit`] the format cannot hold the weight.
pub fn components(weight: &GroupedInt, group_size: GroupSize) -> Result<Vec<Component>, Misfit> {
    let ([out_features, in_features], spec) = (weight.shape(), weight.spec());
    if spec.bits != Bits::FOUR {
        return Err(Misfit::Bits { found: spec.bits.get(), expected: 4 });
    }
    if spec.group_index {
        return Err(Misfit::GroupIndex);
    }
    if !out_features.is_multiple_of(PER_WORD) {
        return Err(Misfit::Words { what: "output", features: out_features, bits: 4 });
    }
    let split = split(weight, group_size)?;
    let groups = weight.groups() * split;
    let mut codes = vec![0; out_features * in_features];
    let mut zeros = vec![spec.bits.mid_code(); out_features * groups];
    for row in 0..out_features {
        weight.codes_row(row, &mut codes[row * in_features..(row + 1) * in_features]);
        if let Some(stored) = weight.zeros_row(row) {
            for (group, zero) in zeros[row * groups..(row + 1) * groups].iter_mut().enumerate() {
                *zero = stored[group / split];
            }
        }
    }
    let tensor = |rows, codes: &[u8]| {
        let words = pack(codes, rows, out_features);
        Tensor::from_vec(DType::I32, vec![rows, out_features / PER_WORD], words).map_err(Misfit::from)
    };
    Ok(vec![
        Component::new(QWEIGHT, tensor(in_features, &codes)?),
        Component::new(QZEROS, tensor(groups, &zeros)?),
        Component::new(SCALES, scale_tensor(weight, split)?),
    ])
}

/// The `quantization_config` of weights in groups of `group_size`, beside which `dense` Linears stay as they are.
pub fn config(group_size: GroupSize, dense: &[String]) -> Value {
    json!({
        "bits": 4,
        "group_size": match group_size {
            GroupSize::Channel => -1,
            GroupSize::Columns(n) => n as i64,
        },
        "modules_to_not_convert": dense,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_lie_in_the_order_of_the_format() {
        let codes: Vec<u8> = (0..8).collect();
        assert_eq!(pack(&codes, 1, 8), [0x7531_6420]);
        assert_eq!(unpack(&[0x7531_6420], 1, 8), codes);
    }
}
