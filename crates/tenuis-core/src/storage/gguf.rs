//! The method `gguf`: what a file in that format becomes when it is opened as a checkpoint.
//!
//! Quantised tensors appear as `{module}.weight_q4_0`, `{module}.weight_q4_1` and `{module}.weight_q8_0`, u8
//! `[out, row bytes]`. The first and the last hold the same numbers as `grouped_int` with groups of 32 and f16 scales, and
//! become that when they are read; the second is the representation `q4_1`.

use super::foreign::{Described, select};
use crate::checkpoint::Checkpoint;
use crate::gguf::{GgmlType, blocks};
use crate::weight::{Components, WeightError};
use serde_json::json;

/// The last part of a quantised tensor's name; none for types that are stored as they are.
pub(crate) const fn suffix(kind: GgmlType) -> Option<&'static str> {
    match kind {
        GgmlType::Q4_0 => Some("weight_q4_0"),
        GgmlType::Q4_1 => Some(crate::weight::Q4_1_BLOCKS),
        GgmlType::Q8_0 => Some("weight_q8_0"),
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => None,
    }
}

fn kind_of(name: &str) -> Option<(&str, GgmlType)> {
    let (module, last) = name.rsplit_once('.')?;
    Some((module, GgmlType::ALL.into_iter().find(|kind| suffix(*kind) == Some(last))?))
}

/// The descriptor and shape of every quantised weight. The reader of the file has checked the tensors.
pub(super) fn read(checkpoint: &Checkpoint) -> Described {
    let mut described = Described::default();
    for name in checkpoint.names() {
        let (Some((module, kind)), Some(info)) = (kind_of(name), checkpoint.info(name)) else { continue };
        let &[rows, row_bytes] = &info.shape[..] else { continue };
        let descriptor =
            blocks::spec(kind).map_or_else(|| json!({ "kind": "q4_1" }), |spec| spec.descriptor());
        let in_features = row_bytes / kind.block_bytes() * kind.block_elements();
        described.insert(module, descriptor, [rows, in_features]);
    }
    described
}

/// The components of the representation out of a module's only tensor.
pub(super) fn convert(shape: [usize; 2], mut stored: Components) -> Result<Components, WeightError> {
    for kind in [GgmlType::Q4_0, GgmlType::Q8_0] {
        let Some(suffix) = suffix(kind).filter(|suffix| stored.contains_key(*suffix)) else { continue };
        let blocks = select(&mut stored, suffix)?;
        crate::weight::nothing_left(&stored, "gguf")?;
        return blocks::components(kind, shape, &blocks);
    }
    Ok(stored)
}
